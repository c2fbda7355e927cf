//! Answers to "why was I (not) told?" about a stored run.

use runbell_core::{Result, RunSnapshot, RunState, Transition};
use runbell_store::{RunKey, VerdictRecord};

use super::desk::Desk;
use super::{Dispatcher, EventError};
use crate::insight::Explanation;
use crate::plan::Plan;

/// How many decisions are told.
const HISTORY: usize = 200;

/// What a stored run's notifications come to.
#[derive(Debug)]
pub struct Explained {
    /// The state the run is in.
    pub state: String,
    /// What is decided about each registered notification if it is pushed now, with its kind.
    pub now: Vec<(Explanation, String)>,
    /// What was decided, the latest first.
    pub history: Vec<VerdictRecord>,
}

impl Dispatcher {
    /// Why a run's notifications were, are, or would be sent or not.
    ///
    /// # Errors
    /// [`EventError::NoRun`] for an unknown run, and [`EventError::Store`].
    pub async fn explain(&self, key: &RunKey) -> Result<Explained, EventError> {
        let Desk { store, shop, .. } = &self.desk;
        let stored = store.run(key).await?.ok_or(EventError::NoRun)?;
        let latest = store.latest(key).await?;
        let history = store.verdicts(key, HISTORY).await?;
        // With what became of each, so that what was delivered is not said to be sent again.
        let run = RunSnapshot::step(self.told(&stored, &latest)?);
        let mut transition = Transition::current(run, self.desk.now());
        transition.state = stored.state.parse().unwrap_or(RunState::Unknown);
        let entries = self.desk.registered_entries(&key.project, &stored.notifications).await;
        let plan = Plan::of_registered(transition, entries, runbell_core::SecretValues::default(), shop);
        let explain = |entry| {
            let mut explanation = Explanation::new(&plan, entry);
            if !explanation.is_fault {
                let (_, reason, detail) = self.desk.verdict(&plan, entry);
                explanation.verdict = if reason.sends() { "send" } else { "skip" };
                explanation.reason = reason.as_str().to_owned();
                explanation.detail = explanation.detail.filter(|_| reason.sends()).or(detail);
            }
            explanation
        };
        let kinds = stored.notifications.iter().map(|registered| registered.kind.clone());
        let now = plan.entries.iter().map(explain).zip(kinds).collect();
        Ok(Explained { state: stored.state, now, history })
    }
}
