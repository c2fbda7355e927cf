//! Random histories of a run, played in this process and on a server. Both places make the same attempts at the same times,
//! with the same end for each notification; and both do as the rules of order, retries and superseding require, which
//! `expected` states a second time, without a queue.
//!
//! `RUNBELL_PROPTEST_CASES` sets the number of histories that each test plays.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod expected;
mod here;
mod history;
mod line;
mod server;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::expected::expected;
use crate::history::{AnswerKind, History, histories};
use crate::line::{End, Line};
use crate::server::Server;

/// Plays random histories, `cases` of them where the environment does not say how many.
fn each_history(cases: u32, test: impl Fn(&History) -> Result<(), TestCaseError>) {
    let cases = std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(&histories(), |history| test(&history)) {
        panic!("{error}");
    }
}

#[test]
fn this_process_obeys_the_rules() {
    each_history(1_000, |history| {
        prop_assert_eq!(here::play(history), expected(history), "left: here, right: expected");
        Ok(())
    });
}

#[test]
fn a_server_does_the_same_as_this_process() {
    let server = Server::new();
    each_history(32, |history| {
        prop_assert_eq!(server.play(history), here::play(history), "left: server, right: here");
        Ok(())
    });
}

/// A test of random histories proves little about a case that they do not reach.
#[test]
fn the_histories_reach_every_case() {
    let mut runner = TestRunner::deterministic();
    let mut counts = [0; CASES.len()];
    for _ in 0..1_000 {
        let history = histories().new_tree(&mut runner).expect("a history").current();
        for line in expected(&history) {
            for ((_, is_case), count) in CASES.iter().zip(&mut counts) {
                *count += usize::from(is_case(&history, &line));
            }
        }
    }
    for ((name, _), count) in CASES.iter().zip(counts) {
        assert!(count >= 30, "{name}: {count} times in 1,000 histories");
    }
}

type IsCase = fn(&History, &Line) -> bool;

const CASES: [(&str, IsCase); 10] = [
    ("skipped", |_, line| line.end == End::Skipped),
    ("sent at once", |_, line| line.end == End::Sent && line.attempts.len() == 1),
    ("sent after 4 attempts", |_, line| line.end == End::Sent && line.attempts.len() >= 4),
    ("refused", |history, line| line.end == End::Failed && last_answer(history, line) == Some(AnswerKind::Refused)),
    ("attempts used up", |history, line| {
        let is_down = matches!(last_answer(history, line), Some(AnswerKind::Down | AnswerKind::Unclear));
        line.end == End::Failed && is_down && line.attempts.len() > 1
    }),
    ("waits for older news", |history, line| {
        line.attempts.first().is_some_and(|at| *at > history.time_of(line.change))
    }),
    ("hurried by newer news, and sent", |history, line| line.end == End::Sent && is_hurried(history, line)),
    ("hurried by newer news, and superseded", |history, line| line.end == End::Superseded && is_hurried(history, line)),
    ("superseded by a new list before an attempt", |_, line| line.end == End::Superseded && line.attempts.is_empty()),
    ("sent although a new list came during the attempt", |history, line| {
        let replaced = history.next_list_after(line.change);
        let ends = line.attempts.last().map(|at| at + history.takes(line.change, line.lane, line.attempts.len()));
        line.end == End::Sent && replaced.zip(ends).is_some_and(|(replaced, ends)| replaced <= ends)
    }),
];

fn last_answer(history: &History, line: &Line) -> Option<AnswerKind> {
    let number = line.attempts.len();
    (number > 0).then(|| history.answer(line.change, line.lane, number).result)
}

/// Whether the last attempt was made because newer news arrived.
fn is_hurried(history: &History, line: &Line) -> bool {
    let newer = history.next_news_after(line.change, line.lane);
    let last = line.attempts.iter().skip(1).next_back();
    newer.zip(last).is_some_and(|(newer, last)| newer <= *last)
}
