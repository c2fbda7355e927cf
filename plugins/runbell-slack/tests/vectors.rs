//! What MLRun 1.12.1 posts in the same situations: its observed blocks.
//!
//! Our additions (`text`, and `verbatim` in text objects) are dropped
//! before comparing. Only cases of mode `direct` without alerts belong here; whole pushes are the runtime's.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::value::read;
use runbell_core::{
    DeliveryKey, Links, Map, Message, Payload, Registry, RunSnapshot, RunState, Severity, Timestamp, Value,
};
use runbell_testkit::TestContext;

const DIRECT: &str = include_str!("vectors/slack.json");
const HEADERS: &str = include_str!("vectors/header_split.json");

fn cases(vectors: &str) -> Vec<Value> {
    read(vectors).expect("JSON").get("cases").and_then(Value::as_list).expect("cases").to_vec()
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
        own_text: text(input, "message").into(),
        html: None,
        runs: runs.into(),
        links: Links::new(text(input, "ui_url")),
    }
}

/// The blocks we make of an input.
fn blocks(input: &Value) -> Value {
    let registry = Registry::default().with(&runbell_slack::REGISTRATION).expect("one kind");
    let params = Map::from([("webhook".to_owned(), Value::from("http://sink.invalid/d"))]);
    let sender = registry.get("slack").expect("it").build(&params, &TestContext::here().build()).expect("built");
    let rendered = sender.render(&message(input)).expect("rendered");
    assert!(rendered.notes.is_empty(), "{:?}", rendered.notes);
    let Payload::Http(request) = rendered.payload else { panic!("it is HTTP") };
    let body = read(std::str::from_utf8(&request.body).expect("UTF-8")).expect("JSON");
    assert!(!text(&body, "text").is_empty());
    plain(body.get("blocks").expect("blocks").clone(), &|text| text)
}

/// Without `verbatim`, every text changed by `change`.
fn plain(value: Value, change: &dyn Fn(String) -> String) -> Value {
    match value {
        Value::Map(mut map) => {
            map.shift_remove("verbatim");
            map.into_iter().map(|(key, item)| (key, plain(item, change))).collect::<Map>().into()
        }
        Value::List(list) => list.into_iter().map(|item| plain(item, change)).collect::<Vec<_>>().into(),
        Value::String(text) => Value::String(change(text)),
        other => other,
    }
}

fn unescaped(text: String) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Why a title is cut elsewhere than MLRun cuts it, and the header that is expected instead.
fn title_rule(input: &Value) -> Option<(&'static str, String)> {
    let title = format!("[{}] {}", text(input, "severity"), text(input, "message"));
    let fits = units(&title) <= 150;
    let comma = title.find(", ").filter(|at| title[..*at].chars().count() < 149);
    match comma {
        Some(comma) if !fits && title.find(',') != Some(comma) => {
            Some(("cut at the first comma with a space", title[..comma].to_owned()))
        }
        None if title.chars().take(150).map(char::len_utf16).sum::<usize>() > 150 => {
            let mut used = 0;
            let header = title.chars().take_while(|c| {
                used += c.len_utf16();
                used <= 150
            });
            Some(("lengths are UTF-16 units", header.collect()))
        }
        _ => None,
    }
}

/// Whether run data holds what we escape.
fn escapes(input: &Value) -> bool {
    input.get("runs").is_some_and(|runs| runs.to_json().contains(['<', '>', '&']))
}

#[test]
fn titles() {
    let (mut equal, mut comma, mut units) = (0, 0, 0);
    for case in cases(HEADERS) {
        let (id, input) = (text(&case, "id"), case.get("input").expect("an input"));
        let (ours, theirs) = (blocks(input), case.get("expected").expect("a result"));
        let header =
            |blocks: &Value| text(blocks.as_list().expect("blocks")[0].get("text").expect("it"), "text").to_owned();
        match title_rule(input) {
            None => {
                assert_eq!(&ours, theirs, "{id}");
                equal += 1;
            }
            Some((rule, expected)) => {
                assert_ne!(&ours, theirs, "{id}");
                assert_eq!(header(&ours), expected, "{id}");
                *(if rule.starts_with("cut at") { &mut comma } else { &mut units }) += 1;
            }
        }
    }
    assert_eq!((equal, comma, units), (35, 8, 1));
}

#[test]
fn direct_cases() {
    let (mut equal, mut escaped) = (0, 0);
    for case in cases(DIRECT) {
        let (id, input) = (text(&case, "id"), case.get("input").expect("an input"));
        if text(&case, "mode") != "direct" || input.get("alert").is_some() {
            continue;
        }
        let request = case.at(&["expected", "requests"]).and_then(Value::as_list).expect("requests");
        let theirs = request[0].at(&["json", "blocks"]).expect("blocks");
        let ours = blocks(input);
        // Number 38 needs a step without a UI URL; there is none among these.
        assert!(
            title_rule(input).is_none() && !text(input, "ui_url").is_empty() | !ours.to_json().contains("<|"),
            "{id}"
        );
        if &ours == theirs {
            equal += 1;
        } else {
            assert!(escapes(input), "{id}\n{}\n{}", ours.to_json(), theirs.to_json());
            assert_eq!(&plain(ours, &unescaped), theirs, "{id}");
            escaped += 1;
        }
    }
    assert!(equal >= 11 && escaped >= 1 && equal + escaped == 14, "{equal} {escaped}");
}
