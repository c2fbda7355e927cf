//! The values of the queue: changes of runs, jobs, leases, outcomes of attempts.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::{Next, Outcome, Progress};
use runbell_core::{DeliveryKey, Flow, FlowHash, Job, Look, RetryPolicy, RunState, Timestamp};

use super::SealedSecret;

/// The key of a run: `iteration` is 0 for the run itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// The project.
    pub project: String,
    /// The run's uid.
    pub uid: String,
    /// The child run of a hyper-parameter run.
    pub iteration: i64,
}

/// A registered notification: the server has promised to deliver it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredNotification {
    /// Its name, unique in the list.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The notification object, JSON, with a reference in place of its secret params.
    pub document: String,
    /// The name of the referenced secret.
    pub secret: Option<String>,
}

/// The fields by which runs are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// The run's name.
    pub name: String,
    /// The run's state, in MLRun's spelling.
    pub state: String,
    /// The time at which it started; `None` keeps the stored time, which at first is the time of the intake.
    pub started_at: Option<Timestamp>,
}

/// The condition under which the jobs of an intake are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Always: the run entered a state.
    Always,
    /// Only if the new list replaces an unfinished delivery about this state, the run's current one; see
    /// [`decides_again`](runbell_core::delivery::decides_again).
    IfReplaced(RunState),
}

/// One change of a run, ready to be stored.
#[derive(Debug, Clone)]
pub struct RunChange {
    /// The run.
    pub run: RunKey,
    /// Its document, JSON.
    pub document: String,
    /// The documents of its workflow's steps: a JSON list; `None` for a plain run.
    pub steps: Option<String>,
    /// The fields by which it is found.
    pub facts: RunFacts,
    /// The version of the run for which it was decided; `None` when there was no such run.
    pub expected: Option<i64>,
    /// A new list of notifications, in a new generation; `None` keeps the present one.
    pub notifications: Option<Vec<RegisteredNotification>>,
    /// Secrets that the new list refers to.
    pub secrets: Vec<SealedSecret>,
    /// The decision about every notification.
    pub verdicts: Vec<NewVerdict>,
    /// The new jobs; each belongs to the notification of its lane.
    pub jobs: Vec<NewJob>,
    /// The condition under which they are delivered.
    pub deliver: Deliver,
}

/// The decision about one notification.
#[derive(Debug, Clone)]
pub struct NewVerdict {
    /// The notification's name.
    pub notification: String,
    /// The state the run entered.
    pub state: RunState,
    /// The rule that decided.
    pub reason: &'static str,
    /// More, where there is more to say: of an ignored condition `syntax`, `error` or `fuel`.
    pub detail: Option<String>,
    /// The detail in words: why the condition was ignored.
    pub why: Option<String>,
}

/// A job to deliver.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// Its flow; unknown until its sender was built.
    pub flow: Flow,
    /// Leases it to the caller at once, for so long, if it is at the head of its lane: a caller with the inputs of an attempt in
    /// memory and room for it need not claim it.
    pub lease: Option<Duration>,
}

/// The result of an intake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    /// The run's version after the change.
    pub version: i64,
    /// The placement of each job; empty when they are not delivered.
    pub jobs: Vec<Placed>,
    /// How many unfinished deliveries of an earlier list were superseded.
    pub superseded: usize,
}

/// The placement of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The job's key.
    pub key: DeliveryKey,
    /// Its delivery.
    pub id: i64,
    /// How it was placed.
    pub placement: Placement,
}

/// How a job was placed.
#[derive(Debug, Clone, PartialEq)]
pub enum Placement {
    /// It is leased to the caller.
    Leased(Lease),
    /// It waits to be claimed.
    Queued,
    /// A delivery with its key exists already: the same news was reported again.
    Known,
}

/// A lease: the right to one attempt of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The delivery.
    pub id: i64,
    /// The fence, which every write about this lease names.
    pub fence: i64,
    /// The progress of the delivery, including the attempt of this lease.
    pub progress: Progress,
}

/// A leased delivery, with all inputs of an attempt.
#[derive(Debug, Clone)]
pub struct LeasedDelivery {
    /// The lease.
    pub lease: Lease,
    /// Its key.
    pub key: String,
    /// The project.
    pub project: String,
    /// The run; `None` for a job without one.
    pub run: Option<RunKey>,
    /// The run's document at the change.
    pub document: Option<String>,
    /// The documents of its workflow's steps: a JSON list.
    pub steps: Option<String>,
    /// The notification.
    pub notification: RegisteredNotification,
    /// The referenced secret of its params, sealed; `None` without one, or when it is missing.
    pub sealed: Option<Vec<u8>>,
    /// The state that notifies.
    pub state: RunState,
    /// The time at which the state was entered.
    pub at: Timestamp,
    /// The look of the message: MLRun's or Runbell's.
    pub look: Look,
    /// Its flow.
    pub flow: Flow,
    /// The time since which its destination is down; this attempt is a probe.
    pub down_since: Option<Timestamp>,
}

/// Answers how many more deliveries of a destination may be leased now.
///
/// Called inside the transaction of a claim, possibly twice: must be quick, and must not call the store.
pub trait Rooms: Send + Sync {
    /// How many of the destination's deliveries may be leased; `granted` is what this claim has leased so far, by destination.
    fn room(&self, destination: FlowHash, granted: &[(FlowHash, usize)]) -> usize;

    /// How many of these may be of the flow.
    fn share(&self, _: Flow) -> Share {
        Share::UNLIMITED
    }
}

/// How many deliveries of a flow may be leased now: its bucket may keep a pace, or be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The number.
    pub room: usize,
    /// The time until more may be leased, once these are used.
    pub again: Duration,
}

impl Share {
    /// Any number.
    pub const UNLIMITED: Share = Share { room: usize::MAX, again: Duration::ZERO };
}

/// A claim.
#[derive(Clone)]
pub struct Claim {
    /// The most deliveries (1–1,000).
    pub limit: usize,
    /// The duration of the leases. It must exceed the slowest attempt, or another node repeats the attempt.
    pub lease: Duration,
    /// How many destinations that are down may be probed; each with one delivery.
    pub probes: usize,
    /// The room of the other destinations.
    pub rooms: Arc<dyn Rooms>,
}

impl Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("limit", &self.limit).field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// The leased deliveries, and the time of the next claim.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The deliveries, oldest first for each destination.
    pub deliveries: Vec<LeasedDelivery>,
    /// Destinations that had more due than room.
    pub without_room: Vec<FlowHash>,
    /// The time until another delivery is due or a lease expires; `None` when none waits. Zero when more may be due than was
    /// claimed. Deliveries without room do not count.
    pub next: Option<Duration>,
    /// Whether more destinations that are down wait for a probe.
    pub more_probes: bool,
}

/// The completion of a lease: the outcome of its attempt.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The lease.
    pub lease: Lease,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The retry policy.
    pub policy: Arc<RetryPolicy>,
    /// A number from 0 to 1 for the jitter of a wait.
    pub chance: f64,
    /// The duration of the attempt.
    pub took: Duration,
    /// The flow of the delivery from now on; unknown when its sender could not be built.
    pub flow: Flow,
    /// The news of the attempt about its destination and its bucket.
    pub holds: Vec<HoldChange>,
    /// The alarms to deliver if this delivery fails for good.
    pub follow_ups: Vec<FollowUp>,
}

/// A job without a run that follows from a failed delivery.
#[derive(Debug, Clone)]
pub struct FollowUp {
    /// The job.
    pub job: Job,
    /// The project it belongs to.
    pub project: String,
    /// Its notification.
    pub notification: RegisteredNotification,
    /// The notification's secret params, sealed.
    pub secret: Option<SealedSecret>,
}

/// A change of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldChange {
    /// The held destination or bucket.
    pub target: HoldTarget,
    /// The duration from now; `None` ends the hold.
    pub hold: Option<Duration>,
}

/// The held destination or bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldTarget {
    /// A destination that is down: its breaker is open. It is probed when the hold is over.
    Destination(FlowHash),
    /// A bucket whose target has asked to slow down.
    Bucket(Flow),
}

/// A destination that is down, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredHold {
    /// The destination.
    pub destination: FlowHash,
    /// The time until the next probe.
    pub remaining: Duration,
    /// The time since which it is down.
    pub since: Timestamp,
}

/// The result of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded.
    Done {
        /// The next step.
        next: Next,
    },
    /// The lease was lost before: the delivery is unchanged.
    Lost,
}

/// The unfinished deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// No attempt was made.
    pub pending: i64,
    /// An attempt is under way.
    pub leased: i64,
    /// Another attempt follows.
    pub retry: i64,
    /// How long the oldest has been waiting.
    pub oldest: Option<Duration>,
}
