//! Events: clients report that a run entered a state.

use runbell_core::{
    Finding, FindingCode, Level, Look, Map, Result, RunSnapshot, RunState, Timestamp, Transition, Value, text,
};
use runbell_store::RunKey;

use super::Dispatcher;
use super::fault::{EventError, Taken};
use super::intake::{Change, Evaluate};

/// The longest name, uid or project of a run, in bytes.
const LONGEST_NAME: usize = 1_024;

/// The longest word for a state, in bytes.
const LONGEST_STATE: usize = 64;

/// The report to a server that a run entered a state.
#[derive(Debug, Clone)]
pub struct Event {
    /// The project.
    pub project: String,
    /// The run's uid.
    pub uid: String,
    /// The run's document.
    pub run: Value,
    /// The documents of its workflow's steps; empty for a plain run.
    pub steps: Vec<Value>,
    /// A new list of notifications; `None` keeps the registered one.
    pub notifications: Option<Value>,
    /// The state that the run entered; `None` for the state in the document.
    pub state: Option<RunState>,
    /// The time of the transition; `None` for the time in the document, else now.
    pub at: Option<Timestamp>,
}

impl Dispatcher {
    /// Accepts an event. When this returns, its version, verdicts and deliveries are on disk.
    ///
    /// The same event reported again changes nothing: its deliveries have the same keys.
    ///
    /// # Errors
    /// See [`EventError`]; after an error nothing was stored.
    pub async fn take_in(&self, event: Event) -> Result<Taken, EventError> {
        let Event { project, uid, run, steps, notifications, state, at } = event;
        let run = document(&project, &uid, None, run, "run")?;
        if state.is_none() && run.state_word().is_empty() {
            let message = "is required, or `state` beside the run";
            return Err(EventError::invalid(FindingCode::Required, "run.status.state", message));
        }
        let key = RunKey { project, uid, iteration: run.iteration() };
        // An event with a list is mostly about a new run.
        let is_new = notifications.is_some();
        let steps: Vec<RunSnapshot> = steps.into_iter().map(RunSnapshot::step).collect();
        self.intake
            .change(&key, is_new, |_, now| {
                let mut transition = Transition::current(run.clone(), now);
                if let Some(state) = state {
                    transition.state = state;
                }
                transition.at = at.unwrap_or(transition.at);
                let Transition { run, state: entered, at, .. } = transition;
                let word = state.map_or_else(|| run.state_word().to_owned(), |state| state.as_str().to_owned());
                let notifications = notifications.clone();
                let (steps, evaluate, look) = (steps.clone(), Evaluate::Always, Look::Own);
                Ok(Change { run, steps, state: entered, word, at, notifications, evaluate, look })
            })
            .await
    }
}

/// The document of the run that the path names. Missing parts of its identity are filled in.
pub(super) fn document(
    project: &str,
    uid: &str,
    iteration: Option<i64>,
    mut run: Value,
    field: &str,
) -> Result<RunSnapshot, EventError> {
    let at = |path: &str| match (field, path) {
        ("", path) => path.to_owned(),
        (field, "" | "run") => field.to_owned(),
        (field, path) => format!("{field}.{path}"),
    };
    if let Value::Map(document) = &mut run {
        if !document.contains_key("metadata") {
            document.insert("metadata".to_owned(), Value::Map(Map::new()));
        }
        if let Some(Value::Map(metadata)) = document.get_mut("metadata") {
            identify(metadata, project, uid, iteration).map_err(|(code, name, message)| {
                EventError::invalid(code, &at(&format!("metadata.{name}")), message)
            })?;
        }
    }
    if run.at(&["status", "state"]).and_then(Value::as_str).is_some_and(|word| word.len() > LONGEST_STATE) {
        let message = format!("is longer than {LONGEST_STATE} bytes");
        return Err(EventError::invalid(FindingCode::OutOfRange, &at("status.state"), message));
    }
    RunSnapshot::new(run).map_err(|error| {
        let Finding { code, path, message, .. } = Finding::of_error(Level::Fault, &error);
        EventError::invalid(code, &at(&path), message)
    })
}

/// Fills in what is missing of a run's identity. The fault is of the named field of the metadata.
fn identify(
    metadata: &mut Map,
    project: &str,
    uid: &str,
    iteration: Option<i64>,
) -> Result<(), (FindingCode, &'static str, String)> {
    for (name, wanted) in [("project", project), ("uid", uid)] {
        match metadata.get(name) {
            Some(Value::String(given)) if given == wanted => {}
            None | Some(Value::Null) => {
                metadata.insert(name.to_owned(), Value::from(wanted));
            }
            Some(_) => {
                let message = format!("must be `{}`, as in the path", text::one_line(wanted, 80));
                return Err((FindingCode::WrongValue, name, message));
            }
        }
    }
    for name in ["name", "uid"] {
        if metadata.get(name).and_then(Value::as_str).is_some_and(|text| text.len() > LONGEST_NAME) {
            return Err((FindingCode::OutOfRange, name, format!("is longer than {LONGEST_NAME} bytes")));
        }
    }
    if metadata
        .get("iteration")
        .is_some_and(|given| !matches!(given, Value::Null) && given.as_i64().is_none_or(|iteration| iteration < 0))
    {
        let message = "must be a whole number of at least 0".to_owned();
        return Err((FindingCode::WrongValue, "iteration", message));
    }
    if let Some(iteration) = iteration.filter(|iteration| *iteration > 0) {
        metadata.insert("iteration".to_owned(), Value::from(iteration));
    }
    Ok(())
}
