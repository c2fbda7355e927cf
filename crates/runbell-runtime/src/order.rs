//! Order in this process: older news of one run and one notification is sent first, and superseded when it fails.
//!
//! Holds and wakes waiting deliveries. [`runbell_core::delivery`] decides which delivery may go, the step after an attempt
//! and the effect of a new list of notifications, as in every store.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runbell_core::delivery::{Next, Outcome, Phase, Progress, Replacement, Turn, advance, replace, turn};
use runbell_core::{RetryPolicy, RunSnapshot, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The unfinished deliveries of one process, by run.
#[derive(Debug, Default)]
pub(crate) struct OrderQueue {
    hasher: RandomState,
    runs: Mutex<HashMap<u64, RunOrder>>,
}

/// One run's unfinished deliveries, oldest first.
#[derive(Debug)]
struct RunOrder {
    /// The run as of the latest change that brought a list of notifications.
    list: Option<RunSnapshot>,
    next_id: u64,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: u64,
    /// The notification's name, hashed. Two lanes that share a hash merely wait for each other.
    lane: u64,
    /// Whether it comes from the run's own list, which another list may replace.
    is_own: bool,
    phase: Phase,
    is_replaced: bool,
    /// Made when the ticket has to wait: most never do.
    wakes: Option<Arc<Notify>>,
}

impl Member {
    fn wake(&self) {
        if let Some(wakes) = &self.wakes {
            wakes.notify_one();
        }
    }
}

/// A place in a lane. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct OrderTicket {
    queue: Arc<OrderQueue>,
    run: u64,
    id: u64,
}

/// Whether a ticket may go, or how it is woken.
enum Readiness {
    Go(Go),
    Wait(Arc<Notify>),
}

/// The reason why a ticket may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// To make an attempt.
    Attempt,
    /// To end: a new list of notifications superseded it.
    Superseded,
}

impl OrderQueue {
    /// Takes the next places for a run's change: for its own notifications, then for others. The order of calls is the order
    /// of news, so this is called before anything is awaited.
    pub(crate) fn enter<'n>(
        self: &Arc<Self>,
        run: &RunSnapshot,
        own: impl Iterator<Item = Option<&'n str>>,
        others: impl Iterator<Item = &'n str>,
    ) -> Vec<Option<OrderTicket>> {
        let key = self.hasher.hash_one((run.project(), run.uid(), run.iteration()));
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let order = runs.entry(key).or_insert_with(|| RunOrder { list: None, next_id: 0, members: Vec::new() });
        order.take_over(run);
        let names = own.map(|name| (name, true)).chain(others.map(|name| (Some(name), false)));
        let tickets = names.map(|(name, is_own)| {
            let (lane, id) = (self.hasher.hash_one(name?), order.next_id);
            order.next_id += 1;
            let phase = Phase::Undecided;
            order.members.push(Member { id, lane, is_own, phase, is_replaced: false, wakes: None });
            Some(OrderTicket { queue: Arc::clone(self), run: key, id })
        });
        let tickets = tickets.collect();
        if order.members.is_empty() {
            runs.remove(&key);
        }
        tickets
    }
}

/// A run's list of notifications, an empty one too; `None` when the document has none.
fn list_of(run: &RunSnapshot) -> Option<&Value> {
    run.document().at(&["spec", "notifications"]).filter(|list| **list != Value::Null)
}

impl RunOrder {
    /// A change with a list of notifications other than the one before replaces the unfinished deliveries of that list.
    fn take_over(&mut self, run: &RunSnapshot) {
        let Some(list) = list_of(run) else { return };
        let is_other = self.list.as_ref().is_some_and(|known| list_of(known) != Some(list));
        if is_other {
            for member in self.members.iter_mut().filter(|member| member.is_own) {
                member.is_replaced = true;
                if replace(member.phase) == Replacement::Superseded {
                    member.wake();
                }
            }
        }
        self.list = Some(run.clone());
    }

    fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The turn of a member in its lane.
    fn turn(&self, id: u64) -> Option<Turn> {
        let mine = self.member(id)?;
        let oldest = self.members.iter().find(|member| member.lane == mine.lane)?;
        Some(turn(oldest.id == id, mine.phase, self.is_followed(id)))
    }

    /// Whether a member may go.
    fn look(&mut self, id: u64, is_due: bool) -> Option<Readiness> {
        let turn = self.turn(id)?;
        let mine = self.members.iter_mut().find(|member| member.id == id)?;
        Some(match turn {
            _ if mine.is_replaced => Readiness::Go(Go::Superseded),
            Turn::Hurry => Readiness::Go(Go::Attempt),
            Turn::Go if is_due => Readiness::Go(Go::Attempt),
            Turn::Go | Turn::Wait => Readiness::Wait(Arc::clone(mine.wakes.get_or_insert_default())),
        })
    }

    /// Whether newer news that will be sent waits behind a member.
    fn is_followed(&self, id: u64) -> bool {
        let lane = self.member(id).map(|mine| mine.lane);
        let mut newer = self.members.iter().filter(|member| Some(member.lane) == lane && member.id > id);
        newer.any(|member| member.phase != Phase::Undecided)
    }

    /// Wakes the others of a lane, because their turn may have come.
    fn wake(&self, lane: u64, but: u64) {
        self.members.iter().filter(|member| member.lane == lane && member.id != but).for_each(Member::wake);
    }
}

impl OrderTicket {
    fn with<T>(&self, with: impl FnOnce(&mut RunOrder) -> T) -> Option<T> {
        let mut runs = self.queue.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get_mut(&self.run).map(with)
    }

    /// Enters a phase, after which another member may go.
    fn enter(&self, phase: Phase) {
        self.with(|order| {
            let Some(member) = order.members.iter_mut().find(|member| member.id == self.id) else { return };
            let wakes_others = member.phase == Phase::Undecided;
            member.phase = phase;
            let lane = member.lane;
            if wakes_others {
                order.wake(lane, self.id);
            }
        });
    }

    /// Marks this news as to be sent, and waits until older news is sent or given up. Skipped news never calls this, and does
    /// not hurry older news.
    pub(crate) async fn first_turn(&self) -> Go {
        self.enter(Phase::Untried);
        self.turn(None).await
    }

    /// Waits for `wait`, or until newer news hurries this one.
    pub(crate) async fn next_turn(&self, wait: Duration) -> Go {
        self.turn(Some(Instant::now() + wait)).await
    }

    async fn turn(&self, due: Option<Instant>) -> Go {
        loop {
            let is_due = due.is_none_or(|due| Instant::now() >= due);
            // A ticket is in its queue for as long as it lives.
            let wakes = match self.with(|order| order.look(self.id, is_due)).flatten() {
                None => return Go::Attempt,
                Some(Readiness::Go(go)) => return go,
                Some(Readiness::Wait(wakes)) => wakes,
            };
            match due.filter(|_| !is_due) {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = wakes.notified() => {}
                },
                None => wakes.notified().await,
            }
        }
    }

    /// Waits until a new list of notifications supersedes it.
    pub(crate) async fn replaced(&self) {
        loop {
            let looked = self.with(|order| {
                let mine = order.members.iter_mut().find(|member| member.id == self.id)?;
                (!mine.is_replaced).then(|| Arc::clone(mine.wakes.get_or_insert_default()))
            });
            match looked.flatten() {
                Some(wakes) => wakes.notified().await,
                None => return,
            }
        }
    }

    /// Begins an attempt. Returns whether it is the last one, because newer news waits behind it: some may have come while it
    /// waited for admission.
    pub(crate) fn begin(&self) -> bool {
        let last_chance = self.with(|order| {
            let turn = order.turn(self.id);
            let mine = order.members.iter_mut().find(|member| member.id == self.id)?;
            let last_chance = turn == Some(Turn::Hurry) || mine.phase == Phase::Retrying { last_chance: true };
            mine.phase = Phase::UnderWay;
            Some(last_chance)
        });
        last_chance.flatten().unwrap_or_default()
    }

    /// Decides the step after an attempt of this delivery.
    pub(crate) fn advance(&self, policy: &RetryPolicy, mut progress: Progress, outcome: &Outcome) -> Next {
        let advanced = self.with(|order| {
            progress.is_replaced = order.member(self.id).is_some_and(|mine| mine.is_replaced);
            let next = advance(policy, &progress, outcome, order.is_followed(self.id), fastrand::f64());
            if let Next::Retry { last_chance, .. } = next
                && let Some(member) = order.members.iter_mut().find(|member| member.id == self.id)
            {
                member.phase = Phase::Retrying { last_chance };
            }
            next
        });
        // A ticket is in its queue for as long as it lives.
        advanced.unwrap_or(Next::Failed)
    }
}

impl Drop for OrderTicket {
    fn drop(&mut self) {
        let mut runs = self.queue.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(order) = runs.get_mut(&self.run) else { return };
        if let Some(place) = order.members.iter().position(|member| member.id == self.id) {
            let member = order.members.remove(place);
            order.wake(member.lane, self.id);
        }
        if order.members.is_empty() {
            runs.remove(&self.run);
        }
    }
}
