//! Attempts: the last one is in its delivery's row, earlier ones are in their own table.

use rusqlite::{Connection, params};

use super::values::timestamp;
use crate::error::StoreResult;
use crate::model::AttemptRecord;

/// An attempt that has ended.
pub(super) struct LastAttempt<'a> {
    pub(super) number: i64,
    pub(super) started: i64,
    pub(super) ended: i64,
    pub(super) outcome: &'a str,
    pub(super) reason: &'a str,
    pub(super) is_ambiguous: bool,
}

/// Moves the last attempt of a delivery into the table of earlier ones, before another one replaces it.
pub(super) fn keep_earlier(connection: &Connection, id: i64) -> StoreResult<()> {
    let sql = "INSERT OR REPLACE INTO attempts (delivery_id, number, started_at, ended_at, outcome, reason, ambiguous) \
               SELECT id, last_number, last_started_at, last_ended_at, last_outcome, last_reason, last_ambiguous \
               FROM deliveries WHERE id = ?1 AND last_number IS NOT NULL";
    connection.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// Records an attempt as the last one.
pub(super) fn write_attempt(connection: &Connection, id: i64, attempt: &LastAttempt<'_>) -> StoreResult<()> {
    keep_earlier(connection, id)?;
    let sql = "UPDATE deliveries SET last_number = ?2, last_started_at = ?3, last_ended_at = ?4, last_outcome = ?5, \
               last_reason = ?6, last_ambiguous = ?7 WHERE id = ?1";
    let LastAttempt { number, started, ended, outcome, reason, is_ambiguous } = attempt;
    connection.prepare_cached(sql)?.execute(params![id, number, started, ended, outcome, reason, is_ambiguous])?;
    Ok(())
}

/// The attempts of a delivery, in order.
pub(super) fn attempts(connection: &Connection, id: i64) -> StoreResult<Vec<AttemptRecord>> {
    let sql = "SELECT number, started_at, ended_at, outcome, reason, ambiguous FROM attempts WHERE delivery_id = ?1 \
               UNION ALL \
               SELECT last_number, last_started_at, last_ended_at, last_outcome, last_reason, last_ambiguous \
               FROM deliveries WHERE id = ?1 AND last_number IS NOT NULL ORDER BY 1";
    let mut statement = connection.prepare_cached(sql)?;
    let attempts = statement.query_map([id], |row| {
        let (number, outcome, reason, ambiguous) = (row.get(0)?, row.get(3)?, row.get(4)?, row.get(5)?);
        let (started, ended) = (row.get(1)?, row.get(2)?);
        let times = || Ok((timestamp(started)?, timestamp(ended)?));
        Ok(times().map(|(started_at, ended_at)| AttemptRecord {
            number,
            started_at,
            ended_at,
            outcome,
            reason,
            ambiguous,
        }))
    })?;
    attempts.map(|row| row?).collect()
}
