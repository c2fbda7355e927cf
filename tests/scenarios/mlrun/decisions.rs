//! Which notifications are sent, and with which texts.

use runbell::{Notification, Registry, RunSnapshot, SystemClock, Transition, Value};

use super::{Case, Difference, cases};

fn explain(run: Value, notification: Notification) -> (bool, String) {
    use runbell::Clock as _;
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    let notifier = runbell::Notifier::builder(registry).notification(notification).build().expect("valid");
    let run = RunSnapshot::new(run).expect("a run");
    let line = notifier.explain(Transition::current(run, SystemClock.now())).pop().expect("a line");
    (line.verdict == "send", line.reason)
}

fn difference(case: &Case) -> Option<Difference> {
    let condition = case.text(&["input", "condition"]);
    let state = case.text(&["input", "state"]);
    (!condition.is_empty() && state != "completed").then_some(Difference::ConditionsCountInEveryState)
}

#[test]
fn every_decision_of_should_notify() {
    let mut skipped = 0;
    for case in cases(include_str!("../../vectors/should_notify.json")) {
        let input = case.at(&["input"]).expect("input");
        let mut document = input.get("run").expect("a run").clone();
        if let (Some(status), Value::Map(run)) =
            (input.get("status").filter(|status| status.is_truthy()), &mut document)
            && let Some(Value::Map(run_status)) = run.get_mut("status")
        {
            let recorded = Value::Map([("status".to_owned(), status.clone())].into_iter().collect());
            run_status
                .insert("notifications".to_owned(), Value::Map([("n".to_owned(), recorded)].into_iter().collect()));
        }
        let when: Vec<_> = input
            .get("when")
            .and_then(Value::as_list)
            .expect("when")
            .iter()
            .map(|state| state.as_str().expect("a word").parse().expect("a state"))
            .collect();
        let notification = Notification::new("console", "n").when(when).condition(case.text(&["input", "condition"]));
        let (sends, reason) = explain(document, notification);
        let expected = case.at(&["expected"]) == Some(&Value::Bool(true));
        if sends == expected {
            continue;
        }
        // MLRun sends although the condition says no.
        assert_eq!(difference(&case), Some(Difference::ConditionsCountInEveryState), "{}: {reason}", case.id);
        assert!(expected && reason == "condition_false", "{}: {reason}", case.id);
        skipped += 1;
    }
    assert!(skipped > 0, "the difference is real");
}

#[test]
fn every_text_of_a_run() {
    use runbell::Clock as _;
    for case in cases(include_str!("../../vectors/messages.json")) {
        if case.text(&["check"]) != "run_message" {
            continue;
        }
        let run = RunSnapshot::new(case.at(&["input", "run"]).expect("a run").clone()).expect("a run");
        let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
        let notifier = runbell::Notifier::builder(registry).build().expect("valid");
        let is_workflow = run.label("workflow").is_some();
        let without_results = run.status("results").is_none_or(|results| *results == Value::Null);
        let line = notifier.preview(Transition::current(run, SystemClock.now())).pop().expect("a line");
        let rendered = line.rendered.expect("console renders everything");
        let runbell::Payload::Text { body, .. } = rendered.payload else { panic!("console renders text") };
        if let Some(error) = case.at(&["expected", "error"]) {
            assert!(is_workflow && without_results, "{}: {error:?}", case.id);
            let difference = Difference::WorkflowWithoutResults;
            assert!(body.contains("workflow") && body.contains(" in project "), "{}: {difference:?} {body}", case.id);
            continue;
        }
        let expected = format!("[{}] {}\n", case.text(&["expected", "severity"]), case.text(&["expected", "message"]));
        assert!(body.starts_with(&expected), "{}:\n{body}\n{expected}", case.id);
    }
}
