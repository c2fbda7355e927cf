//! Records outcomes of attempts, and the next step.

use runbell_core::delivery::{Next, Outcome, Progress, advance};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::attempts::keep_earlier;
use super::claim::due_in_its_turn;
use super::intake::follow_up;
use super::lane::arrange_lane_of;
use super::ready::{change_hold, flow_id, later};
use super::values::{micros_to_wait, status_of};
use crate::error::StoreResult;
use crate::model::{Completion, Recorded};

/// A leased delivery, as it is before its attempt's end is recorded.
struct Held {
    /// All attempts, those before a replay too.
    attempts: i64,
    progress: Progress,
    created_at: i64,
    is_followed: bool,
    /// Whether other deliveries of its lane are unfinished.
    has_others: bool,
}

/// Records a completion. Returns also whether another delivery may be due by it.
pub(super) fn complete(connection: &Connection, completion: &Completion, now: i64) -> StoreResult<(Recorded, bool)> {
    let Completion { lease, outcome, policy, chance, .. } = completion;
    let id = lease.id;
    let mut may_be_due = false;
    // The attempt's news about its destination count even if the lease is lost by now.
    for change in &completion.holds {
        may_be_due |= change_hold(connection, *change, now)?;
    }
    let Some(held) = find(connection, id, lease.fence, now)? else { return Ok((Recorded::Lost, true)) };
    let next = advance(policy, &held.progress, outcome, held.is_followed, *chance);
    match next {
        Next::Deferred { after } => {
            let sql = "UPDATE deliveries SET attempts = attempts - 1, leased_until = NULL, flow_id = ?2, \
                       status = CASE WHEN attempts - replayed_after > 1 THEN 'retry' ELSE 'pending' END WHERE id = ?1";
            let flow = own_flow_id(connection, completion)?;
            connection.prepare_cached(sql)?.execute([id, flow])?;
            // A delivery without an attempt and without a wait keeps its place, by the time of its acceptance.
            let is_untried = held.progress.attempts <= 1;
            let due = if after.is_zero() && is_untried { held.created_at } else { later(now, after) };
            due_in_its_turn(connection, id, due, now)?;
            may_be_due = true;
        }
        Next::Retry { after, last_chance } => {
            record(connection, completion, &held, next, last_chance, now)?;
            let flow = own_flow_id(connection, completion)?;
            connection.prepare_cached("UPDATE deliveries SET flow_id = ?2 WHERE id = ?1")?.execute([id, flow])?;
            due_in_its_turn(connection, id, later(now, after), now)?;
            may_be_due = true;
        }
        Next::Sent | Next::Failed | Next::Superseded => {
            record(connection, completion, &held, next, held.progress.last_chance, now)?;
            if held.has_others {
                arrange_lane_of(connection, id, now)?;
                may_be_due = true;
            }
        }
    }
    if next == Next::Failed {
        for one in &completion.follow_ups {
            follow_up(connection, one, now)?;
            may_be_due = true;
        }
    }
    Ok((Recorded::Done { next }, may_be_due))
}

/// The flow in which the delivery waits from now on.
fn own_flow_id(connection: &Connection, completion: &Completion) -> StoreResult<i64> {
    let sql =
        "SELECT n.project FROM deliveries AS d JOIN notifications AS n ON n.id = d.notification_id WHERE d.id = ?1";
    let project: String = connection.prepare_cached(sql)?.query_row([completion.lease.id], |row| row.get(0))?;
    flow_id(connection, completion.flow, &project)
}

/// The delivery, if it is still leased under this fence.
fn find(connection: &Connection, id: i64, fence: i64, now: i64) -> StoreResult<Option<Held>> {
    let sql = "SELECT d.attempts, d.attempts - d.replayed_after, d.last_chance, d.created_at, d.replayed_at, \
                      (SELECT max(other.id) FROM deliveries AS other WHERE other.run_id = d.run_id AND other.name = d.name \
                          AND other.id <> d.id AND other.finished_at IS NULL), d.replaced \
               FROM deliveries AS d WHERE d.id = ?1 AND d.fence = ?2 AND d.leased_until IS NOT NULL";
    let found = connection.prepare_cached(sql)?.query_row([id, fence], |row| {
        let (created_at, replayed_at): (i64, Option<i64>) = (row.get(3)?, row.get(4)?);
        let latest_other: Option<i64> = row.get(5)?;
        let age = micros_to_wait(now.saturating_sub(replayed_at.unwrap_or(created_at)));
        Ok(Held {
            attempts: row.get(0)?,
            progress: Progress { attempts: row.get(1)?, last_chance: row.get(2)?, is_replaced: row.get(6)?, age },
            created_at,
            is_followed: latest_other.is_some_and(|other| other > id),
            has_others: latest_other.is_some(),
        })
    });
    Ok(found.optional()?)
}

/// Records an attempt and the new state of its delivery.
fn record(
    connection: &Connection,
    completion: &Completion,
    held: &Held,
    next: Next,
    last_chance: bool,
    now: i64,
) -> StoreResult<()> {
    let (outcome, reason, is_ambiguous) = match &completion.outcome {
        Outcome::Sent { answer } => ("sent", answer.as_str(), false),
        Outcome::Failed(failure) => {
            let word = if next == Next::Failed { "failed" } else { "retry" };
            (word, failure.reason.as_str(), failure.ambiguous)
        }
        // No attempt was or will be made: it was held for longer than its schedule lasts, or replaced meanwhile.
        Outcome::Held(hold) => {
            ("failed", hold.down.as_deref().unwrap_or("the run has a new list of notifications"), false)
        }
    };
    if held.attempts > 1 {
        keep_earlier(connection, completion.lease.id)?;
    }
    let id = completion.lease.id;
    let reason_kept = (next != Next::Sent).then_some(reason);
    let finished = (!matches!(next, Next::Retry { .. })).then_some(now);
    let status = status_of(next);
    if matches!(completion.outcome, Outcome::Held(_)) {
        let sql = "UPDATE deliveries SET status = ?2, leased_until = NULL, last_chance = ?3, reason = ?4, finished_at = ?5, \
                   attempts = attempts - 1 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![id, status, last_chance, reason_kept, finished])?;
        return Ok(());
    }
    let started = now.saturating_sub(i64::try_from(completion.took.as_micros()).unwrap_or(i64::MAX));
    let sql = "UPDATE deliveries SET status = ?2, leased_until = NULL, last_chance = ?3, reason = ?4, finished_at = ?5, \
               last_number = attempts, last_started_at = ?6, last_ended_at = ?7, last_outcome = ?8, last_reason = ?9, \
               last_ambiguous = ?10 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id,
        status,
        last_chance,
        reason_kept,
        finished,
        started,
        now,
        outcome,
        reason,
        is_ambiguous
    ])?;
    Ok(())
}
