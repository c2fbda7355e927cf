//! Takes one transition in: decides about every registered notification and promises what follows, in one commit.

use std::sync::Arc;

use runbell_core::{
    DeliveryKey, Error, Findings, Notification, Place, Reason, Result, RunSnapshot, RunState, Timestamp, Transition,
    Value, text,
};
use runbell_store::{Intake, NewDelivery, NewVerdict, Registered, RunKey, SealedSecret, StoreError, StoredRun};

use super::Dispatcher;
use crate::plan::{Entry, Plan};
use crate::prepared::Unprepared;

/// How often an intake is decided anew when the run changes meanwhile.
const ROUNDS: usize = 8;

/// How many notifications a run may have.
const NOTIFICATIONS: usize = 100;

/// A run's entering a state, as it is told to a server.
#[derive(Debug, Clone)]
pub struct Event {
    /// The project.
    pub project: String,
    /// The run's uid.
    pub uid: String,
    /// The run's document.
    pub run: Value,
    /// A new list of notifications; `None` keeps the registered one.
    pub notifications: Option<Value>,
    /// The state it entered; `None` for the document's own.
    pub state: Option<RunState>,
    /// When; `None` for the document's own time, else now.
    pub at: Option<Timestamp>,
}

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

/// Why an event was not taken in. Nothing of it is kept then.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// What was told is wrong: all faults, each with its field's path.
    Invalid(Findings),
    /// A run that has ended does not start again, unless its `retry_count` rises.
    Ended {
        /// The state it is in.
        from: RunState,
        /// The state it would enter.
        to: RunState,
    },
    /// The store does not take it now; tell it again.
    Store(StoreError),
    /// A fault of Runbell's.
    Internal(Error),
}

impl From<StoreError> for EventError {
    fn from(error: StoreError) -> Self {
        EventError::Store(error)
    }
}

/// The notifications an event is decided about.
struct Decided {
    /// Set when they are a new list.
    list: Option<Vec<Registered>>,
    secrets: Vec<SealedSecret>,
    entries: Vec<Entry>,
    generation: i64,
}

impl Dispatcher {
    /// Takes an event in. When this returns, everything that follows from it is on disk.
    ///
    /// Telling the same event again changes nothing: its deliveries have the same keys.
    ///
    /// # Errors
    /// See [`EventError`]; whatever it is, nothing was kept.
    pub async fn take_in(&self, event: Event) -> Result<Taken, EventError> {
        let snapshot = self.snapshot(&event)?;
        let key = RunKey { project: event.project.clone(), uid: event.uid.clone(), iteration: snapshot.iteration() };
        for _ in 0..ROUNDS {
            let stored = self.store.run(&key).await?;
            let now = self.shop.cx.clock.now();
            let mut transition = Transition::current(snapshot.clone(), now);
            transition.state = event.state.unwrap_or(transition.state);
            transition.at = event.at.unwrap_or(transition.at);
            if let Some(stored) = &stored {
                stays_ended(stored, &transition)?;
            }
            let decided = self.notifications(&event, stored.as_ref()).await?;
            let (intake, verdicts) = self.decide(&key, stored.as_ref(), transition, decided, now);
            match self.store.intake(intake).await {
                Ok(accepted) => {
                    if !accepted.deliveries.is_empty() {
                        self.worker.wake();
                    }
                    return Ok(Taken { version: accepted.version, deliveries: accepted.deliveries, verdicts });
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// The run as a document; where it lacks project or uid, those of the path hold.
    fn snapshot(&self, event: &Event) -> Result<RunSnapshot, EventError> {
        let invalid = |path: &str, message: &str| {
            let mut found = Findings::default();
            found.fault(path, message);
            EventError::Invalid(found)
        };
        let snapshot = RunSnapshot::new(event.run.clone()).map_err(|error| {
            let (path, message) = error.message().split_once(": ").unwrap_or(("", error.message()));
            invalid(if path == "run" { "run".to_owned() } else { format!("run.{path}") }.as_str(), message)
        })?;
        for (field, given, wanted) in
            [("project", snapshot.project(), &event.project), ("uid", snapshot.uid(), &event.uid)]
        {
            if given != wanted {
                let message = format!("must be that of the path, `{}`", text::one_line(wanted, 80));
                return Err(invalid(&format!("run.metadata.{field}"), &message));
            }
        }
        if event.state.is_none() && snapshot.state_word().is_empty() {
            return Err(invalid("run.status.state", "is required, or `state` beside the run"));
        }
        Ok(snapshot)
    }

    /// What the event is decided about: the list it brings, or the one that is registered.
    async fn notifications(&self, event: &Event, stored: Option<&StoredRun>) -> Result<Decided, EventError> {
        let (registered, generation) = match stored {
            Some(stored) => (stored.notifications.as_slice(), stored.generation),
            None => (&[][..], 0),
        };
        let Some(document) = &event.notifications else {
            let mut entries = Vec::with_capacity(registered.len());
            for one in registered {
                entries.push(self.prepare_registered(&event.project, one).await);
            }
            return Ok(Decided { list: None, secrets: Vec::new(), entries, generation });
        };
        let (notifications, mut found) = Notification::parse_list(document);
        let mut below = Findings::default();
        if notifications.len() > NOTIFICATIONS {
            below.fault("", format!("has {} members; a run may have {NOTIFICATIONS}", notifications.len()));
        }
        for (index, notification) in &notifications {
            let mut faults = Findings::default();
            self.shop.check(notification).faults().cloned().for_each(|fault| faults.push(fault));
            below.extend_below(&format!("[{index}]"), faults);
        }
        found.extend_below("", below);
        if found.has_faults() {
            let mut all = Findings::default();
            all.extend_below("notifications", found);
            return Err(EventError::Invalid(all));
        }
        let (mut list, mut secrets, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (_, notification) in notifications {
            let (one, secret) = self.vault.conceal(&event.project, &notification).map_err(EventError::Internal)?;
            secrets.extend(secret);
            entries.push(match one.secret.as_deref().filter(|_| notification.secret_reference().is_some()) {
                // A secret of the project's own is looked up, as it will be for sending.
                Some(_) => self.prepare_registered(&event.project, &one).await,
                None => self.prepare(notification),
            });
            list.push(one);
        }
        // An equal list changes nothing, so that an event may be told again.
        if stored.is_some() && list == registered {
            return Ok(Decided { list: None, secrets: Vec::new(), entries, generation });
        }
        Ok(Decided { list: Some(list), secrets, entries, generation: generation + 1 })
    }

    async fn prepare_registered(&self, project: &str, registered: &Registered) -> Entry {
        match self.vault.reveal(project, registered).await {
            Ok(notification) => self.prepare(notification),
            Err(error) => Err(Unprepared::new(&registered.name, &registered.kind, error)),
        }
    }

    fn prepare(&self, notification: Notification) -> Entry {
        let (name, kind) = (notification.name.clone(), notification.kind.clone());
        self.shop.prepare(notification).map(Arc::new).map_err(|error| Unprepared::new(&name, &kind, error))
    }

    fn decide(
        &self,
        key: &RunKey,
        stored: Option<&StoredRun>,
        transition: Transition,
        decided: Decided,
        now: Timestamp,
    ) -> (Intake, Vec<(String, &'static str)>) {
        let Decided { list, secrets, entries, generation } = decided;
        let plan = Plan::of_registered(transition, entries, &self.shop);
        let Transition { run, state, at, .. } = &plan.transition;
        let (mut verdicts, mut deliveries) = (Vec::new(), Vec::new());
        for entry in &plan.entries {
            let (name, reason, detail) = match entry {
                Ok(prepared) if self.is_here_only(prepared.kind) => (&*prepared.name, Reason::HereOnlyKind, None),
                Ok(prepared) => {
                    let (verdict, _note) = plan.decide(prepared);
                    (&*prepared.name, verdict.reason, verdict.detail)
                }
                // What cannot be decided is delivered, and fails there, where somebody sees it.
                Err(unprepared) => (unprepared.name.as_str(), Reason::Matched, Some(unprepared.error.reason())),
            };
            if reason.sends() {
                let key = DeliveryKey::new(run, name, *state, u64::try_from(generation).unwrap_or(0)).to_string();
                deliveries.push(NewDelivery { key, notification: name.to_owned(), state: *state, at: *at });
            }
            let notification = name.to_owned();
            verdicts.push(NewVerdict { notification, state: *state, reason: reason.as_str(), detail });
        }
        let told = verdicts.iter().map(|verdict| (verdict.notification.clone(), verdict.reason)).collect();
        let intake = Intake {
            run: key.clone(),
            document: run.document().to_json(),
            expected: stored.map(|stored| stored.version),
            notifications: list,
            secrets,
            verdicts,
            deliveries,
            now,
        };
        (intake, told)
    }

    fn is_here_only(&self, kind: &str) -> bool {
        self.shop.registry.get(kind).is_ok_and(|kind| kind.registration().place == Place::HereOnly)
    }
}

/// A run that has ended stays ended: news that comes late must not wake it. With a higher `retry_count` it runs anew.
fn stays_ended(stored: &StoredRun, transition: &Transition) -> Result<(), EventError> {
    let known = runbell_core::value::read(&stored.document).ok().map(RunSnapshot::step);
    let Some(known) = known else { return Ok(()) };
    let (from, to) = (known.state(), transition.state);
    let ended = |state| matches!(state, RunState::Completed | RunState::Error | RunState::Aborted | RunState::Skipped);
    if ended(from) && !ended(to) && transition.run.retry_count() <= known.retry_count() {
        return Err(EventError::Ended { from, to });
    }
    Ok(())
}
