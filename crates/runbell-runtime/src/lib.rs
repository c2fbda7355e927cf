//! Runbell's dispatch: from a run's transition to the outcome at every target.
//!
//! One pipeline for this process and for a server: decide, admission, attempt, advance. Deciding is pure
//! ([`runbell_core::verdict`], [`runbell_core::delivery`]); the I/O is in one place, `attempt`.
//!
//! **Invariant:** the code names no kind; kinds come through the registry.
//!
//! **Invariant:** no permit is held while a delivery waits for its next attempt, and each destination has permits
//! of its own, so that a broken target delays no other.
//!
//! **Invariant:** data are redacted before senders and templates see them ([`Notifier`] freezes and redacts a run first).

mod admission;
mod attempt;
mod decide;
#[cfg(feature = "durable")]
mod durable;
mod explain;
mod flag;
mod guard;
mod local;
mod notifier;
mod order;
mod preview;
mod ready;
mod redact;
#[cfg(feature = "remote")]
pub mod remote;
mod report;
#[cfg(feature = "remote")]
mod route;
mod sample;
mod secrets;

#[cfg(feature = "durable")]
pub use durable::{
    AttemptResult, Attempted, Dispatcher, DispatcherOptions, Event, EventError, Explained, Observer, Taken,
};
pub use explain::Explanation;
pub use guard::RunGuard;
pub use notifier::{Notifier, NotifierBuilder};
pub use preview::PreviewLine;
pub use report::{Report, ReportLine, Status};
#[cfg(feature = "remote")]
pub use route::{Dispatch, route};
