//! What goes into a store and comes out of it.

use std::time::Duration;

use runbell_core::{RunState, Timestamp};

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

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The document, JSON as Python writes it; secrets are redacted.
    pub document: String,
    /// Grows with every change.
    pub version: i64,
    /// The state last told, in MLRun's spelling.
    pub state: String,
    /// How many lists of notifications it has had.
    pub generation: i64,
    /// The present list.
    pub notifications: Vec<Registered>,
}

/// A registered notification: what the server has promised to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name, unique in the list.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The notification object, JSON; of its secret params only a reference is left.
    pub document: String,
    /// The name of the secret that the reference means.
    pub secret: Option<String>,
}

/// A secret, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Its name in the project.
    pub name: String,
    /// What [`seal`](crate::seal) made of it.
    pub sealed: Vec<u8>,
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

/// When the deliveries of an intake are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Always: the run entered a state.
    Always,
    /// Only when the new list took the place of unfinished deliveries for the same state.
    IfSuperseded,
}

/// One transition, ready to be stored.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The run.
    pub run: RunKey,
    /// Its document, JSON.
    pub document: String,
    /// What it is looked for by.
    pub facts: RunFacts,
    /// The version that was decided for; `None` when there was no such run.
    pub expected: Option<i64>,
    /// A new list of notifications, in a new generation; `None` keeps the present one.
    pub notifications: Option<Vec<Registered>>,
    /// Secrets that the new list refers to.
    pub secrets: Vec<SealedSecret>,
    /// What was decided, about every notification.
    pub verdicts: Vec<NewVerdict>,
    /// What follows.
    pub deliveries: Vec<NewDelivery>,
    /// When it follows.
    pub deliver: Deliver,
    /// When it was decided.
    pub now: Timestamp,
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
    /// More, where there is more to say.
    pub detail: Option<String>,
}

/// A delivery to be made.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Same key, same news.
    pub key: String,
    /// The notification's name.
    pub notification: String,
    /// The state the run entered.
    pub state: RunState,
    /// When it entered it.
    pub at: Timestamp,
    /// Leases it to the caller from the start, for so long, unless older news of the same run and notification is not
    /// finished: whoever has what an attempt needs at hand, and a place for it, need not claim it.
    pub lease: Option<Duration>,
}

/// What became of an intake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The run's version now.
    pub version: i64,
    /// The deliveries that were made, by their ids; those that were there before are not among them.
    pub deliveries: Vec<i64>,
    /// Those of them that are leased to the caller, with fence 1 and attempt 1: each one's position in the intake, and its id.
    pub leased: Vec<(usize, i64)>,
    /// The notifications whose deliveries were there before: the same news, told again.
    pub repeated: Vec<String>,
    /// How many unfinished deliveries of an earlier list were given up.
    pub superseded: usize,
}

/// The life of a delivery: pending → leased → sent | retry → leased …, failed, superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not yet tried.
    Pending,
    /// Somebody is trying it.
    Leased,
    /// It failed and will be tried again.
    Retry,
    /// The target took it.
    Sent,
    /// It failed for good.
    Failed,
    /// Newer news took its place, or somebody gave it up.
    Superseded,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [DeliveryState; 6] = [
        DeliveryState::Pending,
        DeliveryState::Leased,
        DeliveryState::Retry,
        DeliveryState::Sent,
        DeliveryState::Failed,
        DeliveryState::Superseded,
    ];

    /// The word in answers and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Leased => "leased",
            DeliveryState::Retry => "retry",
            DeliveryState::Sent => "sent",
            DeliveryState::Failed => "failed",
            DeliveryState::Superseded => "superseded",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub fn is_finished(self) -> bool {
        matches!(self, DeliveryState::Sent | DeliveryState::Failed | DeliveryState::Superseded)
    }
}

/// A delivery that was leased, with everything an attempt needs.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The delivery.
    pub id: i64,
    /// What every write about this lease names.
    pub fence: i64,
    /// Its key.
    pub key: String,
    /// The run.
    pub run: RunKey,
    /// The run's document as of the transition.
    pub document: String,
    /// The notification.
    pub notification: Registered,
    /// The secret its params refer to, sealed; `None` when there is none, or it is gone.
    pub sealed: Option<Vec<u8>>,
    /// The state the run entered.
    pub state: RunState,
    /// When it entered it.
    pub at: Timestamp,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Newer news waits behind it: if this attempt fails, it is superseded.
    pub last_chance: bool,
}

/// What was leased, and when to look again.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The leases.
    pub leases: Vec<Lease>,
    /// When the next delivery is due, or a lease runs out; `None` when none is waiting. Not later than now when more may be
    /// due than was asked for.
    pub next_due: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The delivery.
    pub id: i64,
    /// The lease's fence.
    pub fence: i64,
    /// What came of it.
    pub ending: Ending,
    /// The error's reason, or the answer.
    pub reason: String,
    /// Whether a failed message may have arrived.
    pub ambiguous: bool,
    /// When the attempt began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// What became of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is written down.
    Done {
        /// Whether newer news of the same run and notification waits behind it.
        has_follower: bool,
    },
    /// The lease was lost by then: nothing is changed.
    Lost,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The target took it.
    Sent,
    /// It failed, and is due again then.
    Retry(Timestamp),
    /// It failed for good.
    Failed,
    /// It was not tried at all, and is due again then: no attempt is counted.
    Deferred(Timestamp),
}

/// A delivery as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its number.
    pub id: i64,
    /// Its key.
    pub key: String,
    /// The run.
    pub run: RunKey,
    /// The notification's name.
    pub notification: String,
    /// Its kind.
    pub kind: String,
    /// The state the run entered.
    pub state: RunState,
    /// When it entered it.
    pub at: Timestamp,
    /// Where it stands.
    pub status: DeliveryState,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// When it is due, while it waits.
    pub due_at: Option<Timestamp>,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When it was finished.
    pub finished_at: Option<Timestamp>,
}

/// An attempt as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `sent`, `retry`, `failed`, or `lost` when the process ended during it.
    pub outcome: String,
    /// The error's reason.
    pub reason: String,
    /// Whether a failed message may have arrived.
    pub ambiguous: bool,
}

/// Which deliveries.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this run.
    pub uid: Option<String>,
    /// Of this notification.
    pub notification: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// For this state of the run.
    pub state: Option<RunState>,
    /// Where it stands.
    pub status: Option<DeliveryState>,
    /// Older than this one, for the next page.
    pub before: Option<i64>,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this project.
    pub project: String,
    /// With one of these uids; any when empty.
    pub uids: Vec<String>,
    /// With this name; one that begins with `~` needs to be contained only, letter case aside.
    pub name: Option<String>,
    /// In one of these states; any when empty.
    pub states: Vec<String>,
    /// Not the child runs of hyper-parameter runs.
    pub top_only: bool,
    /// With registered notifications only.
    pub with_notifications: bool,
    /// Started then or later.
    pub started_from: Option<Timestamp>,
    /// Started then or earlier.
    pub started_to: Option<Timestamp>,
    /// Changed then or later.
    pub updated_from: Option<Timestamp>,
    /// Changed then or earlier.
    pub updated_to: Option<Timestamp>,
    /// Older than this one, for the next page.
    pub before: Option<i64>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its number in the store; what [`RunFilter::before`] means.
    pub id: i64,
    /// Which run.
    pub key: RunKey,
    /// The run.
    pub run: StoredRun,
}

/// What was decided about a notification, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRecord {
    /// The notification's name.
    pub notification: String,
    /// The state the run entered.
    pub state: RunState,
    /// The rule that decided.
    pub reason: String,
    /// More, where there is more to say.
    pub detail: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
    /// What followed: the delivery's id, where it stands, and why its last attempt failed.
    pub delivery: Option<(i64, DeliveryState, Option<String>)>,
}

/// An access token. Of its secret only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its public part.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Whether it may do everything.
    pub admin: bool,
    /// The projects it is for; `*` is any.
    pub projects: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Work that a caller polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// When it began.
    pub created_at: Timestamp,
    /// How many of its deliveries wait for their first attempt.
    pub untried: usize,
}

/// What waits to be delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Not yet tried.
    pub pending: i64,
    /// Being tried.
    pub leased: i64,
    /// To be tried again.
    pub retry: i64,
    /// Since when the oldest has been waiting.
    pub oldest: Option<Timestamp>,
}

/// A secret and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectSecret {
    /// The project.
    pub project: String,
    /// The secret.
    pub secret: SealedSecret,
}
