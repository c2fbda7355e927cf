//! The product as its users meet it: the command, its streams, its signals, its targets.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests fail loudly")]

mod bad_input;
mod canary;
mod command;
mod mlrun;
mod notifications;
mod servers;
mod terminal;
mod tools;
mod verbs;
