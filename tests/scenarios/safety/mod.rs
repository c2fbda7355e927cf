//! What a server must not do: tell secrets, reach what it should not, answer whom it should not, break its own description.

mod access;
mod canary;
mod description;
mod egress;
mod hidden;
mod keys;
