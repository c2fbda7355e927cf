//! What MLRun 1.12.1 did, case by case, against what this crate does.

#![allow(clippy::expect_used, reason = "a test may stop at a fault")]

#[path = "../../runbell-jinja/tests/common/cases.rs"]
mod vector_file;

use runbell_core::{Map, Value};
use runbell_render::body::summaries;
use runbell_render::python::dict_to_str;
use runbell_render::{Body, Scope, TemplateValue};
use vector_file::{cases, text, vectors};

#[test]
fn dicts_in_texts() {
    let file = vectors(include_str!("vectors/dict_to_str.json"));
    for case in cases(&file) {
        let input = case.get("input").expect("input");
        let rendered = dict_to_str(input.get("struct"), text(input, "sep"));
        assert_eq!(rendered, text(case, "expected"), "{}", text(case, "id"));
    }
    assert_eq!(cases(&file).len(), 58);
}

/// Every text at every depth is a template, and what it prints is left alone; MLRun replaces `{{ runs }}` only.
const TEMPLATES: &str = "templates at every depth";
/// What a run lacks is left out; MLRun fails over it.
const MISSING_KEYS: &str = "missing keys are left out";
/// The documentation's order; MLRun puts the host last.
const HOST_FIRST: &str = "host before status";

/// Where an override body is expected to differ from MLRun, by the rule that says so.
fn differs(body: &Value, case: &Value) -> Option<&'static str> {
    let texts = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{") || text.contains("{%"));
    let documented_form =
        |text: &str| text.split("{{").skip(1).all(|rest| rest.split("}}").next().map(str::trim) == Some("runs"));
    let deeper = |value: &Value| match value {
        Value::Map(map) => map.values().any(texts),
        Value::List(items) => items.iter().any(texts),
        _ => false,
    };
    let runs = case.at(&["input", "runs"]).and_then(Value::as_list).unwrap_or_default();
    match body {
        // MLRun renders the top level of an object only.
        Value::String(_) | Value::List(_) => {
            texts(body).then_some(TEMPLATES).or_else(|| deeper(body).then_some(TEMPLATES))
        }
        Value::Map(map) => {
            let templates = map.values().filter(|value| texts(value)).filter_map(Value::as_str);
            let used: Vec<&str> = templates.collect();
            if map.values().any(deeper) || used.iter().any(|text| !documented_form(text)) {
                return Some(TEMPLATES);
            }
            if used.is_empty() {
                return None;
            }
            let incomplete = |run: &Value| {
                [["metadata", "project"], ["metadata", "name"], ["status", "state"]]
                    .iter()
                    .any(|path| run.at(path).is_none())
                    || run.at(&["metadata", "labels"]) == Some(&Value::Null)
            };
            if runs.iter().any(incomplete) {
                return Some(MISSING_KEYS);
            }
            // MLRun reads the rendering's backslashes again, all but those before quotes; some of them fail there.
            if printed(runs).split('\\').skip(1).any(|rest| !rest.starts_with(['\'', '"'])) {
                return Some(TEMPLATES);
            }
            runs.iter().any(|run| run.at(&["metadata", "labels", "host"]).is_some()).then_some(HOST_FIRST)
        }
        _ => None,
    }
}

fn printed(runs: &[Value]) -> String {
    runbell_render::python::str_of(&summaries(runs))
}

/// The documented order, to compare with MLRun's: `host` goes last.
fn host_last(summary: &Value) -> Value {
    let mut map = summary.as_map().cloned().unwrap_or_default();
    let host = map.shift_remove("host");
    map.extend(host.map(|host| ("host".to_owned(), host)));
    Value::Map(map)
}

#[test]
fn override_bodies() {
    let file = vectors(include_str!("vectors/override_body.json"));
    let nothing = TemplateValue::new(&Value::Map(Map::new()));
    let mut skipped = std::collections::BTreeMap::<&str, usize>::new();
    for case in cases(&file) {
        let id = text(case, "id");
        let body = case.at(&["input", "override_body"]).expect("a body");
        let runs = case.at(&["input", "runs"]).and_then(Value::as_list).unwrap_or_default();
        let scope = Scope {
            run: &runs.first().map_or_else(|| nothing.clone(), TemplateValue::new),
            runs: &TemplateValue::new(&summaries(runs)),
            notification: &nothing,
            message: "m",
            severity: "info",
            state: "completed",
            project: "p",
        };
        let (rendered, notes) = Body::compile(body).render(&scope);
        // What jinja2 refuses stays as it was written.
        let refused = !notes.is_empty();
        assert!(!refused || (differs(body, case) == Some(TEMPLATES) && rendered == *body), "{id}: {notes:?}");
        let expected = case.at(&["expected", "body"]);
        match differs(body, case) {
            None => assert_eq!(Some(&rendered), expected, "{id}"),
            Some(reason) => {
                assert_ne!(Some(&rendered), expected, "{id} falls under \"{reason}\" and does not differ");
                *skipped.entry(reason).or_default() += 1;
                if reason == HOST_FIRST {
                    // But for the order it must be the same text.
                    let swapped =
                        Value::List(summaries(runs).as_list().expect("a list").iter().map(host_last).collect());
                    let scope = Scope { runs: &TemplateValue::new(&swapped), ..scope };
                    assert_eq!(Some(&Body::compile(body).render(&scope).0), expected, "{id}");
                }
            }
        }
    }
    println!("skipped: {skipped:?} of {}", cases(&file).len());
    assert_eq!(cases(&file).len(), 81);
}
