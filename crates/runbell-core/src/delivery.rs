//! The rules for the life of a delivery, for this process and every store.
//!
//! Pure: time and chance are arguments. [`advance`] decides the step after an attempt, [`turn`] which delivery of a lane
//! may go, and [`replace`] the effect of a new list of notifications on the deliveries of the old one.

use std::time::Duration;

use crate::error::{Error, Retry};
use crate::retry::RetryPolicy;
use crate::state::RunState;

/// The progress of a delivery at the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The attempts since it was accepted or replayed, including the present one.
    pub attempts: u32,
    /// The present attempt is the last: newer news waits behind it.
    pub last_chance: bool,
    /// A new list of notifications replaced it during the attempt: no further attempt follows.
    pub is_replaced: bool,
    /// The time since it was accepted or replayed. In a process with a time budget, waits for a destination's pace do not count.
    pub age: Duration,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target took the message.
    Sent {
        /// The target's answer in a word or two.
        answer: String,
    },
    /// The attempt failed.
    Failed(Failure),
    /// No attempt was made.
    Held(Held),
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether another attempt can help.
    pub retry: Retry,
    /// Whether the message may have arrived all the same.
    pub ambiguous: bool,
    /// Kind, message and context of the error. Free of secrets.
    pub reason: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Failure { retry: error.retry_advice(), ambiguous: error.is_ambiguous(), reason: error.reason() }
    }
}

/// A refusal of an attempt: the reason and the wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The time until an attempt may be allowed.
    pub after: Duration,
    /// Whether the destination is down; a delivery to it ends once the whole time of its schedule has passed.
    pub down: Option<String>,
}

/// The step after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// None: the delivery is sent.
    Sent,
    /// Another attempt.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Whether that attempt is the last one, because newer news waits behind it.
        last_chance: bool,
    },
    /// The same attempt later. It was not made, so it is not counted.
    Deferred {
        /// How long to wait.
        after: Duration,
    },
    /// None: the delivery failed for good.
    Failed,
    /// None: newer news replaced the delivery.
    Superseded,
}

/// Decides the step after an attempt.
///
/// `is_followed` says whether newer news that will be sent waits behind this delivery; then a failed delivery gets one more
/// attempt at once, and is superseded if that fails too. `chance` is a number from 0 to 1 for the jitter.
pub fn advance(policy: &RetryPolicy, progress: &Progress, outcome: &Outcome, is_followed: bool, chance: f64) -> Next {
    match outcome {
        Outcome::Sent { .. } => Next::Sent,
        Outcome::Held(_) | Outcome::Failed(_) if progress.is_replaced => Next::Superseded,
        Outcome::Held(Held { down: Some(_), .. }) if progress.age >= policy.lasts() => Next::Failed,
        Outcome::Held(Held { after, .. }) => Next::Deferred { after: *after },
        Outcome::Failed(_) if is_followed && progress.last_chance => Next::Superseded,
        Outcome::Failed(failure) => match policy.wait(progress.attempts, failure.retry, progress.age, chance) {
            None => Next::Failed,
            Some(_) if is_followed => Next::Retry { after: Duration::ZERO, last_chance: true },
            Some(after) => Next::Retry { after, last_chance: false },
        },
    }
}

/// The phase of an unfinished delivery in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not yet decided. Delays newer news, and does not hurry older news.
    Undecided,
    /// To be sent; no attempt was made.
    Untried,
    /// An attempt is under way.
    UnderWay,
    /// An attempt failed; another one follows.
    Retrying {
        /// An attempt failed; the next one is the last.
        last_chance: bool,
    },
}

/// Whether a delivery of a lane may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// An older delivery goes first.
    Wait,
    /// This one may go when it is due.
    Go,
    /// This one has failed before and delays newer news: it gets its last attempt at once.
    Hurry,
}

/// The turn of an unfinished delivery in its lane.
///
/// The oldest may go, all others wait for its end. If it waits for another attempt while newer news that will be sent stands
/// behind it, it is hurried.
pub fn turn(is_oldest: bool, phase: Phase, is_followed: bool) -> Turn {
    match phase {
        _ if !is_oldest => Turn::Wait,
        Phase::Retrying { last_chance: false } if is_followed => Turn::Hurry,
        _ => Turn::Go,
    }
}

/// The turns of all unfinished deliveries of a lane, given oldest first.
///
/// Older news that was replayed while an attempt of newer news is under way waits for the end of that attempt.
pub fn turns(lane: &[Phase]) -> impl Iterator<Item = Turn> + '_ {
    let newer = lane.get(1..).unwrap_or_default();
    let is_followed = newer.iter().any(|phase| *phase != Phase::Undecided);
    let is_free = !newer.contains(&Phase::UnderWay);
    lane.iter().enumerate().map(move |(place, phase)| turn(place == 0 && is_free, *phase, is_followed))
}

/// The effect of a new list of notifications on an unfinished delivery of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// It is superseded.
    Superseded,
    /// The attempt under way ends first; see [`Progress::is_replaced`].
    AfterAttempt,
}

/// The effect of a new list of notifications on an unfinished delivery of the old one.
pub fn replace(phase: Phase) -> Replacement {
    match phase {
        Phase::UnderWay => Replacement::AfterAttempt,
        Phase::Undecided | Phase::Untried | Phase::Retrying { .. } => Replacement::Superseded,
    }
}

/// Whether a new list is decided for the run's current state, although the run entered no state: if it replaced an
/// unfinished delivery about that state. `replaced` are the states of the replaced deliveries.
pub fn decides_again(replaced: &[RunState], state: RunState) -> bool {
    replaced.contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> RetryPolicy {
        RetryPolicy { waits: vec![SECOND, 4 * SECOND], jitter: 0.0, budget: None, longest_wait: 60 * SECOND }
    }

    fn failed(retry: Retry) -> Outcome {
        Outcome::Failed(Failure { retry, ambiguous: false, reason: "unreachable: down".to_owned() })
    }

    fn held(seconds: u32, is_down: bool) -> Outcome {
        Outcome::Held(Held { after: seconds * SECOND, down: is_down.then(|| "down".to_owned()) })
    }

    #[test]
    fn the_step_after_an_attempt() {
        let progress = |attempts, last_chance, seconds| {
            let age = seconds * SECOND;
            Progress { attempts, last_chance, is_replaced: false, age }
        };
        let sent = Outcome::Sent { answer: "200".to_owned() };
        let retry = |seconds, last_chance| Next::Retry { after: seconds * SECOND, last_chance };
        for (progress, outcome, is_followed, expected) in [
            (progress(1, false, 0), sent.clone(), false, Next::Sent),
            (progress(2, true, 0), sent, true, Next::Sent),
            (progress(1, false, 0), failed(Retry::Backoff), false, retry(1, false)),
            (progress(2, false, 0), failed(Retry::Backoff), false, retry(4, false)),
            (progress(3, false, 0), failed(Retry::Backoff), false, Next::Failed),
            (progress(1, false, 0), failed(Retry::Never), false, Next::Failed),
            (progress(1, false, 0), failed(Retry::After(9 * SECOND)), false, retry(9, false)),
            (progress(1, false, 0), failed(Retry::After(61 * SECOND)), false, Next::Failed),
            // Newer news waits: one more attempt at once, the last.
            (progress(1, false, 0), failed(Retry::Backoff), true, retry(0, true)),
            (progress(1, false, 0), failed(Retry::After(9 * SECOND)), true, retry(0, true)),
            (progress(2, true, 0), failed(Retry::Backoff), true, Next::Superseded),
            (progress(2, true, 0), failed(Retry::Never), true, Next::Superseded),
            (progress(1, false, 0), failed(Retry::Never), true, Next::Failed),
            // The newer news was cancelled meanwhile: the schedule goes on.
            (progress(2, true, 0), failed(Retry::Backoff), false, retry(4, false)),
            // Without an attempt nothing is counted; but the time is limited.
            (progress(1, false, 9), held(7, false), false, Next::Deferred { after: 7 * SECOND }),
            (progress(1, false, 4), held(7, true), false, Next::Deferred { after: 7 * SECOND }),
            (progress(1, false, 5), held(7, true), false, Next::Failed),
        ] {
            let next = advance(&policy(), &progress, &outcome, is_followed, 0.5);
            assert_eq!(next, expected, "{progress:?} {outcome:?} followed: {is_followed}");
        }
    }

    #[test]
    fn whose_turn_it_is() {
        use Phase::{Undecided, UnderWay, Untried};
        use Turn::{Go, Hurry, Wait};
        let retrying = Phase::Retrying { last_chance: false };
        for (lane, expected) in [
            (&[][..], &[][..]),
            (&[Untried], &[Go]),
            (&[UnderWay, Untried, Untried], &[Go, Wait, Wait]),
            (&[retrying], &[Go]),
            (&[retrying, Undecided], &[Go, Wait]),
            (&[retrying, Undecided, Untried], &[Hurry, Wait, Wait]),
            (&[Phase::Retrying { last_chance: true }, Untried], &[Go, Wait]),
            (&[Untried, retrying], &[Go, Wait]),
            (&[Untried, UnderWay], &[Wait, Wait]),
        ] {
            assert_eq!(turns(lane).collect::<Vec<_>>(), expected, "{lane:?}");
        }
    }

    #[test]
    fn a_replaced_delivery_is_sent_or_superseded() {
        let progress = Progress { attempts: 1, last_chance: false, is_replaced: true, age: SECOND };
        let sent = Outcome::Sent { answer: "200".to_owned() };
        for (outcome, expected) in [
            (sent, Next::Sent),
            (failed(Retry::Backoff), Next::Superseded),
            (failed(Retry::Never), Next::Superseded),
            (held(1, false), Next::Superseded),
        ] {
            assert_eq!(advance(&policy(), &progress, &outcome, false, 0.5), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_new_list_takes_over() {
        for (phase, expected) in [
            (Phase::UnderWay, Replacement::AfterAttempt),
            (Phase::Untried, Replacement::Superseded),
            (Phase::Retrying { last_chance: true }, Replacement::Superseded),
        ] {
            assert_eq!(replace(phase), expected, "{phase:?}");
        }
        use RunState::{Completed, Running};
        for (replaced, state, expected) in
            [(&[][..], Completed, false), (&[Running], Completed, false), (&[Running, Completed], Completed, true)]
        {
            assert_eq!(decides_again(replaced, state), expected);
        }
    }
}
