//! Reading, by connections that cannot write.

use runbell_core::{RunState, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::attempts::attempts;
use super::values::{MATCHED, micros, micros_to_wait, timestamp};
use crate::error::{StoreError, StoreResult};
use crate::model::{
    AttemptRecord, Backlog, DeliveryFilter, DeliveryRecord, DeliveryState, RegisteredNotification, RunFilter, RunKey,
    RunRecord, StoredRun, VerdictRecord,
};

const RUN: &str = "SELECT id, document, version, generation, state, project, uid, iteration FROM runs";

pub(super) fn run(connection: &Connection, key: &RunKey) -> StoreResult<Option<StoredRun>> {
    // Run and notifications as of one moment.
    let transaction = connection.unchecked_transaction()?;
    let sql = format!("{RUN} WHERE project = ?1 AND uid = ?2 AND iteration = ?3");
    let found = transaction
        .prepare_cached(&sql)?
        .query_row(params![key.project, key.uid, key.iteration], run_record)
        .optional()?;
    let Some(mut found) = found else { return Ok(None) };
    found.run.notifications = notifications(&transaction, &found)?;
    Ok(Some(found.run))
}

fn run_record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: row.get(0)?,
        key: RunKey { project: row.get(5)?, uid: row.get(6)?, iteration: row.get(7)? },
        run: StoredRun {
            document: row.get(1)?,
            version: row.get(2)?,
            generation: row.get(3)?,
            state: row.get(4)?,
            notifications: Vec::new(),
        },
    })
}

fn notifications(connection: &Connection, run: &RunRecord) -> StoreResult<Vec<RegisteredNotification>> {
    let sql = "SELECT name, kind, document, secret FROM notifications WHERE run_id = ?1 AND generation = ?2 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![run.id, run.run.generation], |row| {
        Ok(RegisteredNotification { name: row.get(0)?, kind: row.get(1)?, document: row.get(2)?, secret: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A condition of a query, and its values.
#[derive(Default)]
struct Where {
    sql: String,
    values: Vec<rusqlite::types::Value>,
}

impl Where {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = rusqlite::types::Value>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn text(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.and(&format!("{column} = ?"), [value.to_owned().into()]);
        }
    }

    fn one_of(&mut self, column: &str, values: &[String]) {
        if !values.is_empty() {
            let marks = vec!["?"; values.len()].join(", ");
            self.and(&format!("{column} IN ({marks})"), values.iter().map(|value| value.clone().into()));
        }
    }

    fn time(&mut self, condition: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.and(condition, [micros(at).into()]);
        }
    }
}

pub(super) fn runs(connection: &Connection, filter: &RunFilter, limit: usize) -> StoreResult<Vec<RunRecord>> {
    let transaction = connection.unchecked_transaction()?;
    let mut wanted = Where::default();
    // Newest first, until there are enough: the index by project would have all its runs sorted for one page. With uids it
    // finds the few that are meant.
    wanted.text(if filter.uids.is_empty() { "+project" } else { "project" }, Some(&filter.project));
    wanted.one_of("uid", &filter.uids);
    wanted.one_of("state", &filter.states);
    match filter.name.as_deref().map(|name| name.strip_prefix('~').ok_or(name)) {
        Some(Ok(part)) => wanted.and("instr(lower(name), lower(?)) > 0", [part.to_owned().into()]),
        Some(Err(name)) => wanted.text("name", Some(name)),
        None => {}
    }
    if filter.top_only {
        wanted.and("iteration = 0", []);
    }
    if filter.with_notifications {
        let registered =
            "EXISTS (SELECT 1 FROM notifications AS n WHERE n.run_id = runs.id AND n.generation = runs.generation)";
        wanted.and(registered, []);
    }
    wanted.time("started_at >= ?", filter.started_from);
    wanted.time("started_at <= ?", filter.started_to);
    wanted.time("updated_at >= ?", filter.updated_from);
    wanted.time("updated_at <= ?", filter.updated_to);
    if let Some(before) = filter.before {
        wanted.and("id < ?", [before.into()]);
    }
    wanted.values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let sql = format!("{RUN}{} ORDER BY id DESC LIMIT ?", wanted.sql);
    let mut found: Vec<RunRecord> = transaction
        .prepare_cached(&sql)?
        .query_map(params_from_iter(wanted.values), run_record)?
        .collect::<Result<_, _>>()?;
    for record in &mut found {
        record.run.notifications = notifications(&transaction, record)?;
    }
    Ok(found)
}

/// The deliveries that are not finished, by the indexes that hold only these.
const OPEN: &str = "(SELECT id FROM deliveries WHERE due_at IS NOT NULL \
                    UNION ALL SELECT id FROM deliveries WHERE leased_until IS NOT NULL \
                    UNION ALL SELECT id FROM deliveries WHERE finished_at IS NULL AND due_at IS NULL AND leased_until IS NULL)";

pub(super) fn backlog(connection: &Connection, now: i64) -> StoreResult<Backlog> {
    let sql = format!("SELECT status, count(*) FROM deliveries WHERE id IN {OPEN} GROUP BY status");
    let mut backlog = Backlog::default();
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        let (status, count): (String, i64) = row?;
        match status.as_str() {
            "pending" => backlog.pending = count,
            "leased" => backlog.leased = count,
            _ => backlog.retry = count,
        }
    }
    // The older, the smaller the id.
    let sql = format!("SELECT created_at FROM deliveries WHERE id = (SELECT min(id) FROM {OPEN})");
    let oldest: Option<i64> = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
    backlog.oldest = oldest.map(|oldest| micros_to_wait(now.saturating_sub(oldest)));
    Ok(backlog)
}

const RECORD: &str = "SELECT d.id, d.key, n.project, r.uid, r.iteration, d.name, n.kind, d.state, d.status, d.attempts, \
                      d.reason, d.due_at, d.created_at, d.finished_at, d.at";

const NEWEST_FIRST: &str = "FROM deliveries AS d CROSS JOIN notifications AS n ON n.id = d.notification_id \
                            LEFT JOIN runs AS r ON r.id = d.run_id";

const OF_ONE_RUN: &str = "FROM runs AS r CROSS JOIN deliveries AS d ON d.run_id = r.id \
                          CROSS JOIN notifications AS n ON n.id = d.notification_id";

pub(super) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
    limit: usize,
) -> StoreResult<Vec<DeliveryRecord>> {
    let mut wanted = Where::default();
    let is_of_one_run = filter.project.is_some() && filter.uid.is_some();
    wanted.text(if is_of_one_run { "r.project" } else { "n.project" }, filter.project.as_deref());
    wanted.text("r.uid", filter.uid.as_deref());
    wanted.text("d.name", filter.notification.as_deref());
    wanted.text("n.kind", filter.kind.as_deref());
    wanted.text("d.state", filter.state.map(RunState::as_str));
    if let Some(status) = filter.status {
        // Written out, so that the index of failed deliveries can be used.
        wanted.and(&format!("d.status = '{}'", status.as_str()), []);
        if !status.is_finished() {
            wanted.and(&format!("d.id IN {OPEN}"), []);
        }
    }
    if let Some(before) = filter.before {
        wanted.and("d.id < ?", [before.into()]);
    }
    wanted.values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    // Cross joins keep the order of the tables: the few deliveries of one run by its index, else the newest first.
    let from = if is_of_one_run { OF_ONE_RUN } else { NEWEST_FIRST };
    let sql = format!("{RECORD} {from}{} ORDER BY d.id DESC LIMIT ?", wanted.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(wanted.values), |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

/// The last delivery of each notification in the run's present list.
pub(super) fn latest(connection: &Connection, key: &RunKey) -> StoreResult<Vec<DeliveryRecord>> {
    let sql = format!(
        "{RECORD} {OF_ONE_RUN} WHERE r.project = ?1 AND r.uid = ?2 AND r.iteration = ?3 AND d.id IN ( \
         SELECT max(last.id) FROM deliveries AS last JOIN notifications AS of ON of.id = last.notification_id \
         WHERE last.run_id = r.id AND of.generation = r.generation GROUP BY last.name) ORDER BY d.id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![key.project, key.uid, key.iteration], |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

pub(super) fn verdicts(connection: &Connection, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>> {
    // What was written down, and deliveries that say it by themselves.
    let sql = "SELECT v.notification, v.state, v.reason, v.detail, v.at, d.id, d.status, d.reason, v.why FROM verdicts AS v \
                   JOIN runs AS r ON r.id = v.run_id LEFT JOIN deliveries AS d ON d.id = v.delivery_id \
                   WHERE r.project = ?1 AND r.uid = ?2 AND r.iteration = ?3 \
               UNION ALL \
               SELECT d.name, d.state, ?5, NULL, d.created_at, d.id, d.status, d.reason, NULL FROM deliveries AS d \
                   JOIN runs AS r ON r.id = d.run_id WHERE r.project = ?1 AND r.uid = ?2 AND r.iteration = ?3 \
                   AND NOT EXISTS (SELECT 1 FROM verdicts AS v WHERE v.run_id = r.id AND v.delivery_id = d.id) \
               ORDER BY 5 DESC, 6 DESC LIMIT ?4";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![key.project, key.uid, key.iteration, limit, MATCHED], |row| {
        let (state, status): (String, Option<String>) = (row.get(1)?, row.get(6)?);
        let delivery = match (row.get::<_, Option<i64>>(5)?, status.as_deref().and_then(delivery_state)) {
            (Some(id), Some(status)) => Some((id, status, row.get(7)?)),
            _ => None,
        };
        let at: i64 = row.get(4)?;
        let (notification, reason, detail, why) = (row.get(0)?, row.get(2)?, row.get(3)?, row.get(8)?);
        Ok(timestamp(at).map(|at| VerdictRecord {
            notification,
            state: state.parse().unwrap_or(RunState::Unknown),
            reason,
            detail,
            why,
            at,
            delivery,
        }))
    })?;
    rows.map(|row| row?).collect()
}

fn delivery_state(word: &str) -> Option<DeliveryState> {
    DeliveryState::ALL.into_iter().find(|known| known.as_str() == word)
}

fn record(row: &Row<'_>) -> StoreResult<DeliveryRecord> {
    let (state, status): (String, String) = (row.get(7)?, row.get(8)?);
    let status = delivery_state(&status);
    let due: Option<i64> = row.get(11)?;
    let finished: Option<i64> = row.get(13)?;
    let project: String = row.get(2)?;
    let run = match (row.get::<_, Option<String>>(3)?, row.get::<_, Option<i64>>(4)?) {
        (Some(uid), Some(iteration)) => Some(RunKey { project: project.clone(), uid, iteration }),
        _ => None,
    };
    Ok(DeliveryRecord {
        id: row.get(0)?,
        key: row.get(1)?,
        project,
        run,
        notification: row.get(5)?,
        kind: row.get(6)?,
        state: state.parse().unwrap_or(RunState::Unknown),
        at: timestamp(row.get(14)?)?,
        status: status.ok_or_else(|| StoreError::unexpected("a delivery's state"))?,
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
    let sql = format!("{RECORD} {NEWEST_FIRST} WHERE d.id = ?1 AND n.project = ?2");
    let found = transaction.prepare_cached(&sql)?.query_row(params![id, project], |row| Ok(record(row))).optional()?;
    let Some(found) = found.transpose()? else { return Ok(None) };
    let attempts = attempts(&transaction, id)?;
    Ok(Some((found, attempts)))
}
