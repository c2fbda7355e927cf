//! What MLRun 1.12.1 sends in the same situations: its observed bodies, method and path.
//!
//! Bodies are compared as JSON with integers and floats apart, whatever the order of keys. Only cases of mode `direct`
//! without alerts belong here; whole pushes are the runtime's.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::value::read;
use runbell_core::{
    DeliveryKey, Links, Map, Message, Payload, Registry, RunSnapshot, RunState, Severity, Timestamp, Value,
};
use runbell_testkit::TestContext;

const VECTORS: &str = include_str!("vectors/webhook.json");

/// A number in MLRun's data that JSON cannot carry.
fn decoded(value: &Value) -> Value {
    match value {
        Value::Map(map) => match (map.get("$int"), map.get("$float")) {
            (Some(digits), _) => Value::integer(digits.as_str().expect("digits")).expect("an integer"),
            (_, Some(word)) => Value::Float(word.as_str().expect("a word").parse().expect("a float")),
            _ => map.iter().map(|(key, item)| (key.clone(), decoded(item))).collect::<Map>().into(),
        },
        Value::List(list) => list.iter().map(decoded).collect::<Vec<_>>().into(),
        plain => plain.clone(),
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn message(input: &Value) -> Message {
    let runs = input.get("runs").and_then(Value::as_list).unwrap_or_default();
    let runs: Vec<RunSnapshot> = runs.iter().map(|run| RunSnapshot::step(run.clone())).collect();
    Message {
        key: DeliveryKey::of(&["vector"]),
        notification: Value::Null.into(),
        name: text(input, "name").into(),
        state: RunState::Completed,
        at: Timestamp::UNIX_EPOCH,
        severity: text(input, "severity").parse::<Severity>().expect("a severity"),
        text: text(input, "message").to_owned(),
        own_text: "".into(),
        html: input.get("custom_html").and_then(Value::as_str).map(Into::into),
        runs: runs.into(),
        links: Links::default(),
    }
}

/// Whether a case is expected to differ: MLRun's writer stops at 64 bit.
fn is_huge(input: &Value) -> bool {
    fn huge(value: &Value) -> bool {
        match value {
            // MLRun's writer stops at 2^64-1.
            Value::BigInt(digits) => digits.to_f64().abs() >= 2_f64.powi(64),
            Value::List(list) => list.iter().any(huge),
            Value::Map(map) => map.values().any(huge),
            _ => false,
        }
    }
    huge(input)
}

/// Equal but for the order of keys; `1` and `1.0` differ.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, item)| right.get(key).is_some_and(|other| same(item, other)))
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right,
    }
}

#[test]
fn direct_cases() {
    let vectors = read(VECTORS).expect("JSON");
    let registry = Registry::default().with(&runbell_webhook::REGISTRATION).expect("one kind");
    let (mut compared, mut differing) = (0, 0);
    for case in vectors.get("cases").and_then(Value::as_list).expect("cases") {
        let input = decoded(case.get("input").expect("an input"));
        if text(case, "mode") != "direct" || input.get("alert").is_some() {
            continue;
        }
        let (id, expected) = (text(case, "id"), decoded(case.get("expected").expect("a result")));
        let params = input.get("params").and_then(Value::as_map).expect("params");
        let sender = registry.get("webhook").expect("it").build(params, &TestContext::here().build()).expect("built");
        let Payload::Http(request) = sender.render(&message(&input)).expect("rendered").payload else { panic!("{id}") };
        let body = std::str::from_utf8(&request.body).expect("UTF-8");
        let mut sent = read(body).expect("JSON");
        // The name is an addition, which MLRun's documentation promises.
        if let Value::Map(map) = &mut sent {
            map.shift_remove("name");
        }
        let requests = expected.get("requests").and_then(Value::as_list).unwrap_or_default();
        if is_huge(&input) {
            assert!(requests.is_empty() && body.contains("1180591620717411303424"), "{id}");
            differing += 1;
            continue;
        }
        let [one] = requests else { panic!("{id}: one request is expected") };
        let wanted = read(text(one, "body_text")).expect("JSON");
        assert!(same(&sent, &wanted), "{id}\n{body}\n{}", text(one, "body_text"));
        assert_eq!(request.method, text(one, "method"), "{id}");
        assert!(request.url.reveal().eq_ignore_ascii_case(text(one, "url")), "{id}");
        assert!(request.has_header("content-type"), "{id}");
        compared += 1;
    }
    assert_eq!((compared, differing), (19, 1));
}
