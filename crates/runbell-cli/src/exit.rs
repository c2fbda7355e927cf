//! The exit codes.

/// Every action succeeded.
pub(crate) const DONE: u8 = 0;
/// A delivery or an action failed.
pub(crate) const NOT_DELIVERED: u8 = 1;
/// Usage or configuration is at fault.
pub(crate) const USAGE: u8 = 2;
