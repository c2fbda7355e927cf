//! The text of a notification: `Run completed in project p: …`, word for word as MLRun composes it.

use runbell_core::{Notification, RunSnapshot, RunState, Value};

use crate::python;

/// Composes the text for a run's entering `state`.
///
/// `{Run|workflow} {started|completed|failed|aborted} in project {project}[ (workflow: {id})][: {message}]`, then a
/// line on retries. A state that never notifies has no verb, so its text begins with ` in project`; it is only ever
/// seen in previews.
pub fn compose(run: &RunSnapshot, state: RunState, notification: &Notification) -> String {
    let workflow = run.document().at(&["metadata", "labels", "workflow"]);
    let resource = if workflow.is_some() { "workflow" } else { "Run" };
    let verb = match state {
        RunState::Completed => "completed",
        RunState::Error => "failed",
        RunState::Aborted => "aborted",
        RunState::Running => "started",
        _ => "",
    };
    let mut text = String::with_capacity(64 + notification.message.len());
    if !verb.is_empty() {
        text.push_str(resource);
        text.push(' ');
        text.push_str(verb);
    }
    text.push_str(" in project ");
    text.push_str(run.project());
    if let Some(workflow) = workflow {
        text.push_str(" (workflow: ");
        python::write_str(workflow, &mut text);
        text.push(')');
    }
    if !notification.message.is_empty() {
        text.push_str(": ");
        text.push_str(&notification.message);
    }
    retries(run, state, &mut text);
    text
}

fn retries(run: &RunSnapshot, state: RunState, text: &mut String) {
    let retries = run.retry_count();
    if retries <= 0 {
        return;
    }
    text.push_str("\nRetries attempted: ");
    text.push_str(&retries.to_string());
    let limit = run.document().at(&["spec", "retry", "count"]).and_then(Value::as_i64).unwrap_or(0);
    if state == RunState::Error && retries >= limit {
        text.push_str("\nRetry limit reached - run has failed after all retry attempts.");
    }
}
