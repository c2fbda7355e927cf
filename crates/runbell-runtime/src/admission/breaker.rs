//! The breaker of one destination: a destination that does not answer is held and probed from time to time.
//!
//! Pure: time is an argument.
#![cfg_attr(not(feature = "durable"), allow(dead_code, reason = "only a server has breakers"))]

use std::time::Duration;

use runbell_core::{Error, ErrorKind, Timestamp};
use tokio::time::Instant;

/// The attempts in a row that fail to reach a destination before it counts as down.
const FAILURES: u32 = 5;

/// The wait before the first probe of a destination that is down, and the longest: the wait doubles with every probe
/// that fails.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// An attempt that takes longer than this makes its destination slow.
const SLOW: Duration = Duration::from_secs(1);

/// One destination's breaker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    /// Whether the last attempt reached it, within [`SLOW`].
    is_proved: bool,
    failures: u32,
    down: Option<Down>,
}

/// A destination that is down.
#[derive(Debug, Clone)]
struct Down {
    since: Timestamp,
    wait: Duration,
    probe_at: Instant,
    is_probed: bool,
    /// The operator was notified of deliveries that ended because it is down.
    is_reported: bool,
}

/// The change of a breaker by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is down, and probed after so long.
    Down(Duration),
    /// It is up again.
    Up,
}

impl Breaker {
    /// The breaker of a destination that is known to be down.
    pub(crate) fn down(since: Timestamp, remaining: Duration, now: Instant) -> Self {
        let wait = remaining.clamp(FIRST_WAIT, LONGEST_WAIT);
        let down = Down { since, wait, probe_at: now + remaining, is_probed: false, is_reported: false };
        Breaker { is_proved: false, failures: FAILURES, down: Some(down) }
    }

    /// Whether the last attempt reached the destination quickly. Otherwise the destination may hang, and gets few permits
    /// until an attempt proves it.
    pub(crate) fn is_proved(&self) -> bool {
        self.is_proved && self.down.is_none()
    }

    /// Since when the destination is down; `None` while it is not.
    pub(crate) fn down_since(&self) -> Option<Timestamp> {
        self.down.as_ref().map(|down| down.since)
    }

    /// How long until a probe may be made; zero when one may be made now. `None` while the destination is not down.
    pub(crate) fn until_probe(&self, now: Instant) -> Option<Duration> {
        let down = self.down.as_ref()?;
        Some(if down.is_probed { down.wait } else { down.probe_at.saturating_duration_since(now) })
    }

    /// Notes that a probe is under way: no second one is made meanwhile.
    pub(crate) fn begin_probe(&mut self) {
        if let Some(down) = &mut self.down {
            down.is_probed = true;
        }
    }

    /// Notes that a probe was given up without an answer.
    pub(crate) fn end_probe(&mut self) {
        if let Some(down) = &mut self.down {
            down.is_probed = false;
        }
    }

    /// True once for each time that the destination is down.
    pub(crate) fn report(&mut self) -> bool {
        self.down.as_mut().is_none_or(|down| !std::mem::replace(&mut down.is_reported, true))
    }

    /// Takes back [`Self::report`].
    pub(crate) fn unreport(&mut self) {
        if let Some(down) = &mut self.down {
            down.is_reported = false;
        }
    }

    /// Notes how an attempt ended.
    pub(crate) fn record(
        &mut self,
        is_reached: bool,
        was_probe: bool,
        took: Duration,
        now: (Instant, Timestamp),
    ) -> Option<Change> {
        if is_reached {
            let was_down = self.down.is_some();
            *self = Breaker { is_proved: took < SLOW, failures: 0, down: None };
            return was_down.then_some(Change::Up);
        }
        self.is_proved = false;
        self.failures = self.failures.saturating_add(1);
        let (instant, at) = now;
        match &mut self.down {
            Some(down) if was_probe => {
                down.wait = (down.wait * 2).min(LONGEST_WAIT);
                (down.probe_at, down.is_probed) = (instant + down.wait, false);
                Some(Change::Down(down.wait))
            }
            Some(_) => None,
            None if self.failures >= FAILURES => {
                *self = Self::down(at, FIRST_WAIT, instant);
                Some(Change::Down(FIRST_WAIT))
            }
            None => None,
        }
    }
}

/// Whether a failed attempt shows that its destination does not answer. Any response proves that the host is up,
/// except 502–504: a proxy without a backend.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
        && error.get("status").is_none_or(|status| ["502", "503", "504"].contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(5);

    #[test]
    fn it_opens_is_probed_less_and_less_often_and_closes() {
        let start = (Instant::now(), Timestamp::UNIX_EPOCH);
        let after = |seconds| (start.0 + Duration::from_secs(seconds), start.1);
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.record(false, false, QUICK, start), None);
            assert_eq!(breaker.until_probe(start.0), None);
        }
        assert_eq!(breaker.record(false, false, QUICK, start), Some(Change::Down(FIRST_WAIT)));
        assert_eq!(breaker.down_since(), Some(start.1));
        // An attempt that was under way changes nothing.
        assert_eq!(breaker.record(false, false, QUICK, after(1)), None);
        assert_eq!(breaker.until_probe(after(10).0), Some(Duration::from_secs(20)));
        assert_eq!(breaker.until_probe(after(30).0), Some(Duration::ZERO));
        breaker.begin_probe();
        assert_ne!(breaker.until_probe(after(31).0), Some(Duration::ZERO), "one probe at a time");
        assert_eq!(breaker.record(false, true, QUICK, after(32)), Some(Change::Down(2 * FIRST_WAIT)));
        let mut longest = Duration::ZERO;
        for _ in 0..9 {
            breaker.begin_probe();
            let Some(Change::Down(wait)) = breaker.record(false, true, QUICK, after(99)) else { panic!("still down") };
            longest = longest.max(wait);
        }
        assert_eq!(longest, LONGEST_WAIT);
        assert!(breaker.report() && !breaker.report());
        assert_eq!(breaker.record(true, true, QUICK, after(100)), Some(Change::Up));
        assert!(breaker.is_proved() && breaker.until_probe(after(100).0).is_none());
        // A success in between starts the count again.
        assert_eq!(breaker.record(false, false, QUICK, after(101)), None);
        assert_eq!(breaker.record(true, false, QUICK, after(101)), None);
        // One that answers slowly is not proved.
        breaker.record(true, false, 2 * SLOW, after(102));
        assert!(!breaker.is_proved());
    }
}
