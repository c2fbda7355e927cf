//! The sample run for tests of a notification.

use std::time::Duration;

use runbell_core::{Map, Notification, Run, RunSnapshot, RunState, RunView as _, Timestamp, Transition, Value};

/// A sample run that enters the first state of the notification's `when`.
pub(crate) fn transition(notification: &Notification, now: Timestamp) -> Transition {
    let state = notification.when.iter().copied().find(|state| state.notifies()).unwrap_or(RunState::Completed);
    let run = Run::new("send-test", format!("{:032x}", fastrand::u128(..)))
        .project("runbell-test")
        .label("runbell.test", "true");
    let mut run = match state {
        RunState::Error => run.failed("a sample of an error"),
        RunState::Aborted => run.aborted(),
        RunState::Running => run,
        _ => run.completed().result("accuracy", 0.934).result("best", "epoch 17"),
    };
    run.spec.parameters.insert("epochs".to_owned(), 20.into());
    run.status.start_time = now.checked_sub(Duration::from_secs(421)).ok().map(|start| start.to_string());
    run.status.end_time = (state != RunState::Running).then(|| now.to_string());
    let snapshot = run.freeze().unwrap_or_else(|_| RunSnapshot::step(Value::Map(Map::new())));
    Transition { run: snapshot, state, at: now, steps: [].into() }
}
