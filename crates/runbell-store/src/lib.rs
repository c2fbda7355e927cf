//! Where the server keeps what it has promised to deliver: runs, registered notifications, deliveries, attempts, secrets.
//!
//! Four traits say what is promised: [`Queue`], [`History`], [`Records`], [`Upkeep`]; [`open`] makes a [`Store`] of a URL. A
//! promise is made when a call returns: what was written then survives the end of the process and of the machine.
//!
//! Time is the store's: callers give and get waits, and a timestamp only to show it.
//!
//! **Invariant:** the states of a delivery change only as [`DeliveryState`] says, and the database enforces it too.
//!
//! **Invariant:** what follows an attempt and whose turn it is in a lane is decided by [`runbell_core::delivery`], inside the
//! transaction that records it. The database stores and finds.
//!
//! **Invariant:** a lost lease changes nothing any more: every write about a lease names its fence.
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
