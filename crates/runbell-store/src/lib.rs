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
    Accepted, AttemptRecord, Completion, DeliveryFilter, DeliveryRecord, DeliveryState, Ending, Intake, Lease,
    NewDelivery, NewVerdict, Registered, RunKey, SealedSecret, StoredRun,
};
pub use sqlite::SqliteStore;

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
    async fn claim(&self, now: Timestamp, limit: usize, lease: Duration) -> StoreResult<Vec<Lease>>;

    /// Records how a leased delivery's attempt ended. False when the lease was lost by then: nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn complete(&self, completion: Completion) -> StoreResult<bool>;

    /// When the next delivery is due; `None` when none is waiting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn next_due(&self) -> StoreResult<Option<Timestamp>>;

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

    /// Makes a finished delivery due again, under the same key. False when it is not finished, or not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn replay(&self, project: &str, id: i64, now: Timestamp) -> StoreResult<bool>;

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

    /// Forgets up to `limit` deliveries that were finished before `before`, and what only they need. Returns how many.
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
