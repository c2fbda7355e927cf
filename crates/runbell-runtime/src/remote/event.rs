//! The event that a server receives: a run enters a state.

use std::fmt::{self, Debug};

use runbell_core::{
    Bytes, Error, ErrorKind, Map, Notification, Result, RunSnapshot, RunState, SecretValues, Timestamp, Transition,
    Value, value,
};

use crate::ready::fields;

/// A run enters a state, in the form that a server receives. Cheap to clone.
///
/// Its body is made once, so that every attempt sends the same bytes. The body holds secrets; Debug does not show it.
#[derive(Clone)]
pub struct RemoteEvent {
    run: RunSnapshot,
    state: RunState,
    at: Timestamp,
    body: Bytes,
    secrets: SecretValues,
}

impl Debug for RemoteEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteEvent").field("run", &self.run).field("state", &self.state).finish_non_exhaustive()
    }
}

impl RemoteEvent {
    /// An event, with the run's list of notifications; `None` keeps the list the server has.
    ///
    /// The run is sent as it is in `transition`: redact its secrets before.
    pub fn new(transition: Transition, notifications: Option<&[Notification]>) -> Self {
        let Transition { run, state, at, steps } = transition;
        let list = notifications.map(|list| list.iter().map(document).collect::<Vec<_>>());
        let mut event = Map::from_iter([("run".to_owned(), run.document().clone())]);
        if !steps.is_empty() {
            let steps: Vec<Value> = steps.iter().map(|step| step.document().clone()).collect();
            event.insert("steps".to_owned(), steps.into());
        }
        if let Some(list) = list {
            event.insert("notifications".to_owned(), list.into());
        }
        event.insert("state".to_owned(), state.as_str().into());
        event.insert("at".to_owned(), at.to_string().into());
        let secrets = secrets_of(&event);
        RemoteEvent { run, state, at, body: Value::Map(event).to_json().into(), secrets }
    }

    /// The event whose [`body`](Self::body) this is.
    ///
    /// # Errors
    /// [`ErrorKind::RunInvalid`] when it is none.
    pub fn from_body(body: &str) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::RunInvalid, "this is no event");
        let document = value::read(body).map_err(|_| invalid())?;
        let event = document.as_map().ok_or_else(invalid)?;
        let text = |field: &str| event.get(field).and_then(Value::as_str).ok_or_else(invalid);
        Ok(RemoteEvent {
            run: RunSnapshot::new(event.get("run").cloned().ok_or_else(invalid)?)?,
            state: text("state")?.parse().map_err(|_| invalid())?,
            at: text("at")?.parse().map_err(|_| invalid())?,
            body: body.to_owned().into(),
            secrets: secrets_of(event),
        })
    }

    /// The run.
    pub fn run(&self) -> &RunSnapshot {
        &self.run
    }

    /// The state it entered.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// The time of the transition.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The body of the request: JSON, with the secret params of its notifications in clear.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Values to mask in the server's answers about this event.
    pub(super) fn secrets(&self) -> &SecretValues {
        &self.secrets
    }
}

/// All params of its notifications: only their kinds would know which of them are secret.
fn secrets_of(event: &Map) -> SecretValues {
    let mut secrets = SecretValues::default();
    for notification in event.get("notifications").and_then(Value::as_list).into_iter().flatten() {
        for part in ["params", "secret_params"] {
            if let Some(params) = notification.get(part) {
                secrets.add(params);
            }
        }
    }
    secrets
}

/// The notification as it is registered, secret params in clear.
fn document(notification: &Notification) -> Value {
    let mut document = fields(notification);
    document.insert("params".to_owned(), notification.params.clone().into());
    document.insert("secret_params".to_owned(), notification.secret_params.clone().into());
    Value::Map(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let run = r#"{"metadata":{"uid":"u","project":"p"},"status":{"state":"error","end_time":"2026-02-03T01:00:00Z","results":{"big":123456789012345678901234567890,"one":1.0}}}"#;
        let snapshot = RunSnapshot::new(value::read(run).expect("JSON")).expect("a run");
        let transition = Transition::current(snapshot, Timestamp::UNIX_EPOCH);
        let hook = Notification::new("webhook", "w").param("method", "PUT").secret_param("url", "http://h/CANARY-1");
        let event = RemoteEvent::new(transition, Some(&[hook]));
        let body = std::str::from_utf8(event.body()).expect("text");
        assert_eq!(
            body,
            format!(
                r#"{{"run":{run},"notifications":[{{"kind":"webhook","name":"w","message":"","severity":"info","when":["completed"],"condition":"","params":{{"method":"PUT"}},"secret_params":{{"url":"http://h/CANARY-1"}}}}],"state":"error","at":"2026-02-03T01:00:00Z"}}"#
            )
        );
        let again = RemoteEvent::from_body(body).expect("an event");
        assert_eq!((again.body(), again.state(), again.at()), (event.body(), event.state(), event.at()));
        assert_eq!(again.run().document(), event.run().document());
        assert!(!format!("{event:?}").contains("CANARY"));
        assert_eq!(again.secrets().mask("not http://h/CANARY-1", "*"), "not *");
        for bad in ["", "[]", "{}", r#"{"run": {"metadata": {}}, "state": "done", "at": "2026-02-03T01:00:00Z"}"#] {
            assert!(RemoteEvent::from_body(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_steps_of_a_workflow_travel() {
        let run = |name: &str| {
            let text = format!(r#"{{"metadata": {{"uid": "{name}"}}, "status": {{"state": "completed"}}}}"#);
            RunSnapshot::new(value::read(&text).expect("JSON")).expect("a run")
        };
        let transition = Transition::current(run("w"), Timestamp::UNIX_EPOCH).with_steps(vec![run("one"), run("two")]);
        let event = RemoteEvent::new(transition, None);
        let expected = format!(r#""steps":[{},{}]"#, run("one").document().to_json(), run("two").document().to_json());
        let body = String::from_utf8(event.body().to_vec()).expect("text");
        assert!(body.contains(&expected), "{body}");
    }
}
