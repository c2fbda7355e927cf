//! The server's store: runs, registered notifications, deliveries, attempts, secrets.
//!
//! It has four traits: [`Queue`], [`History`], [`Records`], [`Upkeep`]; [`open`] opens the [`Store`] of a URL. When a call
//! returns, its writes survive the end of the process and of the machine.
//!
//! The store has the clock: callers pass and get waits; timestamps are for display only.
//!
//! **Invariant:** the states of a delivery change only as [`DeliveryState`] says, and the database enforces it too.
//!
//! **Invariant:** [`runbell_core::delivery`] decides the step after an attempt and the order of a lane, inside the
//! transaction that records them. The database stores and finds.
//!
//! **Invariant:** a lost lease changes no delivery: every write about a lease names its fence.
//!
//! **Invariant:** secrets arrive here sealed ([`seal`]) and are never unsealed here.

mod error;
mod model;
mod open;
pub mod seal;
mod sqlite;
mod traits;
mod wakeups;

pub use error::{StoreError, StoreResult};
pub use model::{
    Accepted, AttemptRecord, Backlog, Claim, Claimed, Completion, Deliver, DeliveryFilter, DeliveryRecord,
    DeliveryState, FollowUp, HoldChange, HoldTarget, INTERNAL, Lease, LeasedDelivery, NewJob, NewVerdict, Placed,
    Placement, ProjectSecret, Recorded, RegisteredNotification, Rooms, RunChange, RunFacts, RunFilter, RunKey,
    RunRecord, SealedSecret, Share, StoredHold, StoredRun, TaskRecord, TokenRecord, VerdictRecord,
};
pub use open::open;
pub use traits::{History, Queue, Records, Store, Upkeep};
pub use wakeups::Wakeups;
