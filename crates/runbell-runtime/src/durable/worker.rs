//! Leases what is due, attempts it, and records how it ended.

use std::sync::Arc;
use std::time::Duration;

use runbell_core::{
    DeliveryKey, Error, ErrorKind, Links, Result, RetryPolicy, RunSnapshot, Timestamp, Transition, value,
};
use runbell_store::{Completion, Ending, Lease, Store};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::breaker::Breakers;
use super::conceal::Vault;
use crate::attempt::{Attempt, Destinations, PERMITS};
use crate::flag::Flag;
use crate::plan::{Plan, render};
use crate::prepared::{Prepared, Workshop};

/// How many deliveries are leased at a time.
const CLAIM: usize = 100;

/// How much longer than the longest attempt (60 s) a lease lasts.
const LEASE: Duration = Duration::from_secs(60 + 15);

/// When the store is looked at although nobody said so: the safety net under wake-ups.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a delivery waits whose destination has no permit free.
const BUSY: Duration = Duration::from_secs(1);

/// How long to leave a store alone that does not answer.
const STORE_DOWN: Duration = Duration::from_secs(1);

/// Delivers from the store, in a task of its own.
#[derive(Clone)]
pub(super) struct Worker(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    shop: Workshop,
    vault: Vault,
    links: Links,
    policy: RetryPolicy,
    destinations: Destinations,
    breakers: Breakers,
    at_once: u32,
    places: Arc<Semaphore>,
    due: Notify,
    stopping: Flag,
}

impl Worker {
    pub(super) fn start(
        store: Arc<dyn Store>,
        shop: Workshop,
        vault: Vault,
        links: Links,
        policy: RetryPolicy,
        at_once: usize,
    ) -> Self {
        let at_once = u32::try_from(at_once.clamp(1, 65_536)).unwrap_or(1);
        let worker = Worker(Arc::new(Inner {
            store,
            shop,
            vault,
            links,
            policy,
            destinations: Destinations::new(PERMITS),
            breakers: Breakers::default(),
            at_once,
            places: Arc::new(Semaphore::new(at_once as usize)),
            due: Notify::new(),
            stopping: Flag::default(),
        }));
        tokio::spawn(worker.clone().serve());
        worker
    }

    pub(super) fn wake(&self) {
        self.0.due.notify_one();
    }

    pub(super) async fn stop(&self, deadline: Duration) {
        self.0.stopping.set();
        // What is left when time is up keeps its lease, and whoever opens the store next ends that.
        drop(timeout(deadline, Arc::clone(&self.0.places).acquire_many_owned(self.0.at_once)).await);
    }

    async fn serve(self) {
        let inner = &self.0;
        while !inner.stopping.is_set() {
            let free = inner.places.available_permits().min(CLAIM);
            let leased = match free {
                0 => Vec::new(),
                free => match inner.store.claim(inner.now(), free, LEASE).await {
                    Ok(leased) => leased,
                    Err(error) => {
                        tracing::error!(%error, "nothing can be delivered");
                        sleep(STORE_DOWN).await;
                        continue;
                    }
                },
            };
            let more = free > 0 && leased.len() == free;
            for lease in leased {
                // As many as were free were claimed, and nobody else takes places.
                let Ok(place) = Arc::clone(&inner.places).try_acquire_owned() else { break };
                let worker = self.clone();
                tokio::spawn(async move {
                    worker.0.deliver(lease).await;
                    drop(place);
                    // A place is free, and what waited behind this one may be due.
                    worker.wake();
                });
            }
            if !more {
                tokio::select! {
                    () = inner.due.notified() => {}
                    () = sleep(inner.until_due().await) => {}
                    () = inner.stopping.wait() => {}
                }
            }
        }
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.shop.cx.clock.now()
    }

    /// How long nothing is due, as far as the store knows.
    async fn until_due(&self) -> Duration {
        if self.places.available_permits() == 0 {
            return LOOK_AGAIN;
        }
        match self.store.next_due().await {
            Ok(Some(due)) => {
                Duration::try_from(due.duration_since(self.now())).unwrap_or(Duration::ZERO).min(LOOK_AGAIN)
            }
            Ok(None) => LOOK_AGAIN,
            Err(_) => STORE_DOWN,
        }
    }

    async fn deliver(&self, lease: Lease) {
        let started = self.now();
        let (ending, reason, ambiguous) = match self.attempt(&lease).await {
            Outcome::Sent(answer) => (Ending::Sent, answer, false),
            Outcome::Failed(error) => (self.after(&lease, &error), error.reason(), error.is_ambiguous()),
            Outcome::Deferred(wait) => (Ending::Deferred(self.later(wait)), String::new(), false),
        };
        let completion =
            Completion { id: lease.id, fence: lease.fence, ending, reason, ambiguous, started, ended: self.now() };
        let (id, project) = (lease.id, lease.run.project.as_str());
        match self.store.complete(completion).await {
            Ok(true) => tracing::debug!(id, project, attempt = lease.attempt, ?ending, "attempt recorded"),
            Ok(false) => tracing::warn!(id, project, "the lease was lost before its attempt ended"),
            // The lease runs out, and the attempt is made again.
            Err(error) => tracing::error!(id, project, %error, "an attempt cannot be recorded"),
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

    async fn attempt(&self, lease: &Lease) -> Outcome {
        let (prepared, plan) = match self.prepare(lease).await {
            Ok(ready) => ready,
            Err(error) => return Outcome::Failed(error),
        };
        let mut message = plan.message(&prepared, &self.links);
        // The key of the promise, whatever a later version of this program would make of the same run.
        message.key = DeliveryKey::parse(&lease.key).unwrap_or(message.key);
        let rendered = match render(&prepared, &message) {
            Ok(rendered) => rendered,
            Err(error) => return Outcome::Failed(error),
        };
        let name = &prepared.limits.destination;
        if let Err(wait) = self.breakers.admit(name, Instant::now()) {
            return Outcome::Deferred(wait);
        }
        let destination = self.destinations.get(&prepared.limits);
        let Some(permit) = destination.try_permit() else { return Outcome::Deferred(BUSY) };
        // Waiting for the pace would use up the lease.
        if let Err(wait) = destination.try_pace(prepared.limits.pace) {
            return Outcome::Deferred(wait);
        }
        let attempt = Attempt {
            sender: prepared.sender.as_ref(),
            limits: &prepared.limits,
            payload: &rendered.payload,
            key: message.key,
            number: lease.attempt,
            clock: self.shop.cx.clock.as_ref(),
            at_most: Duration::MAX,
        };
        let outcome = attempt.make(permit).await;
        let unreachable = |error: &Error| matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout);
        let reached = !outcome.as_ref().is_err_and(unreachable);
        if self.breakers.note(name, reached, Instant::now()) {
            self.due.notify_one();
        }
        match outcome {
            Ok(receipt) => Outcome::Sent(receipt.answer.into_owned()),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Finds the secrets again, builds the sender, and lays the run out as it was.
    async fn prepare(&self, lease: &Lease) -> Result<(Arc<Prepared>, Plan)> {
        let broken = |_| Error::new(ErrorKind::Internal, "a stored run cannot be read any more");
        let notification = self.vault.reveal(&lease.run.project, &lease.notification).await?;
        let prepared = Arc::new(self.shop.prepare(notification)?);
        let run = RunSnapshot::step(value::read(&lease.document).map_err(broken)?);
        let transition = Transition { run, state: lease.state, at: lease.at, steps: [].into() };
        let plan = Plan::of_registered(transition, vec![Ok(Arc::clone(&prepared))], &self.shop);
        Ok((prepared, plan))
    }
}

/// What came of a lease.
enum Outcome {
    /// The target took it; its answer.
    Sent(String),
    /// It failed.
    Failed(Error),
    /// It was not tried: the destination is left alone for so long.
    Deferred(Duration),
}
