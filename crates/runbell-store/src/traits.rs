//! The interface of a store: four traits, each for one purpose.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::RetryPolicy;

use crate::error::StoreResult;
use crate::model::{
    Accepted, AttemptRecord, Backlog, Claim, Claimed, Completion, DeliveryFilter, DeliveryRecord, LeasedDelivery,
    ProjectSecret, Recorded, RunChange, RunFilter, RunKey, RunRecord, SealedSecret, StoredHold, StoredRun, TaskRecord,
    TokenRecord, VerdictRecord,
};
use crate::wakeups::Wakeups;

/// The whole store of a server.
pub trait Store: Queue + History + Records + Upkeep {}

impl<T: Queue + History + Records + Upkeep> Store for T {}

/// The queue of deliveries.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Stores one change of a run: its new version, the verdicts and the new jobs, all or nothing. A job with a known key makes
    /// no second delivery.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) when the run's version is no longer the one that was decided for;
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when it could not be written, a full disk among the reasons.
    async fn intake(&self, change: RunChange) -> StoreResult<Accepted>;

    /// Leases due deliveries to the caller: in turn over destinations, and inside a destination over buckets and
    /// projects, the earliest due first. A held destination is skipped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable). Never fails because nothing is due: that is an empty list.
    async fn claim(&self, claim: Claim) -> StoreResult<Claimed>;

    /// Records the outcome of a leased delivery's attempt, unless the lease was lost before.
    /// [`advance`](runbell_core::delivery::advance) decides the next step.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn complete(&self, completion: Completion) -> StoreResult<Recorded>;

    /// Leases up to `limit` deliveries of destinations that are down which were accepted longer than `policy` lasts ago, so
    /// that their end is recorded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn overdue(&self, policy: &RetryPolicy, limit: usize, lease: Duration) -> StoreResult<Vec<LeasedDelivery>>;

    /// The destinations that are down, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn holds(&self, limit: usize) -> StoreResult<Vec<StoredHold>>;

    /// Makes a finished delivery due again: the same one under the same key, or a copy of it under a new key. Returns the
    /// id of the due delivery; `None` when the delivery is unfinished or missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn replay(&self, project: &str, id: i64, new_key: bool) -> StoreResult<Option<i64>>;

    /// As [`replay`](Self::replay), for the youngest `limit` deliveries that match the filter; unfinished ones are
    /// skipped. Returns the ids of the due deliveries.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn replay_all(&self, filter: &DeliveryFilter, limit: usize, new_key: bool) -> StoreResult<Vec<i64>>;

    /// Cancels a delivery that waits. False when it does not wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn cancel(&self, project: &str, id: i64) -> StoreResult<bool>;

    /// The number and age of unfinished deliveries.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn backlog(&self) -> StoreResult<Backlog>;

    /// Wakes the claiming worker when something may have become due before [`Claimed::next`].
    fn wakeups(&self) -> Wakeups;
}

/// Queries on runs, deliveries and verdicts.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// A run and its registered notifications; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn run(&self, key: &RunKey) -> StoreResult<Option<StoredRun>>;

    /// Runs, the youngest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn runs(&self, filter: &RunFilter, limit: usize) -> StoreResult<Vec<RunRecord>>;

    /// Deletes a run with everything that belongs to it, unfinished deliveries too. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn delete_run(&self, key: &RunKey) -> StoreResult<bool>;

    /// Notes that a run is alive. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn heartbeat(&self, key: &RunKey) -> StoreResult<bool>;

    /// Deliveries, the youngest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn deliveries(&self, filter: &DeliveryFilter, limit: usize) -> StoreResult<Vec<DeliveryRecord>>;

    /// One delivery with its attempts, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn delivery(&self, project: &str, id: i64) -> StoreResult<Option<(DeliveryRecord, Vec<AttemptRecord>)>>;

    /// The last delivery of each notification in a run's present list.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn latest(&self, key: &RunKey) -> StoreResult<Vec<DeliveryRecord>>;

    /// The decisions about a run's notifications, the latest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn verdicts(&self, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>>;
}

/// Projects, secrets, tokens and tasks.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// A project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn project(&self, name: &str) -> StoreResult<Option<String>>;

    /// Stores a project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_project(&self, name: &str, document: &str) -> StoreResult<()>;

    /// A sealed secret of a project.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn secret(&self, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>>;

    /// The names of a project's secrets, including internal ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn secret_names(&self, project: &str) -> StoreResult<Vec<String>>;

    /// Stores secrets of a project; they replace those with the same names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_secrets(&self, project: &str, secrets: Vec<SealedSecret>) -> StoreResult<()>;

    /// Deletes secrets of a project by name, or all of them; internal ones stay.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn delete_secrets(&self, project: &str, names: Option<Vec<String>>) -> StoreResult<()>;

    /// Secrets of all projects in order, after the one named, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn secrets(&self, after: Option<(String, String)>, limit: usize) -> StoreResult<Vec<ProjectSecret>>;

    /// Replaces a sealed secret by the same one sealed again. False when it was changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn reseal(&self, old: ProjectSecret, sealed: Vec<u8>) -> StoreResult<bool>;

    /// The sealed key that destinations are hashed with; `offered` is kept when there is none yet. Returns the one that is
    /// kept.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn flow_key(&self, offered: Vec<u8>) -> StoreResult<Vec<u8>>;

    /// Replaces the sealed key that destinations are hashed with. With `forgets_flows` it is another key, and the destinations
    /// of unfinished deliveries are unknown until their senders are built.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_flow_key(&self, sealed: Vec<u8>, forgets_flows: bool) -> StoreResult<()>;

    /// All access tokens, including revoked ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn tokens(&self) -> StoreResult<Vec<TokenRecord>>;

    /// Stores a new access token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_token(&self, token: TokenRecord) -> StoreResult<()>;

    /// Revokes an access token permanently. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn revoke_token(&self, id: &str) -> StoreResult<bool>;

    /// Stores a task that a caller will poll.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_task(&self, project: &str, name: &str, deliveries: Vec<i64>) -> StoreResult<TaskRecord>;

    /// The state of a task; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn task(&self, project: &str, name: &str) -> StoreResult<Option<TaskRecord>>;
}

/// Maintenance of the store.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Forgets up to `limit` deliveries that were finished longer than `age` ago, what only they need, and runs that ended
    /// and were not touched since. Returns how many; 0 when there is no more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn prune(&self, age: Duration, limit: usize) -> StoreResult<usize>;

    /// Copies the store into a new file, while it is in use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when the file exists or cannot be written.
    async fn backup(&self, file: &Path) -> StoreResult<()>;

    /// Checks that writes are accepted: commits a change without effect.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when it cannot.
    async fn check(&self) -> StoreResult<()>;
}
