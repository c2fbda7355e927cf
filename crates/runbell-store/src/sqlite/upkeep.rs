//! Pruning, backups, and finding out whether the disk takes writes.

use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OptionalExtension as _, params};

use runbell_core::Timestamp;

use super::micros;
use crate::error::{StoreError, StoreResult};

/// How many pages a backup copies before it lets others go on.
const PAGES: i32 = 1_024;

pub(super) fn prune(connection: &Connection, before: Timestamp, limit: usize) -> StoreResult<usize> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "DELETE FROM deliveries WHERE id IN \
               (SELECT id FROM deliveries WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2) \
               RETURNING snapshot_id, notification_id";
    let pruned: Vec<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_map(params![micros(before), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    // What only those needed: snapshots, and notifications of lists that were replaced, with their secrets.
    let mut snapshot = connection.prepare_cached(
        "DELETE FROM snapshots WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE snapshot_id = ?1)",
    )?;
    let mut notification = connection.prepare_cached(
        "DELETE FROM notifications WHERE id = ?1 \
         AND generation < (SELECT generation FROM runs WHERE runs.id = notifications.run_id) \
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notification_id = ?1) RETURNING project, secret",
    )?;
    let mut secret = connection.prepare_cached(
        "DELETE FROM secrets WHERE project = ?1 AND name = ?2 AND NOT EXISTS \
         (SELECT 1 FROM notifications WHERE notifications.project = ?1 AND notifications.secret = ?2)",
    )?;
    for (snapshot_id, notification_id) in &pruned {
        snapshot.execute([snapshot_id])?;
        let freed: Option<(String, Option<String>)> =
            notification.query_row([notification_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((project, Some(name))) = freed.filter(|(_, name)| is_internal(name.as_deref())) {
            secret.execute(params![project, name])?;
        }
    }
    Ok(pruned.len())
}

/// Secrets that were made of a notification's params. Those that a project was given by name stay until they are deleted.
fn is_internal(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with("mlrun.notifications."))
}

pub(super) fn backup(connection: &Connection, file: &Path) -> StoreResult<()> {
    if file.exists() {
        return Err(StoreError::Unavailable("the backup's file exists already; name another one".to_owned()));
    }
    let mut target = Connection::open(file)?;
    let backup = Backup::new(connection, &mut target)?;
    backup.run_to_completion(PAGES, std::time::Duration::ZERO, None)?;
    drop(backup);
    // One file, not three: nothing beside it is needed to restore it.
    target.pragma_update(None, "journal_mode", "delete")?;
    Ok(())
}

pub(super) fn probe(connection: &Connection) -> StoreResult<()> {
    let sql = "INSERT INTO probe (id, at) VALUES (1, 1) ON CONFLICT DO UPDATE SET at = at + 1";
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
