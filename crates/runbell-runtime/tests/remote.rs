//! The courier against a server that misbehaves.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail loudly")]
