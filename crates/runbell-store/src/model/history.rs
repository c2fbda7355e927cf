//! The history: runs, deliveries, attempts, verdicts.

use runbell_core::{RunState, Timestamp};

use super::{RegisteredNotification, RunKey};

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The document, JSON as Python writes it; secrets are redacted.
    pub document: String,
    /// Grows with every change.
    pub version: i64,
    /// The state last reported, in MLRun's spelling.
    pub state: String,
    /// The number of lists of notifications that it has had.
    pub generation: i64,
    /// The present list.
    pub notifications: Vec<RegisteredNotification>,
}

/// The life of a delivery: pending → leased → sent | retry → leased …, failed, superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not yet tried.
    Pending,
    /// An attempt is under way.
    Leased,
    /// It failed and will be tried again.
    Retry,
    /// The target took it.
    Sent,
    /// It failed for good.
    Failed,
    /// Newer news replaced it, or it was cancelled.
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

    /// Whether it is finished: it changes only by a replay.
    pub fn is_finished(self) -> bool {
        matches!(self, DeliveryState::Sent | DeliveryState::Failed | DeliveryState::Superseded)
    }
}

/// A delivery in answers of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its number.
    pub id: i64,
    /// Its key.
    pub key: String,
    /// The project.
    pub project: String,
    /// The run; `None` for a job without one, such as an alarm.
    pub run: Option<RunKey>,
    /// The notification's name.
    pub notification: String,
    /// Its kind.
    pub kind: String,
    /// The state the run entered.
    pub state: RunState,
    /// The time at which the run entered the state.
    pub at: Timestamp,
    /// Its state.
    pub status: DeliveryState,
    /// The number of attempts.
    pub attempts: u32,
    /// The reason of the last failed attempt.
    pub reason: Option<String>,
    /// The time at which it is due, while it waits.
    pub due_at: Option<Timestamp>,
    /// The time at which it was accepted.
    pub created_at: Timestamp,
    /// The time at which it was finished.
    pub finished_at: Option<Timestamp>,
}

/// An attempt in answers of the API.
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

/// A filter on deliveries.
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
    /// Its state.
    pub status: Option<DeliveryState>,
    /// Older than this one, for the next page.
    pub before: Option<i64>,
}

/// A filter on runs.
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
    /// Its number in the store, for [`RunFilter::before`].
    pub id: i64,
    /// The key of the run.
    pub key: RunKey,
    /// The run.
    pub run: StoredRun,
}

/// The decision about a notification, in answers of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRecord {
    /// The notification's name.
    pub notification: String,
    /// The state the run entered.
    pub state: RunState,
    /// The rule that decided.
    pub reason: String,
    /// Details, if there are any: for an ignored condition `syntax`, `error` or `fuel`.
    pub detail: Option<String>,
    /// The detail in words.
    pub why: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
    /// The delivery after a decision to send: its id, its state, and the reason of its last failed attempt.
    pub delivery: Option<(i64, DeliveryState, Option<String>)>,
}
