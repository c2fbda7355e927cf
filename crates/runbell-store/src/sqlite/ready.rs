//! The destinations with due deliveries: `ready_at` of destinations and flows, and their holds.
//!
//! `ready_at` may be too early, which costs a query, but never too late, which would forget a delivery.

use runbell_core::{Flow, FlowHash};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::values::micros;
use crate::error::StoreResult;
use crate::model::{HoldChange, HoldTarget};

/// The flow of deliveries whose destination is unknown.
pub(super) const UNKNOWN: i64 = 0;

/// The row of a project's flow, made when there is none.
pub(super) fn flow_id(connection: &Connection, flow: Flow, project: &str) -> StoreResult<i64> {
    if !flow.is_known() {
        return Ok(UNKNOWN);
    }
    let find = "SELECT f.id FROM destinations AS d JOIN flows AS f ON f.destination_id = d.id \
                WHERE d.hash = ?1 AND f.bucket = ?2 AND f.project = ?3";
    let values = params![flow.destination.0, flow.bucket.0, project];
    let known = connection.prepare_cached(find)?.query_row(values, |row| row.get(0)).optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let destination = destination_id(connection, flow.destination)?;
    let held = "SELECT max(hold_until) FROM flows WHERE destination_id = ?1 AND bucket = ?2 AND bucket <> zeroblob(16)";
    let held: Option<i64> =
        connection.prepare_cached(held)?.query_row(params![destination, flow.bucket.0], |row| row.get(0))?;
    let make = "INSERT INTO flows (destination_id, bucket, project, hold_until) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(make)?.execute(params![destination, flow.bucket.0, project, held])?;
    Ok(connection.last_insert_rowid())
}

fn destination_id(connection: &Connection, hash: FlowHash) -> StoreResult<i64> {
    let find = "SELECT id FROM destinations WHERE hash = ?1";
    if let Some(known) = connection.prepare_cached(find)?.query_row([hash.0], |row| row.get(0)).optional()? {
        return Ok(known);
    }
    connection.prepare_cached("INSERT INTO destinations (hash) VALUES (?1)")?.execute([hash.0])?;
    Ok(connection.last_insert_rowid())
}

/// The effect of a due time on a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    /// Its destination is ready earlier.
    Earlier,
    /// Its destination was ready, or is held.
    Unchanged,
    /// The flow does not exist any more.
    Gone,
}

/// Notes that a delivery of a flow is due at `due`.
fn note_due(connection: &Connection, flow_id: i64, due: i64) -> StoreResult<Noted> {
    let earlier = "UPDATE flows SET ready_at = max(?2, coalesce(hold_until, ?2)) \
                   WHERE id = ?1 AND (ready_at IS NULL OR ready_at > max(?2, coalesce(hold_until, ?2)))";
    if connection.prepare_cached(earlier)?.execute([flow_id, due])? == 0 {
        let there = "SELECT 1 FROM flows WHERE id = ?1";
        let is_there = connection.prepare_cached(there)?.exists([flow_id])?;
        return Ok(if is_there { Noted::Unchanged } else { Noted::Gone });
    }
    let earlier = "UPDATE destinations SET ready_at = max(f.ready_at, coalesce(hold_until, f.ready_at)) \
                   FROM (SELECT destination_id, ready_at FROM flows WHERE id = ?1) AS f \
                   WHERE id = f.destination_id AND (destinations.ready_at IS NULL \
                       OR destinations.ready_at > max(f.ready_at, coalesce(hold_until, f.ready_at)))";
    let is_earlier = connection.prepare_cached(earlier)?.execute([flow_id])? > 0;
    Ok(if is_earlier { Noted::Earlier } else { Noted::Unchanged })
}

/// Makes a delivery due: one whose flow was forgotten waits with an unknown destination. Returns whether its destination is
/// ready earlier by that.
pub(super) fn make_due(connection: &Connection, id: i64, flow_id: i64, due: i64) -> StoreResult<bool> {
    let mut noted = note_due(connection, flow_id, due)?;
    if noted == Noted::Gone {
        let sql = "UPDATE deliveries SET flow_id = ?2 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute([id, UNKNOWN])?;
        noted = note_due(connection, UNKNOWN, due)?;
    }
    Ok(noted == Noted::Earlier)
}

/// Corrects a flow's `ready_at` by its due list: `not_before` when more deliveries are due than were taken.
pub(super) fn settle_flow(connection: &Connection, flow_id: i64, not_before: i64) -> StoreResult<()> {
    let sql = "UPDATE flows SET ready_at = (SELECT max(due_at, ?2, coalesce(flows.hold_until, ?2)) FROM deliveries \
               WHERE flow_id = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([flow_id, not_before])?;
    Ok(())
}

/// Corrects a destination's `ready_at` by its flows and its hold.
pub(super) fn settle_destination(connection: &Connection, id: i64) -> StoreResult<()> {
    let sql = "UPDATE destinations SET ready_at = (SELECT max(f.ready_at, coalesce(destinations.hold_until, f.ready_at)) \
               FROM flows AS f WHERE destination_id = ?1 AND f.ready_at IS NOT NULL ORDER BY f.ready_at LIMIT 1) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// Changes a hold. Returns whether a delivery may be due earlier by that.
pub(super) fn change_hold(connection: &Connection, change: HoldChange, now: i64) -> StoreResult<bool> {
    let until = change.hold.map(|hold| now.saturating_add(micros_of(hold)));
    match change.target {
        HoldTarget::Destination(hash) => {
            let id = destination_id(connection, hash)?;
            let sql = "UPDATE destinations SET hold_until = ?2, \
                       down_since = CASE WHEN ?2 IS NULL THEN NULL ELSE coalesce(down_since, ?3) END WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, until, now])?;
            settle_destination(connection, id)?;
        }
        HoldTarget::Bucket(flow) => {
            let id = destination_id(connection, flow.destination)?;
            // Of two answers the longer wait counts.
            let hold = "UPDATE flows SET hold_until = max(?3, coalesce(hold_until, ?3)), \
                        ready_at = max(ready_at, coalesce(?3, ready_at)) WHERE destination_id = ?1 AND bucket = ?2";
            connection.prepare_cached(hold)?.execute(params![id, flow.bucket.0, until])?;
            settle_destination(connection, id)?;
        }
    }
    Ok(change.hold.is_none())
}

fn micros_of(wait: std::time::Duration) -> i64 {
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)
}

/// The time `wait` from `now`.
pub(super) fn later(now: i64, wait: std::time::Duration) -> i64 {
    now.saturating_add(micros_of(wait))
}

/// The destinations that are down.
pub(super) fn holds(
    connection: &Connection,
    limit: usize,
    now: runbell_core::Timestamp,
) -> StoreResult<Vec<crate::model::StoredHold>> {
    let sql = "SELECT hash, hold_until, down_since FROM destinations WHERE down_since IS NOT NULL LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
    })?;
    let now = micros(now);
    rows.map(|row| {
        let (hash, until, since) = row?;
        let remaining = until.map_or(0, |until| until.saturating_sub(now).max(0));
        Ok(crate::model::StoredHold {
            destination: FlowHash(hash),
            remaining: std::time::Duration::from_micros(u64::try_from(remaining).unwrap_or(0)),
            since: super::values::timestamp(since)?,
        })
    })
    .collect()
}
