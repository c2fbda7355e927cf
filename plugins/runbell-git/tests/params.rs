//! Where params and a job's environment lead.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::{Payload, Registry, Value};
use runbell_testkit::{TestContext, sample_message};
use serde_json::json;

/// Where a completed notification goes; the findings, when it goes nowhere.
fn target(env: &[(&str, &str)], params: serde_json::Value) -> String {
    let mut here = TestContext::here();
    for (name, value) in env {
        here = here.env(*name, *value);
    }
    let cx = here.build();
    let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
    let kind = registry.get("git").expect("it");
    let Value::Map(mut params) = Value::from(params) else { panic!("an object") };
    kind.complete(&mut params, &cx);
    let found = kind.check(&params, &cx);
    if found.has_faults() {
        return found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    }
    let sender = kind.build(&params, &cx).expect("built");
    match sender.render(&sample_message("target")).expect("rendered").payload {
        Payload::Http(request) => request.url.reveal().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn servers_and_jobs() {
    const JOB: [(&str, &str); 3] =
        [("CI_PROJECT_ID", "19"), ("CI_SERVER_URL", "https://code.corp.test:8443"), ("GIT_TOKEN", "t0123456789")];
    let params = |more: serde_json::Value| {
        let mut params = json!({ "repo": "o/r", "token": "t0123456789", "issue": 7 });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        params
    };
    for (env, params, expected) in [
        // The job's own server is a GitLab, however it is written; another one is what its name says.
        (&JOB[..], json!({ "issue": 7 }), "https://code.corp.test:8443/api/v4/projects/19/issues/7/notes"),
        (
            &JOB,
            json!({ "issue": 7, "server": "code.corp.test" }),
            "https://code.corp.test/api/v4/projects/19/issues/7/notes",
        ),
        (&JOB, params(json!({ "server": "other.test" })), "https://other.test/repos/o/r/issues/7/comments"),
        (&JOB, params(json!({ "gitlab": false })), "https://api.github.com/repos/o/r/issues/7/comments"),
        (&[], params(json!({ "server": "https://github.com/o/r" })), "server: must be the server only, without a path"),
        (&[], params(json!({ "repo": "https://github.com/o/r" })), "repo: must be owner/name, not a URL"),
        (&[], params(json!({ "issue": "seven" })), "issue: must be the number of an issue"),
        (
            &[],
            params(json!({ "issue": null })),
            "issue: is required, or `merge_request`; the file named by GITHUB_EVENT_PATH",
        ),
        (
            &JOB,
            json!({}),
            "issue: is required, or `merge_request`; neither CI_MERGE_REQUEST_IID nor CI_ISSUE_IID is set",
        ),
    ] {
        let found = target(env, params.clone());
        assert!(found.starts_with(expected), "{params}: {found}");
    }
}

#[test]
fn each_token_of_a_server_is_a_bucket_of_its_own() {
    let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
    let kind = registry.get("git").expect("it");
    let bucket = |server: &str, token: &str, issue: u32, update: bool| {
        let params = json!({ "repo": "o/r", "token": token, "issue": issue, "server": server, "update": update });
        let Value::Map(params) = Value::from(params) else { panic!("an object") };
        kind.build(&params, &TestContext::here().build()).expect("built").limits().bucket.expect("a bucket")
    };
    let one = bucket("git.example", "t0123456789", 7, false);
    assert_eq!(one, bucket("git.example", " t0123456789\n", 8, true), "the token counts, not the issue");
    assert_ne!(one, bucket("git.example", "another-token", 7, false));
    assert_ne!(one, bucket("other.example", "t0123456789", 7, false));
}
