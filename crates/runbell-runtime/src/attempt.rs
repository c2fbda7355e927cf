//! One attempt: permit, timeout, send. The only place that calls a sender.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use runbell_core::{Clock, DeliveryKey, Error, ErrorKind, Limits, Pace, Payload, Receipt, Result, SendContext, Sender};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How many attempts may be under way to one destination.
pub(crate) const PERMITS: usize = 64;

/// Permits and pace, kept for each destination. A destination that hangs uses up its own permits only.
#[derive(Debug)]
pub(crate) struct Destinations {
    permits: usize,
    known: Mutex<HashMap<Arc<str>, Arc<Destination>>>,
}

/// One destination's permits and pace.
#[derive(Debug)]
pub(crate) struct Destination {
    permits: Semaphore,
    /// How many permits there are in all.
    #[cfg(feature = "durable")]
    all: usize,
    /// When the latest sends that keep a pace were, or will be, due.
    recent: Mutex<VecDeque<Instant>>,
}

impl Destinations {
    pub(crate) fn new(permits: usize) -> Self {
        Destinations { permits, known: Mutex::default() }
    }

    /// The destination of these limits. Who comes first decides how many it is given at once.
    pub(crate) fn get(&self, limits: &Limits) -> Arc<Destination> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = limits.at_once.map_or(self.permits, |at_once| at_once.clamp(1, self.permits));
        let made = || {
            Arc::new(Destination {
                permits: Semaphore::new(permits),
                #[cfg(feature = "durable")]
                all: permits,
                recent: Mutex::default(),
            })
        };
        Arc::clone(known.entry(Arc::clone(&limits.destination)).or_insert_with(made))
    }
}

/// The right to one attempt; given back when dropped.
pub(crate) struct Permit<'a>(#[expect(dead_code, reason = "it is held, not read")] Option<SemaphorePermit<'a>>);

impl Destination {
    /// Waits for the right to one attempt.
    pub(crate) async fn permit(&self) -> Permit<'_> {
        // The semaphore is never closed, and if it were, nobody would be served by not sending.
        Permit(self.permits.acquire().await.ok())
    }

    /// The right to one attempt, if there is one at once.
    #[cfg(feature = "durable")]
    pub(crate) fn try_permit(&self) -> Option<Permit<'_>> {
        self.permits.try_acquire().ok().map(|permit| Permit(Some(permit)))
    }

    /// How many more attempts may be made now.
    #[cfg(feature = "durable")]
    pub(crate) fn room(&self) -> usize {
        self.permits.available_permits()
    }

    /// How many attempts are under way.
    #[cfg(feature = "durable")]
    pub(crate) fn under_way(&self) -> usize {
        self.all.saturating_sub(self.permits.available_permits())
    }

    /// Waits until the pace allows another send: never more than `count` in any `period`, counted from each send on.
    ///
    /// Places are given out in the order they are asked for. One that is given up unused stays taken.
    pub(crate) async fn keep_pace(&self, pace: Option<Pace>) {
        if let Some(pace) = pace
            && let Ok(mine) = self.next_place(pace, |_| true)
        {
            sleep_until(mine).await;
        }
    }

    /// Takes a place in the pace if there is one at once; else how long there will be none.
    #[cfg(feature = "durable")]
    pub(crate) fn try_pace(&self, pace: Option<Pace>) -> std::result::Result<(), Duration> {
        let Some(pace) = pace else { return Ok(()) };
        self.next_place(pace, |wait| wait.is_zero()).map(drop)
    }

    /// The next free place, taken if the wait for it is wanted; else that wait.
    fn next_place(&self, pace: Pace, wanted: impl FnOnce(Duration) -> bool) -> std::result::Result<Instant, Duration> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pace.count.max(1) as usize;
        while recent.len() > count {
            recent.pop_front();
        }
        let now = Instant::now();
        let free = match recent.front() {
            Some(oldest) if recent.len() == count => *oldest + pace.period,
            _ => now,
        };
        // Never before a place that was given out earlier, or counting from the oldest would not hold.
        let free = recent.back().map_or(free, |last| free.max(*last)).max(now);
        // By the same clock reading: by a later one a place that is free now would always be a little ahead.
        let wait = free - now;
        if !wanted(wait) {
            return Err(wait);
        }
        recent.push_back(free);
        Ok(free)
    }
}

/// What one attempt is made with.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) sender: &'a dyn Sender,
    pub(crate) limits: &'a Limits,
    pub(crate) payload: &'a Payload,
    pub(crate) key: DeliveryKey,
    pub(crate) number: u32,
    pub(crate) clock: &'a dyn Clock,
    /// No attempt lasts longer than this, whatever the kind's own timeout is.
    pub(crate) at_most: Duration,
}

impl Attempt<'_> {
    /// Sends once, within the time limit. The destination's pace is the caller's to keep, before.
    ///
    /// # Errors
    /// The sender's own; [`ErrorKind::Timeout`] when time ran out, ambiguous if bytes had left by then; and
    /// [`ErrorKind::Internal`] when the sender panicked, which must not take the process with it.
    pub(crate) async fn make(&self, _permit: Permit<'_>) -> Result<Receipt> {
        let allowed = self.limits.timeout.clamp(Duration::from_secs(1), Duration::from_secs(60)).min(self.at_most);
        let deadline = Instant::now() + allowed;
        let written = AtomicBool::new(false);
        let cx = SendContext::new(self.key, self.number, deadline.into_std(), self.clock.now(), &written);
        let sending = AssertUnwindSafe(self.sender.send(self.payload, &cx)).catch_unwind();
        match timeout_at(deadline, sending).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(Error::new(ErrorKind::Internal, "the sender panicked")),
            Err(_elapsed) => {
                let error = Error::new(ErrorKind::Timeout, "no answer in time")
                    .with("after", format_args!("{:.1}s", allowed.as_secs_f64()))
                    .retry();
                Err(if written.load(Ordering::Relaxed) { error.ambiguous() } else { error })
            }
        }
    }
}

#[cfg(all(test, feature = "durable"))]
mod tests {
    use super::*;

    #[test]
    fn a_pace_has_places_at_once_until_they_are_taken() {
        let limits = Limits::of("host:1");
        let destination = Destinations::new(1).get(&limits);
        let pace = Some(Pace { count: 2, period: Duration::from_secs(3_600) });
        assert_eq!(destination.try_pace(pace), Ok(()));
        assert_eq!(destination.try_pace(pace), Ok(()));
        let wait = destination.try_pace(pace).expect_err("both are taken");
        assert!(wait > Duration::from_secs(3_000), "{wait:?}");
        assert_eq!(destination.try_pace(None), Ok(()));
    }
}
