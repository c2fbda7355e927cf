//! The verbs on a store: deliveries, secrets, tokens, backup. All of them call the [API](crate::api).

pub(crate) mod args;
mod backup;
mod deliveries;
mod secrets;
mod shown;
mod tokens;

pub(crate) use self::backup::backup;
pub(crate) use self::deliveries::deliveries;
pub(crate) use self::secrets::secrets;
pub(crate) use self::tokens::tokens;
