//! Runs: the runner's own type, and the frozen document that all other code reads.

use std::any::Any;
use std::fmt::{self, Debug};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::state::RunState;
use crate::value::{Map, Value, to_value};

/// A type that serializes as a run document: `metadata`, `spec`, `status`, as in MLRun.
///
/// Implemented for every `Serialize` type, so a runner hands in its own run type. [`Run`] is a ready-made one.
pub trait RunView: erased_serde::Serialize + Send + Sync {
    /// Takes a frozen copy, once per transition; all users share it.
    ///
    /// # Errors
    /// [`ErrorKind::RunInvalid`] when the type does not serialize, or not as a run document.
    fn freeze(&self) -> Result<RunSnapshot>;
}

impl<T: Serialize + Send + Sync> RunView for T {
    fn freeze(&self) -> Result<RunSnapshot> {
        // The serializer's own text may quote values.
        let document = to_value(self)
            .map_err(|_| Error::new(ErrorKind::RunInvalid, "the run does not serialize as a document"))?;
        RunSnapshot::new(document)
    }
}

erased_serde::serialize_trait_object!(RunView);

/// A run document, frozen and shared. Cloning is cheap.
#[derive(Clone)]
pub struct RunSnapshot(Arc<Inner>);

struct Inner {
    document: Value,
    view: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Debug for RunSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSnapshot").field("uid", &self.uid()).field("state", &self.state()).finish_non_exhaustive()
    }
}

impl RunSnapshot {
    /// Freezes a document.
    ///
    /// # Errors
    /// [`ErrorKind::RunInvalid`] when it is no object, or has no `metadata` object: then it is not a run.
    pub fn new(document: Value) -> Result<Self> {
        let fault = |field: &'static str, message: String| Err(Error::new(ErrorKind::RunInvalid, message).at(field));
        match document.get("metadata") {
            Some(Value::Map(_)) => {}
            Some(other) => return fault("metadata", format!("must be an object, not {}", other.type_name())),
            None if document.as_map().is_some() => {
                return fault("metadata", "is missing; a run document has metadata, spec and status".to_owned());
            }
            None => return fault("run", format!("must be an object, not {}", document.type_name())),
        }
        for field in ["spec", "status"] {
            match document.get(field) {
                None | Some(Value::Null | Value::Map(_)) => {}
                Some(other) => return fault(field, format!("must be an object, not {}", other.type_name())),
            }
        }
        Ok(RunSnapshot(Arc::new(Inner { document, view: OnceLock::new() })))
    }

    /// A workflow step: a run, or a function record that may lack most of it.
    pub fn step(document: Value) -> Self {
        RunSnapshot(Arc::new(Inner { document, view: OnceLock::new() }))
    }

    /// The runner's document with redacted secrets.
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// The document, to change it before it is frozen again.
    pub fn into_document(self) -> Value {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.document,
            Err(shared) => shared.document.clone(),
        }
    }

    /// A converted form of the document, made on first use and kept. Templates keep theirs here.
    ///
    /// Only one type is cached; for another type `make` is called every time.
    pub fn view<V: Any + Send + Sync>(&self, make: impl Fn(&Value) -> V) -> Arc<V> {
        let kept = self.0.view.get_or_init(|| Arc::new(make(&self.0.document)));
        Arc::clone(kept).downcast().unwrap_or_else(|_| Arc::new(make(&self.0.document)))
    }

    fn text(&self, path: &[&str]) -> &str {
        self.0.document.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// `metadata.uid`, empty when absent.
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"])
    }

    /// `metadata.name`, empty when absent.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `metadata.project`, empty when absent.
    pub fn project(&self) -> &str {
        self.text(&["metadata", "project"])
    }

    /// `metadata.iteration`: 0 for the run itself, more for the child runs of a hyper-parameter run.
    pub fn iteration(&self) -> i64 {
        self.0.document.at(&["metadata", "iteration"]).and_then(Value::as_i64).unwrap_or(0)
    }

    /// A label, when it is a text.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.document.at(&["metadata", "labels", name]).and_then(Value::as_str)
    }

    /// The word in `status.state`, empty when absent.
    pub fn state_word(&self) -> &str {
        self.text(&["status", "state"])
    }

    /// The state; [`RunState::Unknown`] for a word that is no state.
    pub fn state(&self) -> RunState {
        self.state_word().parse().unwrap_or(RunState::Unknown)
    }

    /// `status.retry_count`: how often the runner has tried again.
    pub fn retry_count(&self) -> i64 {
        self.0.document.at(&["status", "retry_count"]).and_then(Value::as_i64).unwrap_or(0)
    }

    /// A field of `status`.
    pub fn status(&self, field: &str) -> Option<&Value> {
        self.0.document.at(&["status", field])
    }

    /// `step_kind` of a workflow step: `run`, `build`, `deploy`.
    pub fn step_kind(&self) -> &str {
        self.text(&["step_kind"])
    }

    /// `spec.notifications`, when there are any.
    pub fn notifications(&self) -> Option<&Value> {
        self.0.document.at(&["spec", "notifications"]).filter(|list| list.is_truthy())
    }
}

/// A run, for runners that have no type of their own. Serializes as MLRun's run document.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Run {
    /// The run's identity.
    pub metadata: RunMetadata,
    /// The run's inputs.
    pub spec: RunSpec,
    /// The run's state and results.
    pub status: RunStatus,
}

/// The identity of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunMetadata {
    /// The name, shared by all runs of one job.
    pub name: String,
    /// The project. Default `default`.
    pub project: String,
    /// The id of this run, unique in the project.
    pub uid: String,
    /// 0 for the run itself.
    pub iteration: u32,
    /// Labels, such as `host` and `owner`.
    pub labels: Map,
}

/// The inputs of a run.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct RunSpec {
    /// The parameters. Every notification may show them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map,
}

/// The state and results of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunStatus {
    /// Its state.
    pub state: RunState,
    /// When it started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// The reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Details of the state, such as the signal that stopped the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// The results.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub results: Map,
}

impl Run {
    /// A run that has just started.
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Run {
            metadata: RunMetadata {
                name: name.into(),
                project: "default".to_owned(),
                uid: uid.into(),
                iteration: 0,
                labels: Map::new(),
            },
            spec: RunSpec::default(),
            status: RunStatus {
                state: RunState::Running,
                start_time: None,
                end_time: None,
                error: None,
                status_text: None,
                results: Map::new(),
            },
        }
    }

    /// Sets the project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.metadata.project = project.into();
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.labels.insert(name.into(), value.into());
        self
    }

    /// Sets a result.
    #[must_use]
    pub fn result(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.status.results.insert(name.into(), value.into());
        self
    }

    /// Marks the run as completed.
    #[must_use]
    pub fn completed(mut self) -> Self {
        self.status.state = RunState::Completed;
        self
    }

    /// Marks the run as failed, with the reason.
    #[must_use]
    pub fn failed(mut self, error: impl Into<String>) -> Self {
        self.status.state = RunState::Error;
        self.status.error = Some(error.into());
        self
    }

    /// Marks the run as aborted.
    #[must_use]
    pub fn aborted(mut self) -> Self {
        self.status.state = RunState::Aborted;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    #[test]
    fn a_document_that_is_no_run_is_refused_with_the_field() {
        for (text, message) in [
            ("[]", "run: must be an object, not a list"),
            ("{}", "metadata: is missing; a run document has metadata, spec and status"),
            (r#"{"metadata": 5}"#, "metadata: must be an object, not an integer"),
            (r#"{"metadata": {}, "status": "x"}"#, "status: must be an object, not a text"),
        ] {
            let error = RunSnapshot::new(read(text).expect("json")).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_view_is_made_once() {
        let run = Run::new("n", "u").freeze().expect("a run");
        assert_eq!(*run.view(|_| 1_u8), 1);
        assert_eq!(*run.clone().view(|_| 2_u8), 1);
        assert_eq!(*run.view(|_| "another type"), "another type");
    }

    #[test]
    fn any_serializable_run_freezes() {
        let run = Run::new("train", "u1").project("p").result("loss", 0.5).completed();
        let erased: &dyn RunView = &run;
        let snapshot = erased.freeze().expect("a run");
        assert_eq!((snapshot.name(), snapshot.project(), snapshot.state()), ("train", "p", RunState::Completed));
    }
}
