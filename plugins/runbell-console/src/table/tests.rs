//! The look of tables.

use runbell_core::NoteCode;
use runbell_core::value::read;

use super::*;

fn run(text: &str) -> RunSnapshot {
    RunSnapshot::step(read(text).expect("json"))
}

fn done(name: &str, results: &str) -> RunSnapshot {
    let uid = "0123456789abcdef";
    run(&format!(
        r#"{{"metadata": {{"name": "{name}", "uid": "{uid}"}}, "status": {{"state": "completed", "results": {results}}}}}"#
    ))
}

fn failed(error: &str) -> RunSnapshot {
    let mut error_json = String::new();
    runbell_core::value::write_json_string(error, &mut error_json);
    run(&format!(
        r#"{{"metadata": {{"name": "train", "uid": "u1"}}, "status": {{"state": "error", "error": {error_json}}}}}"#
    ))
}

fn table(runs: &[RunSnapshot], width: Option<u16>) -> (String, Vec<String>) {
    let (mut body, mut notes) = (String::new(), Vec::new());
    write(runs, width, &mut body, &mut notes);
    assert!(notes.iter().all(|note: &Note| note.code == NoteCode::LeftOut), "{notes:?}");
    (body, notes.iter().map(ToString::to_string).collect())
}

#[test]
fn without_a_width_nothing_is_wrapped() {
    let (text, notes) = table(&[done("train", r#"{"loss": 1e-07, "ok": true}"#), failed("one\ntwo")], None);
    assert_eq!(
        text,
        "status     name   uid       results\n\
         ──────────────────────────────────────────────\n\
         completed  train  ..abcdef  loss=1e-07,ok=True\n\
         error      train  ..u1      one\n\
         \x20                           two\n"
    );
    assert!(notes.is_empty());
}

#[test]
fn steps_have_a_kind() {
    let step =
        run(r#"{"step_kind": "build", "metadata": {"name": "image", "uid": "abc"}, "status": {"state": "running"}}"#);
    let (text, _) = table(&[done("all", "{}"), step], Some(80));
    assert_eq!(
        text,
        "status     name   kind   uid       results\n\
         ──────────────────────────────────────────\n\
         completed  all           ..abcdef\n\
         running    image  build  ..abc\n"
    );
}

#[test]
fn results_wrap_between_pairs() {
    let results = r#"{"alpha": 0.123456, "beta": "some words here", "gamma": [1, 2, 3], "delta": "x"}"#;
    let (text, notes) = table(&[done("train", results)], Some(60));
    assert_eq!(
        text,
        "status     name   uid       results\n\
         ───────────────────────────────────────────────────\n\
         completed  train  ..abcdef  alpha=0.123456,\n\
         \x20                           beta=some words here,\n\
         \x20                           gamma=[1, 2, 3],delta=x\n"
    );
    assert!(notes.is_empty());
}

#[test]
fn every_width_is_kept_and_no_short_data_lost() {
    let results = format!(r#"{{"word": "{}", "n": 123456789012345678901234567890}}"#, "w".repeat(200));
    let long_name = "a-name-that-goes-on-and-on-and-on-for-sixty-characters-or-more";
    for width in [60, 61, 72, 80, 100, 132, 200, 400] {
        let (text, _) = table(&[done(long_name, &results), failed("boom")], Some(width));
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
        let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let words = squeezed.chars().filter(|c| *c == 'w').count();
        assert_eq!(words, 201, "{width}: {text}");
        assert!(squeezed.contains("..abcdef") && squeezed.contains("boom"));
    }
}

#[test]
fn a_narrow_terminal_gets_lines() {
    let (text, _) = table(&[done("train", r#"{"loss": 0.5, "note": "a few more words than fit"}"#)], Some(30));
    assert_eq!(
        text,
        "──────────────────────────────\n\
         completed  train  ..abcdef\n  loss=0.5,note=a few more\n  words than fit\n"
    );
    for width in 0..60 {
        let (text, _) = table(&[failed("boom"), RunSnapshot::step(Value::Null)], Some(width));
        assert!(text.contains("boom"));
    }
}

#[test]
fn a_long_error_loses_its_middle_on_a_terminal_only() {
    let trace: Vec<String> = (1..=100).map(|line| format!("line {line}")).collect();
    let (text, notes) = table(&[failed(&trace.join("\n"))], Some(80));
    assert!(text.contains("line 12\n") && !text.contains("line 13\n") && !text.contains("line 89\n"));
    assert!(text.contains("… 77 lines left out …") && text.contains("line 90\n") && text.contains("line 100\n"));
    assert_eq!(text.lines().count(), 2 + MOST_LINES);
    assert_eq!(notes, ["77 lines of the error of `train` left out to fit the terminal"]);
    let (text, notes) = table(&[failed(&trace.join("\n"))], None);
    assert!(text.contains("line 50\n") && notes.is_empty());
}

#[test]
fn odd_runs_have_rows_too() {
    let odd = run(r#"{"metadata": {"name": 5, "uid": ["é"]}, "status": {"state": 7, "results": [1]}}"#);
    let (text, _) = table(&[odd, RunSnapshot::step(Value::Null)], None);
    assert_eq!(
        text,
        "status  name  uid      results\n\
         ──────────────────────────────\n\
         7       5     ..['é']\n\
         \x20             ..\n"
    );
}
