//! Runs and messages to render: a realistic one, and those that break careless code.

use std::sync::Arc;

use runbell_core::value::read;
use runbell_core::{DeliveryKey, Links, Map, Message, RunSnapshot, RunState, Severity, Timestamp, Value};

/// When the sample run ended, and what a test's clock shows: 2026-02-03T04:05:06Z.
pub const SAMPLE_TIME: Timestamp = Timestamp::constant(1_770_091_506, 0);

const SAMPLE: &str = r#"{
  "metadata": {"name": "train-churn", "project": "demo", "uid": "1f0c9a3e5b7d42d6a8e0c4b2f6d81357", "iteration": 0,
    "labels": {"host": "worker-7", "owner": "ada", "kind": "job"}},
  "spec": {"parameters": {"epochs": 20, "rate": 1e-07, "layers": [64, 32], "augment": true, "seed": null}},
  "status": {"state": "completed", "start_time": "2026-02-03T03:58:06.250000+00:00",
    "end_time": "2026-02-03T04:05:06+00:00", "last_update": "2026-02-03T04:05:06+00:00",
    "results": {"accuracy": 0.9342, "loss": 0.21, "best": "epoch 17", "converged": true}}
}"#;

/// A run that completed.
pub fn sample_run() -> RunSnapshot {
    RunSnapshot::new(read(SAMPLE).expect("the sample is JSON")).expect("the sample is a run")
}

/// A workflow's step; `kind` is `run`, `build` or `deploy`.
pub fn sample_step(kind: &str, name: &str, state: RunState) -> RunSnapshot {
    let mut document = sample_run().into_document();
    set(&mut document, &["step_kind"], kind);
    set(&mut document, &["metadata", "name"], name);
    set(&mut document, &["status", "state"], state.as_str());
    RunSnapshot::step(document)
}

/// A message about [`sample_run`], as the runtime would make it; `name` is the notification's, and makes the key.
pub fn sample_message(name: &str) -> Message {
    message_about(name, vec![sample_run()], "Run completed in project demo: have a look")
}

/// A message about `runs`, the first of which gives state and key.
pub fn message_about(name: &str, runs: Vec<RunSnapshot>, text: &str) -> Message {
    let state = runs.first().map_or(RunState::Completed, RunSnapshot::state);
    let key = match runs.first() {
        Some(run) => DeliveryKey::new(run, name, state, 0),
        None => DeliveryKey::of(&[name]),
    };
    let notification = read(r#"{"kind": "sample", "message": "have a look", "severity": "info"}"#);
    let mut notification = notification.expect("the sample is JSON");
    set(&mut notification, &["name"], name);
    Message {
        key,
        notification: Arc::new(notification),
        name: name.into(),
        state,
        at: SAMPLE_TIME,
        severity: Severity::Info,
        text: text.to_owned(),
        own_text: "have a look".into(),
        html: None,
        runs: runs.into(),
        links: Links::new("https://ui.example"),
    }
}

fn set(document: &mut Value, path: &[&str], value: impl Into<Value>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = document;
    for key in parents {
        let Value::Map(map) = place else { return };
        if !map.contains_key(key) {
            map.insert((*key).to_owned(), Value::Map(Map::new()));
        }
        let Some(member) = map.get_mut(key) else { return };
        place = member;
    }
    if let Value::Map(map) = place {
        map.insert((*last).to_owned(), value.into());
    }
}

/// The sample run with `value` for its name, error, a label, a parameter and a result, as a run in `state`.
fn run_full_of(value: &str, state: RunState) -> RunSnapshot {
    let mut document = sample_run().into_document();
    for path in [
        &["metadata", "name"][..],
        &["metadata", "labels", "host"],
        &["spec", "parameters", "text"],
        &["status", "error"],
        &["status", "results", "text"],
        &["status", "results", value],
    ] {
        set(&mut document, path, value);
    }
    set(&mut document, &["status", "state"], state.as_str());
    RunSnapshot::new(document).expect("still a run")
}

/// Messages that must render all the same, each with a name for failures.
pub fn hostile_messages() -> Vec<(&'static str, Message)> {
    let texts = [
        ("control characters", "a\0b\x07c\x08d\r\ne\u{9b}31mf\x1b]0;title\x07\x1b[2J\x1b[31mred\x7f\tg\u{85}h"),
        ("bidirectional overrides", "abc\u{202e}fdp.exe\u{2066}x\u{2069}\u{200f}\u{feff}\u{2028}next"),
        ("markup", "<script>alert('x')</script> <b>&amp; *bold* _it_ `code` ~x~ | a | <img src=x> --> ]]>"),
        ("mentions", "<!channel> <!here> @everyone @here <@U012AB3CD> [link](https://evil.example) #1 !1 cc @ada"),
        ("templates", "{{ 7 * 7 }} {% for x in y %} ${HOME} %s %n {0} {{ run.metadata.uid"),
        ("wide characters", "日本語のテキスト 🚀👩‍👩‍👧‍👦 e\u{301}\u{301}\u{301} ﷽ \u{1f3f4}\u{e0067}\u{e007f}"),
        ("header splitting", "x\r\nX-Injected: yes\r\n\r\nGET / HTTP/1.1\r\n"),
    ];
    let mut messages: Vec<(&'static str, Message)> = texts
        .into_iter()
        .map(|(name, text)| (name, message_about(text, vec![run_full_of(text, RunState::Error)], text)))
        .collect();
    let mut plain = |name: &'static str, runs: Vec<RunSnapshot>, text: &str| {
        messages.push((name, message_about(name, runs, text)));
    };
    let huge = "An error with a long trace, line after line.\n".repeat(1 << 20).split_at(1 << 20).0.to_owned();
    plain("an error of 1 MB", vec![run_full_of("x", RunState::Error), error_of(&huge)], "Run failed");
    plain("one word of 1 MB", vec![error_of(&"w".repeat(1 << 20))], "Run failed");
    plain("a text of 1 MB", vec![sample_run()], &huge);
    let steps = (0..2_000).map(|index| sample_step("run", &format!("step-{index}"), RunState::Completed));
    plain("2,000 steps", std::iter::once(sample_run()).chain(steps).collect(), "Workflow completed");
    plain("2,000 results", vec![with_results(2_000)], "Run completed");
    plain("no runs", Vec::new(), "Something happened");
    plain("no text", vec![sample_run()], "");
    plain("an empty run", vec![RunSnapshot::step(Value::Map(Map::new()))], "Run completed");
    plain("a run of wrong types", vec![wrong_types()], "Run completed");
    plain("numbers JSON cannot hold", vec![odd_numbers()], "Run completed");
    plain("a deep result", vec![deep()], "Run completed");
    messages
}

fn error_of(text: &str) -> RunSnapshot {
    let mut document = sample_run().into_document();
    set(&mut document, &["status", "state"], "error");
    set(&mut document, &["status", "error"], text);
    RunSnapshot::new(document).expect("still a run")
}

fn with_results(count: i64) -> RunSnapshot {
    let mut document = sample_run().into_document();
    let results: Map = (0..count).map(|index| (format!("result-{index}"), Value::from(index))).collect();
    set(&mut document, &["status", "results"], results);
    RunSnapshot::new(document).expect("still a run")
}

fn wrong_types() -> RunSnapshot {
    let text = r#"{"metadata": {"name": 5, "project": null, "uid": ["a"], "iteration": "x", "labels": "none"},
        "spec": null, "status": {"state": 7, "error": {"a": 1}, "results": [1, 2], "start_time": 5, "end_time": ""}}"#;
    RunSnapshot::new(read(text).expect("JSON")).expect("a run")
}

fn odd_numbers() -> RunSnapshot {
    let text = r#"{"metadata": {"name": "n", "uid": "u", "project": "p"}, "status": {"state": "completed",
        "results": {"a": NaN, "b": Infinity, "c": -Infinity, "d": 123456789012345678901234567890, "e": -0.0,
        "f": 1e-07, "g": 1e308}}}"#;
    RunSnapshot::new(read(text).expect("Python's JSON")).expect("a run")
}

fn deep() -> RunSnapshot {
    let mut document = sample_run().into_document();
    let nested = (0..150).fold(Value::from("deep"), |inner, _| Value::List(vec![inner]));
    set(&mut document, &["status", "results", "nested"], nested);
    RunSnapshot::new(document).expect("still a run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_what_they_say() {
        let run = sample_run();
        assert_eq!((run.name(), run.project(), run.state()), ("train-churn", "demo", RunState::Completed));
        assert_eq!(SAMPLE_TIME.to_string(), "2026-02-03T04:05:06Z");
        assert_ne!(sample_message("a").key, sample_message("b").key);
        let messages = hostile_messages();
        assert!(messages.len() > 15 && messages.iter().any(|(_, message)| message.runs.len() == 2_001));
        assert_eq!(sample_step("build", "image", RunState::Error).step_kind(), "build");
    }
}
