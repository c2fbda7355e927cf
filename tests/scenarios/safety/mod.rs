//! What a server must not do: reveal secrets, reach forbidden addresses, answer unauthorised callers, break its own
//! description.

mod access;
mod canary;
mod description;
mod egress;
mod hidden;
mod keys;
