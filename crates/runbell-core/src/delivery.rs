//! What follows in the life of a delivery. The only place that knows; this process and every store ask here.
//!
//! Pure: time and chance are arguments. [`advance`] decides what follows an attempt, [`turn`] whose turn it is in a lane,
//! and [`replace`] what a new list of notifications does to the deliveries of the old one.

use std::time::Duration;

use crate::error::{Error, Retry};
use crate::retry::RetryPolicy;
use crate::state::RunState;

/// How far a delivery has come, at the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many attempts were made since it was accepted or replayed, the present one included.
    pub attempts: u32,
    /// The present attempt is the last: newer news waits behind it.
    pub last_chance: bool,
    /// A new list of notifications took over during the attempt: no other one follows.
    pub is_replaced: bool,
    /// How long ago it was accepted or replayed. Waits for a destination's pace do not count here, where there is a budget.
    pub age: Duration,
}

/// How an attempt ended.
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

/// Why and for how long no attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How long until another look is worth it.
    pub after: Duration,
    /// Set when the destination is down; then a delivery ends once its schedule's whole time has passed.
    pub down: Option<String>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is sent.
    Sent,
    /// Another attempt.
    Retry {
        /// How long to wait.
        after: Duration,
        /// That attempt is the last one, for newer news waits behind it.
        last_chance: bool,
    },
    /// The attempt that was not made. Nothing is counted.
    Deferred {
        /// How long to wait.
        after: Duration,
    },
    /// Nothing: it failed for good.
    Failed,
    /// Nothing: newer news took its place.
    Superseded,
}

/// What follows an attempt.
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

/// Where an unfinished delivery stands in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not yet decided about. Holds up newer news, and hurries no older news.
    Undecided,
    /// To be sent; no attempt was made.
    Untried,
    /// An attempt is under way.
    UnderWay,
    /// An attempt failed; another one follows.
    Retrying {
        /// The one that follows is the last.
        last_chance: bool,
    },
}

/// Whose turn it is in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// An older delivery goes first.
    Wait,
    /// This one may go when it is due.
    Go,
    /// This one has failed before and holds up newer news: it goes at once, for the last time.
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

/// What a new list of notifications does to an unfinished delivery of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// It is superseded.
    Superseded,
    /// The attempt under way ends first; see [`Progress::is_replaced`].
    AfterAttempt,
}

/// What a new list of notifications does to an unfinished delivery of the old one.
pub fn replace(phase: Phase) -> Replacement {
    match phase {
        Phase::UnderWay => Replacement::AfterAttempt,
        Phase::Undecided | Phase::Untried | Phase::Retrying { .. } => Replacement::Superseded,
    }
}

/// Whether a new list is decided about for the state that a run is in, although the run entered no state: when it took the
/// place of an unfinished delivery about that state. `replaced` are the states that these report on.
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
    fn what_follows_an_attempt() {
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
            // Newer news waits: once more at once, and then never.
            (progress(1, false, 0), failed(Retry::Backoff), true, retry(0, true)),
            (progress(1, false, 0), failed(Retry::After(9 * SECOND)), true, retry(0, true)),
            (progress(2, true, 0), failed(Retry::Backoff), true, Next::Superseded),
            (progress(2, true, 0), failed(Retry::Never), true, Next::Superseded),
            (progress(1, false, 0), failed(Retry::Never), true, Next::Failed),
            // The newer news was cancelled meanwhile: the schedule goes on.
            (progress(2, true, 0), failed(Retry::Backoff), false, retry(4, false)),
            // No attempt, nothing counted; but not for ever.
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
