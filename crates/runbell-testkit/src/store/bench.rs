//! An empty store with a settable clock, and helpers for the cases.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::{Failure, Held, Outcome};
use runbell_core::value::read;
use runbell_core::{
    DeliveryKey, Flow, FlowHash, Job, Lane, Look, Notification, Retry, RetryPolicy, RunSnapshot, RunState, Subject,
    Timestamp,
};
use runbell_store::{
    Accepted, Claim, Claimed, Completion, Deliver, DeliveryState, Lease, LeasedDelivery, NewJob, NewVerdict, Placement,
    Recorded, RegisteredNotification, Rooms, RunChange, RunFacts, RunKey, Store, StoreResult,
};

use crate::check::Check;
use crate::samples::SAMPLE_TIME;

/// An empty store to be tested, with the power to set its time.
pub struct StoreBench {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Another handle on the same database, where a store allows it.
    pub second: Option<Arc<dyn Store>>,
    /// Sets the time of the store.
    pub set_time: Box<dyn Fn(Timestamp) + Send + Sync>,
    /// Values that must live as long as the store, such as its folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for StoreBench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreBench").field("has_second", &self.second.is_some()).finish_non_exhaustive()
    }
}

/// How long a lease lasts here.
pub(super) const LEASE: Duration = Duration::from_secs(25);

/// Any number of attempts, each at the time that the target asks for.
pub(super) fn policy() -> Arc<RetryPolicy> {
    let longest_wait = Duration::from_secs(1_000_000);
    Arc::new(RetryPolicy { waits: vec![Duration::ZERO; 100], jitter: 0.0, budget: None, longest_wait })
}

/// As many as there are, without a limit.
pub(super) struct Unlimited;

impl Rooms for Unlimited {
    fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
        usize::MAX
    }
}

/// The outcome of an attempt.
pub(super) fn sent() -> Outcome {
    Outcome::Sent { answer: "200".to_owned() }
}

/// It fails, and the next attempt is in so many seconds.
pub(super) fn fails_for(seconds: u64) -> Outcome {
    let retry = Retry::After(Duration::from_secs(seconds));
    Outcome::Failed(Failure { retry, ambiguous: false, reason: "unreachable: down".to_owned() })
}

pub(super) fn fails() -> Outcome {
    Outcome::Failed(Failure { retry: Retry::Never, ambiguous: false, reason: "unreachable: down".to_owned() })
}

pub(super) fn held_for(seconds: u64) -> Outcome {
    Outcome::Held(Held { after: Duration::from_secs(seconds), down: None })
}

impl StoreBench {
    pub(super) fn check(&self, name: &str) -> Check {
        Check::new("store_contract", name)
    }

    /// Sets the time, in seconds from the sample's.
    pub(super) fn at(&self, seconds: i64) {
        (self.set_time)(at(seconds));
    }

    /// Takes a change in, at the time that it names as the run's start.
    pub(super) async fn intake(&self, change: RunChange) -> Accepted {
        self.try_intake(change).await.expect("taken in")
    }

    pub(super) async fn try_intake(&self, change: RunChange) -> StoreResult<Accepted> {
        (self.set_time)(change.facts.started_at.expect("a time"));
        self.store.intake(change).await
    }

    pub(super) async fn claim_with(&self, seconds: i64, claim: Claim) -> Claimed {
        self.at(seconds);
        self.store.claim(claim).await.expect("claimed")
    }

    pub(super) async fn claim(&self, seconds: i64) -> Vec<LeasedDelivery> {
        self.claim_with(seconds, everything()).await.deliveries
    }

    /// When to look again, in seconds, for somebody who takes what is due by then.
    pub(super) async fn next(&self, seconds: i64) -> Option<Duration> {
        self.claim_with(seconds, everything()).await.next
    }

    pub(super) async fn only(&self, check: &Check, seconds: i64) -> LeasedDelivery {
        let mut leased = self.claim(seconds).await;
        check.equal("the number of leases", &leased.len(), &1);
        leased.pop().expect("one")
    }

    pub(super) async fn complete(&self, leased: &LeasedDelivery, outcome: Outcome, seconds: i64) -> Recorded {
        self.complete_with(completion(leased.lease, outcome, leased.flow), seconds).await
    }

    pub(super) async fn complete_with(&self, completion: Completion, seconds: i64) -> Recorded {
        self.at(seconds);
        self.store.complete(completion).await.expect("answered")
    }

    pub(super) async fn status(&self, id: i64) -> DeliveryState {
        self.store.delivery("p", id).await.expect("read").expect("it is there").0.status
    }
}

pub(super) fn everything() -> Claim {
    Claim { limit: 100, lease: LEASE, probes: 100, rooms: Arc::new(Unlimited) }
}

pub(super) fn completion(lease: Lease, outcome: Outcome, flow: Flow) -> Completion {
    Completion {
        lease,
        outcome,
        policy: policy(),
        chance: 0.5,
        took: Duration::ZERO,
        flow,
        holds: Vec::new(),
        follow_ups: Vec::new(),
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("near the sample's time")
}

pub(super) fn key(uid: &str) -> RunKey {
    RunKey { project: "p".to_owned(), uid: uid.to_owned(), iteration: 0 }
}

pub(super) fn registered(name: &str) -> RegisteredNotification {
    RegisteredNotification {
        name: name.to_owned(),
        kind: "webhook".to_owned(),
        document: format!(r#"{{"name":"{name}"}}"#),
        secret: None,
    }
}

/// The destination of a test, by a number.
pub(super) fn flow(destination: u8) -> Flow {
    Flow { destination: FlowHash([destination; 16]), bucket: FlowHash::default() }
}

pub(super) fn job(project: &str, uid: &str, name: &str, state: RunState, at: Timestamp) -> Job {
    let document = format!(r#"{{"metadata":{{"project":"{project}","uid":"{uid}"}}}}"#);
    let run = RunSnapshot::step(read(&document).expect("JSON"));
    Job {
        key: DeliveryKey::of(&[uid, name, state.as_str()]),
        lane: Some(Lane::new(run.clone(), name)),
        subject: Subject::run(run, []),
        state,
        at,
        notification: Arc::new(Notification::new("webhook", name)),
        look: Look::Mlrun,
    }
}

/// A run's entering `state` at a time, with a job for each of `names`.
pub(super) fn transition(uid: &str, expected: Option<i64>, state: RunState, names: &[&str], seconds: i64) -> RunChange {
    let verdict = |name: &&str| NewVerdict {
        notification: (*name).to_owned(),
        state,
        reason: "matched",
        detail: None,
        why: None,
    };
    let new = |name: &&str| NewJob { job: job("p", uid, name, state, at(seconds)), flow: flow(1), lease: None };
    RunChange {
        run: key(uid),
        document: format!(r#"{{"state":"{state}"}}"#),
        steps: None,
        facts: RunFacts { name: "train".to_owned(), state: state.to_string(), started_at: Some(at(seconds)) },
        expected,
        notifications: expected.is_none().then(|| names.iter().map(|name| registered(name)).collect()),
        secrets: Vec::new(),
        verdicts: names.iter().map(verdict).collect(),
        jobs: names.iter().map(new).collect(),
        deliver: Deliver::Always,
    }
}

/// The ids of the new deliveries.
pub(super) fn made(accepted: &Accepted) -> Vec<i64> {
    let is_new = |placed: &&runbell_store::Placed| placed.placement != Placement::Known;
    accepted.jobs.iter().filter(is_new).map(|placed| placed.id).collect()
}

pub(super) fn leases(accepted: &Accepted) -> Vec<Lease> {
    let lease = |placed: &runbell_store::Placed| match placed.placement {
        Placement::Leased(lease) => Some(lease),
        _ => None,
    };
    accepted.jobs.iter().filter_map(lease).collect()
}
