//! The verbs on documents: push, explain, preview, check, kinds, completions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value, json};

use crate::tools::{Folder, runbell, say, say_with};

fn run(uid: &str, state: &str, notifications: Value) -> Value {
    json!({
        "metadata": { "uid": uid, "name": "train", "project": "p" },
        "spec": { "notifications": notifications },
        "status": { "state": state, "results": { "loss": 0.5 } },
    })
}

fn webhook(name: &str, url: &str) -> Value {
    json!({ "kind": "webhook", "name": name, "when": ["completed", "error"], "params": { "url": url } })
}

/// A command run beside a fake target.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

#[tokio::test]
async fn push_tells_one_line_for_each_run_and_notification() {
    let peer = FakeHttp::start().await;
    peer.answer_with(|request| if request.path.contains("bad") { FakeAnswer::status(404) } else { FakeAnswer::ok() });
    let lines = [
        run("u1", "completed", json!([webhook("good", &peer.url("/good")), webhook("bad", &peer.url("/bad"))])),
        run("u2", "running", json!([webhook("good", &peer.url("/good"))])),
        run("u3", "error", json!([webhook("good", &peer.url("/good"))])),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let said = beside(move || say_with(&mut runbell(&["push"]), &input)).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert_eq!(
        said.json(),
        [
            json!({ "uid": "u1", "notification": "good", "kind": "webhook", "state": "completed", "status": "sent", "reason": "matched", "attempts": 1 }),
            json!({ "uid": "u1", "notification": "bad", "kind": "webhook", "state": "completed", "status": "error",
                    "reason": said.json()[1]["reason"], "attempts": 1 }),
            json!({ "uid": "u2", "notification": "good", "kind": "webhook", "state": "running", "status": "skipped", "reason": "state_not_in_when", "attempts": 0 }),
            json!({ "uid": "u3", "notification": "good", "kind": "webhook", "state": "error", "status": "sent", "reason": "matched", "attempts": 1 }),
        ]
    );
    assert!(said.json()[1]["reason"].as_str().is_some_and(|reason| reason.contains("404")), "{}", said.out);
    assert_eq!(peer.requests().len(), 3);
}

#[tokio::test]
async fn push_takes_notifications_from_a_file_too_and_survives_bad_lines() {
    let peer = FakeHttp::start().await;
    let folder = Folder::new();
    let config = folder
        .file("n.yaml", &format!("- kind: webhook\n  name: file\n  params: {{ url: '{}' }}\n", peer.url("/file")));
    let input = format!("{}\nnot json\n{}\n", run("u1", "completed", json!([])), run("u2", "completed", json!([])));
    let said = beside(move || say_with(&mut runbell(&["push", "-c", &config, "-"]), &input)).await;
    assert_eq!(said.code, Some(2), "{}", said.err);
    let lines = said.json();
    assert_eq!(
        lines.iter().map(|line| line["status"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["sent", "error", "sent"]
    );
    assert!(
        lines[1]["reason"].as_str().is_some_and(|reason| reason.starts_with("run_invalid: line 2, column 1")),
        "{}",
        said.out
    );
    assert_eq!(peer.requests().len(), 2);
}

#[test]
fn explain_says_why() {
    let document = run(
        "u1",
        "completed",
        json!([
            { "kind": "console", "name": "yes" },
            { "kind": "console", "name": "state", "when": ["error"] },
            { "kind": "console", "name": "condition", "condition": "{{ run.status.results.loss > 1 }}" },
            { "kind": "console", "name": "broken", "condition": "{{ run.status.results.gone > 1 }}" },
            { "kind": "pager", "name": "unknown" },
        ]),
    );
    let said = say_with(&mut runbell(&["explain"]), &document.to_string());
    assert_eq!(said.code, Some(2));
    let shown: Vec<String> = said
        .json()
        .iter()
        .map(|line| ["notification", "verdict", "reason"].map(|field| line[field].as_str().unwrap_or("-")).join(" "))
        .collect();
    assert_eq!(
        shown,
        [
            "yes send matched",
            "state skip state_not_in_when",
            "condition skip condition_false",
            "broken send condition_ignored",
            "unknown error unknown_kind",
        ]
    );
    assert!(said.json()[3]["detail"].as_str().is_some_and(|detail| detail.starts_with("error")), "{}", said.out);
    assert_eq!(
        said.json()[0].as_object().map(|line| line.keys().cloned().collect::<Vec<_>>()),
        Some(["uid", "notification", "verdict", "reason", "detail"].map(str::to_owned).to_vec())
    );
}

#[test]
fn preview_masks_unless_asked_and_sends_nothing() {
    let document = run("u1", "completed", json!([webhook("w", "http://127.0.0.1:9/CANARY-path")]));
    let said = say_with(&mut runbell(&["preview"]), &document.to_string());
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(!said.out.contains("CANARY"), "{}", said.out);
    let line = &said.json()[0];
    assert_eq!(line["payload"]["http"]["url"], "***");
    assert_eq!(line["payload"]["http"]["method"], "POST");
    let body: Value = serde_json::from_str(line["payload"]["http"]["body"].as_str().expect("a text")).expect("JSON");
    assert_eq!(body["message"], "Run completed in project p");
    assert_eq!(line["notes"], json!([]));
    let said = say_with(&mut runbell(&["preview", "--show-secrets"]), &document.to_string());
    assert_eq!(said.json()[0]["payload"]["http"]["url"], "http://127.0.0.1:9/CANARY-path");
}

#[test]
fn tables_are_for_people_and_carry_no_escapes_of_the_data() {
    let mut document = run("u1", "completed", json!([{ "kind": "console", "name": "evil\u{1b}[31m\u{202e}" }]));
    document["metadata"]["name"] = "evil\u{1b}]0;title\u{7}".into();
    for verb in ["explain", "preview", "push"] {
        let said = say_with(&mut runbell(&[verb, "--table"]), &document.to_string());
        assert_eq!(said.code, Some(0), "{verb}: {}", said.err);
        for text in [&said.out, &said.err] {
            assert!(
                !text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{7}'),
                "{verb}: {text:?}"
            );
        }
        assert!(said.out.contains("evil"), "{verb}: {}", said.out);
    }
}

#[test]
fn check_tells_every_fault_and_warning_with_its_field() {
    let folder = Folder::new();
    let config = folder.file(
        "n.yaml",
        "notifications:\n\
         - kind: webhook\n  name: a\n  params: { url: 'http://h/', methd: PUT }\n  condition: '{{ nope'\n\
         - kind: slack\n  name: a\n\
         - kind: slack\n  name: b\n  when: [done]\n\
         - kind: slack\n  name: c\n  secret_params: { webhook: '${RUNBELL_TEST_UNSET}' }\n",
    );
    let said = say(&mut runbell(&["check", &config]));
    assert_eq!(said.code, Some(2), "{}", said.err);
    let shown: Vec<[String; 3]> = said
        .json()
        .iter()
        .map(|line| ["level", "code", "path"].map(|field| line[field].as_str().expect("a text").to_owned()))
        .collect();
    for expected in [
        ["fault", "wrong_value", "notifications[3].secret_params.webhook"],
        ["warning", "unknown_field", "notifications[0].params.methd"],
        ["warning", "exposed_secret", "notifications[0].params.url"],
        ["warning", "condition_ignored", "notifications[0].condition"],
        ["fault", "name_taken", "notifications[1].name"],
        ["fault", "wrong_value", "notifications[2].when[0]"],
    ] {
        assert!(shown.contains(&expected.map(str::to_owned)), "{expected:?} is not in {shown:?}");
    }
    let fine = folder.file("fine.toml", "[[notifications]]\nkind = \"console\"\nname = \"c\"\n");
    let said = say(&mut runbell(&["check", &fine, "--table"]));
    assert_eq!((said.code, said.out.trim_end()), (Some(0), format!("{fine}: fine").as_str()));
}

#[test]
fn check_reads_run_documents() {
    let document =
        run("u1", "exploded", json!([{ "kind": "slack", "name": "s", "params": { "webhook": "http://h/" } }]));
    let said = say_with(&mut runbell(&["check"]), &document.to_string());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let paths: Vec<String> =
        said.json().iter().map(|line| line["path"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(paths, ["status.state", "spec.notifications[0].params.webhook"]);
    let said = say_with(&mut runbell(&["check"]), "{\"metadata\": 5, \"spec\": {}}");
    assert_eq!(
        (said.code, said.json()[0]["message"].as_str()),
        (Some(2), Some("metadata: must be an object, not an integer"))
    );
}

#[test]
fn kinds_and_their_schemas() {
    let said = say(&mut runbell(&["kinds", "--json"]));
    let kinds = said.json().remove(0);
    let names: Vec<&str> = kinds.as_array().expect("a list").iter().filter_map(|kind| kind["kind"].as_str()).collect();
    assert_eq!(names, ["console", "git", "mail", "notebook", "slack", "webhook"]);
    let slack = &kinds[4];
    assert_eq!(slack["schema"]["properties"]["webhook"]["x-secret"], true);
    assert_eq!(slack["schema"]["required"], json!(["webhook"]));
    for field in ["aliases", "place", "package", "version"] {
        assert!(!slack[field].is_null(), "{field}");
    }
    let said = say(&mut runbell(&["kinds", "--table"]));
    assert!(said.out.contains("slack") && said.out.contains("webhook"), "{}", said.out);
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = say(&mut runbell(&["completions", shell]));
        assert!(said.code == Some(0) && said.out.contains("runbell"), "{shell}");
    }
}

#[tokio::test]
async fn push_goes_on_when_its_reader_is_gone() {
    let peer = FakeHttp::start().await;
    let folder = Folder::new();
    let lines: String = (0..200)
        .map(|number| format!("{}\n", run(&format!("u{number}"), "completed", json!([webhook("w", &peer.url("/x"))]))))
        .collect();
    let file = folder.file("runs.jsonl", &lines);
    let status = beside(move || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        runbell(&["push", &file]).stdout(writer).status().expect("it starts")
    })
    .await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(peer.requests().len(), 200);
}

#[test]
fn lines_come_while_the_input_stays_open() {
    let console = json!([{ "kind": "console", "name": "c" }]);
    let documents: Vec<String> = ["u1", "u2"].map(|uid| run(uid, "completed", console.clone()).to_string()).into();
    for verb in ["push", "explain", "preview"] {
        for (begin, between) in [("", "\n"), ("[", ",\n"), ("[\n", " ,")] {
            let mut command = runbell(&[verb, "--json"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().expect("it starts");
            let mut stdin = child.stdin.take().expect("a pipe");
            let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            stdin.write_all(begin.as_bytes()).expect("written");
            for (document, uid) in documents.iter().zip(["u1", "u2"]) {
                stdin.write_all(format!("{document}{between}").as_bytes()).expect("written");
                let line: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
                assert_eq!(line["uid"], uid, "{verb} {begin:?}");
            }
            drop(stdin);
            let is_list = !begin.is_empty();
            assert_eq!(child.wait().expect("it ends").code(), Some(if is_list { 2 } else { 0 }), "{verb} {begin:?}");
            assert_eq!(lines.count(), usize::from(is_list), "{verb}: a list without an end has a fault");
        }
    }
}

#[tokio::test]
async fn a_document_over_several_lines_and_a_list_are_pushed() {
    let peer = FakeHttp::start().await;
    let document = run("u1", "completed", json!([webhook("w", &peer.url("/x"))]));
    for (input, count) in [
        (serde_json::to_string_pretty(&document).expect("JSON"), 1),
        (serde_json::to_string_pretty(&json!([document, document])).expect("JSON"), 2),
    ] {
        let said = beside(move || say_with(&mut runbell(&["push"]), &input)).await;
        assert_eq!((said.code, said.json().len()), (Some(0), count), "{} {}", said.out, said.err);
    }
    assert_eq!(peer.requests().len(), 3);
}

#[tokio::test]
async fn lines_keep_the_order_of_the_input_and_a_target_that_waits_holds_up_no_other() {
    let peer = FakeHttp::start().await;
    // The first run's target asks for a second's wait before each further attempt.
    peer.answer_with(|request| match request.path.as_str() {
        "/slow" => FakeAnswer::status(503).header("retry-after", "1"),
        _ => FakeAnswer::ok(),
    });
    let mut lines = vec![run("u0", "completed", json!([webhook("w", &peer.url("/slow"))]))];
    lines.extend((1..=300).map(|n| run(&format!("u{n}"), "completed", json!([webhook("w", &peer.url("/fast"))]))));
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let said = beside(move || say_with(&mut runbell(&["push"]), &input)).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let uids: Vec<Value> = said.json().into_iter().map(|line| line["uid"].clone()).collect();
    assert_eq!(uids, (0..=300).map(|n| format!("u{n}")).collect::<Vec<_>>());
    let paths: Vec<String> = peer.requests().into_iter().map(|request| request.path).collect();
    let last = paths.iter().rposition(|path| path == "/slow").expect("it was tried");
    // All others were sent while the first waited for its next attempt.
    assert_eq!(last, paths.len() - 1, "{} requests", paths.len());
}

#[test]
fn a_long_table_comes_in_blocks() {
    let document = run("u1", "completed", json!([{ "kind": "console", "name": "c" }]));
    let said = say_with(&mut runbell(&["explain", "--table"]), &format!("{document}\n").repeat(1_001));
    assert_eq!((said.code, said.out.matches("VERDICT").count()), (Some(0), 2), "{}", said.err);
    assert_eq!(said.out.matches("u1").count(), 1_001);
}
