//! The values that callers pass to a store and get from it.

mod history;
mod queue;
mod records;

pub use history::{
    AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, RunFilter, RunRecord, StoredRun, VerdictRecord,
};
pub use queue::{
    Accepted, Backlog, Claim, Claimed, Completion, Deliver, FollowUp, HoldChange, HoldTarget, Lease, LeasedDelivery,
    NewJob, NewVerdict, Placed, Placement, Recorded, RegisteredNotification, Rooms, RunChange, RunFacts, RunKey, Share,
    StoredHold,
};
pub use records::{INTERNAL, ProjectSecret, SealedSecret, TaskRecord, TokenRecord};
