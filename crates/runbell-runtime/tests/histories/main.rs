//! Random histories come to the same end in this process and on a server: the same ends, the same order, the same attempts at
//! the same times. Both places ask `runbell_core::delivery` what follows, with the same policy.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod here;
mod history;
mod line;
mod server;

use proptest::prelude::*;

use crate::history::{History, histories};
use crate::line::{End, Line};
use crate::server::Server;

/// How many histories are played, unless `RUNBELL_PROPTEST_CASES` says otherwise.
const CASES: u32 = 64;

fn config() -> ProptestConfig {
    let cases = std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Checks what holds wherever a history is played.
fn check_order(history: &History, lines: &[Line]) -> Result<(), TestCaseError> {
    for line in lines {
        prop_assert!(history.lists(line.change, line.lane), "a notification that is in no list: {line:?}");
        prop_assert_eq!(line.end == End::Skipped, !history.sends(line.change, line.lane), "{:?}", line);
        prop_assert!(line.attempts.is_sorted(), "{line:?}");
        // An attempt begins only while no newer news of the lane was attempted.
        let newer = lines.iter().filter(|newer| newer.lane == line.lane && newer.change > line.change);
        for first in newer.filter_map(|newer| newer.attempts.first()) {
            prop_assert!(line.attempts.last().is_none_or(|last| last <= first), "{line:?} after {first}");
        }
        // Only news with something newer behind it is superseded: newer news of its lane, or a new list.
        if line.end == End::Superseded {
            let newer = history.next_news_after(line.change, line.lane).is_some();
            prop_assert!(newer || history.next_list_after(line.change).is_some(), "{line:?}");
        }
    }
    Ok(())
}

#[test]
fn a_history_ends_here_as_it_does_on_a_server() {
    let server = Server::new();
    proptest!(config(), |(history in histories())| {
        let here = here::play(&history);
        check_order(&history, &here)?;
        prop_assert_eq!(&here, &server.play(&history));
    });
}
