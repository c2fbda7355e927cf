//! Takes in one transition: run, notifications, verdicts, deliveries, in one transaction.

use std::collections::HashMap;

use runbell_core::Reason;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::upkeep::forget_lists;
use super::{MATCHED, micros};
use crate::INTERNAL;
use crate::error::{StoreError, StoreResult};
use crate::model::{Accepted, Deliver, Intake, NewDelivery, Registered};

pub(super) fn take_in(connection: &Connection, intake: &Intake) -> StoreResult<Accepted> {
    let now = micros(intake.now);
    let (run_id, version, mut generation) = write_run(connection, intake, now)?;
    // Of a run that is new there is nothing yet to look for.
    let is_new = intake.expected.is_none();
    let mut superseded = Vec::new();
    if let Some(list) = &intake.notifications {
        generation += 1;
        register(connection, run_id, generation, intake, list)?;
        if !is_new {
            superseded = supersede(connection, run_id, now)?;
            let sql = "UPDATE runs SET generation = ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![run_id, generation])?;
            forget_lists(connection, run_id, generation)?;
        }
    }
    let wanted = match intake.deliver {
        Deliver::Always => true,
        Deliver::IfSuperseded => superseded.contains(&intake.facts.state),
    };
    if !wanted {
        return Ok(Accepted { version, superseded: superseded.len(), ..Accepted::default() });
    }
    let Made { ids, deliveries, leased } = deliver(connection, intake, run_id, generation, now)?;
    for verdict in &intake.verdicts {
        let delivery = ids.get(verdict.notification.as_str());
        let is_made = delivery.is_some_and(|id| deliveries.contains(id));
        // A new delivery says by itself that all rules held.
        if is_made && verdict.reason == MATCHED && verdict.detail.is_none() {
            continue;
        }
        let reason = if delivery.is_some() && !is_made { Reason::AlreadyDone.as_str() } else { verdict.reason };
        let sql = "INSERT OR REPLACE INTO verdicts (run_id, notification, state, reason, detail, at, delivery_id) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        connection.prepare_cached(sql)?.execute(params![
            run_id,
            verdict.notification,
            verdict.state.as_str(),
            reason,
            verdict.detail,
            now,
            delivery
        ])?;
    }
    let repeated = intake.deliveries.iter().map(|one| one.notification.as_str());
    let repeated = repeated.filter(|name| ids.get(name).is_some_and(|id| !deliveries.contains(id)));
    let repeated = repeated.map(str::to_owned).collect();
    Ok(Accepted { version, deliveries, leased, repeated, superseded: superseded.len() })
}

/// Gives up what an earlier list promised and nobody has finished, and returns the states it was for.
fn supersede(connection: &Connection, run_id: i64, now: i64) -> StoreResult<Vec<String>> {
    let sql = "UPDATE deliveries SET status = 'superseded', due_at = NULL, finished_at = ?2, \
               reason = 'the run was given other notifications' \
               WHERE run_id = ?1 AND due_at IS NOT NULL RETURNING state";
    let mut statement = connection.prepare_cached(sql)?;
    let states = statement.query_map(params![run_id, now], |row| row.get(0))?;
    Ok(states.collect::<Result<_, _>>()?)
}

/// Writes the run's document, and returns its id, new version and present generation.
fn write_run(connection: &Connection, intake: &Intake, now: i64) -> StoreResult<(i64, i64, i64)> {
    let (run, facts) = (&intake.run, &intake.facts);
    let started = facts.started_at.map(micros);
    let Some(expected) = intake.expected else {
        let sql = "INSERT INTO runs (project, uid, iteration, version, generation, document, name, state, started_at, created_at, \
                   updated_at) VALUES (?1, ?2, ?3, 1, ?9, ?4, ?5, ?6, coalesce(?7, ?8), ?8, ?8) ON CONFLICT DO NOTHING";
        let made = connection.prepare_cached(sql)?.execute(params![
            run.project,
            run.uid,
            run.iteration,
            intake.document,
            facts.name,
            facts.state,
            started,
            now,
            i64::from(intake.notifications.is_some())
        ])?;
        return if made == 1 { Ok((connection.last_insert_rowid(), 1, 0)) } else { Err(StoreError::Conflict) };
    };
    let sql = "SELECT id, generation FROM runs WHERE project = ?1 AND uid = ?2 AND iteration = ?3 AND version = ?4";
    let known: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![run.project, run.uid, run.iteration, expected], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, generation) = known.ok_or(StoreError::Conflict)?;
    keep_snapshot(connection, id)?;
    let sql = "UPDATE runs SET version = version + 1, document = ?2, name = ?3, state = ?4, \
               started_at = coalesce(?5, started_at), updated_at = ?6 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id, intake.document, facts.name, facts.state, started, now])?;
    Ok((id, expected + 1, generation))
}

/// Before a run changes: keeps what it was for the deliveries that tell of it.
fn keep_snapshot(connection: &Connection, run_id: i64) -> StoreResult<()> {
    let needed = "SELECT 1 FROM deliveries WHERE run_id = ?1 AND snapshot_id IS NULL";
    if connection.prepare_cached(needed)?.exists([run_id])? {
        let keep = "INSERT INTO snapshots (document) SELECT document FROM runs WHERE id = ?1";
        connection.prepare_cached(keep)?.execute([run_id])?;
        let refer = "UPDATE deliveries SET snapshot_id = ?2 WHERE run_id = ?1 AND snapshot_id IS NULL";
        connection.prepare_cached(refer)?.execute([run_id, connection.last_insert_rowid()])?;
    }
    Ok(())
}

/// Writes a list with its secrets, of which each notification counts as a user.
fn register(
    connection: &Connection,
    run_id: i64,
    generation: i64,
    intake: &Intake,
    list: &[Registered],
) -> StoreResult<()> {
    let project = &intake.run.project;
    let sql = "INSERT INTO notifications (run_id, generation, position, name, kind, document, project, secret) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut insert = connection.prepare_cached(sql)?;
    for (position, one) in list.iter().enumerate() {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        insert.execute(params![run_id, generation, position, one.name, one.kind, one.document, project, one.secret])?;
        let Some(name) = &one.secret else { continue };
        match intake.secrets.iter().find(|secret| secret.name == *name) {
            Some(secret) => {
                // Sealed anew: the one that is there may be of a key that is gone.
                let sql = "INSERT INTO secrets (project, name, sealed, users) VALUES (?1, ?2, ?3, 1) \
                           ON CONFLICT DO UPDATE SET sealed = excluded.sealed, users = users + 1";
                connection.prepare_cached(sql)?.execute(params![project, name, secret.sealed])?;
            }
            None if name.starts_with(INTERNAL) => {
                let sql = "UPDATE secrets SET users = users + 1 WHERE project = ?1 AND name = ?2";
                connection.prepare_cached(sql)?.execute(params![project, name])?;
            }
            None => {}
        }
    }
    Ok(())
}

/// What came of an intake's deliveries.
#[derive(Default)]
struct Made<'a> {
    /// The delivery of each notification, old or new.
    ids: HashMap<&'a str, i64>,
    /// The new ones.
    deliveries: Vec<i64>,
    /// Those that are leased, by their positions.
    leased: Vec<(usize, i64)>,
}

/// Makes the deliveries that are not there yet. Older news of the same lane that waits for another try gets its last one
/// now.
fn deliver<'a>(
    connection: &Connection,
    intake: &'a Intake,
    run_id: i64,
    generation: i64,
    now: i64,
) -> StoreResult<Made<'a>> {
    let is_new = intake.expected.is_none();
    let mut made = Made::default();
    for (position, delivery) in intake.deliveries.iter().enumerate() {
        if !is_new && let Some(known) = id_of(connection, run_id, delivery)? {
            made.ids.insert(delivery.notification.as_str(), known);
            continue;
        }
        let lease =
            delivery.lease.filter(|_| is_new || is_clear(connection, run_id, &delivery.notification).unwrap_or(false));
        let until = lease.and_then(|lease| intake.now.checked_add(lease).ok()).map(micros);
        if until.is_none() {
            let last = "UPDATE deliveries SET due_at = ?3, last_chance = 1 \
                        WHERE run_id = ?1 AND name = ?2 AND status = 'retry'";
            connection.prepare_cached(last)?.execute(params![run_id, delivery.notification, now])?;
        }
        let sql = "INSERT INTO deliveries (key, run_id, generation, name, state, at, status, due_at, fence, attempts, \
                   created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)";
        connection.prepare_cached(sql)?.execute(params![
            delivery.key,
            run_id,
            generation,
            delivery.notification,
            delivery.state.as_str(),
            micros(delivery.at),
            if until.is_some() { "leased" } else { "pending" },
            until.unwrap_or(now),
            i64::from(until.is_some()),
            now
        ])?;
        let id = connection.last_insert_rowid();
        made.ids.insert(delivery.notification.as_str(), id);
        made.deliveries.push(id);
        if until.is_some() {
            made.leased.push((position, id));
        }
    }
    Ok(made)
}

fn id_of(connection: &Connection, run_id: i64, delivery: &NewDelivery) -> StoreResult<Option<i64>> {
    let sql = "SELECT id FROM deliveries WHERE run_id = ?1 AND name = ?2 AND key = ?3";
    let values = params![run_id, delivery.notification, delivery.key];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

/// Whether nothing older of the same run and notification is unfinished.
fn is_clear(connection: &Connection, run_id: i64, name: &str) -> StoreResult<bool> {
    let sql = "SELECT 1 FROM deliveries WHERE run_id = ?1 AND name = ?2 AND due_at IS NOT NULL";
    Ok(!connection.prepare_cached(sql)?.exists(params![run_id, name])?)
}
