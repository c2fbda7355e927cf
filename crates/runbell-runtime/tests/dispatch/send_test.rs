//! Trying notifications out.

use runbell_core::RunState;
use runbell_runtime::Status;

use crate::scripted::{Stage, Step};

#[tokio::test(start_paused = true)]
async fn a_sample_goes_out_whatever_the_rules_say_and_with_every_retry() {
    let stage = Stage::new();
    stage.script("a", [Step::Down, Step::Down]);
    stage.script("b", [Step::Refused]);
    let notifier = stage.notifier([
        stage.notification("a").when([RunState::Error]).message("look"),
        stage.notification("b").condition("{{ false }}"),
        stage.notification("c"),
    ]);
    let report = notifier.send_test(&["a", "b", "d"]).await;
    let lines: Vec<_> = report
        .lines
        .iter()
        .map(|line| (line.notification.as_str(), line.state, line.status, line.attempts, line.reason.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("a", RunState::Error, Status::Sent, 3, "matched"),
            ("b", RunState::Running, Status::Error, 1, "rejected: refused [status=400]"),
            ("d", RunState::Unknown, Status::Error, 0, "params_invalid: there is no notification of this name"),
        ]
    );
    let message = &stage.messages()[0];
    assert_eq!(
        message.text,
        "TEST: Run failed in project runbell-test: look\nThis is a sample to try the notification out. No run has ended."
    );
    assert_eq!((message.runs[0].name(), message.runs[0].state_word()), ("send-test", "error"));
}

#[tokio::test(start_paused = true)]
async fn without_names_all_are_tried_and_each_time_is_news() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("a"), stage.notification("b")]);
    for _ in 0..2 {
        let report = notifier.send_test(&[]).await;
        assert!(report.is_ok() && report.lines.len() == 2, "{report:?}");
    }
    let mut keys: Vec<_> = stage.messages().into_iter().map(|message| message.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}
