//! Senders to try the contracts on.

mod pager;
mod wire;

#[allow(unused_imports, reason = "not every test binary wraps it")]
pub(crate) use pager::{Pager, PagerParams, PagerSender, broken};
#[allow(unused_imports, reason = "not every test binary wraps it")]
pub(crate) use wire::{classify, request_bytes};
