//! Changes of runs other than their intake: deletion and heartbeat.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::upkeep::forget_run;
use crate::error::StoreResult;
use crate::model::RunKey;

pub(super) fn delete_run(connection: &Connection, key: &RunKey) -> StoreResult<bool> {
    let sql = "SELECT id FROM runs WHERE project = ?1 AND uid = ?2 AND iteration = ?3";
    let id = connection
        .prepare_cached(sql)?
        .query_row(params![key.project, key.uid, key.iteration], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(false), |id| forget_run(connection, id).map(|()| true))
}

pub(super) fn heartbeat(connection: &Connection, key: &RunKey, now: i64) -> StoreResult<bool> {
    let sql = "UPDATE runs SET heartbeat_at = ?4 WHERE project = ?1 AND uid = ?2 AND iteration = ?3";
    Ok(connection.prepare_cached(sql)?.execute(params![key.project, key.uid, key.iteration, now])? > 0)
}
