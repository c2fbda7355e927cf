//! Comments for whole runs: where they go, what they say.

use runbell::{BuildContext, HeaderValue, Notifier, Payload, Registry, RunSnapshot, Transition, Value};

use super::{Difference, cases, facts, leeway};

#[test]
fn every_comment_of_a_run() {
    let (mut compared, mut more) = (0, 0);
    for case in cases(include_str!("../../../plugins/runbell-git/tests/vectors/git.json")) {
        if case.text(&["mode"]) != "push_run" {
            continue;
        }
        let id = &case.id;
        let run = case.at(&["input", "run"]).expect("a run");
        let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
        // No environment: a CI job's must not decide.
        let notifier = Notifier::builder(registry)
            .context(BuildContext::server())
            .ui_url(case.text(&["input", "ui_url"]))
            .build()
            .expect("no notifications of its own");
        let steps = case.at(&["input", "workflow_steps"]).and_then(Value::as_list).unwrap_or_default();
        let transition =
            Transition::current(RunSnapshot::new(run.clone()).expect("a run"), runbell::Timestamp::UNIX_EPOCH)
                .with_steps(steps.iter().cloned().map(RunSnapshot::step).collect());
        let lines = notifier.preview(transition);
        let expected = case.at(&["expected", "requests"]).and_then(Value::as_list).expect("requests");
        let ours: Vec<_> = lines.into_iter().filter(|line| line.sends).map(|line| line.rendered.expect(id)).collect();
        let workflow = run.at(&["metadata", "labels", "workflow"]).is_some();
        let results = run.at(&["status", "results"]).is_some_and(|results| *results != Value::Null);
        if workflow && !results {
            let difference = Difference::WorkflowWithoutResults;
            assert!(expected.is_empty() && !ours.is_empty(), "{id}: {difference:?}");
            more += 1;
            continue;
        }
        assert_eq!(ours.len(), expected.len(), "{id}");
        for (rendered, theirs) in ours.iter().zip(expected) {
            let Payload::Http(request) = &rendered.payload else { panic!("{id}: no request") };
            assert_eq!(Some(request.url.reveal().as_str()), theirs.get("url").and_then(Value::as_str), "{id}");
            for (name, value) in theirs.get("headers").and_then(Value::as_map).expect("headers") {
                let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                match header.map(|header| &header.value) {
                    None => assert_eq!(name, "accept", "{id}"),
                    Some(HeaderValue::Plain(text)) => assert_eq!(Some(text.as_str()), value.as_str(), "{id}: {name}"),
                    Some(HeaderValue::Secret(text)) => {
                        assert_eq!(Some(text.reveal().as_str()), value.as_str(), "{id}: {name}");
                    }
                    Some(HeaderValue::PerAttempt) => panic!("{id}: {name}"),
                }
            }
            let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
            let (marker, html) = body["body"].as_str().and_then(|body| body.split_once('\n')).expect("two lines");
            assert!(marker.starts_with("<!-- runbell run="), "{id}");
            let their_html = theirs.at(&["json", "body"]).and_then(Value::as_str).expect("a body");
            // Markdown takes zero-width spaces to keep data from being mentions.
            facts::same_facts(id, &html.replace("&#8203;", ""), their_html, leeway(run));
            compared += 1;
        }
    }
    assert!(compared >= 12 && more >= 1, "{compared} {more}");
}
