//! Proves that a sender keeps its promises, and offers fake surroundings to test one with.
//!
//! A plugin's whole test of delivery is two lines: [`params_contract`] for its params, and for a kind that speaks
//! HTTP [`delivery_contract`] against a [`FakeHttp`]; a kind that prints has [`text_contract`], one that sends mail (with
//! the feature `smtp`) `mail_contract`. Each contract is a
//! list of small checks; one that fails panics with its name, such as
//! `delivery_contract[429 with a date]: Retry-After is 90 s from now, the error says After(0ns)`.
//!
//! [`FakeHttp`], [`FixedClock`], [`Recorder`] and [`TestContext`] stand alone, for tests of programs that embed
//! Runbell. [`sample_message`] and [`hostile_messages`] are something to render.
//!
//! **Invariant:** this crate uses the loopback interface only, and never sleeps to wait for an
//! event: time limits exist only to turn a hang into a failure.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "test support fails by panicking")]

mod canary;
mod check;
mod context;
mod delivery;
mod http;
mod logs;
#[cfg(feature = "smtp")]
mod mail;
mod params;
mod samples;
#[cfg(feature = "smtp")]
pub mod smtp;
#[cfg(feature = "store")]
mod store;
mod text;

pub use context::{BrokenOutput, FixedClock, Recorder, TestContext};
pub use delivery::{delivery_contract, delivery_contract_in};
pub use http::{FakeAnswer, FakeHttp, Hold, Request};
#[cfg(feature = "smtp")]
pub use mail::mail_contract;
pub use params::{params_contract, params_contract_in};
pub use samples::{SAMPLE_TIME, hostile_messages, message_about, sample_message, sample_run, sample_step};
#[cfg(feature = "store")]
pub use store::{StoreBench, run_store_case};
pub use text::{text_contract, text_contract_in};
