//! Senders to try the contracts on.

mod answer;
mod pager;

#[allow(unused_imports, reason = "not every test binary wraps it")]
pub(crate) use answer::classify;
#[allow(unused_imports, reason = "not every test binary wraps it")]
pub(crate) use pager::{Pager, PagerParams, PagerSender, broken, request_bytes};
