//! Leases what is due, attempts it, and records how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use runbell_core::{
    DeliveryKey, Error, ErrorKind, Links, Notification, Result, RetryPolicy, RunSnapshot, SecretValues, Timestamp,
    Transition, value,
};
use runbell_store::{Completion, Ending, Lease, Recorded, StoreResult};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::breaker::Breakers;
use super::desk::{Desk, Ready};
use super::parking::Parking;
use super::{Attempted, DispatcherOptions, Observer, Outcome, alarm};
use crate::attempt::{Attempt, Destination, Destinations, PERMITS};
use crate::flag::Flag;
use crate::plan::{Plan, render};
use crate::prepared::Prepared;

/// How many deliveries are leased at a time.
const CLAIM: usize = 100;

/// How much longer than the longest attempt (60 s) a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(60 + 15);

/// When the store is looked at although nobody said so: the safety net under wake-ups.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a delivery waits at most whose destination has no permit free. It is made due as soon as there is one.
const BUSY: Duration = Duration::from_secs(30);

/// How many attempts may be under way to a destination that was not reached the last time. Small against all places
/// together (256), so that many targets that hang at once leave room for those that do not. Once such attempts take half of
/// all places, each of these destinations may have a single one.
const UNPROVED: usize = 8;

/// How long to leave a store alone that does not answer.
const STORE_DOWN: Duration = Duration::from_secs(1);

/// Delivers from the store, in a task of its own.
#[derive(Clone)]
pub(super) struct Worker(Arc<Inner>);

struct Inner {
    desk: Desk,
    links: Links,
    policy: RetryPolicy,
    on_failure: Vec<Notification>,
    observer: Option<Observer>,
    destinations: Destinations,
    breakers: Breakers,
    parking: Parking,
    at_once: u32,
    places: Arc<Semaphore>,
    /// How many attempts are under way to destinations that were not reached the last time.
    unproved: AtomicUsize,
    due: Notify,
    /// It looks for what is due: at rest nothing is delivered.
    serving: Flag,
    /// There was more due than there were places.
    starved: AtomicBool,
    stopping: Flag,
    /// Held from a claim until what it brought is started or handed back.
    claiming: Mutex<()>,
}

/// The right to one attempt, of all that may be under way.
pub(super) type Place = OwnedSemaphorePermit;

impl Worker {
    pub(super) fn new(desk: Desk, links: Links, options: DispatcherOptions) -> Self {
        let at_once = u32::try_from(options.at_once.clamp(1, 65_536)).unwrap_or(1);
        Worker(Arc::new(Inner {
            desk,
            links,
            policy: options.retry,
            on_failure: options.on_failure,
            observer: options.observer,
            destinations: Destinations::new(PERMITS),
            breakers: Breakers::default(),
            parking: Parking::default(),
            at_once,
            places: Arc::new(Semaphore::new(at_once as usize)),
            unproved: AtomicUsize::new(0),
            due: Notify::new(),
            serving: Flag::default(),
            starved: AtomicBool::new(false),
            stopping: Flag::default(),
            claiming: Mutex::default(),
        }))
    }

    pub(super) fn wake(&self) {
        self.0.due.notify_one();
    }

    #[cfg(test)]
    pub(super) async fn until_woken(&self) {
        self.0.due.notified().await;
    }

    /// Up to `count` places for what is not in the store yet; none while what is due waits for places itself.
    pub(super) fn reserve(&self, count: usize) -> Vec<Place> {
        let inner = &self.0;
        if !inner.serving.is_set() || inner.stopping.is_set() || inner.starved.load(Ordering::SeqCst) {
            return Vec::new();
        }
        (0..count).map_while(|_| Arc::clone(&inner.places).try_acquire_owned().ok()).collect()
    }

    /// Carries out a delivery that was leased to the caller.
    pub(super) fn carry_out(&self, ready: Ready, place: Place) {
        let Ready { lease, prepared, plan } = ready;
        self.start(lease, Some((prepared, plan)), place);
    }

    fn start(&self, lease: Lease, ready: Option<(Arc<Prepared>, Arc<Plan>)>, place: Place) {
        let worker = self.clone();
        tokio::spawn(async move {
            let inner = &worker.0;
            let may_follow = inner.deliver(lease, ready).await;
            drop(place);
            // What waited for a place, or behind this one, may go now.
            if may_follow || inner.starved.load(Ordering::SeqCst) {
                worker.wake();
            }
        });
    }

    pub(super) async fn stop(&self, deadline: Duration) {
        let inner = &self.0;
        inner.stopping.set();
        let at_rest = async {
            // What is being claimed is handed back first.
            drop(inner.claiming.lock().await);
            Arc::clone(&inner.places).acquire_many_owned(inner.at_once).await
        };
        // What is left when time is up keeps its lease, and whoever opens the store next ends that.
        let all = timeout(deadline, at_rest).await;
        if all.is_ok() {
            // Closed while all are held: whoever looked before it was told to stop finds no place any more.
            inner.places.close();
        }
    }

    pub(super) async fn serve(self) {
        let inner = &self.0;
        inner.serving.set();
        while let Some(wait) = self.take_up().await {
            if !wait.is_zero() {
                tokio::select! {
                    () = inner.due.notified() => {}
                    () = sleep(wait) => {}
                    () = inner.stopping.wait() => {}
                }
            }
        }
    }

    /// Starts what is due, as much as there are places for, and returns how long nothing else is; `None` at the end.
    async fn take_up(&self) -> Option<Duration> {
        let inner = &self.0;
        let _claiming = inner.claiming.lock().await;
        if inner.stopping.is_set() {
            return None;
        }
        let free = inner.places.available_permits().min(CLAIM);
        let claimed = match free {
            0 => None,
            free => match inner.desk.store.claim(inner.now(), free, LEASE).await {
                Ok(claimed) => Some(claimed),
                Err(error) => {
                    tracing::error!(%error, "nothing can be delivered");
                    drop(timeout(STORE_DOWN, inner.stopping.wait()).await);
                    return Some(Duration::ZERO);
                }
            },
        };
        let next_due = claimed.as_ref().and_then(|claimed| claimed.next_due);
        let leases = claimed.map(|claimed| claimed.leases).unwrap_or_default();
        let is_full = leases.len() == free;
        let mut left = Vec::new();
        for lease in leases {
            // It may have been told to stop, or somebody reserved the place meanwhile.
            match Arc::clone(&inner.places).try_acquire_owned() {
                Ok(place) if !inner.stopping.is_set() => self.start(lease, None, place),
                _ => left.push(lease),
            }
        }
        let was_short = free == 0 || !left.is_empty();
        join_all(left.into_iter().map(|lease| inner.hand_back(lease))).await;
        inner.starved.store(is_full || was_short, Ordering::SeqCst);
        // Without a free place only the end of an attempt changes anything; one that ended before this said it is starved
        // has woken nobody.
        if was_short && inner.places.available_permits() > 0 {
            return Some(Duration::ZERO);
        }
        Some(next_due.map_or(LOOK_AGAIN, |due| inner.until(due).min(LOOK_AGAIN)))
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.desk.now()
    }

    fn until(&self, due: Timestamp) -> Duration {
        Duration::try_from(due.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }

    /// Gives back a lease for which there is no place after all.
    async fn hand_back(&self, lease: Lease) {
        let now = self.now();
        let completion = Completion {
            id: lease.id,
            fence: lease.fence,
            ending: Ending::Deferred(now),
            reason: String::new(),
            ambiguous: false,
            started: now,
            ended: now,
        };
        if let Err(error) = self.desk.store.complete(completion).await {
            tracing::warn!(id = lease.id, %error, "a lease is not given back, and runs out");
        }
    }

    /// Carries out a lease, and returns whether something else may be due by that.
    async fn deliver(&self, lease: Lease, ready: Option<(Arc<Prepared>, Arc<Plan>)>) -> bool {
        let (started, clock) = (self.now(), Instant::now());
        let (kind, end) = self.attempt(&lease, ready).await;
        let (ending, reason, ambiguous) = match &end {
            End::Sent(answer) => (Ending::Sent, answer.clone(), false),
            End::Failed(error) => (self.after(&lease, error), error.reason(), error.is_ambiguous()),
            End::Paced(wait) => (Ending::Deferred(self.later(*wait)), String::new(), false),
            End::Parked(_, wait) => (Ending::Deferred(self.later(*wait)), String::new(), false),
        };
        if let (End::Failed(error), Ending::Failed) = (&end, ending)
            && alarm::raise(&self.desk, &self.on_failure, &lease, error).await
        {
            self.due.notify_one();
        }
        let completion =
            Completion { id: lease.id, fence: lease.fence, ending, reason, ambiguous, started, ended: self.now() };
        let (id, project) = (lease.id, lease.run.project.as_str());
        let may_follow = match self.record(completion).await {
            Ok(Recorded::Done { has_follower }) => {
                tracing::debug!(id, project, attempt = lease.attempt, ?ending, "attempt recorded");
                has_follower || matches!(ending, Ending::Retry(_) | Ending::Deferred(_))
            }
            Ok(Recorded::Lost) => {
                tracing::warn!(id, project, "the lease was lost before its attempt ended");
                true
            }
            // The lease runs out, and the attempt is made again.
            Err(error) => {
                tracing::error!(id, project, %error, "an attempt cannot be recorded");
                true
            }
        };
        if let End::Parked(destination, _) = &end {
            self.parking.park(&destination.0, lease.id);
            // There may be room again by now, and nobody else to say so.
            self.make_room(&destination.0, &destination.1).await;
        }
        self.observe(&lease, kind, ending, &end, clock.elapsed());
        may_follow
    }

    /// Writes down how an attempt ended. A store that takes nothing, as on a full disk, is asked again for as long as the
    /// lease lasts: what is not recorded is made again.
    async fn record(&self, completion: Completion) -> StoreResult<Recorded> {
        let until = Instant::now() + LEASE / 2;
        loop {
            match self.desk.store.complete(completion.clone()).await {
                Err(error) if Instant::now() < until && !self.stopping.is_set() => {
                    tracing::warn!(id = completion.id, %error, "an attempt cannot be recorded yet");
                    drop(timeout(STORE_DOWN, self.stopping.wait()).await);
                }
                recorded => return recorded,
            }
        }
    }

    fn observe(&self, lease: &Lease, kind: &'static str, ending: Ending, end: &End, took: Duration) {
        let Some(observer) = &self.observer else { return };
        let outcome = match ending {
            Ending::Sent => Outcome::Sent,
            Ending::Retry(_) => Outcome::Retry,
            Ending::Failed => Outcome::Failed,
            Ending::Deferred(_) => return,
        };
        let error = if let End::Failed(error) = end { Some(error.kind()) } else { None };
        let since_accepted = Duration::try_from(self.now().duration_since(lease.created_at)).unwrap_or_default();
        observer(&Attempted { kind, outcome, error, took, since_accepted });
    }

    /// How many attempts may be under way to a destination that was not reached the last time.
    fn at_most(&self) -> usize {
        let half = self.at_once as usize / 2;
        if self.unproved.load(Ordering::Relaxed) < half { UNPROVED } else { 1 }
    }

    /// Makes due what waits for room at a destination, as much as there is room for.
    async fn make_room(&self, name: &str, destination: &Destination) {
        if self.breakers.is_open(name, Instant::now()) {
            return;
        }
        let room = match self.breakers.is_proved(name) {
            true => destination.room(),
            false => self.at_most().saturating_sub(destination.under_way()),
        };
        let leaving = self.parking.leave(name, room);
        if leaving.is_empty() {
            return;
        }
        match self.desk.store.hasten(leaving, self.now()).await {
            Ok(()) => self.due.notify_one(),
            // They become due by themselves, a little later.
            Err(error) => tracing::warn!(%error, "what waited for room at a destination waits on"),
        }
    }

    /// When to try again, or never.
    fn after(&self, lease: &Lease, error: &Error) -> Ending {
        let wait = self.policy.next(lease.attempt, error, Duration::ZERO, fastrand::f64());
        wait.map_or(Ending::Failed, |wait| Ending::Retry(self.later(wait)))
    }

    fn later(&self, wait: Duration) -> Timestamp {
        self.now().checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Makes one attempt, and returns the kind it was made with.
    async fn attempt(&self, lease: &Lease, ready: Option<(Arc<Prepared>, Arc<Plan>)>) -> (&'static str, End) {
        let (prepared, plan) = match ready.map_or_else(|| self.prepare(lease), Ok) {
            Ok(ready) => ready,
            Err(error) => return ("", End::Failed(error)),
        };
        (prepared.kind, self.send(lease, &prepared, &plan).await)
    }

    async fn send(&self, lease: &Lease, prepared: &Prepared, plan: &Plan) -> End {
        let name = &prepared.limits.destination;
        let destination = self.destinations.get(&prepared.limits);
        let parked = |wait| End::Parked((Arc::clone(name), Arc::clone(&destination)), wait);
        let is_proved = self.breakers.is_proved(name);
        if !is_proved && destination.under_way() >= self.at_most() {
            return parked(BUSY);
        }
        let Some(permit) = destination.try_permit() else { return parked(BUSY) };
        if let Err(wait) = self.breakers.admit(name, Instant::now()) {
            return parked(wait);
        }
        // Waiting for the pace would use up the lease.
        if let Err(wait) = destination.try_pace(prepared.limits.pace) {
            return End::Paced(wait);
        }
        let mut message = plan.message(prepared, &self.links);
        // The key of the promise, whatever a later version of this program would make of the same run.
        message.key = DeliveryKey::parse(&lease.key).unwrap_or(message.key);
        let rendered = match render(prepared, &message) {
            Ok(rendered) => rendered,
            Err(error) => return End::Failed(error),
        };
        let attempt = Attempt {
            sender: prepared.sender.as_ref(),
            limits: &prepared.limits,
            payload: &rendered.payload,
            key: message.key,
            number: lease.attempt,
            clock: self.desk.shop.cx.clock.as_ref(),
            at_most: Duration::MAX,
        };
        let unproved = (!is_proved).then(|| Counted::new(&self.unproved));
        let outcome = attempt.make(permit).await;
        drop(unproved);
        // One that answers is there, and others at the same host may fare better, unless it says that nobody is behind it.
        let unreachable = |error: &Error| {
            matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
                && error.get("status").is_none_or(|status| ["502", "503", "504"].contains(&status))
        };
        self.breakers.note(name, !outcome.as_ref().is_err_and(unreachable), Instant::now());
        self.make_room(name, &destination).await;
        match outcome {
            Ok(receipt) => End::Sent(receipt.answer.into_owned()),
            Err(error) => End::Failed(error),
        }
    }

    /// Finds the secrets again, builds the sender, and lays the run out as it was.
    fn prepare(&self, lease: &Lease) -> Result<(Arc<Prepared>, Arc<Plan>)> {
        let broken = |_| Error::new(ErrorKind::Internal, "a stored run cannot be read any more");
        let Desk { vault, shop, .. } = &self.desk;
        let notification = vault.open(&lease.run.project, &lease.notification, lease.sealed.as_deref())?;
        let prepared = Arc::new(shop.prepare(notification)?);
        let run = RunSnapshot::step(value::read(&lease.document).map_err(broken)?);
        let transition = Transition { run, state: lease.state, at: lease.at, steps: [].into() };
        let entries = vec![Ok(Arc::clone(&prepared))];
        let plan = Plan::of_registered(transition, entries, SecretValues::default(), shop);
        Ok((prepared, Arc::new(plan)))
    }
}

/// Counts an attempt while it is under way.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What came of a lease.
enum End {
    /// The target took it; its answer.
    Sent(String),
    /// It failed.
    Failed(Error),
    /// It was not tried: the destination's pace allows it so much later.
    Paced(Duration),
    /// It was not tried: the destination has no room, or is left alone, for so long at most.
    Parked((Arc<str>, Arc<Destination>), Duration),
}
