//! Leases, and what becomes of them.

use std::time::Duration;

use runbell_core::{RunState, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{micros, read, timestamp};
use crate::error::{StoreError, StoreResult};
use crate::model::{Claimed, Completion, DeliveryFilter, Ending, Lease, Recorded, Registered, RunKey};

/// Nothing older of the same run and notification may be on its way.
const CLAIM: &str = "
    UPDATE deliveries SET
        status = 'leased', due_at = ?3, fence = fence + 1, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM deliveries AS mine
        WHERE due_at <= ?1
        AND NOT EXISTS (
            SELECT 1 FROM deliveries AS older
            WHERE older.run_id = mine.run_id AND older.name = mine.name AND older.id < mine.id
            AND older.due_at IS NOT NULL)
        ORDER BY due_at LIMIT ?2)
    RETURNING id";

const LEASED: &str = "
    SELECT d.id, d.fence, d.key, r.project, r.uid, r.iteration, coalesce(s.document, r.document),
           n.name, n.kind, n.document, n.secret, d.state, d.at, d.attempts - d.replayed_at, d.last_chance, x.sealed, d.created_at
    FROM deliveries AS d
    JOIN runs AS r ON r.id = d.run_id
    JOIN notifications AS n ON n.run_id = d.run_id AND n.generation = d.generation AND n.name = d.name
    LEFT JOIN snapshots AS s ON s.id = d.snapshot_id
    LEFT JOIN secrets AS x ON x.project = n.project AND x.name = n.secret
    WHERE d.id = ?1";

/// A lease that has run out is leased anew: its holder is gone, or so slow that it counts as gone.
pub(super) fn claim(connection: &Connection, now: Timestamp, limit: usize, lease: Duration) -> StoreResult<Claimed> {
    lose_expired(connection, now)?;
    let until =
        now.checked_add(lease).map_err(|_| StoreError::Unavailable("a lease ends beyond all time".to_owned()))?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids: Vec<i64> = connection
        .prepare_cached(CLAIM)?
        .query_map(params![micros(now), most, micros(until)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut leased = Vec::with_capacity(ids.len());
    let mut read = connection.prepare_cached(LEASED)?;
    for id in ids {
        leased.push(read.query_row([id], |row| Ok(lease_of(row)))??);
    }
    // The order of `RETURNING` is nobody's promise.
    leased.sort_by_key(|lease| lease.id);
    let next_due = if leased.len() < limit { read::next_due(connection)? } else { Some(now) };
    Ok(Claimed { leases: leased, next_due })
}

fn lease_of(row: &Row<'_>) -> StoreResult<Lease> {
    let state: String = row.get(11)?;
    Ok(Lease {
        id: row.get(0)?,
        fence: row.get(1)?,
        key: row.get(2)?,
        run: RunKey { project: row.get(3)?, uid: row.get(4)?, iteration: row.get(5)? },
        document: row.get(6)?,
        notification: Registered { name: row.get(7)?, kind: row.get(8)?, document: row.get(9)?, secret: row.get(10)? },
        state: state.parse().unwrap_or(RunState::Unknown),
        at: timestamp(row.get(12)?)?,
        attempt: row.get(13)?,
        last_chance: row.get(14)?,
        sealed: row.get(15)?,
        created_at: timestamp(row.get(16)?)?,
    })
}

/// Writes down attempts whose end nobody told.
fn lose_expired(connection: &Connection, now: Timestamp) -> StoreResult<()> {
    let sql = "INSERT OR IGNORE INTO attempts (delivery_id, number, started_at, ended_at, outcome, reason, ambiguous) \
               SELECT id, attempts, ?1, ?1, 'lost', 'the process that made this attempt did not tell how it ended', 1 \
               FROM deliveries WHERE status = 'leased' AND due_at <= ?1";
    connection.prepare_cached(sql)?.execute([micros(now)])?;
    Ok(())
}

/// This process owns the file, so whoever held a lease is gone. What is not due is not looked at, however much there is of it.
pub(super) fn end_all_leases(connection: &mut Connection, now: Timestamp) -> StoreResult<()> {
    let transaction = connection.transaction()?;
    transaction
        .execute("UPDATE deliveries SET due_at = ?1 WHERE status = 'leased' AND due_at IS NOT NULL", [micros(now)])?;
    lose_expired(&transaction, now)?;
    transaction.execute("UPDATE deliveries SET status = 'retry' WHERE status = 'leased' AND due_at IS NOT NULL", [])?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn complete(connection: &Connection, completion: &Completion) -> StoreResult<Recorded> {
    let Completion { id, fence, ending, reason, ambiguous, started, ended } = completion;
    let now = micros(*ended);
    // News that waits behind this one makes its next try the last, and at once.
    let sql = "SELECT attempts, last_chance, EXISTS (SELECT 1 FROM deliveries AS newer \
                   WHERE newer.run_id = mine.run_id AND newer.name = mine.name AND newer.id > mine.id \
                   AND newer.due_at IS NOT NULL) \
               FROM deliveries AS mine WHERE id = ?1 AND fence = ?2 AND status = 'leased'";
    let held: Option<(i64, bool, bool)> = connection
        .prepare_cached(sql)?
        .query_row(params![id, fence], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((attempt, last_chance, overtaken)) = held else { return Ok(Recorded::Lost) };
    if let Ending::Deferred(due) = ending {
        let sql = "UPDATE deliveries SET attempts = attempts - 1, due_at = ?2, \
                   status = CASE WHEN attempts - replayed_at > 1 THEN 'retry' ELSE 'pending' END WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![id, micros(*due)])?;
        return Ok(Recorded::Done { has_follower: false });
    }
    let (status, due, last_chance) = match ending {
        Ending::Sent => ("sent", None, last_chance),
        Ending::Failed | Ending::Deferred(_) => ("failed", None, last_chance),
        Ending::Retry(_) if overtaken && last_chance => ("superseded", None, last_chance),
        Ending::Retry(_) if overtaken => ("retry", Some(now), true),
        Ending::Retry(due) => ("retry", Some(micros(*due)), false),
    };
    let sql =
        "UPDATE deliveries SET status = ?2, due_at = ?3, last_chance = ?4, reason = ?5, finished_at = ?6 WHERE id = ?1";
    let finished = due.is_none().then_some(now);
    let told = (*ending != Ending::Sent).then_some(reason);
    connection.prepare_cached(sql)?.execute(params![id, status, due, last_chance, told, finished])?;
    let outcome = match ending {
        Ending::Sent => "sent",
        Ending::Retry(_) => "retry",
        Ending::Failed | Ending::Deferred(_) => "failed",
    };
    let sql = "INSERT OR REPLACE INTO attempts (delivery_id, number, started_at, ended_at, outcome, reason, ambiguous) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(params![id, attempt, micros(*started), now, outcome, reason, ambiguous])?;
    Ok(Recorded::Done { has_follower: overtaken })
}

pub(super) fn hasten(connection: &Connection, ids: &[i64], now: Timestamp) -> StoreResult<()> {
    let sql = "UPDATE deliveries SET due_at = ?2 WHERE id = ?1 AND status IN ('pending', 'retry') AND due_at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for id in ids {
        statement.execute(params![id, micros(now)])?;
    }
    Ok(())
}

pub(super) fn replay(
    connection: &Connection,
    project: &str,
    id: i64,
    now: Timestamp,
    new_key: bool,
) -> StoreResult<Option<i64>> {
    if new_key {
        let sql = "INSERT INTO deliveries (key, run_id, generation, name, snapshot_id, state, at, status, due_at, created_at) \
                   SELECT 'rb_' || lower(hex(randomblob(16))), run_id, generation, name, snapshot_id, state, at, \
                   'pending', ?3, ?3 FROM deliveries \
                   WHERE id = ?2 AND finished_at IS NOT NULL \
                   AND run_id IN (SELECT id FROM runs WHERE project = ?1)";
        let made = connection.prepare_cached(sql)?.execute(params![project, id, micros(now)])?;
        return Ok((made > 0).then(|| connection.last_insert_rowid()));
    }
    let sql = "UPDATE deliveries SET status = 'pending', due_at = ?3, finished_at = NULL, last_chance = 0, \
               replayed_at = attempts \
               WHERE id = ?2 AND finished_at IS NOT NULL \
               AND run_id IN (SELECT id FROM runs WHERE project = ?1)";
    Ok((connection.prepare_cached(sql)?.execute(params![project, id, micros(now)])? > 0).then_some(id))
}

pub(super) fn replay_all(
    connection: &Connection,
    filter: &DeliveryFilter,
    limit: usize,
    now: Timestamp,
    new_key: bool,
) -> StoreResult<Vec<i64>> {
    let mut replayed = Vec::new();
    for record in read::deliveries(connection, filter, limit)? {
        replayed.extend(replay(connection, &record.run.project, record.id, now, new_key)?);
    }
    Ok(replayed)
}

pub(super) fn cancel(connection: &Connection, project: &str, id: i64, now: Timestamp) -> StoreResult<bool> {
    let sql = "UPDATE deliveries SET status = 'superseded', due_at = NULL, finished_at = ?3, reason = 'cancelled' \
               WHERE id = ?2 AND status IN ('pending', 'retry') \
               AND run_id IN (SELECT id FROM runs WHERE project = ?1)";
    Ok(connection.prepare_cached(sql)?.execute(params![project, id, micros(now)])? > 0)
}
