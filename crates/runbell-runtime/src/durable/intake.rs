//! Accepts changes of runs: decides about every registered notification, and stores the decisions and deliveries in one
//! commit.

use std::sync::Arc;

use runbell_core::{
    FindingCode, Findings, Flow, Job, Look, Notification, Place, Reason, Result, RunSnapshot, RunState, SecretValues,
    Timestamp, Transition, Value, Verdict, time_of,
};
use runbell_store::{
    Deliver, NewJob, NewVerdict, Placement, RegisteredNotification, RunChange, RunFacts, RunKey, SealedSecret,
    StoreError, StoredRun,
};

use super::deliver::LEASE;
use super::fault::{EventError, Taken};
use super::resources::{Resources, own_secrets};
use super::worker::{Reserved, Worker};
use crate::decide::{Decision, Entry, Plan, secrets_of};
use crate::ready::ReadyNotification;

/// The most times that a change is decided again because the run changed meanwhile.
const ROUNDS: usize = 8;

/// The longest name and the longest message of a notification, in bytes.
const LONGEST_NAME: usize = 253;
const LONGEST_MESSAGE: usize = 32 * 1024;

/// The most notifications of a run.
const NOTIFICATIONS: usize = 100;

/// Accepts changes of runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) resources: Resources,
    pub(super) worker: Worker,
}

/// A run's new form.
pub(super) struct Change {
    /// The document.
    pub(super) run: RunSnapshot,
    /// The documents of its workflow's steps.
    pub(super) steps: Vec<RunSnapshot>,
    /// The run's current state.
    pub(super) state: RunState,
    /// The word for it: an unknown one is kept.
    pub(super) word: String,
    /// The time at which the run entered the state.
    pub(super) at: Timestamp,
    /// A new list of notifications; `None` keeps the registered one.
    pub(super) notifications: Option<Value>,
    /// Whether its notifications are decided about.
    pub(super) evaluate: Evaluate,
    /// The look of messages: MLRun's or Runbell's.
    pub(super) look: Look,
}

/// Whether a change is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evaluate {
    /// It is: the run entered a state, or a caller pushes its notifications.
    Always,
    /// Only if the new list replaces unfinished deliveries about the present state.
    IfReplaced,
    /// It is not: only the document changes.
    Never,
}

impl Change {
    /// The change to the state that the run's document has.
    pub(super) fn current(run: RunSnapshot, now: Timestamp, evaluate: Evaluate, look: Look) -> Self {
        let Transition { run, state, at, .. } = Transition::current(run, now);
        let word = run.state_word().to_owned();
        Change { word, run, steps: Vec::new(), state, at, notifications: None, evaluate, look }
    }
}

/// The notifications for which a change is decided.
struct Concerned {
    /// Set when they are a new list.
    list: Option<Vec<RegisteredNotification>>,
    secrets: Vec<SealedSecret>,
    entries: Vec<Entry>,
    generation: i64,
}

/// The decision about one notification, with its delivery.
struct Decided {
    name: String,
    verdict: Verdict,
    job: Option<Job>,
    /// Set when the attempt can be made from memory.
    ready: Option<Arc<ReadyNotification>>,
    /// Room for that attempt.
    reserved: Option<Reserved>,
}

/// A change that is decided, ready to be stored.
struct Prepared {
    change: RunChange,
    decided: Vec<Decided>,
    plan: Arc<Plan>,
}

impl Intake {
    /// Makes a change. When this returns, its version, verdicts and deliveries are on disk.
    ///
    /// `make` is called with the run as it is stored, again whenever another change came in between. With `is_new` the run is
    /// assumed to be unknown at first, without a query to the store.
    pub(super) async fn change(
        &self,
        key: &RunKey,
        is_new: bool,
        make: impl Fn(Option<&StoredRun>, Timestamp) -> Result<Change, EventError> + Send,
    ) -> Result<Taken, EventError> {
        for round in 0..ROUNDS {
            let stored = if is_new && round == 0 { None } else { self.resources.store.run(key).await? };
            let change = make(stored.as_ref(), self.resources.now())?;
            if let Some(stored) = &stored {
                stays_ended(stored, &change)?;
            }
            let prepared = self.decide(key, stored.as_ref(), change).await?;
            // A caller may leave before the answer; what is stored, and leased, is carried out all the same.
            let stored = tokio::spawn(self.clone().store(prepared)).await;
            match stored.unwrap_or_else(|_| Err(StoreError::Unavailable("it was interrupted".to_owned()))) {
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(taken) => return Ok(taken),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Stores a change, and starts the attempts that it leased.
    async fn store(self, prepared: Prepared) -> Result<Taken, StoreError> {
        let Prepared { change, decided, plan } = prepared;
        let accepted = self.resources.store.intake(change).await?;
        let mut taken = Taken { version: accepted.version, deliveries: Vec::new(), verdicts: Vec::new() };
        for one in decided {
            let placed = one.job.as_ref().and_then(|job| accepted.jobs.iter().find(|placed| placed.key == job.key));
            let mut reason = one.verdict.reason;
            match placed.map(|placed| (&placed.placement, placed.id)) {
                None => {}
                // The same news, reported again.
                Some((Placement::Known, _)) => reason = Reason::AlreadyDone,
                Some((Placement::Queued, id)) => taken.deliveries.push(id),
                Some((Placement::Leased(lease), id)) => {
                    taken.deliveries.push(id);
                    if let (Some(job), Some(ready), Some(reserved)) = (one.job, one.ready, one.reserved) {
                        self.worker.carry_out(*lease, job, ready, &plan, reserved);
                    }
                }
            }
            taken.verdicts.push((one.name, reason.as_str()));
        }
        Ok(taken)
    }

    async fn decide(&self, key: &RunKey, stored: Option<&StoredRun>, change: Change) -> Result<Prepared, EventError> {
        let Change { run, steps, state, word, at, notifications, evaluate, look } = change;
        let concerned = self.concerned(&key.project, notifications.as_ref(), stored, look).await?;
        let Concerned { list, secrets, entries, generation } = concerned;
        let is_own_word = word == run.state_word();
        let mut own = SecretValues::default();
        own_secrets(&run, &mut own);
        let transition = Transition { run, state, at, steps: steps.into() };
        // The first list has the keys that a process without a server would give its own.
        let earlier = u64::try_from(generation - 1).unwrap_or(0);
        let plan = Arc::new(Plan::of_registered(transition, entries, own, &self.resources.preparer, earlier));
        let mut decided = Vec::new();
        if evaluate != Evaluate::Never {
            decided.extend(plan.entries.iter().map(|entry| self.decide_one(&plan, entry, look)));
        }
        // Of the redacted run, for the store's facts are shown too.
        let run = &plan.transition.run;
        let change = RunChange {
            run: key.clone(),
            document: run.document().to_json(),
            steps: steps_of(&plan),
            facts: RunFacts {
                name: run.name().to_owned(),
                state: if is_own_word { run.state_word().to_owned() } else { word },
                started_at: run.status("start_time").and_then(Value::as_str).and_then(time_of),
            },
            expected: stored.map(|stored| stored.version),
            notifications: list,
            secrets,
            verdicts: decided.iter().map(|one| verdict_of(one, state)).collect(),
            jobs: decided.iter().filter_map(new_job).collect(),
            deliver: if evaluate == Evaluate::IfReplaced { Deliver::IfReplaced(state) } else { Deliver::Always },
        };
        Ok(Prepared { change, decided, plan })
    }

    fn decide_one(&self, plan: &Plan, entry: &Entry, look: Look) -> Decided {
        let Decision { verdict, job } = self.verdict(plan, entry, look);
        match entry {
            Ok(ready) => {
                let reserved = job.as_ref().and_then(|_| self.worker.reserve(ready));
                Decided { name: ready.name.to_string(), verdict, job, ready: Some(Arc::clone(ready)), reserved }
            }
            Err(unusable) => Decided { name: unusable.name.clone(), verdict, job, ready: None, reserved: None },
        }
    }

    /// Decides whether to send, with the reason and the job.
    pub(super) fn verdict(&self, plan: &Plan, entry: &Entry, look: Look) -> Decision {
        match entry {
            Ok(ready) if self.is_here_only(ready.kind) => Decision { verdict: Reason::HereOnlyKind.into(), job: None },
            Ok(ready) => plan.decide(ready),
            // A notification that cannot be decided about is delivered, and fails there, where its failure is seen.
            Err(unusable) => {
                let notification = Arc::new(Notification::new(&*unusable.kind, &*unusable.name));
                let job = plan.job(&notification, &unusable.name.as_str().into(), look);
                let detail = Some(unusable.error.reason());
                Decision { verdict: Verdict { reason: Reason::Matched, detail, why: None }, job: Some(job) }
            }
        }
    }

    /// The notifications for which the change is decided: its own list, or the registered one.
    async fn concerned(
        &self,
        project: &str,
        list: Option<&Value>,
        stored: Option<&StoredRun>,
        look: Look,
    ) -> Result<Concerned, EventError> {
        let (registered, generation) = match stored {
            Some(stored) => (stored.notifications.as_slice(), stored.generation),
            None => (&[][..], 0),
        };
        let Some(document) = list else {
            let entries = self.resources.registered_entries(project, registered, look).await;
            return Ok(Concerned { list: None, secrets: Vec::new(), entries, generation });
        };
        let NewList { entries, notifications, known } = self.read_list(project, document, look).await?;
        let (mut list, mut secrets) = (Vec::with_capacity(notifications.len()), Vec::new());
        for notification in &notifications {
            let concealed = self.resources.vault.conceal(project, notification, &known);
            let (one, secret) = concealed.map_err(EventError::Internal)?;
            list.push(one);
            secrets.extend(secret);
        }
        // An equal list changes nothing, so that an event may be reported again. A run that never had a list has an empty one.
        if list == registered && (stored.is_some() || list.is_empty()) {
            return Ok(Concerned { list: None, secrets: Vec::new(), entries, generation });
        }
        Ok(Concerned { list: Some(list), secrets, entries, generation: generation + 1 })
    }

    /// Reads a new list of notifications, with all its findings.
    async fn read_list(&self, project: &str, document: &Value, look: Look) -> Result<NewList, EventError> {
        let (notifications, mut found) = Notification::parse_list(document);
        let mut below = Findings::default();
        if notifications.len() > NOTIFICATIONS {
            let message = format!("has {} members; a run may have {NOTIFICATIONS}", notifications.len());
            below.fault_of(FindingCode::OutOfRange, "", message);
        }
        let (mut entries, mut known) = (Vec::with_capacity(notifications.len()), SecretValues::default());
        for (index, notification) in notifications.iter().take(NOTIFICATIONS) {
            let entry = match notification.secret_reference() {
                // A named project secret is looked up, as it will be for an attempt.
                Some(_) => {
                    let concealed = self.resources.vault.conceal(project, notification, &known);
                    let registered = concealed.map_err(EventError::Internal)?.0;
                    self.resources.prepare_registered(project, &registered, look).await
                }
                None => self.resources.prepare(notification.clone(), look),
            };
            // A ready notification has no faults; of an unusable one, all are returned.
            if entry.is_err() {
                let mut faults = Findings::default();
                let checked = self.resources.preparer.check(notification);
                checked.faults().cloned().for_each(|fault| faults.push(fault));
                below.extend_below(&format!("[{index}]"), faults);
            }
            below.extend_below(&format!("[{index}]"), too_long(notification));
            known.extend(secrets_of(&entry));
            entries.push(entry);
        }
        found.extend_below("", below);
        if found.has_faults() {
            let mut all = Findings::default();
            all.extend_below("notifications", found);
            return Err(EventError::Invalid(all));
        }
        let notifications = notifications.into_iter().map(|(_, notification)| notification).collect();
        Ok(NewList { entries, notifications, known })
    }

    fn is_here_only(&self, kind: &str) -> bool {
        let registered = self.resources.preparer.registry.get(kind);
        registered.is_ok_and(|kind| kind.registration().place == Place::HereOnly)
    }
}

/// A list of notifications without faults.
struct NewList {
    entries: Vec<Entry>,
    notifications: Vec<Notification>,
    known: SecretValues,
}

fn steps_of(plan: &Plan) -> Option<String> {
    let steps = plan.subject().steps();
    let documents = || steps.iter().map(|step| step.document().clone()).collect::<Vec<_>>();
    (!steps.is_empty()).then(|| Value::from(documents()).to_json())
}

fn verdict_of(decided: &Decided, state: RunState) -> NewVerdict {
    let Verdict { reason, detail, why } = decided.verdict.clone();
    NewVerdict { notification: decided.name.clone(), state, reason: reason.as_str(), detail, why }
}

fn new_job(decided: &Decided) -> Option<NewJob> {
    let flow = decided.ready.as_ref().map_or_else(Flow::default, |ready| ready.flow);
    Some(NewJob { job: decided.job.clone()?, flow, lease: decided.reserved.as_ref().map(|_| LEASE) })
}

/// An ended run stays ended: late news must not wake it. With a higher `retry_count` it runs again.
fn stays_ended(stored: &StoredRun, change: &Change) -> Result<(), EventError> {
    let (from, to) = (stored.state.parse().unwrap_or(RunState::Unknown), change.state);
    let ended = matches!(from, RunState::Completed | RunState::Error | RunState::Aborted | RunState::Skipped);
    let known =
        || runbell_core::value::read(&stored.document).map_or(0, |known| RunSnapshot::step(known).retry_count());
    if ended && (from != to || change.run.retry_count() > 0) {
        let (known, reported) = (known(), change.run.retry_count());
        if reported < known || (reported == known && from != to) {
            return Err(EventError::Ended { from, to });
        }
    }
    Ok(())
}

/// The faults of a notification's texts that are too long.
fn too_long(notification: &Notification) -> Findings {
    let mut found = Findings::default();
    for (field, text, most) in
        [("name", &notification.name, LONGEST_NAME), ("message", &notification.message, LONGEST_MESSAGE)]
    {
        if text.len() > most {
            let message = format!("is {} bytes long; the limit is {most}", text.len());
            found.fault_of(FindingCode::OutOfRange, field, message);
        }
    }
    found
}
