//! Pruning, backups, and the check that the disk accepts writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, Statement, ToSql, params};

use super::ready::UNKNOWN;
use crate::error::{StoreError, StoreResult};
use crate::model::INTERNAL;

/// The size of the write that checks whether the disk accepts writes, in bytes.
const PROBE: i64 = 64 * 1024;

/// How many pages a backup copies before it lets others go on.
const PAGES: i32 = 1_024;

pub(super) fn prune(connection: &Connection, age: Duration, limit: usize, now: i64) -> StoreResult<usize> {
    let before = now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let deliveries = old_deliveries(connection, before, limit)?;
    for id in &deliveries {
        forget_delivery(connection, *id, before)?;
    }
    let ended = ended_runs(connection, before, limit)?;
    for run_id in &ended {
        forget_run(connection, *run_id)?;
    }
    let sql = "DELETE FROM tasks WHERE name IN (SELECT name FROM tasks WHERE created_at < ?1 LIMIT ?2)";
    let tasks = connection.prepare_cached(sql)?.execute([before, limit])?;
    let pruned = deliveries.len().max(ended.len()).max(tasks);
    if pruned == 0 {
        forget_idle_flows(connection, now)?;
    }
    Ok(pruned)
}

fn forget_delivery(connection: &Connection, id: i64, before: i64) -> StoreResult<()> {
    let sql = "DELETE FROM deliveries WHERE id = ?1 RETURNING subject_id, run_id, notification_id";
    let (subject, run, notification): (Option<i64>, Option<i64>, i64) =
        connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some(run_id) = run else { return forget_own_notification(connection, notification) };
    forget_subject(connection, run_id, subject)?;
    let sql = "DELETE FROM verdicts WHERE run_id = ?1 AND (delivery_id = ?2 OR at < ?3)";
    connection.prepare_cached(sql)?.execute([run_id, id, before])?;
    let generation = "SELECT generation FROM runs WHERE id = ?1";
    let generation: i64 = connection.prepare_cached(generation)?.query_row([run_id], |row| row.get(0))?;
    forget_lists(connection, run_id, generation)
}

/// Forgets flows without anything due and without a hold, and destinations without flows. A delivery that refers to one
/// waits with an unknown destination when it becomes due.
fn forget_idle_flows(connection: &Connection, now: i64) -> StoreResult<()> {
    let sql = "DELETE FROM flows WHERE id <> ?1 AND ready_at IS NULL AND coalesce(hold_until, ?2) <= ?2";
    connection.prepare_cached(sql)?.execute([UNKNOWN, now])?;
    let sql = "DELETE FROM destinations WHERE id <> ?1 AND down_since IS NULL AND ready_at IS NULL AND coalesce(hold_until, ?2) <= ?2 \
               AND NOT EXISTS (SELECT 1 FROM flows WHERE destination_id = destinations.id)";
    connection.prepare_cached(sql)?.execute([UNKNOWN, now])?;
    Ok(())
}

/// Finished deliveries that are old.
fn old_deliveries(connection: &Connection, before: i64, limit: i64) -> StoreResult<Vec<i64>> {
    let sql = "SELECT id, created_at, finished_at IS NOT NULL AND finished_at < ?1 FROM deliveries ORDER BY id";
    oldest(connection, sql, before, limit)
}

/// Runs that ended and were not touched since, once nothing is left of their deliveries.
fn ended_runs(connection: &Connection, before: i64, limit: i64) -> StoreResult<Vec<i64>> {
    let sql = "SELECT id, created_at, updated_at < ?1 AND state IN ('completed', 'error', 'aborted', 'skipped') \
               AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = runs.id) FROM runs ORDER BY id";
    oldest(connection, sql, before, limit)
}

/// Rows that may go. The older, the smaller the id: the first one made since then ends the search, so that no index by age
/// is needed, which everything that is new would pay for.
fn oldest(connection: &Connection, sql: &str, before: i64, limit: i64) -> StoreResult<Vec<i64>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([before])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before || old.len() as i64 >= limit {
            break;
        }
        if row.get(2)? {
            old.push(row.get(0)?);
        }
    }
    Ok(old)
}

/// Deletes a run and all its data.
pub(super) fn forget_run(connection: &Connection, run_id: i64) -> StoreResult<()> {
    let subjects: Vec<Option<i64>> = connection
        .prepare_cached("DELETE FROM deliveries WHERE run_id = ?1 RETURNING subject_id")?
        .query_map([run_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for subject in subjects {
        forget_subject(connection, run_id, subject)?;
    }
    forget_lists(connection, run_id, i64::MAX)?;
    connection.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([run_id])?;
    Ok(())
}

fn forget_subject(connection: &Connection, run_id: i64, id: Option<i64>) -> StoreResult<()> {
    let Some(id) = id else { return Ok(()) };
    let sql = "DELETE FROM subjects WHERE id = ?2 \
               AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = ?1 AND subject_id = ?2)";
    connection.prepare_cached(sql)?.execute([run_id, id])?;
    Ok(())
}

/// Forgets notifications of lists before `generation` that no delivery needs, and the secrets that only they used.
pub(super) fn forget_lists(connection: &Connection, run_id: i64, generation: i64) -> StoreResult<()> {
    let sql = "DELETE FROM notifications WHERE run_id = ?1 AND generation < ?2 \
               AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.run_id = ?1 AND d.notification_id = notifications.id) \
               RETURNING project, secret";
    forget_secrets(connection, &mut *connection.prepare_cached(sql)?, params![run_id, generation])
}

/// Forgets the notification of a job without a run, once no delivery needs it.
fn forget_own_notification(connection: &Connection, id: i64) -> StoreResult<()> {
    let sql = "DELETE FROM notifications WHERE id = ?1 AND run_id IS NULL \
               AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id IS NULL AND notification_id = ?1) \
               RETURNING project, secret";
    forget_secrets(connection, &mut *connection.prepare_cached(sql)?, params![id])
}

/// Deletes notifications by a statement that returns project and secret, and the secrets that only they used.
fn forget_secrets(connection: &Connection, delete: &mut Statement<'_>, values: &[&dyn ToSql]) -> StoreResult<()> {
    let freed: Vec<(String, Option<String>)> =
        delete.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (project, name) in freed {
        let Some(name) = name.filter(|name| name.starts_with(INTERNAL)) else { continue };
        let sql = "UPDATE secrets SET users = users - 1 WHERE project = ?1 AND name = ?2";
        connection.prepare_cached(sql)?.execute(params![project, name])?;
        let sql = "DELETE FROM secrets WHERE project = ?1 AND name = ?2 AND users <= 0";
        connection.prepare_cached(sql)?.execute(params![project, name])?;
    }
    Ok(())
}

pub(super) fn backup(connection: &Connection, file: &Path) -> StoreResult<()> {
    if file.exists() {
        return Err(StoreError::Unavailable("the backup's file exists already; name another one".to_owned()));
    }
    super::open::private(file)?;
    let mut target = Connection::open(file)?;
    let backup = Backup::new(connection, &mut target)?;
    backup.run_to_completion(PAGES, Duration::ZERO, None)?;
    drop(backup);
    // One file, not three: nothing beside it is needed to restore it.
    target.pragma_update(None, "journal_mode", "delete")?;
    Ok(())
}

/// As much as a usual event takes, so that a disk that is nearly full counts as full; another filling each time, or nothing
/// would be written.
pub(super) fn probe(connection: &Connection) -> StoreResult<()> {
    let sql = "INSERT INTO probe (id, filling) VALUES (1, randomblob(?1)) ON CONFLICT DO UPDATE SET filling = excluded.filling";
    connection.prepare_cached(sql)?.execute([PROBE])?;
    Ok(())
}
