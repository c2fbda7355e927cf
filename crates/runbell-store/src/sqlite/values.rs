//! The form of values in the database.

use std::time::Duration;

use runbell_core::Timestamp;
use runbell_core::delivery::Next;

use crate::error::{StoreError, StoreResult};
use crate::model::DeliveryState;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            // The database's own words; statements and their values are not among them.
            rusqlite::Error::SqliteFailure(failure, _) => StoreError::Unavailable(failure.to_string()),
            rusqlite::Error::QueryReturnedNoRows => StoreError::unexpected("a row is missing"),
            _ => StoreError::unexpected("a value of another type"),
        }
    }
}

/// The reason of a delivery without a recorded verdict.
pub(super) const MATCHED: &str = "matched";

/// The status of a delivery for which this follows.
pub(super) fn status_of(next: Next) -> &'static str {
    let state = match next {
        Next::Sent => DeliveryState::Sent,
        Next::Retry { .. } => DeliveryState::Retry,
        Next::Deferred { .. } => DeliveryState::Pending,
        Next::Failed => DeliveryState::Failed,
        Next::Superseded => DeliveryState::Superseded,
    };
    state.as_str()
}

/// Times in the database: microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A wait from a difference of times; none for one below zero.
pub(super) fn micros_to_wait(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(super) fn timestamp(micros: i64) -> StoreResult<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::unexpected("a time that is none"))
}
