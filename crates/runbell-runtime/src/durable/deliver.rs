//! Attempts a leased delivery, and records the outcome.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use runbell_core::delivery::{Failure, Held, Next, Outcome};
use runbell_core::{
    DeliveryKey, ErrorKind, Flow, FlowHash, Job, Lane, Links, Notification, Result, RetryPolicy, RunSnapshot, RunState,
    SecretValues, Subject, Value,
};
use runbell_store::{Completion, HoldChange, HoldTarget, Lease, LeasedDelivery, Recorded, StoreResult};
use tokio::time::{Instant, timeout};

use super::alarm::{self, Subjected};
use super::options::{AttemptResult, Attempted, Observer};
use super::resources::{Resources, broken, read_document};
use crate::admission::{Admission, Change, Expected, Refusal, Signal};
use crate::attempt::Attempt;
use crate::decide::{Plan, message, render};
use crate::flag::Flag;
use crate::ready::ReadyNotification;
use crate::redact::redact;

/// How long a lease lasts: 15 s longer than the longest attempt (60 s).
pub(super) const LEASE: Duration = Duration::from_secs(60 + 15);

/// The pause after a store did not answer.
pub(super) const STORE_DOWN: Duration = Duration::from_secs(1);

/// How many overdue deliveries are leased at a time.
const OVERDUE: usize = 100;

/// A leased delivery.
pub(super) enum Deliverable {
    /// All inputs of its attempt are in memory.
    AtHand { job: Job, ready: Arc<ReadyNotification>, plan: Arc<Plan> },
    /// It was read from the store.
    Stored(Box<LeasedDelivery>),
}

/// The result of one lease.
struct Course {
    /// The kind; empty when the sender could not be built.
    kind: &'static str,
    flow: Flow,
    ended: Outcome,
    error: Option<ErrorKind>,
    holds: Vec<HoldChange>,
}

/// Attempts leased deliveries, and records the outcomes.
pub(super) struct Deliverer {
    pub(super) resources: Resources,
    pub(super) links: Links,
    pub(super) policy: Arc<RetryPolicy>,
    pub(super) on_failure: Vec<Notification>,
    pub(super) observer: Option<Observer>,
    pub(super) admission: Arc<Admission>,
    pub(super) stopping: Flag,
}

impl Deliverer {
    /// Makes one attempt of a leased delivery, if it is admitted, and records the outcome. Returns its destination.
    pub(super) async fn deliver(&self, lease: Lease, what: Deliverable, expected: Expected) -> FlowHash {
        let (began, created_before) = (Instant::now(), lease.progress.age);
        let made = self.attempt(&lease, &what, expected).await;
        let about = About::of(&what);
        let follow_ups = match &made.ended {
            Outcome::Failed(failure) if !self.on_failure.is_empty() => self.alarms(&lease, &about, &failure.reason),
            _ => Vec::new(),
        };
        let completion = Completion {
            took: began.elapsed(),
            holds: made.holds,
            follow_ups,
            ..self.completion(lease, made.flow, made.ended)
        };
        let (id, project) = (lease.id, about.project);
        match self.record(completion).await {
            Ok(Recorded::Done { next }) => {
                tracing::debug!(id, project, attempt = lease.progress.attempts, ?next, "attempt recorded");
                self.observe(made.kind, next, made.error, began.elapsed(), created_before);
            }
            Ok(Recorded::Lost) => tracing::warn!(id, project, "the lease was lost before its attempt ended"),
            // The lease runs out, and the attempt is made again.
            Err(error) => tracing::error!(id, project, %error, "an attempt cannot be recorded"),
        }
        made.flow.destination
    }

    /// Returns a lease without an attempt.
    pub(super) async fn hand_back(&self, leased: LeasedDelivery) {
        let held = Held { after: Duration::ZERO, down: None };
        let completion = self.completion(leased.lease, leased.flow, Outcome::Held(held));
        if let Err(error) = self.resources.store.complete(completion).await {
            tracing::warn!(id = leased.lease.id, %error, "a lease cannot be returned; it will expire");
        }
    }

    fn completion(&self, lease: Lease, flow: Flow, outcome: Outcome) -> Completion {
        Completion {
            lease,
            outcome,
            policy: Arc::clone(&self.policy),
            chance: fastrand::f64(),
            took: Duration::ZERO,
            flow,
            holds: Vec::new(),
            follow_ups: Vec::new(),
        }
    }

    /// Records the outcome of an attempt. A store that refuses writes, as on a full disk, is asked again until the lease ends:
    /// an attempt that is not recorded is repeated.
    async fn record(&self, completion: Completion) -> StoreResult<Recorded> {
        let until = Instant::now() + LEASE / 2;
        loop {
            match self.resources.store.complete(completion.clone()).await {
                Err(error) if Instant::now() < until && !self.stopping.is_set() => {
                    tracing::warn!(id = completion.lease.id, %error, "an attempt cannot be recorded yet");
                    drop(timeout(STORE_DOWN, self.stopping.wait()).await);
                }
                recorded => return recorded,
            }
        }
    }

    fn observe(&self, kind: &'static str, next: Next, error: Option<ErrorKind>, took: Duration, age: Duration) {
        let Some(observer) = &self.observer else { return };
        let outcome = match next {
            Next::Sent => AttemptResult::Sent,
            Next::Retry { .. } => AttemptResult::Retry,
            Next::Failed => AttemptResult::Failed,
            // Without an error there was no attempt.
            Next::Superseded if error.is_some() => AttemptResult::Superseded,
            Next::Superseded | Next::Deferred { .. } => return,
        };
        observer(&Attempted { kind, outcome, error, took, since_accepted: age + took });
    }

    async fn attempt(&self, lease: &Lease, what: &Deliverable, expected: Expected) -> Course {
        match what {
            Deliverable::AtHand { job, ready, plan } => self.send(lease, job, ready, &plan.secrets, expected).await,
            Deliverable::Stored(leased) => match self.restore(leased) {
                Ok((job, ready)) => self.send(lease, &job, &ready, &ready.secrets, expected).await,
                Err(error) => Course {
                    kind: "",
                    flow: Flow::default(),
                    ended: Outcome::Failed(Failure::from(&error)),
                    error: Some(error.kind()),
                    holds: Vec::new(),
                },
            },
        }
    }

    /// Makes the attempt, if it is admitted.
    async fn send(
        &self,
        lease: &Lease,
        job: &Job,
        ready: &ReadyNotification,
        secrets: &SecretValues,
        expected: Expected,
    ) -> Course {
        let result = |ended, error, holds| Course { kind: ready.kind, flow: ready.flow, ended, error, holds };
        let permit = match self.admission.admit(ready.flow, &ready.limits, Some(expected)) {
            Ok(permit) => permit,
            Err(refusal) => {
                let (held, holds) = held(refusal, ready.flow);
                return result(Outcome::Held(held), None, holds);
            }
        };
        let message = message(job, ready, secrets, &self.links, false);
        let rendered = match render(ready, &message) {
            Ok(rendered) => rendered,
            Err(error) => return result(Outcome::Failed(Failure::from(&error)), Some(error.kind()), Vec::new()),
        };
        let attempt = Attempt {
            sender: ready.sender.as_ref(),
            limits: &ready.limits,
            payload: &rendered.payload,
            secrets: &ready.secrets,
            key: job.key,
            number: lease.progress.attempts,
            clock: self.resources.preparer.cx.clock.as_ref(),
            at_most: Duration::MAX,
        };
        let made = attempt.make().await;
        let signal = self.admission.record(permit, &ready.limits, made.as_ref().err());
        let holds = hold_changes(signal, ready.flow);
        match made {
            Ok(receipt) => result(Outcome::Sent { answer: receipt.answer.into_owned() }, None, holds),
            Err(error) => {
                let error = self.policy.explain(error, lease.progress.age);
                result(Outcome::Failed(Failure::from(&error)), Some(error.kind()), holds)
            }
        }
    }

    /// The job of a stored delivery, with its sender built and its secrets revealed.
    fn restore(&self, leased: &LeasedDelivery) -> Result<(Job, Arc<ReadyNotification>)> {
        let resources = &self.resources;
        let (sealed, registered) = (leased.sealed.as_deref(), &leased.notification);
        let notification = resources.vault.open(&leased.project, registered, sealed)?;
        let ready = Arc::new(resources.preparer.prepare(notification, leased.look)?);
        // A project secret may be newer than the stored run.
        let clean = |mut document: Value| {
            redact(&mut document, &resources.preparer.registry, &ready.secrets);
            RunSnapshot::step(document)
        };
        let subject = match &leased.document {
            None => Subject::none(),
            Some(document) => {
                let steps = leased.steps.as_deref().map(read_document).transpose()?;
                let steps = steps.as_ref().and_then(Value::as_list).unwrap_or_default();
                Subject::run(clean(read_document(document)?), steps.iter().cloned().map(clean))
            }
        };
        let job = Job {
            // The key of the stored job, whatever a later version of this program would make of the same run.
            key: DeliveryKey::parse(&leased.key).ok_or_else(|| broken("a stored key cannot be read any more"))?,
            lane: subject.first().map(|run| Lane::new(run.clone(), Arc::clone(&ready.name))),
            subject,
            state: leased.state,
            at: leased.at,
            notification: Arc::clone(&ready.notification),
            look: leased.look,
        };
        Ok((job, ready))
    }

    fn alarms(&self, lease: &Lease, about: &About<'_>, reason: &str) -> Vec<runbell_store::FollowUp> {
        let delivery = Subjected {
            id: lease.id,
            fence: lease.fence,
            attempt: lease.progress.attempts,
            project: about.project,
            uid: about.uid,
            notification: about.notification,
            kind: about.kind,
            state: about.state,
        };
        let jobs = alarm::jobs(&self.on_failure, &self.resources.vault, &delivery, reason, self.resources.now());
        jobs.unwrap_or_else(|error| {
            tracing::error!(id = lease.id, reason = error.reason(), "on_failure: the operator is not notified");
            Vec::new()
        })
    }

    /// Ends deliveries that waited for a destination that is down longer than their schedule lasts. The operator is notified
    /// once for each time that a destination is down.
    pub(super) async fn end_overdue(&self) {
        while !self.stopping.is_set() {
            let overdue = match self.resources.store.overdue(&self.policy, OVERDUE, LEASE).await {
                Ok(overdue) if !overdue.is_empty() => overdue,
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "overdue deliveries are not ended yet"),
            };
            join_all(overdue.iter().map(|leased| self.end(leased))).await;
        }
    }

    /// Ends an overdue delivery.
    async fn end(&self, leased: &LeasedDelivery) {
        let (lease, flow) = (leased.lease, leased.flow);
        let reason = match self.admission.down_since(flow.destination) {
            Some(since) => format!("unreachable: the destination is down since {since}"),
            None => "unreachable: the destination is down".to_owned(),
        };
        let is_first = self.admission.report_down(flow.destination);
        let follow_ups = match is_first {
            true => self.alarms(&lease, &About::of_stored(leased), &reason),
            false => Vec::new(),
        };
        let held = Held { after: Duration::ZERO, down: Some(reason) };
        let completion = Completion { follow_ups, ..self.completion(lease, flow, Outcome::Held(held)) };
        let recorded = self.record(completion).await;
        if is_first && !matches!(recorded, Ok(Recorded::Done { next: Next::Failed })) {
            self.admission.unreport_down(flow.destination);
        }
        if let Err(error) = recorded {
            tracing::error!(id = lease.id, %error, "the end of an overdue delivery cannot be recorded");
        }
    }
}

/// The fields of a delivery in logs and alarms.
struct About<'a> {
    project: &'a str,
    uid: Option<&'a str>,
    notification: &'a str,
    kind: &'a str,
    state: RunState,
}

impl<'a> About<'a> {
    fn of(what: &'a Deliverable) -> Self {
        match what {
            Deliverable::AtHand { job, .. } => About {
                project: job.lane.as_ref().map_or("", Lane::project),
                uid: job.lane.as_ref().map(Lane::uid),
                notification: &job.notification.name,
                kind: &job.notification.kind,
                state: job.state,
            },
            Deliverable::Stored(leased) => Self::of_stored(leased),
        }
    }

    fn of_stored(leased: &'a LeasedDelivery) -> Self {
        About {
            project: &leased.project,
            uid: leased.run.as_ref().map(|run| run.uid.as_str()),
            notification: &leased.notification.name,
            kind: &leased.notification.kind,
            state: leased.state,
        }
    }
}

/// Records a refusal: the delivery waits, and no attempt is counted.
fn held(refusal: Refusal, flow: Flow) -> (Held, Vec<HoldChange>) {
    let held = |after| Held { after, down: None };
    match refusal {
        // It is claimed again as soon as its destination has room, and its bucket.
        Refusal::Busy | Refusal::Paced(_) => (held(Duration::ZERO), Vec::new()),
        Refusal::Down(wait) => {
            let target = HoldTarget::Destination(flow.destination);
            (held(Duration::ZERO), vec![HoldChange { target, hold: Some(wait) }])
        }
    }
}

/// Holds that are kept in the store: changes of a breaker, and holds that last longer than 5 s.
fn hold_changes(signal: Signal, flow: Flow) -> Vec<HoldChange> {
    const KEPT: Duration = Duration::from_secs(5);
    let destination = signal.destination.map(|change| HoldChange {
        target: HoldTarget::Destination(flow.destination),
        hold: match change {
            Change::Down(wait) => Some(wait),
            Change::Up => None,
        },
    });
    let bucket = signal.bucket.filter(|wait| *wait > KEPT);
    let bucket = bucket.map(|wait| HoldChange { target: HoldTarget::Bucket(flow), hold: Some(wait) });
    destination.into_iter().chain(bucket).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use runbell_core::{BuildContext, FlowHash, Job, Look, Registry, RunSnapshot, SecretValues, Transition, value};
    use runbell_store::seal::KeyRing;
    use runbell_store::{Claim, Rooms};
    use runbell_testkit::FixedClock;

    use super::{Deliverer, LEASE};
    use crate::admission::{Admission, PERMITS, Rules};
    use crate::decide::Plan;
    use crate::durable::{Dispatcher, DispatcherOptions, Event};
    use crate::flag::Flag;

    struct Unlimited;

    impl Rooms for Unlimited {
        fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
            usize::MAX
        }
    }

    const RUN: &str = r#"{"metadata": {"project": "p", "uid": "u", "name": "train", "labels": {"hook": "http://127.0.0.1:9/canary"}},
        "status": {"state": "error", "error": "out of memory", "last_update": "2026-07-17T08:30:00Z", "results": {"auc": 0.9}}}"#;
    const STEP: &str =
        r#"{"metadata": {"project": "p", "uid": "s", "name": "fetch"}, "status": {"state": "completed"}}"#;
    const HOOK: &str = r#"{"kind": "webhook", "name": "hook", "message": "It ended", "severity": "error", "when": ["error"],
        "condition": "{{ run.status.results.auc > 0.5 }}", "params": {"method": "PUT"},
        "secret_params": {"url": "http://127.0.0.1:9/canary"}}"#;

    #[tokio::test]
    async fn the_same_news_makes_the_same_job_here_on_a_server_and_from_its_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("runbell.db").display());
        let clock = Arc::new(FixedClock::default());
        let store = runbell_store::open(&url, Arc::clone(&clock) as _).await.expect("opened");
        let keys = KeyRing::new([("only".to_owned(), [9; 32])]).expect("a key");
        let registry = Registry::collect([&runbell_webhook::REGISTRATION]).expect("a kind");
        let cx = BuildContext { clock, ..BuildContext::server() };
        let options = DispatcherOptions::default();
        let dispatcher = Dispatcher::at_rest(store, registry, cx, keys, options).await.expect("the store answers");
        let intake = &dispatcher.intake;
        let resources = intake.resources.clone();
        let read = |text: &str| value::read(text).expect("JSON");
        let (run, step) = (RunSnapshot::new(read(RUN)).expect("a run"), RunSnapshot::step(read(STEP)));
        let mut transition = Transition::current(run, resources.now());
        transition.steps = vec![step].into();
        let (notification, _) = runbell_core::Notification::parse(&read(HOOK));
        let ready = resources.preparer.prepare(notification.expect("valid"), Look::Own).map(Arc::new).expect("ready");

        let here = Plan::new(transition.clone(), &[Arc::clone(&ready)], &ready.secrets, &resources.preparer);
        let here: Job = here.decide(&ready).job.expect("it is sent");

        let entries = vec![Ok(Arc::clone(&ready))];
        let plan = Plan::of_registered(transition, entries, SecretValues::default(), &resources.preparer, 0);
        let there = intake.verdict(&plan, &plan.entries[0], Look::Own).job.expect("it is sent");
        same(&here, &there);

        let event = Event {
            project: "p".to_owned(),
            uid: "u".to_owned(),
            run: read(RUN),
            steps: vec![read(STEP)],
            notifications: Some(read(&format!("[{HOOK}]"))),
            state: None,
            at: None,
        };
        assert_eq!(dispatcher.take_in(event).await.expect("taken in").deliveries.len(), 1);
        let claim = Claim { limit: 10, lease: LEASE, probes: 0, rooms: Arc::new(Unlimited) };
        let claimed = resources.store.claim(claim).await.expect("claimed").deliveries;
        let rules = Rules { permits: PERMITS, places: None, longest_hold: Duration::ZERO };
        let deliverer = Deliverer {
            links: runbell_core::Links::new(""),
            policy: Arc::new(runbell_core::RetryPolicy::server()),
            on_failure: Vec::new(),
            observer: None,
            admission: Admission::new(rules, Arc::clone(&resources.preparer.cx.clock)),
            stopping: Flag::default(),
            resources,
        };
        let (restored, _) = deliverer.restore(&claimed[0]).expect("restored");
        same(&here, &restored);
    }

    fn same(here: &Job, there: &Job) {
        assert_eq!(here.key, there.key);
        assert_eq!(here.lane, there.lane);
        let documents = |job: &Job| job.subject.runs().iter().map(|run| run.document().to_json()).collect::<Vec<_>>();
        assert_eq!(documents(here), documents(there));
        assert_eq!(here.subject.steps().len(), 1);
        assert!(!documents(here).concat().contains("canary"), "the label repeats no secret");
        assert_eq!((here.state, here.at), (there.state, there.at));
        assert_eq!(here.notification, there.notification);
        assert_eq!(here.look, there.look);
    }
}
