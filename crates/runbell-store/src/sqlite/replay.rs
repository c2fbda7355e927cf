//! Replays and cancellations of deliveries by hand.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::claim::due_in_its_turn;
use super::lane::arrange_lane_of;
use crate::error::StoreResult;

/// The finished delivery of a project.
const FINISHED: &str = "id = ?2 AND finished_at IS NOT NULL \
                        AND EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = notification_id AND n.project = ?1)";

pub(super) fn replay(
    connection: &Connection,
    project: &str,
    id: i64,
    new_key: bool,
    now: i64,
) -> StoreResult<Option<i64>> {
    let id = if new_key {
        let sql = format!(
            "INSERT INTO deliveries (key, run_id, notification_id, name, subject_id, state, at, look, status, flow_id, created_at) \
             SELECT 'rb_' || lower(hex(randomblob(16))), run_id, notification_id, name, subject_id, state, at, look, \
             'pending', flow_id, ?3 FROM deliveries WHERE {FINISHED}"
        );
        let made = connection.prepare_cached(&sql)?.execute(params![project, id, now])?;
        (made > 0).then(|| connection.last_insert_rowid())
    } else {
        let sql = format!(
            "UPDATE deliveries SET status = 'pending', finished_at = NULL, last_chance = 0, replaced = 0, replayed_after = attempts, \
             replayed_at = ?3 WHERE {FINISHED} RETURNING id"
        );
        connection.prepare_cached(&sql)?.query_row(params![project, id, now], |row| row.get(0)).optional()?
    };
    if let Some(id) = id {
        due_in_its_turn(connection, id, now, now)?;
    }
    Ok(id)
}

pub(super) fn replay_these(
    connection: &Connection,
    found: &[(String, i64)],
    new_key: bool,
    now: i64,
) -> StoreResult<Vec<i64>> {
    let mut replayed = Vec::new();
    for (project, id) in found {
        replayed.extend(replay(connection, project, *id, new_key, now)?);
    }
    Ok(replayed)
}

pub(super) fn cancel(connection: &Connection, project: &str, id: i64, now: i64) -> StoreResult<bool> {
    let sql = "UPDATE deliveries SET status = 'superseded', due_at = NULL, finished_at = ?3, reason = 'cancelled' \
               WHERE id = ?2 AND (status = 'pending' OR status = 'retry') \
               AND EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = notification_id AND n.project = ?1)";
    let is_cancelled = connection.prepare_cached(sql)?.execute(params![project, id, now])? > 0;
    if is_cancelled {
        // What waited behind it may go.
        arrange_lane_of(connection, id, now)?;
    }
    Ok(is_cancelled)
}
