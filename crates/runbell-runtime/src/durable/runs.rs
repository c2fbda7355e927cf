//! Runs as MLRun's SDK stores, changes and reads them, and the decisions about their notifications.

use runbell_core::{FindingCode, Look, Map, Result, RunSnapshot, RunState, Value, text, value};
use runbell_store::{DeliveryRecord, DeliveryState, RunKey, StoredRun};

use super::Dispatcher;
use super::event::document;
use super::fault::{EventError, Taken};
use super::intake::{Change, Evaluate};
use super::resources::read_document;

/// The longest reason in `status.notifications`: MLRun's column holds 255 characters.
const REASON: usize = 255;

impl Dispatcher {
    /// Stores a run. Entering another state is a transition, and its registered notifications are decided about;
    /// `spec.notifications` inside it are not registered, because the SDK that stored it sends them itself.
    ///
    /// # Errors
    /// See [`EventError`]; after an error nothing was stored.
    pub async fn store_run(&self, key: &RunKey, run: Value) -> Result<Taken, EventError> {
        let run = document(&key.project, &key.uid, Some(key.iteration), run, "")?;
        self.intake
            .change(key, false, |stored, now| {
                let evaluate = news(stored, &run);
                Ok(Change::current(run.clone(), now, evaluate, Look::Mlrun))
            })
            .await
    }

    /// Changes fields of a run, each named by its dotted path: `{"status.state": "completed"}`.
    ///
    /// # Errors
    /// [`EventError::NoRun`] for an unknown run, and others of [`EventError`]; after an error nothing was stored.
    pub async fn update_run(&self, key: &RunKey, changes: &Map) -> Result<Taken, EventError> {
        self.intake
            .change(key, false, |stored, now| {
                let stored = stored.ok_or(EventError::NoRun)?;
                let mut changed = read(stored)?;
                for (path, value) in changes {
                    set(&mut changed, path, value.clone())?;
                }
                let run = document(&key.project, &key.uid, None, changed, "")?;
                let evaluate = news(Some(stored), &run);
                Ok(Change::current(run, now, evaluate, Look::Mlrun))
            })
            .await
    }

    /// Registers a run's list of notifications. An equal list changes nothing. Another list supersedes the unfinished deliveries
    /// of the old one, and is decided at once only if one of them was about the run's current state.
    ///
    /// # Errors
    /// [`EventError::NoRun`] for an unknown run, and others of [`EventError`]; after an error nothing was stored.
    pub async fn set_notifications(&self, key: &RunKey, list: &Value) -> Result<Taken, EventError> {
        self.intake
            .change(key, false, |stored, now| {
                let mut change = present(stored, now, Evaluate::IfReplaced)?;
                change.notifications = Some(list.clone());
                Ok(change)
            })
            .await
    }

    /// Decides about a run's registered notifications for its current state. Finished deliveries are not repeated.
    ///
    /// # Errors
    /// [`EventError::NoRun`] for an unknown run, and others of [`EventError`].
    pub async fn push(&self, key: &RunKey) -> Result<Taken, EventError> {
        self.intake.change(key, false, |stored, now| present(stored, now, Evaluate::Always)).await
    }

    /// A run's document as the API returns it: with the registered notifications, if there are any, and the outcome of each in
    /// `status.notifications`.
    ///
    /// # Errors
    /// [`EventError::Internal`] when the stored document cannot be read.
    pub fn shown(&self, run: &StoredRun, latest: &[DeliveryRecord]) -> Result<Value, EventError> {
        let mut shown = read(run)?;
        if run.notifications.is_empty() {
            return Ok(shown);
        }
        let (mut list, mut statuses) = (Vec::new(), Map::new());
        for registered in &run.notifications {
            list.push(value::read(&registered.document).unwrap_or(Value::Null));
            let last = latest.iter().find(|delivery| delivery.notification == registered.name);
            statuses.insert(registered.name.clone(), status(last).into());
        }
        set(&mut shown, "spec.notifications", list.into())?;
        set(&mut shown, "status.notifications", statuses.into())?;
        Ok(shown)
    }
}

/// The state of a notification in MLRun's three words.
fn status(last: Option<&DeliveryRecord>) -> Map {
    let word = match last.map(|last| last.status) {
        None | Some(DeliveryState::Pending | DeliveryState::Leased | DeliveryState::Retry) => "pending",
        Some(DeliveryState::Sent) => "sent",
        Some(DeliveryState::Failed | DeliveryState::Superseded) => "error",
    };
    let reason = last.filter(|_| word != "sent").and_then(|last| last.reason.as_deref());
    let sent = last.filter(|_| word == "sent").and_then(|last| last.finished_at);
    let mut status = Map::from_iter([
        ("status".to_owned(), Value::from(word)),
        ("sent_time".to_owned(), sent.map_or(Value::Null, |at| Value::from(at.to_string()))),
        (
            "reason".to_owned(),
            reason.map_or(Value::Null, |reason| Value::from(&*text::cut(reason, REASON, text::Unit::Characters))),
        ),
    ]);
    if let Some(last) = last {
        status.insert("state".to_owned(), Value::from(last.state.as_str()));
    }
    status
}

fn read(stored: &StoredRun) -> Result<Value, EventError> {
    read_document(&stored.document).map_err(EventError::Internal)
}

/// The run as it is stored.
fn present(stored: Option<&StoredRun>, now: runbell_core::Timestamp, evaluate: Evaluate) -> Result<Change, EventError> {
    let stored = stored.ok_or(EventError::NoRun)?;
    let mut change = Change::current(RunSnapshot::step(read(stored)?), now, evaluate, Look::Mlrun);
    // The state last reported may stand beside the document.
    change.state = stored.state.parse().unwrap_or(RunState::Unknown);
    change.word.clone_from(&stored.state);
    Ok(change)
}

/// Whether a run entered another state, or the same one in another try: then its notifications are decided.
fn news(stored: Option<&StoredRun>, run: &RunSnapshot) -> Evaluate {
    let Some(stored) = stored else { return Evaluate::Never };
    let retries = || value::read(&stored.document).map_or(0, |known| RunSnapshot::step(known).retry_count());
    if stored.state != run.state_word() || run.retry_count() > retries() { Evaluate::Always } else { Evaluate::Never }
}

/// Sets the value at a dotted path, and makes missing objects on the way.
fn set(document: &mut Value, path: &str, value: Value) -> Result<(), EventError> {
    let mut place = document;
    let parts: Vec<&str> = path.split('.').collect();
    for (depth, part) in parts.iter().enumerate() {
        if matches!(place, Value::Null) {
            *place = Value::Map(Map::new());
        }
        let Value::Map(map) = place else {
            let above = parts.get(..depth).unwrap_or_default().join(".");
            return Err(EventError::invalid(
                FindingCode::WrongType,
                path,
                format!("cannot be set: `{above}` is no object"),
            ));
        };
        if !map.contains_key(part) {
            map.insert((*part).to_owned(), Value::Null);
        }
        let Some(next) = map.get_mut(part) else { return Ok(()) };
        place = next;
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_paths_make_missing_objects() {
        let mut document = value::read(r#"{"status": {"state": "running"}, "spec": null, "n": 1}"#).expect("JSON");
        for (path, value) in [("status.state", "completed"), ("status.a.b", "x"), ("spec.c", "y"), ("new", "z")] {
            set(&mut document, path, Value::from(value)).expect("set");
        }
        assert_eq!(
            document.to_json(),
            r#"{"status":{"state":"completed","a":{"b":"x"}},"spec":{"c":"y"},"n":1,"new":"z"}"#
        );
        let error = set(&mut document, "n.m", Value::Null).expect_err("a number has no fields");
        assert!(matches!(error, EventError::Invalid(_)));
    }
}
