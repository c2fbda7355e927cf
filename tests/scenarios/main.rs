//! The product as its users meet it: the command, its streams, its signals, its targets.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests fail loudly")]

mod bad_input;
mod canary;
mod command;
mod mlrun;
mod notebook;
mod notifications;
mod remote;

mod safety;
mod send_test;
mod server;
mod servers;
mod serving;
mod store_verbs;
mod terminal;
mod tools;
mod verbs;
