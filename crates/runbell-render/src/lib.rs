//! Stub.
pub mod python;
pub mod template;
