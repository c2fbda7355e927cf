//! What became of an event, and why an event is refused.

use runbell_core::{Error, FindingCode, Findings, RunState};
use runbell_store::StoreError;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The run's version now.
    pub version: i64,
    /// The deliveries that follow, by their ids.
    pub deliveries: Vec<i64>,
    /// Each notification's name, and the rule that decided about it.
    pub verdicts: Vec<(String, &'static str)>,
}

/// Why something was not taken in. Nothing of it is kept then.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// The event is wrong: all faults, each with its field's path.
    Invalid(Findings),
    /// There is no such run.
    NoRun,
    /// A run that has ended does not start again, unless its `retry_count` rises.
    Ended {
        /// The state it is in.
        from: RunState,
        /// The state it would enter.
        to: RunState,
    },
    /// The store does not take it now; report it again.
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
