//! What MLRun 1.12.1 prints for the same messages: the same facts in the same order, in a layout of our own.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use runbell_console::Console;
use runbell_core::value::read;
use runbell_core::{BuildContext, RunSnapshot, SendContext, Sender as _, SenderKind as _, Severity, Value};
use runbell_testkit::{TestContext, message_about};

/// Layout is ours (difference 21), and so is the space between columns; the words are not.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[tokio::test]
async fn the_facts_are_mlruns() {
    let vectors = read(include_str!("vectors/console.json")).expect("json");
    let cases = vectors.get("cases").and_then(Value::as_list).expect("cases");
    let (mut checked, mut refused) = (0, 0);
    for case in cases {
        // The other cases run the whole path, which a kind is only the end of.
        if case.get("mode").and_then(Value::as_str) != Some("direct") {
            continue;
        }
        let text = |path: &[&str]| case.at(path).and_then(Value::as_str).unwrap_or_default();
        // Difference 37: severities outside the five are refused before anything is sent.
        let Ok(severity) = text(&["input", "severity"]).parse::<Severity>() else {
            refused += 1;
            continue;
        };
        let runs = case.at(&["input", "runs"]).and_then(Value::as_list).unwrap_or_default();
        let runs: Vec<RunSnapshot> = runs.iter().cloned().map(RunSnapshot::step).collect();
        let mut message = message_about("c", runs, text(&["input", "message"]));
        message.severity = severity;
        check(text(&["id"]), &message, text(&["expected", "stdout"])).await;
        checked += 1;
    }
    assert_eq!((checked, refused), (10, 2));
}

async fn check(id: &str, message: &runbell_core::Message, expected: &str) {
    let test = TestContext::here();
    let cx: BuildContext = test.build();
    let sender = Console::build(Default::default(), &cx).expect("a sender");
    let payload = sender.render(message).expect("renders").payload;
    let written = AtomicBool::new(false);
    let deadline = Instant::now() + sender.limits().timeout;
    sender.send(&payload, &SendContext::new(message.key, 1, deadline, message.at, &written)).await.expect("prints");
    let printed = test.recorder.text();
    assert_eq!(printed.lines().next(), expected.lines().next(), "{id}");
    let is_rule = |line: &&str| !line.is_empty() && line.chars().all(|c| matches!(c, '-' | ' ' | '─'));
    let facts = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !is_rule(line)).flat_map(words).map(str::to_owned).collect()
    };
    assert_eq!(facts(&printed), facts(expected), "{id}");
}
