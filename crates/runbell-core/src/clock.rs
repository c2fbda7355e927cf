//! An injected clock, so that tests can set the time.

use std::fmt::Debug;

pub use jiff::Timestamp;

/// A source of the current time.
pub trait Clock: Debug + Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "only this function reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
