//! Whatever a run holds, printing it moves no cursor, colours nothing and reorders nothing.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the messages are shared with other tests")]

#[path = "../../../crates/runbell-render/tests/common/data.rs"]
mod data;

use data::{full_of, hostile_texts};
use proptest::prelude::*;
use runbell_core::text::is_inert;
use runbell_core::{Map, Payload, Registry};
use runbell_testkit::TestContext;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
    ) })]

    #[test]
    fn data_stays_text(texts in hostile_texts(), runs in 1_usize..4, width in prop::option::of(1_u16..200)) {
        let registry = Registry::default().with(&runbell_console::REGISTRATION).expect("one kind");
        let test = match width {
            Some(width) => TestContext::here().terminal(width, true),
            None => TestContext::here(),
        };
        let sender = registry.get("console").expect("it").build(&Map::new(), &test.build()).expect("built");
        let Payload::Text { body, .. } = sender.render(&full_of(&texts, runs)).expect("rendered").payload else {
            panic!("a text")
        };
        prop_assert!(body.chars().all(|c| c == '\n' || is_inert(c)), "{body:?}");
    }
}
