//! Where the server keeps what it has promised to deliver: runs, registered notifications, deliveries, attempts, secrets.
//!
//! [`Store`] says what is promised; [`SqliteStore`] keeps it in one file. A promise is made when a call returns: whatever
//! was written then survives the end of the process and of the machine.
//!
//! **Invariant:** the states of a delivery change only as [`DeliveryState`] says, and the database enforces it too.
//!
//! **Invariant:** a lease that was lost changes nothing any more: every write of a worker names its fence.
//!
//! **Invariant:** what is secret arrives here sealed ([`seal`]) and is never unsealed here.

mod error;
mod model;
pub mod seal;
mod sqlite;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::Timestamp;

pub use error::{StoreError, StoreResult};
pub use model::{
    Accepted, AttemptRecord, Backlog, Claimed, Completion, Deliver, DeliveryFilter, DeliveryRecord, DeliveryState,
    Ending, Intake, Lease, NewDelivery, NewVerdict, ProjectSecret, Recorded, Registered, RunFacts, RunFilter, RunKey,
    RunRecord, SealedSecret, StoredRun, TaskRecord, TokenRecord, VerdictRecord,
};
pub use sqlite::SqliteStore;

/// What the names of secrets begin with that were made of a notification's params, as in MLRun. They belong to the
/// notifications that refer to them: nobody else sees, makes or deletes them, and they go with their last user.
pub const INTERNAL: &str = "mlrun.notifications.";

/// What a server keeps, and what it promises about it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A run and its registered notifications; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database does not answer.
    async fn run(&self, key: &RunKey) -> StoreResult<Option<StoredRun>>;

    /// Takes in one transition: the run's new version, what was decided about it, and the deliveries that follow, all or
    /// nothing. A delivery whose key is known already is not made again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the run's version is no longer the one that decisions were made for;
    /// [`StoreError::Unavailable`] when it could not be written, a full disk among the reasons.
    async fn intake(&self, intake: Intake) -> StoreResult<Accepted>;

    /// Leases up to `limit` deliveries that are due at `now` to the caller, for `lease`.
    ///
    /// `lease` outlasts the slowest attempt, or somebody else makes it again. Of one run and notification the older
    /// delivery goes first; the younger one is not due before the older is finished.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. Never fails because nothing is due: that is an empty list.
    async fn claim(&self, now: Timestamp, limit: usize, lease: Duration) -> StoreResult<Claimed>;

    /// Records how a leased delivery's attempt ended, unless the lease was lost by then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn complete(&self, completion: Completion) -> StoreResult<Recorded>;

    /// Makes deliveries due now that wait for a later time; others are left alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn hasten(&self, ids: Vec<i64>, now: Timestamp) -> StoreResult<()>;

    /// Deliveries, the youngest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn deliveries(&self, filter: &DeliveryFilter, limit: usize) -> StoreResult<Vec<DeliveryRecord>>;

    /// One delivery with its attempts, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn delivery(&self, project: &str, id: i64) -> StoreResult<Option<(DeliveryRecord, Vec<AttemptRecord>)>>;

    /// Makes a finished delivery due again: the same one under the same key, or a copy of it under a new key. Returns the
    /// id of what is due; `None` when the delivery is not finished, or not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn replay(&self, project: &str, id: i64, now: Timestamp, new_key: bool) -> StoreResult<Option<i64>>;

    /// As [`replay`](Self::replay), for the youngest `limit` deliveries that the filter means; those that are not finished
    /// are left alone. Returns the ids of what is due.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn replay_all(
        &self,
        filter: &DeliveryFilter,
        limit: usize,
        now: Timestamp,
        new_key: bool,
    ) -> StoreResult<Vec<i64>>;

    /// Gives up a delivery that waits. False when it does not wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn cancel(&self, project: &str, id: i64, now: Timestamp) -> StoreResult<bool>;

    /// A sealed secret of a project.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn secret(&self, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>>;

    /// The names of a project's secrets, internal ones among them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn secret_names(&self, project: &str) -> StoreResult<Vec<String>>;

    /// Keeps secrets of a project, in the place of those with the same names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn put_secrets(&self, project: &str, secrets: Vec<SealedSecret>) -> StoreResult<()>;

    /// Deletes secrets of a project by name, or all of them; internal ones stay.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn delete_secrets(&self, project: &str, names: Option<Vec<String>>) -> StoreResult<()>;

    /// Secrets of all projects in order, after the one named, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn secrets(&self, after: Option<(String, String)>, limit: usize) -> StoreResult<Vec<ProjectSecret>>;

    /// Replaces a sealed secret by the same one sealed anew. False when it was changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn reseal(&self, old: ProjectSecret, sealed: Vec<u8>) -> StoreResult<bool>;

    /// Runs, the youngest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn runs(&self, filter: &RunFilter, limit: usize) -> StoreResult<Vec<RunRecord>>;

    /// Deletes a run with everything of its, unfinished deliveries too. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn delete_run(&self, key: &RunKey) -> StoreResult<bool>;

    /// Notes that a run is alive. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn heartbeat(&self, key: &RunKey, now: Timestamp) -> StoreResult<bool>;

    /// The last delivery of each notification in a run's present list.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn latest(&self, key: &RunKey) -> StoreResult<Vec<DeliveryRecord>>;

    /// What was decided about a run's notifications, the latest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn verdicts(&self, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>>;

    /// A project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn project(&self, name: &str) -> StoreResult<Option<String>>;

    /// Keeps a project's document.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn put_project(&self, name: &str, document: &str) -> StoreResult<()>;

    /// All access tokens, revoked ones among them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn tokens(&self) -> StoreResult<Vec<TokenRecord>>;

    /// Keeps a new access token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn put_token(&self, token: TokenRecord) -> StoreResult<()>;

    /// Revokes an access token, for good. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn revoke_token(&self, id: &str, now: Timestamp) -> StoreResult<bool>;

    /// Keeps work that a caller will poll.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn put_task(&self, project: &str, name: &str, deliveries: Vec<i64>, now: Timestamp) -> StoreResult<()>;

    /// How such work stands; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn task(&self, project: &str, name: &str) -> StoreResult<Option<TaskRecord>>;

    /// How much waits to be delivered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn backlog(&self) -> StoreResult<Backlog>;

    /// Forgets up to `limit` deliveries that were finished before `before`, what only they need, and runs that ended and
    /// were not touched since. Returns how many; 0 when there is no more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize>;

    /// Copies everything into a new file, while work goes on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file exists or cannot be written.
    async fn backup(&self, file: &Path) -> StoreResult<()>;

    /// Whether something can be written: commits a change that means nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot.
    async fn check(&self) -> StoreResult<()>;
}
