//! Telling a server, which delivers then: what is told, the client that tells it once, and the courier that does so in
//! the background and in order.
//!
//! An event that is told again is the same event: the server keeps one delivery for each, whose key does not depend on
//! who sends it. So what may have arrived is told again rather than lost.

mod client;
mod courier;
mod event;
mod registration;

pub use client::{RemoteClient, Told};
pub use courier::{Courier, CourierOptions, Untold};
pub use event::RemoteEvent;
pub use registration::{Registrable, register};
