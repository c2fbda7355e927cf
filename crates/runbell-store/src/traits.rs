//! What a store promises: four traits, each for one purpose.

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

/// Everything a server keeps.
pub trait Store: Queue + History + Records + Upkeep {}

impl<T: Queue + History + Records + Upkeep> Store for T {}

/// Deliveries on their way.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Takes in one change of a run: its new version, what was decided, and the jobs that follow, all or nothing. A job whose
    /// key is known already makes no second delivery.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) when the run's version is no longer the one that was decided for;
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when it could not be written, a full disk among the reasons.
    async fn intake(&self, change: RunChange) -> StoreResult<Accepted>;

    /// Leases deliveries that are due to the caller: in turn over destinations, and inside a destination over buckets and
    /// projects, the earliest due first. A destination that is held is not looked into.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable). Never fails because nothing is due: that is an empty list.
    async fn claim(&self, claim: Claim) -> StoreResult<Claimed>;

    /// Records how a leased delivery's attempt ended, unless the lease was lost by then. What follows is decided by
    /// [`advance`](runbell_core::delivery::advance).
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
    /// id of what is due; `None` when the delivery is not finished, or not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn replay(&self, project: &str, id: i64, new_key: bool) -> StoreResult<Option<i64>>;

    /// As [`replay`](Self::replay), for the youngest `limit` deliveries that the filter means; unfinished ones are left
    /// alone. Returns the ids of what is due.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn replay_all(&self, filter: &DeliveryFilter, limit: usize, new_key: bool) -> StoreResult<Vec<i64>>;

    /// Cancels a delivery that waits. False when it does not wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn cancel(&self, project: &str, id: i64) -> StoreResult<bool>;

    /// How much waits to be delivered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn backlog(&self) -> StoreResult<Backlog>;

    /// Wakes the claiming worker when something may have become due before [`Claimed::next`].
    fn wakeups(&self) -> Wakeups;
}

/// Runs, deliveries and verdicts to look at.
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

    /// What was decided about a run's notifications, the latest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn verdicts(&self, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>>;
}

/// What is kept beside runs and deliveries.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// A project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn project(&self, name: &str) -> StoreResult<Option<String>>;

    /// Keeps a project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_project(&self, name: &str, document: &str) -> StoreResult<()>;

    /// A sealed secret of a project.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn secret(&self, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>>;

    /// The names of a project's secrets, internal ones among them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn secret_names(&self, project: &str) -> StoreResult<Vec<String>>;

    /// Keeps secrets of a project, in the place of those with the same names.
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

    /// All access tokens, revoked ones among them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn tokens(&self) -> StoreResult<Vec<TokenRecord>>;

    /// Keeps a new access token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_token(&self, token: TokenRecord) -> StoreResult<()>;

    /// Revokes an access token, for good. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn revoke_token(&self, id: &str) -> StoreResult<bool>;

    /// Keeps work that a caller will poll.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn put_task(&self, project: &str, name: &str, deliveries: Vec<i64>) -> StoreResult<TaskRecord>;

    /// The state of such work; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn task(&self, project: &str, name: &str) -> StoreResult<Option<TaskRecord>>;
}

/// Looking after the store itself.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Forgets up to `limit` deliveries that were finished longer than `age` ago, what only they need, and runs that ended
    /// and were not touched since. Returns how many; 0 when there is no more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn prune(&self, age: Duration, limit: usize) -> StoreResult<usize>;

    /// Copies everything into a new file, while work goes on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when the file exists or cannot be written.
    async fn backup(&self, file: &Path) -> StoreResult<()>;

    /// Whether something can be written: commits a change that means nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) when it cannot.
    async fn check(&self) -> StoreResult<()>;
}
