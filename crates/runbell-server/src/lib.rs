//! Runbell's server: an HTTP API over durable dispatch.
//!
//! [`serve`] reads a [`Config`], opens the store, delivers, and answers requests until it is asked to stop.
//! [`Instance::open`] and [`Instance::ask`] are the same without the network, to manage a store's file by hand.
//!
//! **Invariant:** an event gets a success answer only after its commit.
//!
//! **Invariant:** no answer, log line or metric holds a secret value; secrets are sealed before the store sees them.
//!
//! **Invariant:** every route needs a token once the store has ever had one, except the few that return no data.

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
