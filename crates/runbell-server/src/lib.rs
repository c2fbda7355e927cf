//! Runbell's server: an HTTP API over durable dispatch.
//!
//! [`serve`] is the whole of it: it reads a [`Config`], opens the store, delivers what the store holds, and answers
//! requests until it is asked to stop. [`Instance::open`] and [`Instance::ask`] are the same without the network, for those who look
//! after a store's file by hand.
//!
//! **Invariant:** an event is answered with success only after its commit.
//!
//! **Invariant:** no answer, log line or metric holds a secret value; secrets are sealed before the store sees them.
//!
//! **Invariant:** every route but the few that tell nothing asks for a token, as soon as the store has ever had one.

mod answer;
mod app;
mod ask;
mod auth;
mod body;
mod config;
mod instance;
mod keys;
mod listen;
mod metrics;
mod openapi;
mod page;
mod routes;
mod smtp;
mod state;
mod tokens;
mod upkeep;

pub use ask::Asked;
pub use config::{Config, RetrySettings, Secrets, ServerLimits, TlsSettings};
pub use instance::{Instance, Purpose};
pub use listen::serve;

/// The schema of the configuration's file.
pub fn config_schema() -> serde_json::Value {
    schemars::schema_for!(Config).into()
}
