//! Where a run is changed: decides about every registered notification and promises what follows, in one commit.

use std::sync::Arc;

use runbell_core::{
    DeliveryKey, Findings, Notification, Place as KindPlace, Reason, Result, RunSnapshot, RunState, SecretValues,
    Timestamp, Transition, Value,
};
use runbell_store::{
    Accepted, Deliver, Intake, Lease, NewDelivery, NewVerdict, Registered, RunFacts, RunKey, SealedSecret, Store,
    StoreError, StoredRun,
};

use super::conceal::Vault;
use super::worker::{LEASE, Place, Worker};
use super::{EventError, Taken};
use crate::plan::{Entry, Plan, secrets_of};
use crate::prepared::{Prepared, Unprepared, Workshop};
use crate::redact::redact;

/// How often a change is decided anew when the run changes meanwhile.
const ROUNDS: usize = 8;

/// How many notifications a run may have.
const NOTIFICATIONS: usize = 100;

/// What changes are made with.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) store: Arc<dyn Store>,
    pub(super) shop: Workshop,
    pub(super) vault: Vault,
}

/// A run's new form.
pub(super) struct Change {
    /// The document.
    pub(super) run: RunSnapshot,
    /// The state it is in now.
    pub(super) state: RunState,
    /// The word for it: one that nobody knows is kept.
    pub(super) word: String,
    /// When it entered it.
    pub(super) at: Timestamp,
    /// A new list of notifications; `None` keeps the registered one.
    pub(super) notifications: Option<Value>,
    /// Whether its notifications are decided about.
    pub(super) evaluate: Evaluate,
}

/// Whether a change is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evaluate {
    /// It is: the run entered a state, or somebody asks for what it owes.
    Always,
    /// Only if its new list takes the place of promises that nobody has kept.
    IfSuperseded,
    /// It is not: only the document changes.
    Never,
}

impl Change {
    /// The run's being in the state that its document tells.
    pub(super) fn current(run: RunSnapshot, now: Timestamp, evaluate: Evaluate) -> Self {
        let Transition { run, state, at, .. } = Transition::current(run, now);
        Change { word: run.state_word().to_owned(), run, state, at, notifications: None, evaluate }
    }
}

/// The notifications a change is decided about.
struct Decided {
    /// Set when they are a new list.
    list: Option<Vec<Registered>>,
    secrets: Vec<SealedSecret>,
    entries: Vec<Entry>,
    generation: i64,
}

/// A delivery with everything an attempt needs, so that nothing is read again what is at hand.
pub(super) struct Ready {
    /// As it will be leased; its id is known only once it is made.
    pub(super) lease: Lease,
    pub(super) prepared: Arc<Prepared>,
    pub(super) plan: Arc<Plan>,
}

/// Makes the promise, and has carried out what is leased.
async fn promise(
    store: Arc<dyn Store>,
    worker: Option<Worker>,
    intake: Intake,
    mut ready: Vec<Option<Ready>>,
    mut places: Vec<Place>,
) -> Result<Accepted, StoreError> {
    let accepted = store.intake(intake).await?;
    let Some(worker) = worker else { return Ok(accepted) };
    for (position, id) in &accepted.leased {
        if let (Some(mut ready), Some(place)) = (ready.get_mut(*position).and_then(Option::take), places.pop()) {
            ready.lease.id = *id;
            worker.carry_out(ready, place);
        }
    }
    if accepted.deliveries.len() > accepted.leased.len() {
        worker.wake();
    }
    Ok(accepted)
}

impl Desk {
    /// Makes a change. When this returns, everything that follows from it is on disk.
    ///
    /// `make` is called with the run as it is stored, again whenever somebody else changed it meanwhile. With `is_new` the
    /// run is taken for an unknown one at first, without looking. What follows is carried out by `worker` at once, as far as
    /// it has places free; without one it is claimed later.
    pub(super) async fn change(
        &self,
        key: &RunKey,
        is_new: bool,
        worker: Option<&Worker>,
        make: impl Fn(Option<&StoredRun>, Timestamp) -> Result<Change, EventError> + Send,
    ) -> Result<Taken, EventError> {
        for round in 0..ROUNDS {
            let stored = if is_new && round == 0 { None } else { self.store.run(key).await? };
            let now = self.now();
            let change = make(stored.as_ref(), now)?;
            if let Some(stored) = &stored {
                stays_ended(stored, &change)?;
            }
            let (mut intake, ready) = self.decide(key, stored.as_ref(), change, now).await?;
            let verdicts =
                intake.verdicts.iter().map(|verdict| (verdict.notification.clone(), verdict.reason)).collect();
            let places = worker.map_or_else(Vec::new, |worker| worker.reserve(ready.iter().flatten().count()));
            let can_go = intake.deliveries.iter_mut().zip(&ready).filter(|(_, ready)| ready.is_some());
            for (delivery, _) in can_go.take(places.len()) {
                delivery.lease = Some(LEASE);
            }
            // A caller may go before the answer; what is promised, and leased, is carried out all the same.
            let promised = tokio::spawn(promise(Arc::clone(&self.store), worker.cloned(), intake, ready, places));
            match promised.await.unwrap_or_else(|_| Err(StoreError::Unavailable("it was interrupted".to_owned()))) {
                Ok(accepted) => {
                    return Ok(Taken { version: accepted.version, deliveries: accepted.deliveries, verdicts });
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shop.cx.clock.now()
    }

    async fn decide(
        &self,
        key: &RunKey,
        stored: Option<&StoredRun>,
        change: Change,
        now: Timestamp,
    ) -> Result<(Intake, Vec<Option<Ready>>), EventError> {
        let Change { run, state, word, at, notifications, evaluate } = change;
        let decided = self.notifications(&key.project, notifications.as_ref(), stored).await?;
        let Decided { list, secrets, entries, generation } = decided;
        let is_own_word = word == run.state_word();
        let mut own = SecretValues::default();
        own_secrets(&run, &mut own);
        let plan = Plan::of_registered(Transition { run, state, at, steps: [].into() }, entries, own, &self.shop);
        // Of the redacted run, for these are stored too.
        let run = &plan.transition.run;
        let facts = RunFacts {
            name: run.name().to_owned(),
            state: if is_own_word { run.state_word().to_owned() } else { word },
            started_at: run.status("start_time").and_then(Value::as_str).and_then(|at| at.parse().ok()),
        };
        let plan = Arc::new(plan);
        let registered = |name: &str| {
            let all = list.as_deref().or(stored.map(|stored| stored.notifications.as_slice()));
            all.into_iter().flatten().find(|one| one.name == name).cloned()
        };
        let (mut verdicts, mut deliveries, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        let decided_about: &[Entry] = if evaluate == Evaluate::Never { &[] } else { &plan.entries };
        for entry in decided_about {
            let (name, reason, detail) = self.verdict(&plan, entry);
            if reason.sends() {
                // The first list has the keys that a process without a server would give its own.
                let generation = u64::try_from(generation - 1).unwrap_or(0);
                let delivery = DeliveryKey::new(&plan.transition.run, &name, state, generation).to_string();
                ready.push(entry.as_ref().ok().zip(registered(&name)).map(|(prepared, notification)| Ready {
                    lease: Lease {
                        id: 0,
                        fence: 1,
                        key: delivery.clone(),
                        run: key.clone(),
                        document: String::new(),
                        notification,
                        sealed: None,
                        state,
                        at,
                        created_at: now,
                        attempt: 1,
                        last_chance: false,
                    },
                    prepared: Arc::clone(prepared),
                    plan: Arc::clone(&plan),
                }));
                deliveries.push(NewDelivery { key: delivery, notification: name.clone(), state, at, lease: None });
            }
            verdicts.push(NewVerdict { notification: name, state, reason: reason.as_str(), detail });
        }
        let intake = Intake {
            run: key.clone(),
            document: plan.transition.run.document().to_json(),
            facts,
            expected: stored.map(|stored| stored.version),
            notifications: list,
            secrets,
            verdicts,
            deliveries,
            deliver: if evaluate == Evaluate::IfSuperseded { Deliver::IfSuperseded } else { Deliver::Always },
            now,
        };
        Ok((intake, ready))
    }

    /// Whether to send, and why.
    pub(super) fn verdict(&self, plan: &Plan, entry: &Entry) -> (String, Reason, Option<String>) {
        match entry {
            Ok(prepared) if self.is_here_only(prepared.kind) => (prepared.name.to_string(), Reason::HereOnlyKind, None),
            Ok(prepared) => {
                let (verdict, _note) = plan.decide(prepared);
                (prepared.name.to_string(), verdict.reason, verdict.detail)
            }
            // What cannot be decided is delivered, and fails there, where somebody sees it.
            Err(unprepared) => (unprepared.name.clone(), Reason::Matched, Some(unprepared.error.reason())),
        }
    }

    /// What the change is decided about: the list it brings, or the one that is registered.
    async fn notifications(
        &self,
        project: &str,
        list: Option<&Value>,
        stored: Option<&StoredRun>,
    ) -> Result<Decided, EventError> {
        let (registered, generation) = match stored {
            Some(stored) => (stored.notifications.as_slice(), stored.generation),
            None => (&[][..], 0),
        };
        let Some(document) = list else {
            let entries = self.registered_entries(project, registered).await;
            return Ok(Decided { list: None, secrets: Vec::new(), entries, generation });
        };
        let (notifications, mut found) = Notification::parse_list(document);
        let mut below = Findings::default();
        if notifications.len() > NOTIFICATIONS {
            below.fault("", format!("has {} members; a run may have {NOTIFICATIONS}", notifications.len()));
        }
        let conceal = |notification: &Notification, known: &SecretValues| {
            self.vault.conceal(project, notification, known).map_err(EventError::Internal)
        };
        let (mut entries, mut known) = (Vec::with_capacity(notifications.len()), SecretValues::default());
        for (index, notification) in notifications.iter().take(NOTIFICATIONS) {
            let entry = match notification.secret_reference() {
                // A secret of the project's own is looked up, as it will be for sending.
                Some(_) => self.prepare_registered(project, &conceal(notification, &known)?.0).await,
                None => self.prepare(notification.clone()),
            };
            // What can be made ready has no faults; of the rest, all are told.
            if entry.is_err() {
                let mut faults = Findings::default();
                self.shop.check(notification).faults().cloned().for_each(|fault| faults.push(fault));
                below.extend_below(&format!("[{index}]"), faults);
            }
            known.extend(secrets_of(&entry));
            entries.push(entry);
        }
        found.extend_below("", below);
        if found.has_faults() {
            let mut all = Findings::default();
            all.extend_below("notifications", found);
            return Err(EventError::Invalid(all));
        }
        let (mut list, mut secrets) = (Vec::with_capacity(notifications.len()), Vec::new());
        for (_, notification) in &notifications {
            let (one, secret) = conceal(notification, &known)?;
            list.push(one);
            secrets.extend(secret);
        }
        // An equal list changes nothing, so that an event may be told again. A run that never had a list has an empty one.
        if list == registered && (stored.is_some() || list.is_empty()) {
            return Ok(Decided { list: None, secrets: Vec::new(), entries, generation });
        }
        Ok(Decided { list: Some(list), secrets, entries, generation: generation + 1 })
    }

    /// Registered notifications made ready, each with its secrets.
    pub(super) async fn registered_entries(&self, project: &str, registered: &[Registered]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(registered.len());
        for one in registered {
            entries.push(self.prepare_registered(project, one).await);
        }
        entries
    }

    async fn prepare_registered(&self, project: &str, registered: &Registered) -> Entry {
        match self.vault.reveal(project, registered).await {
            Ok(notification) => self.prepare(notification),
            Err(error) => Err(Unprepared::new(&registered.name, &registered.kind, error)),
        }
    }

    fn prepare(&self, notification: Notification) -> Entry {
        let (name, kind) = (notification.name.clone(), notification.kind.clone());
        let given = notification.secret_params.clone();
        self.shop.prepare(notification).map(Arc::new).map_err(|error| {
            let mut unprepared = Unprepared::new(&name, &kind, error);
            unprepared.secrets.add(&Value::Map(given));
            unprepared
        })
    }

    fn is_here_only(&self, kind: &str) -> bool {
        self.shop.registry.get(kind).is_ok_and(|kind| kind.registration().place == KindPlace::HereOnly)
    }

    /// A document that is no run's, free of what `secret_params` inside it hold.
    pub(super) fn clean(&self, mut document: Value) -> Value {
        let mut secrets = SecretValues::default();
        own_secrets(&RunSnapshot::step(document.clone()), &mut secrets);
        redact(&mut document, &self.shop.registry, &secrets);
        document
    }
}

/// What the notifications inside a run keep secret. They are not registered, but what they hold must not be stored.
fn own_secrets(run: &RunSnapshot, secrets: &mut SecretValues) {
    for notification in run.notifications().and_then(Value::as_list).into_iter().flatten() {
        let reference = notification.at(&["secret_params", runbell_core::SECRET_KEY]).is_some();
        if let Some(params) = notification.get("secret_params").filter(|_| !reference) {
            secrets.add(params);
        }
    }
}

/// A run that has ended stays ended: news that comes late must not wake it. With a higher `retry_count` it runs anew.
fn stays_ended(stored: &StoredRun, change: &Change) -> Result<(), EventError> {
    let (from, to) = (stored.state.parse().unwrap_or(RunState::Unknown), change.state);
    let ended = |state| matches!(state, RunState::Completed | RunState::Error | RunState::Aborted | RunState::Skipped);
    if !ended(from) || ended(to) {
        return Ok(());
    }
    let known = runbell_core::value::read(&stored.document).ok().map(RunSnapshot::step);
    if change.run.retry_count() <= known.map_or(0, |known| known.retry_count()) {
        return Err(EventError::Ended { from, to });
    }
    Ok(())
}
