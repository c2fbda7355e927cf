//! Other records: projects, secrets, tokens, tasks.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::ready::{UNKNOWN, settle_destination, settle_flow};
use super::values::{micros, micros_to_wait, timestamp};
use crate::error::{StoreError, StoreResult};
use crate::model::INTERNAL;
use crate::model::{ProjectSecret, SealedSecret, TaskRecord, TokenRecord};

pub(super) fn project(connection: &Connection, name: &str) -> StoreResult<Option<String>> {
    let sql = "SELECT document FROM projects WHERE name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn put_project(connection: &Connection, name: &str, document: &str) -> StoreResult<()> {
    let sql =
        "INSERT INTO projects (name, document) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET document = excluded.document";
    connection.prepare_cached(sql)?.execute([name, document])?;
    Ok(())
}

pub(super) fn secret(connection: &Connection, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM secrets WHERE project = ?1 AND name = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![project, name], |row| row.get(0)).optional()?)
}

pub(super) fn secret_names(connection: &Connection, project: &str) -> StoreResult<Vec<String>> {
    let sql = "SELECT name FROM secrets WHERE project = ?1 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([project], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn put_secrets(connection: &Connection, project: &str, secrets: &[SealedSecret]) -> StoreResult<()> {
    let sql = "INSERT INTO secrets (project, name, sealed) VALUES (?1, ?2, ?3) \
               ON CONFLICT DO UPDATE SET sealed = excluded.sealed";
    let mut statement = connection.prepare_cached(sql)?;
    for secret in secrets {
        statement.execute(params![project, secret.name, secret.sealed])?;
    }
    Ok(())
}

/// Callers cannot delete internal secrets: they are deleted with their last notification.
pub(super) fn delete_secrets(connection: &Connection, project: &str, names: Option<&[String]>) -> StoreResult<()> {
    let names = match names {
        Some(names) => names.to_vec(),
        None => secret_names(connection, project)?,
    };
    let mut statement = connection.prepare_cached("DELETE FROM secrets WHERE project = ?1 AND name = ?2")?;
    for name in names.iter().filter(|name| !name.starts_with(INTERNAL)) {
        statement.execute([project, name])?;
    }
    Ok(())
}

pub(super) fn secrets(
    connection: &Connection,
    after: Option<(&str, &str)>,
    limit: usize,
) -> StoreResult<Vec<ProjectSecret>> {
    let sql =
        "SELECT project, name, sealed FROM secrets WHERE (project, name) > (?1, ?2) ORDER BY project, name LIMIT ?3";
    let (project, name) = after.unwrap_or(("", ""));
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![project, name, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let secret = SealedSecret { name: row.get(1)?, sealed: row.get(2)? };
        Ok(ProjectSecret { project: row.get(0)?, secret })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn reseal(connection: &Connection, old: &ProjectSecret, sealed: &[u8]) -> StoreResult<bool> {
    let sql = "UPDATE secrets SET sealed = ?4 WHERE project = ?1 AND name = ?2 AND sealed = ?3";
    let values = params![old.project, old.secret.name, old.secret.sealed, sealed];
    Ok(connection.prepare_cached(sql)?.execute(values)? > 0)
}

pub(super) fn tokens(connection: &Connection) -> StoreResult<Vec<TokenRecord>> {
    let sql = "SELECT id, name, hash, admin, projects, created_at, revoked_at FROM tokens ORDER BY created_at, id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (created, revoked): (i64, Option<i64>) = (row.get(5)?, row.get(6)?);
        let projects: String = row.get(4)?;
        let (id, name, hash, admin) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let times = timestamp(created).and_then(|created| Ok((created, revoked.map(timestamp).transpose()?)));
        Ok(times.map(|(created_at, revoked_at)| TokenRecord {
            id,
            name,
            hash,
            admin,
            projects: projects.split('\n').filter(|project| !project.is_empty()).map(str::to_owned).collect(),
            created_at,
            revoked_at,
        }))
    })?;
    rows.map(|row| row?).collect()
}

pub(super) fn put_token(connection: &Connection, token: &TokenRecord) -> StoreResult<()> {
    let sql = "INSERT INTO tokens (id, name, hash, admin, projects, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let projects = token.projects.join("\n");
    let values = params![token.id, token.name, token.hash, token.admin, projects, micros(token.created_at)];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn revoke_token(connection: &Connection, id: &str, now: i64) -> StoreResult<bool> {
    let sql = "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.execute(params![id, now])? > 0)
}

pub(super) fn put_task(
    connection: &Connection,
    project: &str,
    name: &str,
    deliveries: &[i64],
    now: i64,
) -> StoreResult<TaskRecord> {
    let list = deliveries.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let sql = "INSERT INTO tasks (name, project, created_at, deliveries) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![name, project, now, format!("[{list}]")])?;
    task(connection, project, name, now)?.ok_or_else(|| StoreError::unexpected("no task"))
}

pub(super) fn task(connection: &Connection, project: &str, name: &str, now: i64) -> StoreResult<Option<TaskRecord>> {
    let sql = "SELECT created_at, (SELECT count(*) FROM deliveries WHERE id IN (SELECT value FROM json_each(tasks.deliveries)) \
               AND (status = 'pending' OR status = 'leased')) FROM tasks WHERE project = ?1 AND name = ?2";
    let found: Option<(i64, i64)> =
        connection.prepare_cached(sql)?.query_row([project, name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((created, untried)) = found else { return Ok(None) };
    let untried = usize::try_from(untried).map_err(|_| StoreError::unexpected("a count below zero"))?;
    let age = micros_to_wait(now.saturating_sub(created));
    Ok(Some(TaskRecord { created_at: timestamp(created)?, age, untried }))
}

/// The key that destinations are hashed with; `offered` is kept when there is none.
pub(super) fn flow_key(connection: &Connection, offered: &[u8]) -> StoreResult<Vec<u8>> {
    connection
        .prepare_cached("INSERT INTO flow_key (id, sealed) VALUES (1, ?1) ON CONFLICT DO NOTHING")?
        .execute([offered])?;
    Ok(connection.prepare_cached("SELECT sealed FROM flow_key WHERE id = 1")?.query_row([], |row| row.get(0))?)
}

/// Keeps another key. If it is not the same one sealed again, every destination is forgotten: hashes of the old key are
/// useless.
pub(super) fn put_flow_key(connection: &Connection, sealed: &[u8], forgets_flows: bool, now: i64) -> StoreResult<()> {
    let sql = "INSERT INTO flow_key (id, sealed) VALUES (1, ?1) ON CONFLICT DO UPDATE SET sealed = excluded.sealed";
    connection.prepare_cached(sql)?.execute([sealed])?;
    if !forgets_flows {
        return Ok(());
    }
    connection.execute("UPDATE deliveries SET flow_id = ?1 WHERE finished_at IS NULL AND flow_id <> ?1", [UNKNOWN])?;
    connection.execute("DELETE FROM flows WHERE id <> ?1", [UNKNOWN])?;
    connection.execute("DELETE FROM destinations WHERE id <> ?1", [UNKNOWN])?;
    settle_flow(connection, UNKNOWN, now)?;
    settle_destination(connection, UNKNOWN)
}
