//! Lanes: the unfinished deliveries of one run and one notification, and their order.
//!
//! [`turns`] decides the order; this module finds the lane and records the turns. Only the delivery that may go has a due
//! time.

use runbell_core::delivery::{Phase, Turn, turns};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::ready::make_due;
use crate::error::{StoreError, StoreResult};

/// An unfinished delivery in its lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) id: i64,
    pub(super) phase: Phase,
    flow_id: i64,
    has_due: bool,
}

/// The unfinished deliveries of a lane, oldest first.
pub(super) fn members(connection: &Connection, run_id: i64, name: &str) -> StoreResult<Vec<Member>> {
    let sql = "SELECT id, status, attempts - replayed_after, last_chance, flow_id, due_at IS NOT NULL FROM deliveries \
               WHERE run_id = ?1 AND name = ?2 AND finished_at IS NULL ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![run_id, name])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let phase = match row.get_ref(1)?.as_str().map_err(|_| StoreError::unexpected("a status"))? {
            "leased" => Phase::UnderWay,
            "retry" => Phase::Retrying { last_chance: row.get(3)? },
            // An attempt that was deferred is not counted.
            _ if row.get::<_, i64>(2)? == 0 => Phase::Untried,
            _ => Phase::Retrying { last_chance: row.get(3)? },
        };
        members.push(Member { id: row.get(0)?, phase, flow_id: row.get(4)?, has_due: row.get(5)? });
    }
    Ok(members)
}

/// The lane of a delivery; `None` for a job without one.
pub(super) fn lane_of(connection: &Connection, id: i64) -> StoreResult<Option<(i64, String)>> {
    let sql = "SELECT run_id, name FROM deliveries WHERE id = ?1";
    let found: Option<(Option<i64>, String)> =
        connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.and_then(|(run_id, name)| Some((run_id?, name))))
}

/// Records the turns in the lane of a delivery that was added, finished or replayed.
pub(super) fn arrange_lane_of(connection: &Connection, id: i64, now: i64) -> StoreResult<()> {
    match lane_of(connection, id)? {
        Some((run_id, name)) => arrange(connection, &members(connection, run_id, &name)?, now),
        None => {
            let sql = "SELECT flow_id, due_at FROM deliveries WHERE id = ?1 AND due_at IS NOT NULL";
            let due: Option<(i64, i64)> =
                connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            due.map_or(Ok(()), |(flow_id, due)| make_due(connection, id, flow_id, due).map(drop))
        }
    }
}

/// Records the turns in a lane.
pub(super) fn arrange(connection: &Connection, lane: &[Member], now: i64) -> StoreResult<()> {
    let phases: Vec<Phase> = lane.iter().map(|member| member.phase).collect();
    for (member, turn) in lane.iter().zip(turns(&phases)) {
        match turn {
            _ if member.phase == Phase::UnderWay => {}
            Turn::Go if member.has_due => {}
            Turn::Go => set_due(connection, member, now, false)?,
            Turn::Hurry => set_due(connection, member, now, true)?,
            Turn::Wait if member.has_due => {
                connection.prepare_cached("UPDATE deliveries SET due_at = NULL WHERE id = ?1")?.execute([member.id])?;
            }
            Turn::Wait => {}
        }
    }
    Ok(())
}

fn set_due(connection: &Connection, member: &Member, now: i64, last_chance: bool) -> StoreResult<()> {
    let sql = "UPDATE deliveries SET due_at = ?2, last_chance = max(last_chance, ?3) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![member.id, now, last_chance])?;
    make_due(connection, member.id, member.flow_id, now).map(drop)
}
