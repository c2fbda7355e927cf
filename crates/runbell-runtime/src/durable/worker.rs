//! Claims due deliveries, and starts their attempts.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use runbell_core::{Flow, FlowHash, Job, Links};
use runbell_store::{Claim, Claimed, Lease, LeasedDelivery, Rooms, Share};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::deliver::{Deliverable, Deliverer, LEASE, STORE_DOWN};
use super::options::DispatcherOptions;
use super::resources::Resources;
use crate::admission::{Admission, Expected, PERMITS, PROBE_STEP, Rules};
use crate::decide::Plan;
use crate::flag::Flag;
use crate::ready::ReadyNotification;

/// The most deliveries of one claim.
const CLAIM: usize = 100;

/// The longest sleep without a wake-up: a safety net.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often deliveries are looked for that waited too long for a destination that is down: a tenth of the retry schedule,
/// within these bounds. Each look reads everything that waits for such destinations.
const OVERDUE_LEAST: Duration = Duration::from_secs(1);
const OVERDUE_MOST: Duration = Duration::from_secs(600);

/// When deliveries with an unknown destination are looked at again, if there were more than were claimed.
const UNKNOWN_AGAIN: Duration = Duration::from_millis(50);

/// The most destinations that are down which are read from the store at a start.
const HOLDS: usize = 50_000;

/// Delivers from the store, in a task of its own. Cheap to clone.
#[derive(Clone)]
pub(super) struct Worker(Arc<Inner>);

struct Inner {
    deliverer: Deliverer,
    at_once: u32,
    slots: Arc<Semaphore>,
    wakes: Notify,
    /// Whether it claims; at rest it does not.
    serving: Flag,
    /// Whether more deliveries were due than there were slots.
    starved: AtomicBool,
    /// Destinations that had more due than room.
    without_room: Mutex<HashSet<FlowHash>>,
    /// Held from a claim until its deliveries are started or handed back.
    claiming: tokio::sync::Mutex<()>,
}

/// A slot for one attempt, of all that may be under way.
pub(super) type Slot = OwnedSemaphorePermit;

/// Room for an attempt of a delivery that is not stored yet. Dropped unused, it wakes the worker if its room was wanted.
pub(super) struct Reserved {
    room: Option<(Slot, Expected)>,
    destination: FlowHash,
    worker: Worker,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some((slot, expected)) = self.room.take() {
            let was_unproved = expected.is_unproved();
            drop((slot, expected));
            self.worker.0.freed(self.destination, was_unproved);
        }
    }
}

/// The store asks here how much room a destination has.
struct Room(Arc<Admission>);

impl Rooms for Room {
    fn room(&self, destination: FlowHash, granted: &[(FlowHash, usize)]) -> usize {
        self.0.room(destination, granted)
    }

    fn share(&self, flow: Flow) -> Share {
        self.0.share(flow)
    }
}

impl Worker {
    pub(super) fn new(resources: Resources, links: Links, options: DispatcherOptions) -> Self {
        let at_once = u32::try_from(options.at_once.clamp(1, 65_536)).unwrap_or(1);
        let longest_hold = options.retry.longest_wait;
        let rules = Rules { permits: PERMITS, places: Some(at_once as usize), longest_hold };
        let admission = Admission::new(rules, Arc::clone(&resources.preparer.cx.clock));
        let deliverer = Deliverer {
            resources,
            links,
            policy: Arc::new(options.retry),
            on_failure: options.on_failure,
            observer: options.observer,
            admission,
            stopping: Flag::default(),
        };
        Worker(Arc::new(Inner {
            deliverer,
            at_once,
            slots: Arc::new(Semaphore::new(at_once as usize)),
            wakes: Notify::new(),
            serving: Flag::default(),
            starved: AtomicBool::new(false),
            without_room: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
        }))
    }

    /// Room for an attempt of a delivery that is not stored yet, if it may go at once; none while what is due waits for slots
    /// itself.
    pub(super) fn reserve(&self, ready: &ReadyNotification) -> Option<Reserved> {
        let inner = &self.0;
        if !inner.serving.is_set() || inner.deliverer.stopping.is_set() || inner.starved.load(Ordering::SeqCst) {
            return None;
        }
        let slot = Arc::clone(&inner.slots).try_acquire_owned().ok()?;
        let expected = inner.deliverer.admission.expect_if_room(ready.flow, &ready.limits)?;
        let (room, destination) = (Some((slot, expected)), ready.flow.destination);
        Some(Reserved { room, destination, worker: self.clone() })
    }

    /// Attempts a delivery that was leased at its intake.
    pub(super) fn carry_out(
        &self,
        lease: Lease,
        job: Job,
        ready: Arc<ReadyNotification>,
        plan: &Arc<Plan>,
        mut reserved: Reserved,
    ) {
        let Some((slot, expected)) = reserved.room.take() else { return };
        self.start(lease, Deliverable::AtHand { job, ready, plan: Arc::clone(plan) }, slot, expected);
    }

    fn start(&self, lease: Lease, what: Deliverable, slot: Slot, expected: Expected) {
        let worker = self.clone();
        tokio::spawn(async move {
            let inner = &worker.0;
            let was_unproved = expected.is_unproved();
            let destination = inner.deliverer.deliver(lease, what, expected).await;
            drop(slot);
            inner.freed(destination, was_unproved);
        });
    }

    pub(super) async fn stop(&self, deadline: Duration) {
        let inner = &self.0;
        inner.deliverer.stopping.set();
        let at_rest = async {
            // A claim under way hands back its deliveries first.
            drop(inner.claiming.lock().await);
            Arc::clone(&inner.slots).acquire_many_owned(inner.at_once).await
        };
        // Deliveries that are left when time is up keep their leases, and those end when the store is opened next.
        let all = timeout(deadline, at_rest).await;
        if all.is_ok() {
            // Closed while all are held: a reservation that began before the stop finds no slot any more.
            inner.slots.close();
        }
    }

    pub(super) async fn serve(self) {
        let inner = &self.0;
        inner.serving.set();
        let mut wakeups = inner.deliverer.resources.store.wakeups();
        inner.load_holds().await;
        let claiming = async {
            while let Some(wait) = self.take_up().await {
                if wait.is_zero() {
                    continue;
                }
                tokio::select! {
                    () = wakeups.next() => {}
                    () = inner.wakes.notified() => {}
                    () = inner.deliverer.stopping.wait() => {}
                    () = sleep(wait) => {}
                }
            }
        };
        tokio::join!(claiming, inner.end_overdue());
    }

    /// Starts due deliveries for the free slots, and returns the time until the next is due; `None` at the stop.
    async fn take_up(&self) -> Option<Duration> {
        let inner = &self.0;
        let _claiming = inner.claiming.lock().await;
        if inner.deliverer.stopping.is_set() {
            return None;
        }
        let free = inner.slots.available_permits().min(CLAIM);
        let claimed = match free {
            0 => None,
            free => match inner.claim(free).await {
                Ok(claimed) => Some(claimed),
                Err(error) => {
                    tracing::error!(%error, "nothing can be delivered");
                    drop(timeout(STORE_DOWN, inner.deliverer.stopping.wait()).await);
                    return Some(Duration::ZERO);
                }
            },
        };
        let Some(Claimed { deliveries, without_room, next, more_probes }) = claimed else {
            inner.starved.store(true, Ordering::SeqCst);
            // Without a free slot only the end of an attempt changes anything; one that ended before this was noted woke
            // no worker.
            return Some(if inner.slots.available_permits() > 0 { Duration::ZERO } else { LOOK_AGAIN });
        };
        let more_unknown = without_room.contains(&FlowHash::default());
        let full: Vec<FlowHash> = without_room.into_iter().filter(|hash| *hash != FlowHash::default()).collect();
        *inner.without_room.lock().unwrap_or_else(PoisonError::into_inner) = full.iter().copied().collect();
        let is_full = deliveries.len() == free;
        let was_short = self.start_all(deliveries).await;
        inner.starved.store(is_full || was_short, Ordering::SeqCst);
        // An attempt that ended before its destination was noted above woke no worker.
        let has_room = || full.iter().any(|hash| inner.deliverer.admission.room(*hash, &[]) > 0);
        if inner.slots.available_permits() > 0 && (was_short || has_room()) {
            return Some(Duration::ZERO);
        }
        let wait = next.map_or(LOOK_AGAIN, |next| next.min(LOOK_AGAIN));
        let wait = if more_unknown { wait.min(UNKNOWN_AGAIN) } else { wait };
        Some(if more_probes { wait.min(PROBE_STEP) } else { wait })
    }

    /// Starts claimed deliveries. Hands back those for which there is no slot after all; true when there were any.
    async fn start_all(&self, deliveries: Vec<LeasedDelivery>) -> bool {
        let inner = &self.0;
        let mut left = Vec::new();
        for leased in deliveries {
            // A stop, or a reservation, may have come in between.
            match Arc::clone(&inner.slots).try_acquire_owned() {
                Ok(slot) if !inner.deliverer.stopping.is_set() => {
                    if let Some(since) = leased.down_since {
                        inner.deliverer.admission.load_probed(leased.flow.destination, since);
                    }
                    let expected = inner.deliverer.admission.expect(leased.flow.destination);
                    self.start(leased.lease, Deliverable::Stored(Box::new(leased)), slot, expected);
                }
                _ => left.push(leased),
            }
        }
        let was_short = !left.is_empty();
        join_all(left.into_iter().map(|leased| inner.deliverer.hand_back(leased))).await;
        was_short
    }
}

impl Inner {
    async fn claim(&self, limit: usize) -> runbell_store::StoreResult<Claimed> {
        let rooms = Arc::new(Room(Arc::clone(&self.deliverer.admission)));
        self.deliverer
            .resources
            .store
            .claim(Claim { limit, lease: LEASE, probes: self.deliverer.admission.probes(), rooms })
            .await
    }

    /// Wakes the worker after the end of an attempt, if a delivery waits for its slot or its room.
    fn freed(&self, destination: FlowHash, was_unproved: bool) {
        let mut without_room = self.without_room.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = without_room.remove(&destination) || (was_unproved && !without_room.is_empty());
        drop(without_room);
        if has_room || self.starved.load(Ordering::SeqCst) {
            self.wakes.notify_one();
        }
    }

    /// Ends overdue deliveries periodically, until the stop.
    async fn end_overdue(&self) {
        let pause = (self.deliverer.policy.lasts() / 10).clamp(OVERDUE_LEAST, OVERDUE_MOST);
        while timeout(pause, self.deliverer.stopping.wait()).await.is_err() {
            self.deliverer.end_overdue().await;
        }
    }

    /// Remembers which destinations were down before this start.
    async fn load_holds(&self) {
        match self.deliverer.resources.store.holds(HOLDS).await {
            Ok(holds) => holds
                .iter()
                .for_each(|hold| self.deliverer.admission.load(hold.destination, hold.since, hold.remaining)),
            Err(error) => tracing::warn!(%error, "destinations that were down are not known to be so"),
        }
    }
}
