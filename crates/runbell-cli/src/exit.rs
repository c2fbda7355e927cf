//! The exit codes.

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// Something was not delivered.
pub(crate) const NOT_DELIVERED: u8 = 1;
/// Usage or configuration is at fault.
pub(crate) const USAGE: u8 = 2;
