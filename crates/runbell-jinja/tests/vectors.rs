//! MLRun 1.12.1's and jinja2's results, case by case, against those of this crate.

#![allow(clippy::expect_used, reason = "a test may stop at a fault")]

#[path = "common/cases.rs"]
mod vector_file;

use runbell_core::Value;
use runbell_jinja::{Condition, Evaluation, TemplateValue};
use vector_file::{cases, text, vectors};

/// Number 18: MLRun does not trim the text, so a false word with white space around it sends there.
fn differs_by_trimming(case: &Value) -> bool {
    case.get("rendered").and_then(Value::as_str).is_some_and(|rendered| {
        let trimmed = rendered.trim().to_lowercase();
        rendered.to_lowercase() != trimmed && ["0", "no", "n", "f", "false", "off"].contains(&trimmed.as_str())
    })
}

/// Run data cannot be changed by a template here; both send, but this side because of an error.
fn changes_the_run(source: &str) -> bool {
    [".update(", ".pop(", ".clear(", ".append("].iter().any(|method| source.contains(method))
}

#[test]
fn conditions() {
    let file = vectors(include_str!("vectors/condition.json"));
    let contexts: Vec<(TemplateValue, TemplateValue)> = file
        .at(&["meta", "contexts"])
        .and_then(Value::as_list)
        .expect("contexts")
        .iter()
        .map(|context| {
            let part = |key: &str| TemplateValue::new(context.get(key).expect(key));
            (part("run"), part("notification"))
        })
        .collect();
    let (mut trimmed, mut wrong) = (0, Vec::new());
    for case in cases(&file) {
        let at = case.get("context").and_then(Value::as_i64).expect("context");
        let (run, notification) = &contexts[usize::try_from(at).expect("an index")];
        let source = text(case, "template");
        let outcome = Condition::compile(source).evaluate(run, notification);
        let expected = *case.get("expected").expect("expected") == Value::Bool(true);
        if differs_by_trimming(case) {
            assert!(expected && outcome == Evaluation::False, "{source:?} has spaces around it and does not differ");
            trimmed += 1;
        } else if outcome.sends() != expected {
            wrong.push(format!("{source:?}: expected {expected}, got {outcome:?}"));
        } else if case.get("error").is_some() != matches!(outcome, Evaluation::Ignored(..))
            && case.get("via").is_none()
            && !changes_the_run(source)
        {
            wrong.push(format!("{source:?}: raises {}, got {outcome:?}", case.get("error").is_some()));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} differ", wrong.join("\n"), wrong.len());
    assert_eq!((trimmed, cases(&file).len()), (8, 242));
}

#[test]
fn conditions_as_jinja2_decides_them() {
    let file = vectors(include_str!("vectors/jinja2.json"));
    let run = TemplateValue::new(file.at(&["meta", "run"]).expect("run"));
    let notification = TemplateValue::new(file.at(&["meta", "notification"]).expect("notification"));
    for case in cases(&file) {
        let source = text(case, "template");
        let outcome = Condition::compile(source).evaluate(&run, &notification);
        let verdict = match &outcome {
            Evaluation::True => "true",
            Evaluation::False => "false",
            Evaluation::Ignored(..) => "ignored",
        };
        assert_eq!(verdict, text(case, "verdict"), "{source}: {outcome:?}");
    }
    assert!(cases(&file).len() >= 100);
}
