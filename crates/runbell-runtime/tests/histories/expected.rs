//! The rules of order, retries and superseding, stated over a whole history.
//!
//! A queue learns of the changes one by one and keeps phases; this computation knows the future and needs neither. It shares
//! nothing with `runbell_core::delivery` and `RetryPolicy`, so that a fault there is a difference here.

use crate::history::{AnswerKind, History, LANES, LONGEST_WAIT};
use crate::line::{End, Line};

/// The lines that each place must return for a history, in order.
pub(crate) fn expected(history: &History) -> Vec<Line> {
    let mut lines: Vec<Line> = (0..LANES).flat_map(|lane| lane_lines(history, lane)).collect();
    lines.sort();
    lines
}

fn lane_lines(history: &History, lane: usize) -> Vec<Line> {
    // The end of the lane's older news.
    let mut free = 0;
    let changes = (0..history.changes.len()).filter(|change| history.lists(*change, lane));
    let lines = changes.map(|change| {
        if history.sends(change, lane) {
            return delivery(history, change, lane, &mut free);
        }
        Line { change, lane, attempts: Vec::new(), end: End::Skipped }
    });
    lines.collect()
}

fn delivery(history: &History, change: usize, lane: usize, free: &mut u64) -> Line {
    let newer = history.next_news_after(change, lane).unwrap_or(u64::MAX);
    let replaced = history.next_list_after(change).unwrap_or(u64::MAX);
    let mut attempts = Vec::new();
    // Older news goes first.
    let mut begins = history.time_of(change).max(*free);
    let end = loop {
        // No attempt begins after a new list took over.
        if replaced <= begins {
            *free = replaced.max(*free);
            break End::Superseded;
        }
        attempts.push(begins);
        let number = attempts.len();
        let result = history.answer(change, lane, number).result;
        let ends = begins + history.takes(change, lane, number);
        *free = ends;
        if result == AnswerKind::Success {
            break End::Sent;
        }
        // The attempt under a new list ends, and no other follows. Behind a failed attempt, newer news allows one more.
        let was_last_chance = number > 1 && newer <= begins;
        if replaced <= ends || was_last_chance {
            break End::Superseded;
        }
        match wait(history, number, result) {
            Some(wait) => begins = newer.clamp(ends, ends + wait),
            None => break End::Failed,
        }
    };
    Line { change, lane, attempts, end }
}

/// The wait after a failed attempt, in milliseconds; `None` when no other attempt follows.
fn wait(history: &History, number: usize, result: AnswerKind) -> Option<u64> {
    let planned = *history.waits.get(number - 1)?;
    match result {
        AnswerKind::Success | AnswerKind::Refused => None,
        AnswerKind::Down | AnswerKind::Unclear => Some(planned * 1_000),
        AnswerKind::SlowDown(asked) => (asked <= LONGEST_WAIT).then(|| planned.max(asked) * 1_000),
    }
}
