//! `explain` for a stored run: why its notifications were, are, or would be sent or not.

use runbell_core::{Look, Result, RunSnapshot, RunState, Transition};
use runbell_store::{RunKey, VerdictRecord};

use super::Dispatcher;
use super::fault::EventError;
use super::resources::Resources;
use crate::decide::Plan;
use crate::explain::Explanation;

/// The number of decisions that are returned.
const HISTORY: usize = 200;

/// The decisions about a stored run's notifications.
#[derive(Debug)]
pub struct Explained {
    /// The run's current state.
    pub state: String,
    /// The decision about each registered notification if it is pushed now, with its kind.
    pub now: Vec<(Explanation, String)>,
    /// The past decisions, the latest first.
    pub history: Vec<VerdictRecord>,
}

impl Dispatcher {
    /// Why a run's notifications were, are, or would be sent or not.
    ///
    /// # Errors
    /// [`EventError::NoRun`] for an unknown run, and [`EventError::Store`].
    pub async fn explain(&self, key: &RunKey) -> Result<Explained, EventError> {
        let Resources { store, preparer, .. } = &self.intake.resources;
        let stored = store.run(key).await?.ok_or(EventError::NoRun)?;
        let latest = store.latest(key).await?;
        let history = store.verdicts(key, HISTORY).await?;
        // With the outcome of each, so that finished deliveries are not shown as sent again.
        let run = RunSnapshot::step(self.shown(&stored, &latest)?);
        let mut transition = Transition::current(run, self.intake.resources.now());
        transition.state = stored.state.parse().unwrap_or(RunState::Unknown);
        let entries = self.intake.resources.registered_entries(&key.project, &stored.notifications, Look::Own).await;
        let plan = Plan::of_registered(transition, entries, runbell_core::SecretValues::default(), preparer, 0);
        let explain = |entry| Explanation::new(&plan, entry, |_| self.intake.verdict(&plan, entry, Look::Own).verdict);
        let kinds = stored.notifications.iter().map(|registered| registered.kind.clone());
        let now = plan.entries.iter().map(explain).zip(kinds).collect();
        Ok(Explained { state: stored.state, now, history })
    }
}
