//! Reports events to a server, which delivers them: the events, the client of the server's API, and the queue that
//! reports in the background and in order.
//!
//! An event that is sent again is the same event: the server keeps one delivery for each, whose key does not depend on
//! the sender. So an event that may have arrived is sent again rather than lost.

mod client;
mod event;
mod queue;
mod registration;

pub use client::{AnswerClass, RemoteClient, Reported, ServerAnswer};
pub use event::RemoteEvent;
pub use queue::{EventQueue, EventQueueOptions, Unreported};
pub use registration::{Registrable, register};
