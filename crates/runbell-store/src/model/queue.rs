//! What goes through the queue: changes of runs, jobs, leases, and how attempts ended.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::{Next, Outcome, Progress};
use runbell_core::{DeliveryKey, Flow, FlowHash, Job, Look, RetryPolicy, RunState, Timestamp};

use super::SealedSecret;

/// Which run: `iteration` is 0 for the run itself.
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
    /// The notification object, JSON; of its secret params only a reference is left.
    pub document: String,
    /// The name of the secret that the reference means.
    pub secret: Option<String>,
}

/// What runs are looked for by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// The run's name.
    pub name: String,
    /// The state it is in, in MLRun's spelling.
    pub state: String,
    /// When it started; `None` keeps what is known, which at first is the time of the intake.
    pub started_at: Option<Timestamp>,
}

/// When the jobs of an intake are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Always: the run entered a state.
    Always,
    /// Only when [`decides_again`](runbell_core::delivery::decides_again) says so: the new list took the place of an unfinished delivery
    /// about this state, the one that the run is in.
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
    /// What it is looked for by.
    pub facts: RunFacts,
    /// The version that was decided for; `None` when there was no such run.
    pub expected: Option<i64>,
    /// A new list of notifications, in a new generation; `None` keeps the present one.
    pub notifications: Option<Vec<RegisteredNotification>>,
    /// Secrets that the new list refers to.
    pub secrets: Vec<SealedSecret>,
    /// What was decided, about every notification.
    pub verdicts: Vec<NewVerdict>,
    /// The jobs that follow; each belongs to the notification of its lane.
    pub jobs: Vec<NewJob>,
    /// When they are delivered.
    pub deliver: Deliver,
}

/// What was decided about one notification.
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
    /// The same in words: why the condition was ignored.
    pub why: Option<String>,
}

/// A job that is to be delivered.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// Where it waits; unknown until its sender was built.
    pub flow: Flow,
    /// Leases it to the caller from the start, for so long, unless it is not its turn yet: a caller that has everything an
    /// attempt needs at hand, and room for it, need not claim it.
    pub lease: Option<Duration>,
}

/// What became of an intake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    /// The run's version now.
    pub version: i64,
    /// What became of each job; none when they are not delivered.
    pub jobs: Vec<Placed>,
    /// How many unfinished deliveries of an earlier list were superseded.
    pub superseded: usize,
}

/// What became of a job.
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
    /// A delivery with its key was there before: the same news, reported again.
    Known,
}

/// The right to one attempt of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The delivery.
    pub id: i64,
    /// What every write about this lease names.
    pub fence: i64,
    /// How far the delivery has come; the attempt that this lease is for is counted.
    pub progress: Progress,
}

/// A delivery that was leased, with everything an attempt needs.
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
    /// The run's document as of the change.
    pub document: Option<String>,
    /// The documents of its workflow's steps: a JSON list.
    pub steps: Option<String>,
    /// The notification.
    pub notification: RegisteredNotification,
    /// The secret its params refer to, sealed; `None` when there is none, or it is gone.
    pub sealed: Option<Vec<u8>>,
    /// The state that notifies.
    pub state: RunState,
    /// When it was entered.
    pub at: Timestamp,
    /// Whose words the target shows.
    pub look: Look,
    /// Where it waited.
    pub flow: Flow,
    /// Since when its destination is down: this attempt finds out whether it still is.
    pub down_since: Option<Timestamp>,
}

/// Says how many more deliveries a destination may be given now.
///
/// Asked inside the transaction that claims, possibly twice: must be quick, and must not call the store.
pub trait Rooms: Send + Sync {
    /// How many of the destination's deliveries may be leased; `granted` is what this claim has leased so far, by destination.
    fn room(&self, destination: FlowHash, granted: &[(FlowHash, usize)]) -> usize;

    /// How many of these the flow may have.
    fn share(&self, _: Flow) -> Share {
        Share::UNLIMITED
    }
}

/// How many deliveries of a flow may be leased now: its bucket may keep a pace, or be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many.
    pub room: usize,
    /// How long until another look is worth it, once these are used up.
    pub again: Duration,
}

impl Share {
    /// Any number.
    pub const UNLIMITED: Share = Share { room: usize::MAX, again: Duration::ZERO };
}

/// What is claimed.
#[derive(Clone)]
pub struct Claim {
    /// How many deliveries at most (1–1,000).
    pub limit: usize,
    /// How long they are leased. It outlasts the slowest attempt, or another node makes the attempt too.
    pub lease: Duration,
    /// How many destinations that are down may be probed; each with one delivery.
    pub probes: usize,
    /// How much room the others have.
    pub rooms: Arc<dyn Rooms>,
}

impl Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("limit", &self.limit).field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// What was leased, and when to look again.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The deliveries, oldest first for each destination.
    pub deliveries: Vec<LeasedDelivery>,
    /// Destinations that had more due than room.
    pub without_room: Vec<FlowHash>,
    /// How long until another delivery is due or a lease runs out; `None` when none is waiting. Zero when more may be due
    /// than was asked for. What has no room does not count.
    pub next: Option<Duration>,
    /// Whether more destinations that are down wait for a probe.
    pub more_probes: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The lease.
    pub lease: Lease,
    /// What came of the attempt.
    pub outcome: Outcome,
    /// The policy that says what follows.
    pub policy: Arc<RetryPolicy>,
    /// A number from 0 to 1 for the jitter of a wait.
    pub chance: f64,
    /// How long the attempt took.
    pub took: Duration,
    /// Where the delivery waits from now on; unknown when its sender could not be built.
    pub flow: Flow,
    /// What the attempt said about its destination and its bucket.
    pub holds: Vec<HoldChange>,
    /// What is to be delivered besides if this delivery fails for good: alarms.
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

/// Deliveries are held back, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldChange {
    /// What is held.
    pub target: HoldTarget,
    /// For how long from now; `None` ends the hold.
    pub hold: Option<Duration>,
}

/// What is held.
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
    /// How long until the next probe.
    pub remaining: Duration,
    /// Since when it is down.
    pub since: Timestamp,
}

/// What became of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is written down.
    Done {
        /// What follows.
        next: Next,
    },
    /// The lease was lost by then: nothing is changed.
    Lost,
}

/// What waits to be delivered.
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
