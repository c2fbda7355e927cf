//! The handlers, one module for each resource.

pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod projects;
pub(crate) mod runs;
pub(crate) mod secrets;
pub(crate) mod tokens;
