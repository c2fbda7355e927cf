//! `override_body`: what is rendered, what stays, and what the notes say.

#![allow(clippy::expect_used, reason = "a test may stop at a fault")]

use runbell_core::value::read;
use runbell_core::{NoteCode, Value};
use runbell_render::body::{summaries, summary};
use runbell_render::{Body, Scope, TemplateValue};

const RUN: &str = r#"{"metadata": {"name": "train", "project": "p", "labels": {"host": "h-1"}},
 "status": {"state": "completed", "results": {"drift": 1e-07, "ok": true, "big": 123456789012345678901234567890,
 "huge": 1234567890123456789012345678901234567890123456789, "nan": NaN, "text": "it's\n\u0000\\d", "items": [1, null]}}}"#;

fn value(text: &str) -> Value {
    read(text).expect("JSON")
}

/// Renders a body for [`RUN`].
fn render(body: &Value) -> (Value, Vec<String>) {
    let run = value(RUN);
    let notification = TemplateValue::new(&value(r#"{"name": "n", "params": {"url": "***"}}"#));
    let scope = Scope {
        run: &TemplateValue::new(&run),
        runs: &TemplateValue::new(&summaries([&run])),
        notification: &notification,
        message: "Run completed",
        severity: "info",
        state: "completed",
        project: "p",
    };
    let (rendered, notes) = Body::compile(body).render(&scope);
    assert!(notes.iter().all(|note| note.code == NoteCode::TemplateFailed && !note.path.is_empty()), "{notes:?}");
    (rendered, notes.iter().map(ToString::to_string).collect())
}

fn text(source: &str) -> (String, Vec<String>) {
    match render(&Value::from(source)) {
        (Value::String(text), notes) => (text, notes),
        other => panic!("a text stays a text: {other:?}"),
    }
}

#[test]
fn texts_are_rendered() {
    for (source, expect) in [
        ("{{ run.status.state }}", "completed"),
        ("{{ runs|length }}", "1"),
        (
            "{{message}} / {{ severity }} / {{ state }} / {{ project }} / {{ notification.name }}",
            "Run completed / info / completed / p / n",
        ),
        ("{{ run.status.results.drift }} {{ run.status.results.ok }} {{ run.status.results.nan }}", "1e-07 True nan"),
        ("{{ run.status.results.big }}", "123456789012345678901234567890"),
        ("{{ run.status.results.huge }}", "1234567890123456789012345678901234567890123456789"),
        ("{{ run.status.results.text }}", "it's\n\0\\d"),
        ("{{ run.status.results['items'] }}", "[1, None]"),
        ("{{ run.status.results['items']|tojson }}", "[1,null]"),
        ("{{ run.status.results.text|tojson }}", r#""it's\n\u0000\\d""#),
        ("{{ run.status.results.huge|tojson }}", "1234567890123456789012345678901234567890123456789"),
        ("{% for k in run.metadata %}{{ k }};{% endfor %}", "name;project;labels;"),
        ("{% if run.status.results.drift > 0.1 %}bad{% else %}good{% endif %}", "good"),
        ("{# a comment #}x", "x"),
        ("{{ 'a,b'|split(',')|list }}", "['a', 'b']"),
        ("{% for a in [1, 2, 3] %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% endfor %}", "1"),
        ("{{ missing }}|", "|"),
        ("no template { { runs } } %} }}", "no template { { runs } } %} }}"),
        (r"\d \1 \g<0> {{ state }} \n", r"\d \1 \g<0> completed \n"),
    ] {
        assert_eq!(text(source), (expect.to_owned(), vec![]), "{source}");
    }
}

#[test]
fn runs_print_as_documented() {
    let (printed, notes) = text("{{ runs }}");
    assert!(notes.is_empty());
    assert!(
        printed.starts_with("[{'project': 'p', 'name': 'train', 'host': 'h-1', 'status': {'state': 'completed', 'results': {'drift': 1e-07, 'ok': True,"),
        "{printed}"
    );
    let (json, _) = text("{{ runs | tojson }}");
    // JSON has no word for NaN; all else is read back as it was.
    let mut expect = summaries([&value(RUN)]).to_json();
    assert_eq!(value(&json).to_json(), expect);
    expect.retain(|character| character != ' ');
    assert!(expect.contains("\"nan\":null"));
}

#[test]
fn a_summary_leaves_out_missing_parts() {
    for (run, expect) in [
        ("{}", r#"{"status":{}}"#),
        (
            r#"{"metadata": {"labels": null, "name": "n"}, "status": {"state": "error", "error": "", "results": {}}}"#,
            r#"{"name":"n","status":{"state":"error"}}"#,
        ),
        (
            r#"{"status": {"state": "error", "error": "e", "results": {"a": 1}}}"#,
            r#"{"status":{"state":"error","error":"e"}}"#,
        ),
    ] {
        assert_eq!(summary(&value(run)).to_json(), expect);
    }
}

#[test]
fn every_depth_but_no_key_is_rendered() {
    let body = value(
        r#"{"{{ state }}": "{{ state }}", "a": [{"b": ["{{ state }}", 1, "plain"]}, null], "c": {"d": "{{ state }}"}, "e": 1.0}"#,
    );
    let (rendered, notes) = render(&body);
    let expect = value(
        r#"{"{{ state }}": "completed", "a": [{"b": ["completed", 1, "plain"]}, null], "c": {"d": "completed"}, "e": 1.0}"#,
    );
    assert_eq!((rendered, notes), (expect, vec![]));
}

#[test]
fn failed_templates_stay_as_written_with_a_note() {
    for (source, note) in [
        ("{{ run.missing.x }}", "override_body: template error at line 1: a missing value is used; sent as written"),
        ("a\n{{ 1 > }}", "override_body: template error at line 2: an expression is expected; sent as written"),
        (
            "{{ 'a' < 1 }}",
            "override_body: template error at line 1: values of these types have no order; sent as written",
        ),
        ("{{ state|nope }}", "override_body: template error at line 1: unknown filter `nope`; sent as written"),
        ("{{{ runs }}}", "override_body: template error at line 1: an unexpected word or sign; sent as written"),
        (
            "{% include 'x' %}",
            "override_body: template error at line 1: there are no other templates to use; sent as written",
        ),
        (
            "{{ 'x' * 9999999999 }}",
            "override_body: template error at line 1: it does more work than it may; sent as written",
        ),
        (
            "half {{ state }} {{ run.missing.x }}",
            "override_body: template error at line 1: a missing value is used; sent as written",
        ),
    ] {
        assert_eq!(text(source), (source.to_owned(), vec![note.to_owned()]));
    }
    let nested = value(r#"{"message": {"list": ["ok", "{{ nope( }}"]}}"#);
    let (rendered, notes) = render(&nested);
    assert_eq!(rendered, nested);
    assert_eq!(
        notes,
        ["override_body.message.list[1]: template error at line 1: a bracket that does not match; sent as written"]
    );
    let faults: Vec<String> = Body::compile(&nested).faults().iter().map(ToString::to_string).collect();
    assert_eq!(faults, notes);
}

#[test]
fn notes_do_not_quote_the_run() {
    for source in [
        "{{ [1]|map(run.metadata.name)|list }}",
        "{{ [1]|select(run.metadata.name)|list }}",
        "{{ run.metadata.name + 1 }}",
        "{{ -run.metadata.name }}",
        "{{ run.metadata.name() }}",
        "{{ run.metadata.name.nope() }}",
        "{{ 'x'|round(run.metadata.name) }}",
    ] {
        let (_, notes) = text(source);
        assert!(notes.len() == 1 && !notes[0].contains("train"), "{notes:?}");
    }
}
