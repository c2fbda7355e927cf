//! The result of an event, and the reasons of a refusal.

use runbell_core::{Error, FindingCode, Findings, RunState};
use runbell_store::StoreError;

/// The result of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The run's version after the event.
    pub version: i64,
    /// The ids of the new deliveries.
    pub deliveries: Vec<i64>,
    /// Each notification's name, and the rule that decided about it.
    pub verdicts: Vec<(String, &'static str)>,
}

/// The reason why a change was refused. None of it is stored.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// The event is wrong: all faults, each with its field's path.
    Invalid(Findings),
    /// There is no such run.
    NoRun,
    /// A run that has ended does not start again, unless its `retry_count` rises.
    Ended {
        /// The run's current state.
        from: RunState,
        /// The refused state.
        to: RunState,
    },
    /// The store does not answer now; report the event again.
    Store(StoreError),
    /// A fault of Runbell's.
    Internal(Error),
}

impl EventError {
    /// One fault.
    pub(super) fn invalid(code: FindingCode, path: &str, message: impl Into<String>) -> Self {
        let mut found = Findings::default();
        found.fault_of(code, path, message);
        EventError::Invalid(found)
    }
}

impl From<StoreError> for EventError {
    fn from(error: StoreError) -> Self {
        EventError::Store(error)
    }
}
