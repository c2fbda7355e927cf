//! Messages made of texts that a careless program would interpret: markup, mentions, escapes.

use proptest::prelude::*;
use runbell_core::value::read;
use runbell_core::{DeliveryKey, Links, Map, Message, RunSnapshot, RunState, Severity, Timestamp, Value};

/// A message about `runs`.
pub(crate) fn message(name: &str, text: &str, severity: &str, runs: &[Value], ui_url: &str) -> Message {
    let runs: Vec<RunSnapshot> = runs.iter().map(|run| RunSnapshot::step(run.clone())).collect();
    Message {
        key: DeliveryKey::of(&["vector"]),
        notification: Value::Null.into(),
        name: name.into(),
        state: runs.first().map_or(RunState::Completed, RunSnapshot::state),
        at: Timestamp::UNIX_EPOCH,
        severity: severity.parse::<Severity>().expect("a severity"),
        text: text.to_owned(),
        own_text: text.into(),
        html: None,
        runs: runs.into(),
        links: Links::new(ui_url),
    }
}

/// A run in a state, with some fields set.
pub(crate) fn run(state: &str, fields: &[(&[&str], Value)]) -> Value {
    let mut run =
        read(r#"{"metadata": {"name": "n", "project": "p", "uid": "0123456789abcdef"}, "spec": {}, "status": {}}"#)
            .expect("JSON");
    let mut set = |path: &[&str], value: Value| {
        let mut place = &mut run;
        for key in &path[..path.len() - 1] {
            let Value::Map(map) = place else { panic!("a map") };
            place = map.get_mut(key).expect("it is there");
        }
        let Value::Map(map) = place else { panic!("a map") };
        map.insert(path[path.len() - 1].to_owned(), value);
    };
    set(&["status", "state"], state.into());
    for (path, value) in fields {
        set(path, value.clone());
    }
    run
}

/// Texts that mean something in HTML, Markdown or a terminal.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("<img src=x onerror=alert(1)>".to_owned()),
        Just("\" onmouseover=\"x".to_owned()),
        Just("' title='x".to_owned()),
        Just("-->".to_owned()),
        Just("]]>".to_owned()),
        Just("</td></tr></table>".to_owned()),
        Just("&lt;b&gt;&#60;".to_owned()),
        Just("\n\n# Heading\n".to_owned()),
        Just("@octocat @org/team".to_owned()),
        Just("#1 GH-1 o/r#2 !3 $4 &5 ~label %\"milestone\"".to_owned()),
        Just("[a](https://evil.example) ![b](c)".to_owned()),
        Just("www.evil.example https://evil.example".to_owned()),
        Just("**b** `c` ~~d~~ | e |".to_owned()),
        Just("\x1b[31m\u{9b}2J\u{202e}\0\r\n".to_owned()),
        Just("{{ 7 * 7 }}{% raw %}".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

/// As many of them as [`full_of`] takes.
pub(crate) fn hostile_texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(hostile(), 8)
}

/// A message with these eight texts wherever a run or its notification can hold one.
pub(crate) fn full_of(texts: &[String], runs: usize) -> Message {
    let data = |at: usize| Value::from(texts[at].as_str());
    let fields = [
        (&["metadata", "name"][..], data(0)),
        (&["metadata", "uid"][..], data(1)),
        (&["metadata", "project"][..], data(2)),
        (&["status", "error"][..], data(3)),
        (&["status", "start_time"][..], data(4)),
        (&["status", "results"][..], Map::from([(texts[5].clone(), data(6))]).into()),
        (&["spec", "parameters"][..], Map::from([("list".to_owned(), Value::List(vec![data(5), data(0)]))]).into()),
    ];
    let runs: Vec<Value> = (0..runs).map(|_| run("error", &fields)).collect();
    message(&texts[7], &texts[6], "error", &runs, "https://ui.example/")
}
