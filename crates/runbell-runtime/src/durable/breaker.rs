//! Circuit breakers: a destination that keeps failing is left alone for a while. Pure: time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many failures in a row open a breaker.
const FAILURES: u32 = 5;

/// How long it stays open before one delivery may probe.
pub(super) const OPEN: Duration = Duration::from_secs(30);

/// One destination.
#[derive(Debug, Default)]
struct Breaker {
    /// It was reached, and has not failed since.
    is_proved: bool,
    failures: u32,
    /// While it is open: when the next probe is allowed.
    probe_at: Option<Instant>,
}

/// The breakers of all destinations.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<HashMap<Arc<str>, Breaker>>);

impl Breakers {
    /// Whether an attempt may be made now; otherwise how long to wait. A probe that is allowed keeps others out.
    pub(super) fn admit(&self, destination: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(breaker) = all.get_mut(destination) else { return Ok(()) };
        match breaker.probe_at {
            Some(probe_at) if now < probe_at => Err(probe_at - now),
            Some(_) => {
                breaker.probe_at = Some(now + OPEN);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether a destination was reached the last time. One that was not may hang, and is given little room until it has
    /// shown that it does not.
    pub(super) fn is_proved(&self, destination: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(destination).is_some_and(|breaker| breaker.is_proved)
    }

    /// Whether nothing may go now but a probe that is allowed already.
    pub(super) fn is_open(&self, destination: &str, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(destination).and_then(|breaker| breaker.probe_at).is_some_and(|probe_at| now < probe_at)
    }

    /// Notes how an attempt ended. True when that closes a breaker.
    pub(super) fn note(&self, destination: &Arc<str>, reached: bool, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reached && let Some(known) = all.get_mut(destination).filter(|known| known.is_proved) {
            // The common case, without an allocation.
            return known.probe_at.take().is_some();
        }
        let breaker = all.entry(Arc::clone(destination)).or_default();
        if reached {
            return std::mem::replace(breaker, Breaker { is_proved: true, ..Breaker::default() }).probe_at.is_some();
        }
        breaker.is_proved = false;
        breaker.failures += 1;
        if breaker.failures >= FAILURES {
            breaker.probe_at = Some(now + OPEN);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_probes_and_closes() {
        let (breakers, name, start) = (Breakers::default(), Arc::from("h:1"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..FAILURES {
            assert_eq!(breakers.admit(&name, start), Ok(()));
            assert!(!breakers.note(&name, false, start));
        }
        assert_eq!(breakers.admit(&name, after(10)), Err(Duration::from_secs(20)));
        assert_eq!(breakers.admit("other:1", after(10)), Ok(()));
        // One probe, and nobody beside it.
        assert_eq!(breakers.admit(&name, after(30)), Ok(()));
        assert_eq!(breakers.admit(&name, after(31)), Err(Duration::from_secs(29)));
        assert!(!breakers.note(&name, false, after(32)));
        assert_eq!(breakers.admit(&name, after(61)), Err(Duration::from_secs(1)));
        assert_eq!(breakers.admit(&name, after(62)), Ok(()));
        assert!(breakers.note(&name, true, after(63)));
        assert_eq!(breakers.admit(&name, after(63)), Ok(()));
        assert!(breakers.is_proved("h:1") && !breakers.is_proved("other:1"));
        // A success in between starts the count anew.
        assert!(!breakers.note(&name, false, after(64)) && !breakers.note(&name, true, after(64)));
    }
}
