//! Reading, by connections that cannot write.

use runbell_core::{RunState, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::timestamp;
use crate::error::{StoreError, StoreResult};
use crate::model::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Registered, RunKey, StoredRun};

pub(super) fn run(connection: &Connection, key: &RunKey) -> StoreResult<Option<StoredRun>> {
    // Run and notifications as of one moment.
    let transaction = connection.unchecked_transaction()?;
    let sql = "SELECT id, document, version, generation FROM runs WHERE project = ?1 AND uid = ?2 AND iteration = ?3";
    let found: Option<(i64, String, i64, i64)> = transaction
        .prepare_cached(sql)?
        .query_row(params![key.project, key.uid, key.iteration], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((id, document, version, generation)) = found else { return Ok(None) };
    let sql = "SELECT name, kind, document, secret FROM notifications WHERE run_id = ?1 AND generation = ?2 ORDER BY position";
    let notifications = transaction
        .prepare_cached(sql)?
        .query_map(params![id, generation], |row| {
            Ok(Registered { name: row.get(0)?, kind: row.get(1)?, document: row.get(2)?, secret: row.get(3)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Some(StoredRun { document, version, generation, notifications }))
}

pub(super) fn next_due(connection: &Connection) -> StoreResult<Option<Timestamp>> {
    let sql = "SELECT min(due_at) FROM deliveries WHERE status IN ('pending', 'leased', 'retry')";
    let due: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    due.map(timestamp).transpose()
}

const RECORD: &str = "SELECT d.id, d.key, r.project, r.uid, r.iteration, d.name, n.kind, d.state, d.status, d.attempts, \
                      d.reason, d.due_at, d.created_at, d.finished_at \
                      FROM deliveries AS d JOIN runs AS r ON r.id = d.run_id JOIN notifications AS n ON n.id = d.notification_id";

pub(super) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
    limit: usize,
) -> StoreResult<Vec<DeliveryRecord>> {
    let (mut sql, mut values) = (format!("{RECORD} WHERE 1"), Vec::<rusqlite::types::Value>::new());
    let texts = [
        ("r.project", filter.project.clone()),
        ("r.uid", filter.uid.clone()),
        ("d.name", filter.notification.clone()),
        ("d.status", filter.status.map(|status| status.as_str().to_owned())),
    ];
    for (column, value) in texts.into_iter().filter_map(|(column, value)| Some((column, value?))) {
        sql.push_str(&format!(" AND {column} = ?"));
        values.push(value.into());
    }
    if let Some(before) = filter.before {
        sql.push_str(" AND d.id < ?");
        values.push(before.into());
    }
    sql.push_str(" ORDER BY d.id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

fn record(row: &Row<'_>) -> StoreResult<DeliveryRecord> {
    let (state, status): (String, String) = (row.get(7)?, row.get(8)?);
    let status = DeliveryState::ALL.into_iter().find(|known| known.as_str() == status);
    let due: Option<i64> = row.get(11)?;
    let finished: Option<i64> = row.get(13)?;
    Ok(DeliveryRecord {
        id: row.get(0)?,
        key: row.get(1)?,
        run: RunKey { project: row.get(2)?, uid: row.get(3)?, iteration: row.get(4)? },
        notification: row.get(5)?,
        kind: row.get(6)?,
        state: state.parse().unwrap_or(RunState::Unknown),
        status: status.ok_or_else(|| StoreError::Unavailable("the database holds an unknown state".to_owned()))?,
        attempts: row.get(9)?,
        reason: row.get(10)?,
        due_at: due.map(timestamp).transpose()?,
        created_at: timestamp(row.get(12)?)?,
        finished_at: finished.map(timestamp).transpose()?,
    })
}

pub(super) fn delivery(
    connection: &Connection,
    project: &str,
    id: i64,
) -> StoreResult<Option<(DeliveryRecord, Vec<AttemptRecord>)>> {
    let transaction = connection.unchecked_transaction()?;
    let sql = format!("{RECORD} WHERE d.id = ?1 AND r.project = ?2");
    let found = transaction.prepare_cached(&sql)?.query_row(params![id, project], |row| Ok(record(row))).optional()?;
    let Some(found) = found.transpose()? else { return Ok(None) };
    let sql = "SELECT number, started_at, ended_at, outcome, reason, ambiguous FROM attempts WHERE delivery_id = ?1 \
               ORDER BY number";
    let mut statement = transaction.prepare_cached(sql)?;
    let attempts = statement.query_map([id], |row| {
        let attempt = |started, ended| -> StoreResult<AttemptRecord> {
            Ok(AttemptRecord {
                number: row.get(0)?,
                started_at: timestamp(started)?,
                ended_at: timestamp(ended)?,
                outcome: row.get(3)?,
                reason: row.get(4)?,
                ambiguous: row.get(5)?,
            })
        };
        Ok(attempt(row.get(1)?, row.get(2)?))
    })?;
    let attempts = attempts.map(|row| row?).collect::<StoreResult<_>>()?;
    Ok(Some((found, attempts)))
}

pub(super) fn secret(connection: &Connection, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM secrets WHERE project = ?1 AND name = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![project, name], |row| row.get(0)).optional()?)
}
