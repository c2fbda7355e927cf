//! The retry policy. Pure: time and chance are arguments.

use std::time::Duration;

use crate::error::{Error, Retry};

/// The waits between attempts, and their limits.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first, second, … failed attempt. One more attempt than waits is made.
    pub waits: Vec<Duration>,
    /// The random deviation of a wait, as a fraction: 0.2 means ± 20 %.
    pub jitter: f64,
    /// The longest total time of a delivery. A wait that would exceed it ends the delivery at once.
    pub budget: Option<Duration>,
    /// The longest Retry-After that is obeyed.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    /// In the process of the runner: 3 attempts, waits of 1 s and 4 s ± 20 %, inside 30 s.
    pub fn here() -> Self {
        RetryPolicy {
            waits: vec![Duration::from_secs(1), Duration::from_secs(4)],
            jitter: 0.2,
            budget: Some(Duration::from_secs(30)),
            longest_wait: Duration::from_secs(30),
        }
    }

    /// On a server: 9 attempts over about a day, waits of 5 s to 12 h ± 20 %.
    pub fn server() -> Self {
        let seconds = [5, 30, 2 * 60, 10 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600];
        RetryPolicy {
            waits: seconds.map(Duration::from_secs).to_vec(),
            jitter: 0.2,
            budget: None,
            longest_wait: Duration::from_secs(24 * 3600),
        }
    }

    /// One attempt without retries.
    pub fn once() -> Self {
        RetryPolicy { waits: Vec::new(), jitter: 0.0, budget: None, longest_wait: Duration::ZERO }
    }

    /// How long to wait after attempt number `attempt` (from 1) failed with this advice; `None` to give up.
    ///
    /// `age` is the time since the delivery began, `chance` a number from 0 to 1 for the jitter. A Retry-After is never
    /// undercut; one beyond the budget ends the delivery, because the target would refuse an earlier attempt.
    pub(crate) fn wait(&self, attempt: u32, retry: Retry, age: Duration, chance: f64) -> Option<Duration> {
        let planned = *self.waits.get(usize::try_from(attempt.checked_sub(1)?).ok()?)?;
        let jittered = planned.mul_f64(1.0 + self.jitter * (chance.clamp(0.0, 1.0) * 2.0 - 1.0));
        let wait = match retry {
            Retry::Never => return None,
            Retry::Backoff => jittered,
            Retry::After(asked) if self.exceeded(asked, age).is_some() => return None,
            Retry::After(asked) => asked.max(jittered),
        };
        let fits = self.budget.is_none_or(|budget| age.saturating_add(wait) < budget);
        fits.then_some(wait)
    }

    /// The limit that a target's Retry-After exceeds, with its name; `None` when the wait can be obeyed.
    fn exceeded(&self, asked: Duration, age: Duration) -> Option<(Duration, &'static str)> {
        match self.budget {
            _ if asked > self.longest_wait => Some((self.longest_wait, "the longest wait is")),
            Some(budget) if age.saturating_add(asked) >= budget => Some((budget, "all attempts together may take")),
            _ => None,
        }
    }

    /// Adds to an error why its Retry-After cannot be obeyed, if it cannot. `age` is the time since the delivery began.
    pub fn explain(&self, error: Error, age: Duration) -> Error {
        let Retry::After(asked) = error.retry_advice() else { return error };
        match self.exceeded(asked, age) {
            Some((limit, name)) => error.hinting(&format!(
                "it asks to wait {} s, which is too long: {name} {} s",
                asked.as_secs(),
                limit.as_secs()
            )),
            None => error,
        }
    }

    /// How long the whole schedule takes, without jitter.
    pub fn lasts(&self) -> Duration {
        let waits = self.waits.iter().fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
        self.budget.map_or(waits, |budget| budget.min(waits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_schedule_here() {
        let policy = RetryPolicy::here();
        let passing = || Error::new(ErrorKind::Unreachable, "down").retry();
        let asks = |seconds| Error::new(ErrorKind::RateLimited, "slow").retry_after(Duration::from_secs(seconds));
        let ms = Duration::from_millis;
        for (attempt, error, elapsed, chance, expected) in [
            (1, passing(), 0, 0.5, Some(1000)),
            (1, passing(), 0, 0.0, Some(800)),
            (1, passing(), 0, 1.0, Some(1200)),
            (2, passing(), 0, 0.5, Some(4000)),
            (3, passing(), 0, 0.5, None),
            (2, passing(), 27_000, 0.5, None),
            (1, Error::new(ErrorKind::Rejected, "no"), 0, 0.5, None),
            (1, asks(7), 0, 0.5, Some(7000)),
            (1, asks(0), 0, 0.5, Some(1000)),
            (1, asks(29), 2_000, 0.5, None),
            (1, asks(60), 0, 0.5, None),
        ] {
            let wait = policy.wait(attempt, error.retry_advice(), ms(elapsed), chance);
            assert_eq!(wait, expected.map(ms), "{attempt} {error}");
        }
    }

    #[test]
    fn a_wait_that_is_too_long_is_explained() {
        let asks = |seconds| Error::new(ErrorKind::RateLimited, "slow").retry_after(Duration::from_secs(seconds));
        let (here, server) = (RetryPolicy::here(), RetryPolicy::server());
        for (policy, asked, age, expected) in [
            (&here, 3600, 0, "slow; it asks to wait 3600 s, which is too long: the longest wait is 30 s"),
            (&here, 20, 10, "slow; it asks to wait 20 s, which is too long: all attempts together may take 30 s"),
            (&here, 20, 9, "slow"),
            (&server, 86_400, 0, "slow"),
            (&server, 86_401, 0, "slow; it asks to wait 86401 s, which is too long: the longest wait is 86400 s"),
        ] {
            let age = Duration::from_secs(age);
            assert_eq!(policy.explain(asks(asked), age).to_string(), expected, "{asked} {age:?}");
            let obeyed = policy.wait(1, asks(asked).retry_advice(), age, 0.5).is_some();
            assert_eq!(obeyed, expected == "slow", "{asked} {age:?}");
        }
    }
}
