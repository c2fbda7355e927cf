//! The dispatch, driven by a scripted kind under a paused clock.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests fail loudly")]

mod order;
mod pace;
mod retries;
mod scripted;
mod secrets;
mod send_test;
mod shutdown;

use runbell_core::{ErrorKind, Notification, RunState, Value};
use runbell_runtime::Status;
use scripted::{Stage, Step, done};

#[tokio::test(start_paused = true)]
async fn every_notification_gets_its_line_and_one_bad_one_leaves_the_others_alone() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("fixed")]);
    let mut run = done("u1");
    run["spec"] = serde_json::json!({ "notifications": [
        { "kind": "scripted", "name": "own", "params": { "target": "own" } },
        { "kind": "pager", "name": "unknown", "params": { "a": 1 } },
        { "kind": "scripted", "name": "no-target", "params": {} },
        { "kind": "scripted", "name": "own", "params": { "target": "twice" } },
        { "kind": "scripted", "name": "when", "when": ["error"], "params": { "target": "x" } },
        { "kind": "scripted", "name": "condition", "condition": "{{ run.status.results.x > 1 }}", "params": { "target": "x" } },
        { "kind": "scripted", "name": "broken", "condition": "{{ nope", "params": { "target": "broken" } },
        { "kind": "scripted", "name": "fixed", "when": ["sometimes"], "params": { "target": "x" } },
        5,
    ] });
    run["status"]["results"] = serde_json::json!({ "x": 0.5 });
    let report = notifier.run_changed(&run).await;
    let shown: Vec<(&str, Status, &str)> =
        report.lines.iter().map(|line| (line.notification.as_str(), line.status, line.reason.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("own", Status::Sent, "matched"),
            (
                "unknown",
                Status::Error,
                "unknown_kind: kind: `pager` is not linked (linked: scripted); a third-party kind must be linked: name its crate in the program"
            ),
            ("no-target", Status::Error, "params_invalid: params.target: is required"),
            ("own", Status::Error, "params_invalid: name: `own` is used twice; names must be unique in a run"),
            ("when", Status::Skipped, "state_not_in_when"),
            ("condition", Status::Skipped, "condition_false"),
            ("broken", Status::Sent, "condition_ignored"),
            (
                "fixed",
                Status::Error,
                "params_invalid: when[0]: `sometimes` is not one of running, completed, error, aborted"
            ),
            ("", Status::Error, "params_invalid: must be an object, not an integer"),
            ("fixed", Status::Sent, "matched"),
        ]
    );
    assert_eq!(stage.sent(), ["own completed 1", "broken completed 1", "fixed completed 1"]);
    assert!(report.has_configuration_faults());
}

#[tokio::test(start_paused = true)]
async fn explain_and_preview_agree_with_dispatch() {
    let stage = Stage::new();
    let notifier = stage.notifier([
        stage.notification("a"),
        stage.notification("b").when([RunState::Error]),
        stage.notification("c").condition("{{ broken"),
    ]);
    let transition = || runbell_core::Transition::current(scripted::frozen(&done("u1")), stage.now());
    let explained = notifier.explain(transition());
    let broken = explained[2].detail.clone().expect("a detail");
    assert!(broken.starts_with("syntax: "), "{broken}");
    let explained: Vec<_> =
        explained.into_iter().map(|line| (line.verdict, line.reason, line.detail.is_some())).collect();
    assert_eq!(
        explained,
        [
            ("send", "matched".to_owned(), false),
            ("skip", "state_not_in_when".to_owned(), false),
            ("send", "condition_ignored".to_owned(), true),
        ]
    );
    let previewed = notifier.preview(transition());
    assert_eq!(previewed.iter().map(|line| line.sends).collect::<Vec<_>>(), [true, false, true]);
    assert!(stage.sent().is_empty(), "neither sends");
    let text = serde_json::to_value(previewed[1].shown(false)).expect("json");
    assert_eq!(text["payload"]["text"], "Run completed in project p");
    assert_eq!(text["notes"][0], "would be skipped: state_not_in_when");
    let text = serde_json::to_value(previewed[2].shown(false)).expect("json");
    assert_eq!(text["notes"][0], format!("condition: is ignored, so the notification is sent ({broken})"));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_sender_affects_no_other() {
    let stage = Stage::new();
    stage.script("bad", [Step::Panic]);
    let notifier =
        stage.notifier([stage.notification("bad"), stage.notification("panics-at-render"), stage.notification("good")]);
    let report = notifier.run_changed(&done("u1")).await;
    assert_eq!(report.lines[0].reason, "internal: the sender panicked");
    assert_eq!(report.lines[1].reason, "internal: the sender panicked while rendering");
    assert_eq!(report.lines[2].status, Status::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_panics_over_params_affects_no_other() {
    const PANICKED: &str = "the kind panicked while it was made ready";
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("good")]);
    let own = ["panics-at-validate", "panics-at-build"];
    let mut run = done("u1");
    let list = own.map(|name| serde_json::json!({ "kind": "scripted", "name": name, "params": { "target": name } }));
    run["spec"] = serde_json::json!({ "notifications": list });
    let report = notifier.run_changed(&run).await;
    let reasons: Vec<&str> = report.lines.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, [&format!("internal: {PANICKED}"), &format!("internal: {PANICKED}"), "matched"]);
    for target in own {
        let builder = stage.builder().notification(stage.notification(target));
        // The sender is built only when it is needed.
        let faults: Vec<String> = builder.check().faults().map(ToString::to_string).collect();
        let expected = (target == "panics-at-validate").then(|| format!("[0]: {PANICKED}"));
        assert_eq!(faults, Vec::from_iter(expected));
        let error = builder.build().map(drop).expect_err("refused");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Internal, &*format!("notification `{target}`: {PANICKED}"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_no_run_is_in_the_report() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("a")]);
    let report = notifier.run_changed(&Value::from("no run")).await;
    assert_eq!(report.lines[0].reason, "run_invalid: run: must be an object, not a text");
    assert!(notifier.enqueue(&serde_json::json!({})).is_err());
}

#[test]
fn a_name_used_twice_or_a_bad_notification_is_refused_when_built() {
    let stage = Stage::new();
    let build = |notifications: Vec<Notification>| stage.builder().notifications(notifications).build().map(drop);
    let twice = build(vec![stage.notification("a"), stage.notification("a")]).expect_err("refused");
    assert_eq!(twice.to_string(), "name: `a` is used twice; names must be unique");
    let bad = build(vec![Notification::new("scripted", "a").param("target", 5)]).expect_err("refused");
    assert_eq!(bad.to_string(), "notification `a`: params.target: must be a text, not an integer");
}
