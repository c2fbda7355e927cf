//! Random histories of one run: the states it enters, its lists of notifications, and the outcome of each attempt.

use std::time::Duration;

use proptest::prelude::*;
use runbell_core::{RetryPolicy, RunState};
use serde_json::{Value as Json, json};

/// How many notifications a list may have. Each is a lane of the run.
pub(crate) const LANES: usize = 3;

/// How many attempts of a delivery have an answer of their own. Later attempts are answered with a success.
const ANSWERS: usize = 5;

/// The longest Retry-After that the policy obeys, in seconds.
pub(crate) const LONGEST_WAIT: u64 = 30;

/// One run's life.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// The waits of the retry policy, in seconds. Without jitter and budget, so that both places make attempts at the same
    /// times.
    pub(crate) waits: Vec<u64>,
    pub(crate) changes: Vec<Change>,
}

/// The run enters a state.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The time since the previous change, in seconds.
    gap: u64,
    pub(crate) state: RunState,
    /// The first list, or a new one; `None` keeps the list of the previous change.
    list: Option<List>,
    /// The answers to the attempts of this change's deliveries, by lane.
    answers: Vec<Vec<Answer>>,
}

/// A list of notifications.
#[derive(Debug, Clone, PartialEq)]
struct List {
    /// Makes this list differ from an earlier one with the same members.
    version: u8,
    /// The states that each lane's notification is sent for; `None` when the list lacks the notification.
    when: Vec<Option<Vec<RunState>>>,
}

/// The target's answer to one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// How long the attempt takes, in seconds. Shorter than the time limit of an attempt.
    pub(crate) takes: u64,
    pub(crate) result: AnswerKind,
    /// How often a server's worker hands the lease back before it makes the attempt. Must change nothing.
    pub(crate) handed_back: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Success,
    /// Another attempt may succeed.
    Down,
    /// The message may have arrived; another attempt is made all the same.
    Unclear,
    /// No other attempt will succeed.
    Refused,
    /// The target asks for a wait of so many seconds.
    SlowDown(u64),
}

impl History {
    /// The time of a change, in milliseconds.
    ///
    /// Gaps, waits and attempts last whole seconds, and each change has a millisecond of its own. A change therefore never
    /// falls on the instant at which an earlier change's attempt ends or becomes due, where either order is right.
    pub(crate) fn time_of(&self, change: usize) -> u64 {
        let gaps: u64 = self.changes[..=change].iter().map(|change| change.gap).sum();
        gaps * 1_000 + change as u64
    }

    pub(crate) fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            waits: self.waits.iter().copied().map(Duration::from_secs).collect(),
            jitter: 0.0,
            budget: None,
            longest_wait: Duration::from_secs(LONGEST_WAIT),
        }
    }

    /// The answer to attempt number `number` (from 1) of a delivery.
    pub(crate) fn answer(&self, change: usize, lane: usize, number: usize) -> Answer {
        let success = Answer { takes: 0, result: AnswerKind::Success, handed_back: 0 };
        self.changes[change].answers[lane].get(number - 1).copied().unwrap_or(success)
    }

    /// How long an attempt takes, in milliseconds.
    pub(crate) fn takes(&self, change: usize, lane: usize, number: usize) -> u64 {
        self.answer(change, lane, number).takes * 1_000
    }

    /// The run's document after a change. Its retry count rises with every change, so that each change is a transition.
    pub(crate) fn document(&self, change: usize, uid: &str) -> Json {
        json!({
            "metadata": { "project": "p", "uid": uid, "name": "train" },
            "status": {
                "state": self.changes[change].state.as_str(),
                "retry_count": change,
                "results": { "change": change },
            },
        })
    }

    /// The notifications of the run after a change.
    pub(crate) fn notifications(&self, change: usize) -> Json {
        let list = self.list(change);
        let members = list.when.iter().enumerate().filter_map(|(lane, when)| {
            let when: Vec<&str> = when.as_ref()?.iter().map(|state| state.as_str()).collect();
            let params = json!({ "version": list.version });
            Some(json!({ "kind": "scripted", "name": name_of(lane), "when": when, "params": params }))
        });
        members.collect()
    }

    /// Whether the list of a change has a lane's notification.
    pub(crate) fn lists(&self, change: usize, lane: usize) -> bool {
        self.list(change).when[lane].is_some()
    }

    /// Whether the rules send a lane's notification for a change.
    pub(crate) fn sends(&self, change: usize, lane: usize) -> bool {
        let when = self.list(change).when[lane].as_ref();
        when.is_some_and(|when| when.contains(&self.changes[change].state))
    }

    /// The time of the first later change with news for a lane.
    pub(crate) fn next_news_after(&self, change: usize, lane: usize) -> Option<u64> {
        self.later(change).find(|later| self.sends(*later, lane)).map(|later| self.time_of(later))
    }

    /// The time of the first later change that replaces the list.
    pub(crate) fn next_list_after(&self, change: usize) -> Option<u64> {
        let replaces = |later: &usize| self.list(*later) != self.list(*later - 1);
        self.later(change).find(replaces).map(|later| self.time_of(later))
    }

    fn later(&self, change: usize) -> std::ops::Range<usize> {
        change + 1..self.changes.len()
    }

    fn list(&self, change: usize) -> &List {
        self.changes[..=change]
            .iter()
            .rev()
            .find_map(|change| change.list.as_ref())
            .expect("the first change has a list")
    }
}

pub(crate) fn name_of(lane: usize) -> String {
    format!("lane-{lane}")
}

pub(crate) fn lane_of(name: &str) -> usize {
    (0..LANES).find(|lane| name_of(*lane) == name).expect("the name of a lane")
}

/// Histories of 1 to 8 changes.
pub(crate) fn histories() -> impl Strategy<Value = History> {
    let waits = prop::collection::vec(0..=8_u64, 0..=4);
    let later = prop::collection::vec(changes(prop::option::weighted(0.25, lists())), 0..=7);
    (waits, changes(lists().prop_map(Some)), later).prop_map(|(waits, first, later)| {
        let changes = std::iter::once(first).chain(later).collect();
        History { waits, changes }
    })
}

fn changes(list: impl Strategy<Value = Option<List>>) -> impl Strategy<Value = Change> {
    let gap = prop_oneof![2 => Just(0), 3 => 0..=4_u64, 1 => 5..=40_u64];
    let answers = prop::collection::vec(prop::collection::vec(answers(), 0..=ANSWERS), LANES);
    (gap, states(), list, answers).prop_map(|(gap, state, list, answers)| Change { gap, state, list, answers })
}

/// The states that notify.
fn states() -> impl Strategy<Value = RunState> {
    prop::sample::select(vec![RunState::Running, RunState::Completed, RunState::Error, RunState::Aborted])
}

fn lists() -> impl Strategy<Value = List> {
    let all = vec![RunState::Running, RunState::Completed, RunState::Error, RunState::Aborted];
    // Mostly all states, so that news meets news in a lane.
    let when = prop_oneof![3 => Just(all.clone()), 1 => prop::sample::subsequence(all, 1..=3)];
    let members = prop::collection::vec(prop::option::weighted(0.85, when), LANES);
    // An empty list is a list too: it replaces what is unfinished.
    let members = prop_oneof![9 => members, 1 => Just(vec![None; LANES])];
    (0..=2_u8, members).prop_map(|(version, when)| List { version, when })
}

fn answers() -> impl Strategy<Value = Answer> {
    let result = prop_oneof![
        2 => Just(AnswerKind::Success),
        4 => Just(AnswerKind::Down),
        1 => Just(AnswerKind::Unclear),
        1 => Just(AnswerKind::Refused),
        // Some ask for more than the policy obeys.
        2 => (0..=LONGEST_WAIT + 5).prop_map(AnswerKind::SlowDown),
    ];
    let takes = prop_oneof![2 => Just(0), 1 => 1..=6_u64];
    let handed_back = prop_oneof![4 => Just(0), 1 => 1..=2_u8];
    (takes, result, handed_back).prop_map(|(takes, result, handed_back)| Answer { takes, result, handed_back })
}
