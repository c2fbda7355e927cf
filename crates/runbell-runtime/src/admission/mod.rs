//! Admission: whether an attempt may be made now. One decision for the local and the durable dispatch, which differ only in
//! how they wait.
//!
//! Two limits count: the *destination*'s (permits and breaker) and the *bucket*'s (pace, and holds that the target asked
//! for). [`Admission::admit`] decides about all of them at once: a permit, a probe or a place in the pace is used up only when
//! the attempt follows.
//!
//! **Invariant:** no permit is held during a wait.

mod breaker;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "durable")]
use runbell_core::Timestamp;
use runbell_core::{Clock, Error, Flow, FlowHash, Limits, Pace, Retry};
#[cfg(feature = "durable")]
use runbell_store::Share;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

pub(crate) use breaker::Change;
use breaker::{Breaker, is_unreachable};

/// The most attempts at once to one destination.
pub(crate) const PERMITS: usize = 64;

/// The most attempts at once to a destination that is not proved. Small compared with all slots (256), so that many hanging
/// targets leave room for healthy ones.
const UNPROVED: usize = 8;

/// The most probes in a second over all destinations that are down.
const PROBES_A_SECOND: usize = 20;
const PROBES_AT_ONCE: usize = 32;

/// Probes are spread over the second: all of a second at once would hold up the store for some milliseconds.
pub(crate) const PROBE_STEP: Duration = Duration::from_millis(100);
const PROBES_A_STEP: usize = 2;

/// The idle time after which a destination or a bucket is forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// The most known destinations, and the most known buckets. A limit is needed because users choose the hosts.
const MOST: usize = 65_536;

/// The limits of admission in a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The most attempts at once to one destination.
    pub(crate) permits: usize,
    /// The slots for attempts over all destinations; unproved ones may hold half of them. `None` means no such limit and no
    /// breakers: in the process of a runner a breaker would turn a quick error into a slow one.
    pub(crate) places: Option<usize>,
    /// The longest hold that a target may ask for; a longer one is cut, and the target answers the next attempt.
    pub(crate) longest_hold: Duration,
}

/// Decides whether attempts may be made.
#[derive(Debug)]
pub(crate) struct Admission {
    rules: Rules,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    destinations: HashMap<FlowHash, Destination>,
    buckets: HashMap<Flow, Bucket>,
    /// Attempts under way, or expected, at destinations that are not proved.
    unproved: usize,
    probes: usize,
    /// When the latest probes began.
    probed: VecDeque<Instant>,
    swept: Option<Instant>,
}

/// One destination.
#[derive(Debug)]
struct Destination {
    at_once: usize,
    under_way: usize,
    /// Attempts that are about to ask for admission.
    expected: usize,
    breaker: Breaker,
    freed: Arc<Notify>,
    used: Instant,
}

/// The bucket to which the target's limits apply.
#[derive(Debug)]
struct Bucket {
    /// The pace of its latest sender.
    pace: Option<Pace>,
    /// When the latest sends that keep a pace began.
    recent: VecDeque<Instant>,
    held_until: Option<Instant>,
    /// The waiting attempts, in order.
    line: Arc<tokio::sync::Mutex<()>>,
    waiting: usize,
    used: Instant,
}

/// The reason why no attempt may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All permits are in use, or all slots for unproved destinations.
    Busy,
    /// The destination is down; a probe may be made after so long.
    Down(Duration),
    /// The bucket's pace or its target's Retry-After allows the next send after so long.
    Paced(Duration),
}

/// The permit for one attempt; released when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    flow: Flow,
    is_probe: bool,
    is_unproved: bool,
    began: Instant,
}

/// An attempt that is about to ask for admission, so that others do not take its room meanwhile.
#[derive(Debug)]
pub(crate) struct Expected {
    admission: Arc<Admission>,
    destination: FlowHash,
    is_unproved: bool,
}

/// The news of an attempt about its destination and its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Signal {
    /// The destination went down, or came up.
    pub(crate) destination: Option<Change>,
    /// The target asks for no more sends of the bucket for so long.
    pub(crate) bucket: Option<Duration>,
}

impl Admission {
    pub(crate) fn new(rules: Rules, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Admission { rules, clock, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one decision: a permit for one attempt now, or the reason against it. A refusal uses neither permit nor pace.
    pub(crate) fn admit(
        self: &Arc<Self>,
        flow: Flow,
        limits: &Limits,
        expected: Option<Expected>,
    ) -> Result<Permit, Refusal> {
        self.decide(flow, limits, expected, false)
    }

    fn decide(
        self: &Arc<Self>,
        flow: Flow,
        limits: &Limits,
        expected: Option<Expected>,
        is_first_in_line: bool,
    ) -> Result<Permit, Refusal> {
        drop(expected);
        let now = Instant::now();
        let mut guard = self.state();
        let state = &mut *guard;
        state.forget_idle(now);
        let at_once = limits.at_once.map_or(self.rules.permits, |at_once| at_once.clamp(1, self.rules.permits));
        state.destination(flow.destination, now).at_once = at_once;
        let is_unproved = self.is_unproved(state, flow.destination);
        let down_for = state.until_probe(flow.destination, now);
        if let Some(wait) = down_for.filter(|wait| !wait.is_zero()) {
            return Err(Refusal::Down(wait));
        }
        let has_room = match down_for {
            Some(_) => true,
            None => self.room_of(state, flow.destination, 0, 0) > 0,
        };
        if !has_room {
            return Err(Refusal::Busy);
        }
        if let Some(wait) = state.until_paced(flow, limits, now, is_first_in_line) {
            return Err(Refusal::Paced(wait));
        }
        state.take(flow, limits, is_unproved, down_for.is_some(), now);
        Ok(Permit { admission: Arc::clone(self), flow, is_probe: down_for.is_some(), is_unproved, began: now })
    }

    fn is_unproved(&self, state: &State, destination: FlowHash) -> bool {
        self.rules.places.is_some()
            && state.destinations.get(&destination).is_none_or(|known| !known.breaker.is_proved())
    }

    /// How many more attempts a destination that is not down may be given, when `granted` were just given to it, and
    /// `granted_unproved` to all unproved ones.
    fn room_of(&self, state: &State, destination: FlowHash, granted: usize, granted_unproved: usize) -> usize {
        let known = state.destinations.get(&destination);
        let permits = known.map_or(self.rules.permits, |known| known.at_once);
        let used = known.map_or(0, |known| known.under_way + known.expected) + granted;
        if !self.is_unproved(state, destination) {
            return permits.saturating_sub(used);
        }
        let half = self.rules.places.unwrap_or(usize::MAX) / 2;
        let left = half.max(1).saturating_sub(state.unproved + granted_unproved);
        permits.min(UNPROVED).saturating_sub(used).min(left)
    }

    /// Waits until an attempt may be made. Attempts that wait for one bucket are admitted in the order of their calls.
    pub(crate) async fn permit(self: &Arc<Self>, flow: Flow, limits: &Limits) -> Permit {
        if let Ok(permit) = self.admit(flow, limits, None) {
            return permit;
        }
        let waiting = Waiting::new(self, flow);
        let _first = waiting.line.lock().await;
        loop {
            let freed = {
                let mut state = self.state();
                Arc::clone(&state.destination(flow.destination, Instant::now()).freed)
            };
            // Registered before the decision, so that a permit that is freed in between is not missed.
            let mut notified = std::pin::pin!(freed.notified());
            notified.as_mut().enable();
            match self.decide(flow, limits, None, true) {
                Ok(permit) => return permit,
                Err(Refusal::Busy) => notified.await,
                Err(Refusal::Down(wait) | Refusal::Paced(wait)) => {
                    // If a freed permit woke this one, another can use it.
                    freed.notify_one();
                    sleep(wait).await;
                }
            }
        }
    }

    /// Notes the outcome of an attempt.
    pub(crate) fn record(&self, permit: Permit, limits: &Limits, failed: Option<&Error>) -> Signal {
        let now = Instant::now();
        let took = now.saturating_duration_since(permit.began);
        let mut signal = Signal::default();
        let mut state = self.state();
        if self.rules.places.is_some() {
            let is_reached = !failed.is_some_and(is_unreachable);
            let destination = state.destination(permit.flow.destination, now);
            let moment = (now, self.clock.now());
            signal.destination = destination.breaker.record(is_reached, permit.is_probe, took, moment);
            if signal.destination == Some(Change::Up) {
                destination.freed.notify_waiters();
            }
        }
        if let Some(Retry::After(wait)) = failed.map(Error::retry_advice)
            && limits.bucket.is_some()
        {
            // Of two answers the longer wait counts.
            let bucket = state.bucket(permit.flow, now);
            let until = bucket.held_until.unwrap_or(now).max(now + wait.min(self.rules.longest_hold));
            bucket.held_until = Some(until);
            signal.bucket = Some(until.saturating_duration_since(now));
        }
        // Given back only now that the breaker knows: what was freed must not go to a destination that is down.
        drop(state);
        drop(permit);
        signal
    }
}

#[cfg(feature = "durable")]
impl Expected {
    /// Whether its destination was not proved when the attempt was expected.
    pub(crate) fn is_unproved(&self) -> bool {
        self.is_unproved
    }
}

#[cfg(feature = "durable")]
impl Admission {
    /// Expects an attempt, if there is room for it now.
    pub(crate) fn expect_if_room(self: &Arc<Self>, flow: Flow, limits: &Limits) -> Option<Expected> {
        let now = Instant::now();
        let mut guard = self.state();
        let state = &mut *guard;
        let is_open = state.until_probe(flow.destination, now).is_some();
        let is_paced = state.until_paced(flow, limits, now, false).is_some();
        if is_open || is_paced || self.room_of(state, flow.destination, 0, 0) == 0 {
            return None;
        }
        Some(self.note_expected(state, flow.destination, now))
    }

    /// Expects an attempt that was given room.
    pub(crate) fn expect(self: &Arc<Self>, destination: FlowHash) -> Expected {
        self.note_expected(&mut self.state(), destination, Instant::now())
    }

    fn note_expected(self: &Arc<Self>, state: &mut State, destination: FlowHash, now: Instant) -> Expected {
        let is_unproved = destination != FlowHash::default() && self.is_unproved(state, destination);
        state.unproved += usize::from(is_unproved);
        state.destination(destination, now).expected += 1;
        Expected { admission: Arc::clone(self), destination, is_unproved }
    }

    /// How many more attempts a destination may be given now, when `granted` were just given, by destination.
    pub(crate) fn room(&self, destination: FlowHash, granted: &[(FlowHash, usize)]) -> usize {
        let state = self.state();
        let own = granted.iter().filter(|(other, _)| *other == destination).map(|(_, count)| count).sum();
        if state.until_probe(destination, Instant::now()).is_some() {
            // The store does not hold it. One delivery gets through: it is the probe, or its refusal writes the hold.
            let used = state.destinations.get(&destination).map_or(0, |known| known.under_way + known.expected);
            return usize::from(used + own == 0);
        }
        if destination == FlowHash::default() {
            // Their senders are built first; then their real destinations count.
            let expected = state.destinations.get(&destination).map_or(0, |known| known.expected);
            return PERMITS.saturating_sub(expected + own);
        }
        let unproved =
            granted.iter().filter(|(other, _)| self.is_unproved(&state, *other)).map(|(_, count)| count).sum();
        self.room_of(&state, destination, own, unproved)
    }

    /// How many deliveries of a flow may be leased now, by the pace and the hold of its bucket.
    pub(crate) fn share(&self, flow: Flow) -> Share {
        let (state, now) = (self.state(), Instant::now());
        let Some(bucket) = state.buckets.get(&flow) else { return Share::UNLIMITED };
        match (bucket.wait(bucket.pace, now), bucket.pace) {
            (Duration::ZERO, None) => Share::UNLIMITED,
            (Duration::ZERO, Some(pace)) => {
                let recent = bucket.recent.iter().filter(|began| **began + pace.period > now).count();
                Share { room: (pace.count.max(1) as usize).saturating_sub(recent), again: step(pace) }
            }
            (again, _) => Share { room: 0, again },
        }
    }

    /// How many destinations that are down may be probed now.
    pub(crate) fn probes(&self) -> usize {
        self.state().probe_budget(Instant::now())
    }

    /// Notes a destination that the store knows to be down.
    pub(crate) fn load(&self, destination: FlowHash, since: Timestamp, remaining: Duration) {
        let now = Instant::now();
        self.state().destination(destination, now).breaker = Breaker::down(since, remaining, now);
    }

    /// Notes a destination that the store probes, if it is not known to be down.
    pub(crate) fn load_probed(&self, destination: FlowHash, since: Timestamp) {
        if self.down_since(destination).is_none() {
            self.load(destination, since, Duration::ZERO);
        }
    }

    /// Since when a destination is down.
    pub(crate) fn down_since(&self, destination: FlowHash) -> Option<Timestamp> {
        self.state().destinations.get(&destination)?.breaker.down_since()
    }

    /// True once for each time that a destination is down.
    pub(crate) fn report_down(&self, destination: FlowHash) -> bool {
        let mut state = self.state();
        state.destinations.get_mut(&destination).is_none_or(|known| known.breaker.report())
    }

    /// Takes back [`Self::report_down`]: the report could not be stored.
    pub(crate) fn unreport_down(&self, destination: FlowHash) {
        if let Some(known) = self.state().destinations.get_mut(&destination) {
            known.breaker.unreport();
        }
    }
}

impl Bucket {
    /// How long until the next send is allowed.
    fn wait(&self, pace: Option<Pace>, now: Instant) -> Duration {
        let held = self.held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let paced = pace.map_or(Duration::ZERO, |pace| {
            let count = pace.count.max(1) as usize;
            let earliest = self.recent.len().checked_sub(count).and_then(|place| self.recent.get(place));
            earliest.map_or(Duration::ZERO, |began| (*began + pace.period).saturating_duration_since(now))
        });
        held.max(paced)
    }
}

/// The time between two sends of an even pace.
fn step(pace: Pace) -> Duration {
    pace.period / pace.count.max(1)
}

impl State {
    fn destination(&mut self, hash: FlowHash, now: Instant) -> &mut Destination {
        let known = self.destinations.entry(hash).or_insert_with(|| Destination {
            at_once: PERMITS,
            under_way: 0,
            expected: 0,
            breaker: Breaker::default(),
            freed: Arc::default(),
            used: now,
        });
        known.used = now;
        known
    }

    fn bucket(&mut self, flow: Flow, now: Instant) -> &mut Bucket {
        let known = self.buckets.entry(flow).or_insert_with(|| Bucket {
            pace: None,
            recent: VecDeque::new(),
            held_until: None,
            line: Arc::default(),
            waiting: 0,
            used: now,
        });
        known.used = now;
        known
    }

    /// How long until a probe may be made; `None` while the destination is not down.
    fn until_probe(&self, destination: FlowHash, now: Instant) -> Option<Duration> {
        let wait = self.destinations.get(&destination)?.breaker.until_probe(now)?;
        let is_allowed = self.probes < PROBES_AT_ONCE && self.probe_budget(now) > 0;
        Some(if wait.is_zero() && !is_allowed { Duration::from_secs(1) } else { wait })
    }

    fn probe_budget(&self, now: Instant) -> usize {
        let within = |span: Duration| {
            self.probed.iter().rev().take_while(|began| now.saturating_duration_since(**began) < span).count()
        };
        let of_second = PROBES_A_SECOND.saturating_sub(within(Duration::from_secs(1)));
        let of_step = PROBES_A_STEP.saturating_sub(within(PROBE_STEP));
        of_second.min(of_step).min(PROBES_AT_ONCE.saturating_sub(self.probes))
    }

    /// How long until the bucket allows another send; `None` when it does now.
    fn until_paced(&self, flow: Flow, limits: &Limits, now: Instant, is_first_in_line: bool) -> Option<Duration> {
        let bucket = self.buckets.get(&flow)?;
        if bucket.waiting > 0 && !is_first_in_line {
            return Some(limits.pace.map_or(Duration::from_millis(1), step));
        }
        Some(bucket.wait(limits.pace, now)).filter(|wait| !wait.is_zero())
    }

    /// Uses up what one attempt uses.
    fn take(&mut self, flow: Flow, limits: &Limits, is_unproved: bool, is_probe: bool, now: Instant) {
        self.unproved += usize::from(is_unproved);
        let destination = self.destination(flow.destination, now);
        destination.under_way += 1;
        if is_probe {
            destination.breaker.begin_probe();
            self.probes += 1;
            self.probed.push_back(now);
            while self.probed.len() > PROBES_A_SECOND {
                self.probed.pop_front();
            }
        }
        if let Some(pace) = limits.pace {
            let bucket = self.bucket(flow, now);
            bucket.pace = Some(pace);
            bucket.recent.push_back(now);
            while bucket.recent.len() > pace.count.max(1) as usize {
                bucket.recent.pop_front();
            }
        }
    }

    /// Forgets idle destinations and buckets; at most once in a minute, and whenever there are too many.
    fn forget_idle(&mut self, now: Instant) {
        let is_full = self.destinations.len() >= MOST || self.buckets.len() >= MOST;
        let is_recent = self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < Duration::from_secs(60));
        if is_recent && !is_full {
            return;
        }
        self.swept = Some(now);
        let idle_for = |used: Instant| now.saturating_duration_since(used);
        let in_use = |known: &Destination| known.under_way + known.expected > 0;
        self.destinations.retain(|_, known| {
            in_use(known) || idle_for(known.used) < IDLE.max(known.breaker.until_probe(now).unwrap_or_default() * 2)
        });
        self.buckets.retain(|_, known| {
            known.waiting > 0 || idle_for(known.used) < IDLE || known.held_until.is_some_and(|until| until > now)
        });
        if self.destinations.len() >= MOST {
            // All of them were used of late: the store remembers those that are down.
            self.destinations.retain(|_, known| in_use(known));
        }
        if self.buckets.len() >= MOST {
            self.buckets.retain(|_, known| known.waiting > 0);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut guard = self.admission.state();
        let state = &mut *guard;
        state.unproved -= usize::from(self.is_unproved).min(state.unproved);
        state.probes -= usize::from(self.is_probe).min(state.probes);
        if let Some(destination) = state.destinations.get_mut(&self.flow.destination) {
            destination.under_way = destination.under_way.saturating_sub(1);
            if self.is_probe {
                destination.breaker.end_probe();
            }
            destination.freed.notify_one();
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut guard = self.admission.state();
        let state = &mut *guard;
        state.unproved -= usize::from(self.is_unproved).min(state.unproved);
        if let Some(destination) = state.destinations.get_mut(&self.destination) {
            destination.expected = destination.expected.saturating_sub(1);
        }
    }
}

/// A place in a bucket's line.
struct Waiting {
    admission: Arc<Admission>,
    flow: Flow,
    line: Arc<tokio::sync::Mutex<()>>,
}

impl Waiting {
    fn new(admission: &Arc<Admission>, flow: Flow) -> Self {
        let mut state = admission.state();
        let bucket = state.bucket(flow, Instant::now());
        bucket.waiting += 1;
        let line = Arc::clone(&bucket.line);
        drop(state);
        Waiting { admission: Arc::clone(admission), flow, line }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bucket) = self.admission.state().buckets.get_mut(&self.flow) {
            bucket.waiting = bucket.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use runbell_core::{ErrorKind, FlowKey, Pace, SystemClock};

    use super::*;

    fn admission(permits: usize, places: Option<usize>) -> Arc<Admission> {
        Admission::new(Rules { permits, places, longest_hold: Duration::from_secs(60) }, Arc::new(SystemClock))
    }

    fn flow(limits: &Limits) -> Flow {
        FlowKey::new([7; 32]).flow(limits)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_uses_nothing_up() {
        let admission = admission(1, None);
        let pace = Some(Pace { count: 2, period: Duration::from_secs(100) });
        let limits = Limits { pace, ..Limits::of("h:1") };
        let flow = flow(&limits);
        let first = admission.admit(flow, &limits, None).expect("admitted");
        // Refused for its permit, it leaves the pace alone.
        for _ in 0..5 {
            assert_eq!(admission.admit(flow, &limits, None).err(), Some(Refusal::Busy));
        }
        drop(first);
        drop(admission.admit(flow, &limits, None).expect("the second of two"));
        // Refused for its pace, it leaves the permit alone.
        for _ in 0..5 {
            assert_eq!(admission.admit(flow, &limits, None).err(), Some(Refusal::Paced(Duration::from_secs(100))));
        }
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(admission.admit(flow, &limits, None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_held_and_its_neighbours_are_not() {
        let admission = admission(4, None);
        let of = |bucket: &str| Limits { bucket: Some(bucket.into()), ..Limits::of("hooks:443") };
        let (mine, other) = (of("mine"), of("other"));
        let permit = admission.admit(flow(&mine), &mine, None).expect("admitted");
        let error = Error::new(ErrorKind::RateLimited, "slow").retry_after(Duration::from_secs(20));
        let signal = admission.record(permit, &mine, Some(&error));
        assert_eq!(signal.bucket, Some(Duration::from_secs(20)));
        assert_eq!(admission.admit(flow(&mine), &mine, None).err(), Some(Refusal::Paced(Duration::from_secs(20))));
        assert!(admission.admit(flow(&other), &other, None).is_ok());
        // Where the target counts by nothing that is known, only the one delivery waits.
        let plain = Limits::of("plain:443");
        let permit = admission.admit(flow(&plain), &plain, None).expect("admitted");
        assert_eq!(admission.record(permit, &plain, Some(&error)), Signal::default());
        assert!(admission.admit(flow(&plain), &plain, None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_destination_is_forgotten_and_their_number_is_bounded() {
        let admission = admission(4, Some(16));
        let limits = |index: usize| Limits::of(format!("h:{index}").as_str());
        let held = admission.admit(flow(&limits(0)), &limits(0), None).expect("admitted");
        for index in 1..100 {
            drop(admission.admit(flow(&limits(index)), &limits(index), None));
        }
        assert_eq!(admission.state().destinations.len(), 100);
        tokio::time::advance(IDLE + Duration::from_secs(1)).await;
        drop(admission.admit(flow(&limits(200)), &limits(200), None));
        assert_eq!(admission.state().destinations.len(), 2, "the one in use, and the new one");
        drop(held);
        for index in 0..MOST + 10 {
            drop(admission.admit(flow(&limits(index)), &limits(index), None));
        }
        assert!(admission.state().destinations.len() <= MOST);
    }

    #[cfg(feature = "durable")]
    #[tokio::test(start_paused = true)]
    async fn unproved_destinations_hold_half_of_all_places() {
        let admission = admission(64, Some(32));
        let mut held = Vec::new();
        for index in 0..100 {
            let limits = Limits::of(format!("h:{}", index % 10).as_str());
            held.extend(admission.admit(flow(&limits), &limits, None));
        }
        assert_eq!(held.len(), 16);
        let limits = Limits::of("h:0");
        let permit = held.swap_remove(0);
        admission.record(permit, &limits, None);
        assert!(!admission.is_unproved(&admission.state(), flow(&limits).destination));
        assert_eq!(admission.room(flow(&limits).destination, &[]), 63, "proved, with one more under way");
        assert_eq!(admission.room(flow(&Limits::of("h:99")).destination, &[]), 1);
        let granted = [(flow(&Limits::of("h:98")).destination, 1)];
        assert_eq!(admission.room(flow(&Limits::of("h:99")).destination, &granted), 0);
    }

    #[cfg(feature = "durable")]
    #[tokio::test(start_paused = true)]
    async fn a_share_follows_the_pace_and_the_hold() {
        let admission = admission(64, Some(32));
        let pace = Some(Pace { count: 4, period: Duration::from_secs(8) });
        let limits = Limits { pace, bucket: Some("hook".into()), ..Limits::of("h:1") };
        let flow = flow(&limits);
        assert_eq!(admission.share(flow), Share::UNLIMITED, "nothing is known of it");
        let permit = admission.admit(flow, &limits, None).expect("admitted");
        assert_eq!(admission.share(flow), Share { room: 3, again: Duration::from_secs(2) });
        for _ in 0..3 {
            drop(admission.admit(flow, &limits, None).expect("admitted"));
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(admission.share(flow), Share { room: 0, again: Duration::from_secs(5) });
        // Of two answers the longer wait counts.
        let slow = |seconds| Error::new(ErrorKind::RateLimited, "slow").retry_after(Duration::from_secs(seconds));
        admission.record(permit, &limits, Some(&slow(30)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(admission.share(flow), Share { room: 0, again: Duration::from_secs(24) });
        tokio::time::advance(Duration::from_secs(24)).await;
        let permits = [(), ()].map(|()| admission.admit(flow, &limits, None).expect("admitted"));
        let signals = permits
            .into_iter()
            .zip([20, 5])
            .map(|(permit, seconds)| admission.record(permit, &limits, Some(&slow(seconds))).bucket);
        assert_eq!(signals.collect::<Vec<_>>(), vec![Some(Duration::from_secs(20)); 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_freed_permit_wakes_one_that_can_use_it() {
        let admission = admission(1, None);
        let pace = Some(Pace { count: 1, period: Duration::from_secs(100) });
        let paced = Limits { pace, bucket: Some("paced".into()), ..Limits::of("h:1") };
        let free = Limits { bucket: Some("free".into()), ..Limits::of("h:1") };
        let first = admission.admit(flow(&paced), &paced, None).expect("admitted");
        let waiting = |limits: &Limits| {
            let (admission, limits) = (Arc::clone(&admission), limits.clone());
            tokio::spawn(async move { drop(admission.permit(flow(&limits), &limits).await) })
        };
        let (slow, quick) = (waiting(&paced), waiting(&free));
        tokio::task::yield_now().await;
        let began = Instant::now();
        drop(first);
        quick.await.expect("no panic");
        assert_eq!(began.elapsed(), Duration::ZERO, "the other waits for its pace, and keeps no permit from it");
        slow.await.expect("no panic");
    }

    #[cfg(feature = "durable")]
    #[tokio::test(start_paused = true)]
    async fn a_destination_down_only_in_memory_lets_one_delivery_through() {
        let admission = admission(64, Some(32));
        let limits = Limits::of("h:1");
        let destination = flow(&limits).destination;
        admission.load(destination, Timestamp::UNIX_EPOCH, Duration::from_secs(30));
        assert_eq!(admission.room(destination, &[]), 1);
        assert_eq!(admission.room(destination, &[(destination, 1)]), 0);
        let expected = admission.expect(destination);
        assert_eq!(admission.room(destination, &[]), 0, "one is on its way");
        assert!(matches!(admission.admit(flow(&limits), &limits, Some(expected)), Err(Refusal::Down(_))));
        assert_eq!(admission.room(destination, &[]), 1);
        // Known to be down, it keeps its time.
        admission.load_probed(destination, Timestamp::MAX);
        assert_eq!(admission.down_since(destination), Some(Timestamp::UNIX_EPOCH));
        assert!(admission.report_down(destination) && !admission.report_down(destination));
        admission.unreport_down(destination);
        assert!(admission.report_down(destination));
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_is_down_gets_one_probe() {
        let admission = admission(64, Some(32));
        let limits = Limits::of("h:1");
        let error = Error::new(ErrorKind::Unreachable, "refused").retry();
        let mut last = Signal::default();
        for _ in 0..5 {
            let permit = admission.admit(flow(&limits), &limits, None).expect("admitted");
            last = admission.record(permit, &limits, Some(&error));
        }
        let thirty = Duration::from_secs(30);
        assert_eq!(last.destination, Some(Change::Down(thirty)));
        assert_eq!(admission.admit(flow(&limits), &limits, None).err(), Some(Refusal::Down(thirty)));
        tokio::time::advance(thirty).await;
        let probe = admission.admit(flow(&limits), &limits, None).expect("a probe");
        assert!(matches!(admission.admit(flow(&limits), &limits, None), Err(Refusal::Down(_))), "one at a time");
        // A probe that is given up makes room for another.
        drop(probe);
        let probe = admission.admit(flow(&limits), &limits, None).expect("a probe");
        assert_eq!(admission.record(probe, &limits, None).destination, Some(Change::Up));
        assert!(admission.admit(flow(&limits), &limits, None).is_ok());
    }
}
