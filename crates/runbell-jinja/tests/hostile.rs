//! Conditions that try to take the process down. How long they take is the bench's business.

#![allow(clippy::expect_used, reason = "a test may stop at a fault")]

#[path = "common/hostile.rs"]
mod hostile;

use proptest::prelude::*;
use runbell_core::{Map, Value};
use runbell_jinja::{Condition, Evaluation, TemplateValue, Text, Variables};

/// The variables of a body's texts.
fn variables(run: &TemplateValue) -> Variables {
    let data = ["run", "runs", "notification"].map(|name| (name, run.clone()));
    let words = [("message", "m"), ("severity", "info"), ("state", "error"), ("project", "p")];
    Variables::new(data.into_iter().chain(words.map(|(name, word)| (name, TemplateValue::text(word)))))
}

#[test]
fn no_condition_aborts() {
    let run = TemplateValue::new(&hostile::large_run());
    let notification = TemplateValue::new(&Value::Map(Map::new()));
    for (name, source) in hostile::conditions() {
        assert!(source.len() <= 4096, "{name} is longer than what is taken");
        let outcome = Condition::compile(&source).evaluate(&run, &notification);
        if let Evaluation::Ignored(fault) = &outcome {
            let why = fault.to_string();
            assert!(why.lines().count() == 1 && why.len() < 200, "{name}: {why}");
            assert!(!why.contains("lorem"), "{name} quotes the run: {why}");
        }
    }
}

#[test]
fn no_condition_needs_a_large_stack() {
    // Threads of an asynchronous runtime have 2 MiB; half of that has to do.
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(no_condition_aborts).expect("a thread");
    small.join().expect("no panic");
}

#[test]
fn no_text_needs_a_large_stack() {
    // Texts have more fuel and longer sources, so nesting is tried again; loops would only take longer.
    let run = TemplateValue::new(&Value::Map(Map::new()));
    let mut sources: Vec<String> = hostile::conditions()
        .into_iter()
        .filter(|(name, _)| {
            ["itself", "each other", "nested", "row of", "recursive loop", "caller"]
                .iter()
                .any(|word| name.contains(word))
        })
        .map(|(_, source)| source)
        .collect();
    for piece in
        ["{% if 1 %}", "{% if 0 %}{% elif 1 %}", "{% elif 1 %}", "{{ 1 }}", "{% set a = 1 %}", "{% macro m() %}"]
    {
        sources.push(format!("{{% if 0 %}}{}", piece.repeat(10_000)));
    }
    for piece in ["+1", "|abs", ".a", " and 1", "not ", "-", "(", "[", " if 1 else 1", ",1"] {
        sources.push(format!("{{{{ 1{} }}}}", piece.repeat(20_000)));
        sources.push(format!("{{{{ {} 1 }}}}", piece.repeat(20_000)));
    }
    let render = move || {
        let variables = variables(&run);
        for source in sources {
            let _ = Text::compile(&source).and_then(|text| text.evaluate(&variables));
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(render).expect("a thread").join().expect("no panic");
}

#[test]
fn too_long_is_ignored() {
    let nothing = TemplateValue::new(&Value::Map(Map::new()));
    for source in ["{{ 1 }}".repeat(1000), "é".repeat(2049), "x".repeat(1 << 20)] {
        assert!(matches!(Condition::compile(&source).evaluate(&nothing, &nothing), Evaluation::Ignored(..)));
    }
}

/// Pieces that random conditions are made of.
const PIECES: [&str; 64] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{-",
    "-}}",
    " if ",
    " else ",
    " endif ",
    " for a in ",
    " endfor ",
    " set a = ",
    " raw ",
    " endraw ",
    " macro m(a) ",
    " endmacro ",
    " recursive ",
    " not ",
    " in ",
    " is ",
    " and ",
    " or ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ".",
    "|",
    "~",
    "+",
    "-",
    "*",
    "**",
    "//",
    "%",
    "==",
    "<",
    ">=",
    "=",
    "run",
    "run.status",
    "status",
    "results",
    "items",
    "a",
    "1",
    "0.5",
    "1e9",
    "99999999999",
    "\"x\"",
    "'",
    "\\",
    "none",
    "é",
    "\n",
    "abs",
    "sort",
    "odd",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_pieces_never_panic(picks in prop::collection::vec(0..PIECES.len(), 0..40), wrapped: bool) {
        let source: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        let source = if wrapped { format!("{{{{ {source} }}}}") } else { source };
        let run = runbell_core::value::read(r#"{"status": {"results": {"a": 0.5, "items": [1, "x", null]}}}"#).expect("JSON");
        let run = TemplateValue::new(&run);
        Condition::compile(&source).evaluate(&run, &run);
        let _ = Text::compile(&source).and_then(|text| text.evaluate(&variables(&run)));
    }

    #[test]
    fn random_texts_never_panic(source: String) {
        let run = TemplateValue::new(&Value::Null);
        Condition::compile(&source).evaluate(&run, &run);
        Condition::compile(&format!("{{{{ {source} }}}}")).evaluate(&run, &run);
    }
}
