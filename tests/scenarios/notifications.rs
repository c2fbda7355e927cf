//! From a command to its targets.

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::Value;

use crate::tools::{Folder, runbell, say};

async fn run(args: &[&str], env: &[(&str, &str)]) -> crate::tools::Said {
    let mut command = runbell(&[&["run"], args].concat());
    command.envs(env.iter().copied());
    tokio::task::spawn_blocking(move || say(&mut command)).await.expect("no panic")
}

#[tokio::test]
async fn slack_and_webhook_at_once_with_a_start() {
    let peer = FakeHttp::start().await;
    let folder = Folder::new();
    let url = folder.file("url.txt", &format!("{}\n", peer.url("/from-file")));
    let config = folder.file(
        "n.toml",
        "[[notifications]]\nkind = \"slack\"\nname = \"s\"\nwhen = [\"running\", \"completed\"]\n\
         secret_params = { webhook = \"${HOOK}\" }\n\
         [[notifications]]\nkind = \"webhook\"\nname = \"w\"\nsecret_params = { url = \"file:url.txt\" }\n\
         params = { override_body = { text = \"{{ run.metadata.name }} {{ state }}\", runs = \"{{ runs }}\" } }\n",
    );
    let spec = format!("webhook:url=@{url},method=PUT,name=spec,message=by hand");
    let said =
        run(&["-c", &config, "--notify", &spec, "--name", "job", "--", "true"], &[("HOOK", &peer.url("/slack"))]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let requests = peer.requests();
    let mut paths: Vec<_> = requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    paths.sort();
    assert_eq!(paths, ["POST /from-file", "POST /slack", "POST /slack", "PUT /from-file"]);
    let slack: Vec<Value> =
        requests.iter().filter(|request| request.path == "/slack").map(|request| request.json()).collect();
    assert_eq!(slack[0]["blocks"][0]["text"]["text"], "[info] Run started in project default");
    assert_eq!(slack[1]["blocks"][0]["text"]["text"], "[info] Run completed in project default");
    let body =
        requests.iter().find(|request| request.method == "POST" && request.path == "/from-file").expect("sent").json();
    assert_eq!(body["text"], "job completed");
    let keys: Vec<_> = requests.iter().filter_map(|request| request.header("webhook-id")).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1] && keys[0].starts_with("rb_"), "{keys:?}");
}

#[tokio::test]
async fn a_target_that_comes_back_gets_the_same_key_again() {
    let peer = FakeHttp::start().await;
    peer.answer(FakeAnswer::status(503).header("retry-after", "0"));
    let spec = format!("webhook:url={}", peer.url("/x"));
    let said = run(&["--notify", &spec, "--", "true"], &[]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let keys: Vec<_> = peer.requests().iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
    assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test]
async fn failures_are_reported_and_change_no_exit_code() {
    let peer = FakeHttp::start().await;
    peer.answer_always(FakeAnswer::redirect(302, "http://elsewhere.invalid/CANARY"));
    let spec = format!("webhook:url={},name=w", peer.url("/x"));
    let said = run(&["--notify", &spec, "--", "sh", "-c", "exit 7"], &[]).await;
    assert_eq!(said.code, Some(7));
    assert!(said.err.contains("w: not delivered (error): rejected:") && said.err.contains("redirect"), "{}", said.err);
    assert!(!said.err.contains("CANARY"), "{}", said.err);
    assert_eq!(peer.requests().len(), 1, "a redirect is not followed and not retried");
}

#[tokio::test]
async fn a_refusal_quotes_the_targets_own_words() {
    let peer = FakeHttp::start().await;
    peer.answer(
        FakeAnswer::status(400).body(r#"{"message": "Cannot send an empty message /key-77-CANARY", "code": 50006}"#),
    );
    peer.answer(FakeAnswer::status(429).header("retry-after", "3600"));
    let spec = format!("webhook:url={},name=w", peer.url("/key-77-CANARY"));
    let said = run(&["--notify", &spec, "--", "true"], &[]).await;
    let expected =
        r#"rejected: the target refuses the message; it says "Cannot send an empty message /REDACTED" [status=400]"#;
    assert!(said.err.contains(expected), "{}", said.err);
    let said = run(&["--notify", &spec, "--", "true"], &[]).await;
    let expected = "the target asks to slow down; it asks to wait 3600 s, which is too long: the longest wait is 30 s";
    assert!(said.err.contains(expected), "{}", said.err);
}

#[tokio::test]
async fn secrets_by_name_come_from_the_environment() {
    let peer = FakeHttp::start().await;
    let folder = Folder::new();
    let config = folder.file("n.json", r#"[{"kind": "slack", "name": "s", "secret_params": {"secret": "HOOKS"}}]"#);
    let secret = format!("{{\"webhook\": \"{}\"}}", peer.url("/by-name"));
    for variable in ["HOOKS", "MLRUN_K8S_SECRET__HOOKS"] {
        let said = run(&["-c", &config, "--", "true"], &[(variable, &secret)]).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    }
    assert_eq!(peer.requests().len(), 2);
    for (more, code, out) in [(&["--strict"][..], 2, ""), (&[], 0, "ran\n")] {
        let args = [more, &["-c", &config, "--", "sh", "-c", "echo ran"]].concat();
        let said = run(&args, &[]).await;
        assert_eq!((said.code, said.out.as_str()), (Some(code), out));
        assert!(said.err.contains("environment variable `HOOKS` is not set"), "{}", said.err);
    }
}

#[tokio::test]
async fn the_environment_fills_in_slacks_webhook() {
    let peer = FakeHttp::start().await;
    let said = run(&["--notify", "slack", "--", "true"], &[("SLACK_WEBHOOK", &peer.url("/env"))]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(peer.requests()[0].path, "/env");
}
