//! Stores one change of a run: run, notifications, verdicts, deliveries, in one transaction.

use std::time::Duration;

use runbell_core::delivery::{Next, Phase, Progress, Replacement, Turn, decides_again, replace, turns};
use runbell_core::{DeliveryKey, Reason, RunState};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::lane::{Member, arrange, members};
use super::ready::{UNKNOWN, flow_id, later, make_due};
use super::upkeep::forget_lists;
use super::values::{MATCHED, micros};
use crate::error::{StoreError, StoreResult};
use crate::model::INTERNAL;
use crate::model::{
    Accepted, Deliver, FollowUp, Lease, NewJob, NewVerdict, Placed, Placement, RegisteredNotification, RunChange,
    SealedSecret,
};

/// A run during the intake of a change.
struct Row {
    id: i64,
    version: i64,
    generation: i64,
    /// The notifications of its new list, with their rows.
    listed: Vec<(String, i64)>,
    /// Whether the run is new to the store, so that no older rows are looked up.
    is_new: bool,
}

impl Row {
    /// The row of a notification in the present list.
    fn notification(&self, connection: &Connection, name: &str) -> StoreResult<i64> {
        if let Some((_, id)) = self.listed.iter().find(|(listed, _)| listed == name) {
            return Ok(*id);
        }
        let sql = "SELECT id FROM notifications WHERE run_id = ?1 AND generation = ?2 AND name = ?3";
        let values = params![self.id, self.generation, name];
        Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
    }
}

/// Stores a change. Returns the result, and whether a delivery may be due by it.
pub(super) fn take_in(connection: &Connection, change: &RunChange, now: i64) -> StoreResult<(Accepted, bool)> {
    let mut row = write_run(connection, change, now)?;
    let mut accepted = Accepted { version: row.version, ..Accepted::default() };
    let mut delivers = matches!(change.deliver, Deliver::Always);
    if let Some(list) = &change.notifications {
        row.generation += 1;
        let owner = Owner { run_id: Some(row.id), generation: row.generation, project: &change.run.project };
        for (position, one) in list.iter().enumerate() {
            let id = register(connection, &owner, position, one, &change.secrets)?;
            row.listed.push((one.name.clone(), id));
        }
        if !row.is_new {
            let (superseded, is_decided_again) = take_over(connection, &row, change.deliver, now)?;
            accepted.superseded = superseded;
            delivers |= is_decided_again;
        }
    }
    let mut may_be_due = accepted.superseded > 0;
    if !delivers {
        return Ok((accepted, may_be_due));
    }
    let subject = keep_steps(connection, change)?;
    for new in &change.jobs {
        let (placed, is_ready) = place(connection, change, &row, new, subject, now)?;
        accepted.jobs.push(placed);
        may_be_due |= is_ready;
    }
    for verdict in &change.verdicts {
        write_verdict(connection, &row, verdict, change, &accepted.jobs, now)?;
    }
    Ok((accepted, may_be_due))
}

/// Writes the run's document.
fn write_run(connection: &Connection, change: &RunChange, now: i64) -> StoreResult<Row> {
    let (run, facts) = (&change.run, &change.facts);
    let started = facts.started_at.map(micros);
    let Some(expected) = change.expected else {
        let sql = "INSERT INTO runs (project, uid, iteration, version, generation, document, name, state, started_at, created_at, \
                   updated_at) VALUES (?1, ?2, ?3, 1, ?9, ?4, ?5, ?6, coalesce(?7, ?8), ?8, ?8) ON CONFLICT DO NOTHING";
        let made = connection.prepare_cached(sql)?.execute(params![
            run.project,
            run.uid,
            run.iteration,
            change.document,
            facts.name,
            facts.state,
            started,
            now,
            i64::from(change.notifications.is_some())
        ])?;
        let id = connection.last_insert_rowid();
        return if made == 1 {
            Ok(Row { id, version: 1, generation: 0, listed: Vec::new(), is_new: true })
        } else {
            Err(StoreError::Conflict)
        };
    };
    let sql = "SELECT id, generation FROM runs WHERE project = ?1 AND uid = ?2 AND iteration = ?3 AND version = ?4";
    let known: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![run.project, run.uid, run.iteration, expected], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, generation) = known.ok_or(StoreError::Conflict)?;
    keep_subject(connection, id)?;
    let sql = "UPDATE runs SET version = version + 1, document = ?2, name = ?3, state = ?4, \
               started_at = coalesce(?5, started_at), updated_at = ?6 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id, change.document, facts.name, facts.state, started, now])?;
    Ok(Row { id, version: expected + 1, generation, listed: Vec::new(), is_new: false })
}

/// Keeps the document of a run before a change, for the deliveries that report on it.
fn keep_subject(connection: &Connection, run_id: i64) -> StoreResult<()> {
    let needed = "SELECT 1 FROM deliveries WHERE run_id = ?1 AND subject_id IS NULL";
    if connection.prepare_cached(needed)?.exists([run_id])? {
        let keep = "INSERT INTO subjects (document) SELECT document FROM runs WHERE id = ?1";
        connection.prepare_cached(keep)?.execute([run_id])?;
        let refer = "UPDATE deliveries SET subject_id = ?2 WHERE run_id = ?1 AND subject_id IS NULL";
        connection.prepare_cached(refer)?.execute([run_id, connection.last_insert_rowid()])?;
    }
    Ok(())
}

/// Keeps the subject of a workflow at once, because its steps are stored nowhere else.
fn keep_steps(connection: &Connection, change: &RunChange) -> StoreResult<Option<i64>> {
    let Some(steps) = change.steps.as_ref().filter(|_| !change.jobs.is_empty()) else { return Ok(None) };
    let sql = "INSERT INTO subjects (document, steps) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute([&change.document, steps])?;
    Ok(Some(connection.last_insert_rowid()))
}

/// The owner of a notification: a run's list, or a job without a run.
struct Owner<'a> {
    run_id: Option<i64>,
    generation: i64,
    project: &'a str,
}

/// Writes a notification and counts it as a user of its secret. Returns its row.
fn register(
    connection: &Connection,
    owner: &Owner<'_>,
    position: usize,
    one: &RegisteredNotification,
    secrets: &[SealedSecret],
) -> StoreResult<i64> {
    let sql = "INSERT INTO notifications (run_id, generation, position, name, kind, document, project, secret) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Owner { run_id, generation, project } = owner;
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let values = params![run_id, generation, position, one.name, one.kind, one.document, project, one.secret];
    connection.prepare_cached(sql)?.execute(values)?;
    let id = connection.last_insert_rowid();
    let Some(name) = &one.secret else { return Ok(id) };
    match secrets.iter().find(|secret| secret.name == *name) {
        Some(secret) => {
            // Sealed again: the key of the stored one may be missing.
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
    Ok(id)
}

/// Replaces the old list: supersedes its unfinished deliveries. Returns their number, and whether the new list is decided for
/// the run's current state.
fn take_over(connection: &Connection, row: &Row, deliver: Deliver, now: i64) -> StoreResult<(usize, bool)> {
    let sql = "SELECT id, state, leased_until IS NOT NULL FROM deliveries WHERE run_id = ?1 AND finished_at IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let unfinished: Vec<(i64, String, bool)> =
        statement.query_map([row.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (id, _, is_leased) in &unfinished {
        match replace(if *is_leased { Phase::UnderWay } else { Phase::Untried }) {
            Replacement::AfterAttempt => {
                connection.prepare_cached("UPDATE deliveries SET replaced = 1 WHERE id = ?1")?.execute([id])?;
            }
            Replacement::Superseded => {
                let sql = "UPDATE deliveries SET status = ?3, due_at = NULL, finished_at = ?2, \
                           reason = 'the run has a new list of notifications' WHERE id = ?1";
                connection.prepare_cached(sql)?.execute(params![
                    id,
                    now,
                    super::values::status_of(Next::Superseded)
                ])?;
            }
        }
    }
    let sql = "UPDATE runs SET generation = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![row.id, row.generation])?;
    forget_lists(connection, row.id, row.generation)?;
    let states: Vec<RunState> =
        unfinished.iter().map(|(_, word, _)| word.parse().unwrap_or(RunState::Unknown)).collect();
    let is_decided_again = matches!(deliver, Deliver::IfReplaced(state) if decides_again(&states, state));
    Ok((unfinished.len(), is_decided_again))
}

/// Makes the delivery of a job, unless it exists, and puts it into its lane. Returns also whether a delivery may be due by
/// it.
fn place(
    connection: &Connection,
    change: &RunChange,
    row: &Row,
    new: &NewJob,
    subject: Option<i64>,
    now: i64,
) -> StoreResult<(Placed, bool)> {
    let (key, name) = (new.job.key, new.job.notification.name.as_str());
    let placed = |id, placement| Placed { key, id, placement };
    let mut lane: Vec<Member> = Vec::new();
    if !row.is_new {
        if let Some(known) = known(connection, row.id, name, key)? {
            return Ok((placed(known, Placement::Known), false));
        }
        lane = members(connection, row.id, name)?;
    }
    let phases: Vec<Phase> = lane.iter().map(|member| member.phase).chain([Phase::Untried]).collect();
    let may_go = turns(&phases).last() == Some(Turn::Go);
    let lease = new.lease.filter(|_| may_go);
    let notification = row.notification(connection, name)?;
    // Of a leased delivery the flow is written once it has to wait.
    let flow = if lease.is_some() { UNKNOWN } else { flow_id(connection, new.flow, &change.run.project)? };
    let (run, due) = (Some(row.id), (may_go && lease.is_none()).then_some(now));
    let id = insert(connection, new, &Placing { run, notification, subject, flow, due, lease, now })?;
    // Older news of the lane may be hurried.
    let mut may_be_due = !lane.is_empty();
    if let Some(due) = due {
        may_be_due |= make_due(connection, id, flow, due)?;
    }
    if !lane.is_empty() {
        arrange(connection, &members(connection, row.id, name)?, now)?;
    }
    match lease {
        Some(_) => {
            let progress = Progress { attempts: 1, last_chance: false, is_replaced: false, age: Duration::ZERO };
            Ok((placed(id, Placement::Leased(Lease { id, fence: 1, progress })), may_be_due))
        }
        None => Ok((placed(id, Placement::Queued), may_be_due)),
    }
}

/// The rows that a new delivery refers to.
struct Placing {
    run: Option<i64>,
    notification: i64,
    subject: Option<i64>,
    flow: i64,
    due: Option<i64>,
    lease: Option<Duration>,
    now: i64,
}

fn insert(connection: &Connection, new: &NewJob, placing: &Placing) -> StoreResult<i64> {
    let Placing { run, notification, subject, flow, due, lease, now } = placing;
    let sql = "INSERT INTO deliveries (key, run_id, notification_id, name, subject_id, state, at, look, status, flow_id, due_at, \
               leased_until, fence, attempts, created_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14)";
    let job = &new.job;
    connection.prepare_cached(sql)?.execute(params![
        job.key.to_string(),
        run,
        notification,
        job.notification.name,
        subject,
        job.state.as_str(),
        micros(job.at),
        job.look.as_str(),
        if lease.is_some() { "leased" } else { "pending" },
        flow,
        due,
        lease.map(|lease| later(*now, lease)),
        i64::from(lease.is_some()),
        now
    ])?;
    Ok(connection.last_insert_rowid())
}

fn known(connection: &Connection, run_id: i64, name: &str, key: DeliveryKey) -> StoreResult<Option<i64>> {
    let sql = "SELECT id FROM deliveries WHERE run_id = ?1 AND name = ?2 AND key = ?3";
    let values = params![run_id, name, key.to_string()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

/// Records a verdict, unless its new delivery implies the reason `matched`.
fn write_verdict(
    connection: &Connection,
    row: &Row,
    verdict: &NewVerdict,
    change: &RunChange,
    placed: &[Placed],
    now: i64,
) -> StoreResult<()> {
    let job = change.jobs.iter().find(|new| new.job.notification.name == verdict.notification);
    let placed = job.and_then(|new| placed.iter().find(|placed| placed.key == new.job.key));
    let is_known = placed.is_some_and(|placed| placed.placement == Placement::Known);
    if placed.is_some() && !is_known && verdict.reason == MATCHED && verdict.detail.is_none() && verdict.why.is_none() {
        return Ok(());
    }
    let reason = if is_known { Reason::AlreadyDone.as_str() } else { verdict.reason };
    let sql = "INSERT OR REPLACE INTO verdicts (run_id, notification, state, reason, detail, why, at, delivery_id) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        row.id,
        verdict.notification,
        verdict.state.as_str(),
        reason,
        verdict.detail,
        verdict.why,
        now,
        placed.map(|placed| placed.id)
    ])?;
    Ok(())
}

/// Makes the delivery of a job without a run.
pub(super) fn follow_up(connection: &Connection, follow_up: &FollowUp, now: i64) -> StoreResult<()> {
    let FollowUp { job, project, notification, secret } = follow_up;
    let owner = Owner { run_id: None, generation: 0, project };
    let secrets: Vec<SealedSecret> = secret.iter().cloned().collect();
    let notification = register(connection, &owner, 0, notification, &secrets)?;
    let new = NewJob { job: job.clone(), flow: runbell_core::Flow::default(), lease: None };
    let (run, subject, flow) = (None, None, UNKNOWN);
    let id = insert(connection, &new, &Placing { run, notification, subject, flow, due: Some(now), lease: None, now })?;
    make_due(connection, id, flow, now).map(drop)
}
