//! The server as a whole: `runbell serve` on a store of its own, over HTTP, with targets that take, refuse, hang or are
//! not there, and with disks and processes that fail.

mod durability;
mod faults;
mod isolation;
mod order;
mod sdk;
mod stops;
mod trace;
