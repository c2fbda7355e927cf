//! Tells the operator of deliveries that failed for good: as deliveries themselves, so that nothing of it is lost.

use std::fmt::Write as _;

use runbell_core::{Error, Map, Notification, RunSnapshot, RunState, Value, text};
use runbell_store::{Lease, RunKey};

use super::desk::{Change, Desk, Evaluate};
use crate::prepared::fields;

/// The project that alarms belong to. Users' projects cannot have this name, and its own failures raise no alarm.
pub(super) const PROJECT: &str = "_runbell";

/// How long a name may be in an alarm's text.
const NAME: usize = 80;

/// Promises the alarm, before the failure is recorded: a process that dies in between makes the attempt, and the alarm,
/// again. Returns whether something is due.
pub(super) async fn raise(desk: &Desk, on_failure: &[Notification], lease: &Lease, error: &Error) -> bool {
    if on_failure.is_empty() || lease.run.project == PROJECT {
        return false;
    }
    let text = text_of(lease, error);
    let uid = format!("delivery-{}-{}", lease.id, lease.fence);
    let key = RunKey { project: PROJECT.to_owned(), uid: uid.clone(), iteration: 0 };
    let list: Vec<Value> = on_failure.iter().map(|one| document(one, &text)).collect();
    let made = desk.change(&key, true, None, |_, now| {
        let run = RunSnapshot::step(run(&uid, lease, &error.reason()));
        let mut change = Change::current(run, now, Evaluate::Always);
        change.notifications = Some(list.clone().into());
        Ok(change)
    });
    match made.await {
        Ok(taken) => !taken.deliveries.is_empty(),
        Err(error) => {
            tracing::error!(id = lease.id, ?error, "on_failure: the operator is not told");
            false
        }
    }
}

fn text_of(lease: &Lease, error: &Error) -> String {
    let name = |name: &str| text::one_line(name, NAME);
    let mut text = format!(
        "notification `{}` ({}) of run {} in project {} was not delivered for state {}",
        name(&lease.notification.name),
        name(&lease.notification.kind),
        name(&lease.run.uid),
        name(&lease.run.project),
        lease.state
    );
    // Writing to a text does not fail.
    let _ = write!(text, ", delivery {}, attempt {}: {}", lease.id, lease.attempt, error.reason());
    text
}

/// The alarm's run, which did not run: what it tells is that a delivery ended in an error.
fn run(uid: &str, lease: &Lease, reason: &str) -> Value {
    let map = |pairs: Vec<(&str, Value)>| -> Value {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map>().into()
    };
    let metadata = map(vec![
        ("project", Value::from(PROJECT)),
        ("uid", Value::from(uid)),
        ("name", Value::from(format!("delivery of {}", text::one_line(&lease.notification.name, NAME)))),
    ]);
    let status = map(vec![("state", Value::from(RunState::Error.as_str())), ("error", Value::from(reason))]);
    map(vec![("metadata", metadata), ("spec", map(vec![])), ("status", status)])
}

fn document(notification: &Notification, text: &str) -> Value {
    let mut document = fields(notification);
    let message = match notification.message.as_str() {
        "" => text.to_owned(),
        own => format!("{own}: {text}"),
    };
    document.insert("message".to_owned(), Value::from(message));
    document.insert("when".to_owned(), vec![Value::from(RunState::Error.as_str())].into());
    document.insert("params".to_owned(), notification.params.clone().into());
    document.insert("secret_params".to_owned(), notification.secret_params.clone().into());
    document.into()
}
