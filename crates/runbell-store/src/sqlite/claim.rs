//! Leases: claims on due deliveries.

use std::time::Duration;

use runbell_core::delivery::{Next, Progress};
use runbell_core::{Flow, FlowHash, Look, RetryPolicy, RunState};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::attempts::{LastAttempt, write_attempt};
use super::lane::arrange_lane_of;
use super::ready::{later, make_due, settle_destination, settle_flow};
use super::values::{micros_to_wait, timestamp};
use crate::error::{StoreError, StoreResult};
use crate::model::{Claim, Claimed, Lease, LeasedDelivery, RegisteredNotification, RunKey};

/// The most destinations that one claim reads. Those without room are skipped without a write, so a few of them cost little;
/// beyond this number they go to the end of the line.
const LOOKS: usize = 512;

/// The time until the next claim when no destination of this claim has room.
const AGAIN: Duration = Duration::from_millis(50);

/// The shortest time until a flow with a used share is read again.
const SHARE_AGAIN: Duration = Duration::from_millis(1);

const LEASED: &str = "
    SELECT d.id, d.fence, d.key, n.project, r.uid, r.iteration, coalesce(s.document, r.document), s.steps,
           n.name, n.kind, n.document, n.secret, d.state, d.at, d.look, d.attempts - d.replayed_after, d.last_chance,
           x.sealed, coalesce(d.replayed_at, d.created_at), o.hash, f.bucket
    FROM deliveries AS d
    JOIN notifications AS n ON n.id = d.notification_id
    LEFT JOIN runs AS r ON r.id = d.run_id
    LEFT JOIN subjects AS s ON s.id = d.subject_id
    LEFT JOIN secrets AS x ON x.project = n.project AND x.name = n.secret
    LEFT JOIN flows AS f ON f.id = d.flow_id
    LEFT JOIN destinations AS o ON o.id = f.destination_id
    WHERE d.id = ?1";

pub(super) fn claim(connection: &Connection, claim: &Claim, now: i64) -> StoreResult<Claimed> {
    end_expired(connection, now)?;
    let mut claimed = Claimed { deliveries: Vec::new(), without_room: Vec::new(), next: None, more_probes: false };
    probe(connection, claim, now, &mut claimed)?;
    let mut granted: Vec<(FlowHash, usize)> = Vec::new();
    let ready = "SELECT id, hash FROM destinations WHERE ready_at <= ?1 AND ready_at IS NOT NULL AND down_since IS NULL \
                 ORDER BY ready_at LIMIT ?2";
    let looked_at = destinations(connection, ready, now, LOOKS)?;
    let mut passed_over = Vec::new();
    for (id, hash) in &looked_at {
        let left = claim.limit.saturating_sub(claimed.deliveries.len());
        if left == 0 {
            break;
        }
        let room = claim.rooms.room(*hash, &granted);
        if room == 0 {
            passed_over.push(*id);
            claimed.without_room.push(*hash);
            continue;
        }
        let wanted = room.min(left);
        let leased = lease_of(connection, (*id, *hash), wanted, claim, now, &mut claimed.deliveries)?;
        if leased > 0 {
            granted.push((*hash, leased));
        }
        if leased == room {
            claimed.without_room.push(*hash);
        }
    }
    let all_without_room = passed_over.len() == LOOKS;
    if all_without_room {
        let sql = "UPDATE destinations SET ready_at = ?2 WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        for id in passed_over {
            statement.execute([id, now])?;
        }
    }
    let is_full = claimed.deliveries.len() >= claim.limit || looked_at.len() == LOOKS;
    claimed.next = match is_full {
        true if all_without_room => Some(AGAIN),
        true => Some(Duration::ZERO),
        false => next(connection, now)?,
    };
    Ok(claimed)
}

/// Leases one delivery of each destination that is down and waits for a probe.
fn probe(connection: &Connection, claim: &Claim, now: i64, claimed: &mut Claimed) -> StoreResult<()> {
    let ready =
        "SELECT id, hash FROM destinations WHERE down_since IS NOT NULL AND ready_at <= ?1 ORDER BY ready_at LIMIT ?2";
    let wanted = claim.probes.min(claim.limit);
    let down = destinations(connection, ready, now, wanted + 1)?;
    claimed.more_probes = down.len() > wanted;
    for (id, hash) in down.into_iter().take(wanted) {
        let before = claimed.deliveries.len();
        if lease_of(connection, (id, hash), 1, claim, now, &mut claimed.deliveries)? == 0 {
            continue;
        }
        // One probe at a time: its end, or that of its lease, changes this again.
        let sql = "UPDATE destinations SET ready_at = CASE WHEN ready_at IS NULL THEN NULL ELSE ?2 END WHERE id = ?1 \
                   RETURNING down_since";
        let since = connection.prepare_cached(sql)?.query_row([id, later(now, claim.lease)], |row| row.get(0))?;
        let since = timestamp(since)?;
        claimed.deliveries.iter_mut().skip(before).for_each(|leased| leased.down_since = Some(since));
    }
    Ok(())
}

fn destinations(connection: &Connection, sql: &str, now: i64, limit: usize) -> StoreResult<Vec<(i64, FlowHash)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![now, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, FlowHash(row.get(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Leases up to `wanted` due deliveries of a destination, in turn over its flows. Returns how many.
fn lease_of(
    connection: &Connection,
    destination: (i64, FlowHash),
    wanted: usize,
    claim: &Claim,
    now: i64,
    leased: &mut Vec<LeasedDelivery>,
) -> StoreResult<usize> {
    let before = leased.len();
    let (id, destination) = destination;
    let mut granted: Vec<(Flow, usize)> = Vec::new();
    loop {
        let flows = ready_flows(connection, id, wanted, now)?;
        let (count, mut is_limited) = (flows.len(), false);
        for (place, (flow_id, bucket)) in flows.into_iter().enumerate() {
            let flow = Flow { destination, bucket };
            let share = claim.rooms.share(flow);
            // Other projects may use the same bucket.
            let used: usize = granted.iter().filter(|(other, _)| *other == flow).map(|(_, count)| count).sum();
            let room = share.room.saturating_sub(used);
            let left = wanted - (leased.len() - before);
            let taken =
                lease_due(connection, flow_id, room.min(left.div_ceil(count - place)), claim.lease, now, leased)?;
            granted.push((flow, taken));
            let is_used_up = taken == room;
            is_limited |= is_used_up;
            settle_flow(connection, flow_id, if is_used_up { later(now, share.again.max(SHARE_AGAIN)) } else { now })?;
        }
        // The limited flows are not ready any more, so others come first.
        if !is_limited || leased.len() - before == wanted {
            break;
        }
    }
    settle_destination(connection, id)?;
    Ok(leased.len() - before)
}

/// The flows of a destination with due deliveries.
fn ready_flows(connection: &Connection, destination: i64, limit: usize, now: i64) -> StoreResult<Vec<(i64, FlowHash)>> {
    let sql = "SELECT id, bucket FROM flows WHERE destination_id = ?1 AND ready_at <= ?2 ORDER BY ready_at LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![destination, now, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, FlowHash(row.get(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Leases up to `wanted` due deliveries of a flow, those that are due the earliest. Returns how many.
fn lease_due(
    connection: &Connection,
    flow_id: i64,
    wanted: usize,
    lease: Duration,
    now: i64,
    leased: &mut Vec<LeasedDelivery>,
) -> StoreResult<usize> {
    if wanted == 0 {
        return Ok(0);
    }
    let due = "SELECT id FROM deliveries WHERE flow_id = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3";
    let ids: Vec<i64> = connection
        .prepare_cached(due)?
        .query_map(params![flow_id, now, i64::try_from(wanted).unwrap_or(i64::MAX)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let before = leased.len();
    leased.extend(lease_these(connection, &ids, lease, now)?);
    Ok(leased.len() - before)
}

fn leased_delivery(connection: &Connection, id: i64, now: i64) -> StoreResult<LeasedDelivery> {
    connection.prepare_cached(LEASED)?.query_row([id], |row| Ok(read(row, now)))?
}

fn read(row: &Row<'_>, now: i64) -> StoreResult<LeasedDelivery> {
    let (state, look): (String, String) = (row.get(12)?, row.get(14)?);
    let project: String = row.get(3)?;
    let run = match (row.get::<_, Option<String>>(4)?, row.get::<_, Option<i64>>(5)?) {
        (Some(uid), Some(iteration)) => Some(RunKey { project: project.clone(), uid, iteration }),
        _ => None,
    };
    let hash =
        |column| -> StoreResult<FlowHash> { Ok(FlowHash(row.get::<_, Option<[u8; 16]>>(column)?.unwrap_or_default())) };
    let age = micros_to_wait(now.saturating_sub(row.get(18)?));
    Ok(LeasedDelivery {
        lease: Lease {
            id: row.get(0)?,
            fence: row.get(1)?,
            // A delivery that was replaced is not leased again.
            progress: Progress { attempts: row.get(15)?, last_chance: row.get(16)?, is_replaced: false, age },
        },
        key: row.get(2)?,
        project,
        run,
        document: row.get(6)?,
        steps: row.get(7)?,
        notification: RegisteredNotification {
            name: row.get(8)?,
            kind: row.get(9)?,
            document: row.get(10)?,
            secret: row.get(11)?,
        },
        sealed: row.get(17)?,
        state: state.parse().unwrap_or(RunState::Unknown),
        at: timestamp(row.get(13)?)?,
        look: Look::parse(&look).ok_or_else(|| StoreError::unexpected("a look"))?,
        flow: Flow { destination: hash(19)?, bucket: hash(20)? },
        down_since: None,
    })
}

/// The time until a delivery is due or a lease expires. Destinations that are ready but have no room do not count.
fn next(connection: &Connection, now: i64) -> StoreResult<Option<Duration>> {
    let first = |sql: &str| -> StoreResult<Option<i64>> {
        Ok(connection.prepare_cached(sql)?.query_row([now], |row| row.get(0)).optional()?)
    };
    let times = [
        first(
            "SELECT ready_at FROM destinations WHERE ready_at > ?1 AND ready_at IS NOT NULL AND down_since IS NULL ORDER BY ready_at LIMIT 1",
        )?,
        first(
            "SELECT ready_at FROM destinations WHERE down_since IS NOT NULL AND ready_at > ?1 ORDER BY ready_at LIMIT 1",
        )?,
        first("SELECT leased_until FROM deliveries WHERE leased_until > ?1 ORDER BY leased_until LIMIT 1")?,
    ];
    Ok(times.into_iter().flatten().min().map(|at| micros_to_wait(at.saturating_sub(now))))
}

/// Ends expired leases: their holders are dead, or too slow.
fn end_expired(connection: &Connection, now: i64) -> StoreResult<()> {
    end_leases(connection, "SELECT id, attempts, replaced FROM deliveries WHERE leased_until <= ?1", now)
}

/// Ends all leases: this process owns the file, so every earlier holder is dead.
pub(super) fn end_all_leases(connection: &mut Connection, now: i64) -> StoreResult<()> {
    let transaction = connection.transaction()?;
    let all = "SELECT id, attempts, replaced FROM deliveries WHERE leased_until IS NOT NULL AND ?1 = ?1";
    end_leases(&transaction, all, now)?;
    transaction.commit()?;
    Ok(())
}

/// Records attempts without a known end, and makes their deliveries due.
fn end_leases(connection: &Connection, sql: &str, now: i64) -> StoreResult<()> {
    let lost: Vec<(i64, i64, bool)> = connection
        .prepare_cached(sql)?
        .query_map([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, number, is_replaced) in lost {
        let reason = "the process that made this attempt did not record its end";
        let attempt = LastAttempt { number, started: now, ended: now, outcome: "lost", reason, is_ambiguous: true };
        write_attempt(connection, id, &attempt)?;
        if is_replaced {
            let sql =
                "UPDATE deliveries SET status = ?2, leased_until = NULL, finished_at = ?3, reason = ?4 WHERE id = ?1";
            let status = super::values::status_of(Next::Superseded);
            connection.prepare_cached(sql)?.execute(params![id, status, now, reason])?;
            arrange_lane_of(connection, id, now)?;
        } else {
            let sql = "UPDATE deliveries SET status = 'retry', leased_until = NULL WHERE id = ?1";
            connection.prepare_cached(sql)?.execute([id])?;
            due_in_its_turn(connection, id, now, now)?;
        }
    }
    Ok(())
}

/// Makes a delivery due at `due` after its lease, if it is at the head of its lane; at once if newer news hurries it.
pub(super) fn due_in_its_turn(connection: &Connection, id: i64, due: i64, now: i64) -> StoreResult<()> {
    let sql = "UPDATE deliveries SET due_at = ?2 WHERE id = ?1 RETURNING flow_id";
    let flow: i64 = connection.prepare_cached(sql)?.query_row([id, due], |row| row.get(0))?;
    make_due(connection, id, flow, due)?;
    arrange_lane_of(connection, id, now)
}

/// Deliveries of destinations that are down which were accepted longer ago than the policy lasts.
pub(super) fn overdue(connection: &Connection, policy: &RetryPolicy, limit: usize, now: i64) -> StoreResult<Vec<i64>> {
    let before = now.saturating_sub(i64::try_from(policy.lasts().as_micros()).unwrap_or(i64::MAX));
    // Cross joins keep the order of the tables: from the few destinations that are down to what waits for them.
    let sql = "SELECT d.id FROM destinations AS o CROSS JOIN flows AS f CROSS JOIN deliveries AS d \
               WHERE o.down_since IS NOT NULL AND f.destination_id = o.id AND d.flow_id = f.id AND d.due_at <= ?3 \
               AND coalesce(d.replayed_at, d.created_at) <= ?1 LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement.query_map([before, limit, now], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Leases those of these deliveries that still wait.
pub(super) fn lease_these(
    connection: &Connection,
    ids: &[i64],
    lease: Duration,
    now: i64,
) -> StoreResult<Vec<LeasedDelivery>> {
    let take = "UPDATE deliveries SET status = 'leased', due_at = NULL, leased_until = ?2, fence = fence + 1, \
                attempts = attempts + 1 WHERE id = ?1 AND due_at IS NOT NULL";
    let mut leased = Vec::new();
    for id in ids {
        if connection.prepare_cached(take)?.execute([*id, later(now, lease)])? > 0 {
            leased.push(leased_delivery(connection, *id, now)?);
        }
    }
    Ok(leased)
}
