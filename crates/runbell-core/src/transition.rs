//! A run entering a state.

use std::sync::Arc;

use jiff::Timestamp;

use crate::run::RunSnapshot;
use crate::state::RunState;

/// A run entering a state: what notifications are about.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The run as it was then.
    pub run: RunSnapshot,
    /// The state it entered.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
    /// The steps of a workflow; empty for a plain run.
    pub steps: Arc<[RunSnapshot]>,
}

impl Transition {
    /// The run's entering its current state.
    ///
    /// The time is the run's own where it can be read, else `now`: `status.end_time`, else `last_update`; for a start
    /// `start_time`. When a run is retried its `start_time` stays that of the first try, so the start of a retry takes
    /// `last_update`.
    pub fn current(run: RunSnapshot, now: Timestamp) -> Self {
        let state = run.state();
        let fields: &[&str] = match state {
            RunState::Running if run.retry_count() > 0 => &["last_update"],
            RunState::Running => &["start_time"],
            _ => &["end_time", "last_update"],
        };
        let told = fields.iter().find_map(|field| run.status(field)?.as_str()?.parse().ok());
        Transition { state, at: told.unwrap_or(now), run, steps: Arc::new([]) }
    }

    /// Adds the steps of a workflow.
    #[must_use]
    pub fn with_steps(mut self, steps: Vec<RunSnapshot>) -> Self {
        self.steps = steps.into();
        self
    }
}
