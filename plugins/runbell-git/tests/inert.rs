//! Whatever a run holds, its comment says it and does nothing: read as GitHub reads Markdown, no element, link, mention,
//! reference or emoji is made from data.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the messages are shared with other tests")]

#[path = "../../../crates/runbell-render/tests/common/data.rs"]
mod data;

use data::{full_of, hostile_texts};
use proptest::prelude::*;
use runbell_core::{Message, Payload, Registry, Value};
use runbell_testkit::{TestContext, hostile_messages};
use scraper::Html;
use serde_json::json;

/// The comment for a message.
fn comment(message: &Message, gitlab: bool) -> String {
    let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
    let params = json!({ "repo": "o/r", "token": "t0123456789", "issue": 7, "gitlab": gitlab });
    let Value::Map(params) = Value::from(params) else { panic!("an object") };
    let sender = registry.get("git").expect("it").build(&params, &TestContext::here().build()).expect("built");
    let Payload::Http(request) = sender.render(message).expect("rendered").payload else { panic!("HTTP") };
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    body["body"].as_str().expect("a text").to_owned()
}

/// As GitHub turns a comment into HTML, with everything switched on that it may do.
fn as_html(markdown: &str) -> String {
    let mut options = comrak::Options::default();
    options.extension.autolink = true;
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options.render.r#unsafe = true;
    options.render.hardbreaks = true;
    comrak::markdown_to_html(markdown, &options)
}

const ELEMENTS: [&str; 14] =
    ["html", "body", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "b", "i", "br", "code"];

fn check(comment: &str, limit: usize) {
    prop_assert_shown(comment.encode_utf16().count() <= limit, "its length", comment);
    let mut lines = comment.lines();
    let marker = lines.next().expect("a marker");
    prop_assert_shown(
        marker.starts_with("<!-- runbell run=") && marker.matches("-->").count() == 1,
        "the marker",
        comment,
    );
    // A second line and no third: nothing made of data begins a line, where headings, lists and quick actions begin.
    prop_assert_shown(
        lines.next().is_some_and(|line| line.starts_with("<h3")) && lines.next().is_none(),
        "its lines",
        comment,
    );
    let document = Html::parse_fragment(&as_html(comment));
    for node in document.tree.nodes() {
        if let Some(element) = node.value().as_element() {
            let ours = ELEMENTS.contains(&element.name())
                || (element.name() == "a"
                    && element.attr("href").is_some_and(|to| to.starts_with("https://ui.example/projects/")));
            prop_assert_shown(ours, element.name(), comment);
            for (name, _) in element.attrs() {
                let ours = matches!(
                    name,
                    "style"
                        | "title"
                        | "href"
                        | "border"
                        | "cellpadding"
                        | "cellspacing"
                        | "align"
                        | "valign"
                        | "nowrap"
                );
                prop_assert_shown(ours, name, comment);
            }
        }
        if let Some(text) = node.value().as_text() {
            refers_to_nothing(text, comment);
        }
    }
}

/// What GitHub and GitLab turn into links in any text: names, numbers, URLs, emoji codes.
fn refers_to_nothing(text: &str, comment: &str) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied().unwrap_or(' ');
        let begins = matches!(character, '@' | '#' | '!' | '$' | '&' | '%' | '~' | '^')
            && (next.is_alphanumeric() || matches!(next, '"' | '_' | '-'));
        prop_assert_shown(!begins, &format!("{character}{next}"), comment);
    }
    let lower = text.to_lowercase();
    for reference in ["://", "www.", "gh-1", ":tada:"] {
        prop_assert_shown(!lower.contains(reference), reference, comment);
    }
}

#[track_caller]
fn prop_assert_shown(holds: bool, what: &str, comment: &str) {
    assert!(holds, "{what} in {comment}");
}

#[test]
fn hostile_samples_are_inert_and_fit() {
    for (name, message) in hostile_messages() {
        for (gitlab, limit) in [(false, 65_536), (true, 1_000_000)] {
            let comment = comment(&message, gitlab);
            assert!(!comment.is_empty(), "{name}");
            check(&comment, limit);
        }
    }
}

#[test]
fn printed_texts_stay_readable() {
    let texts: Vec<String> =
        ["train", "u1", "p", "see #1 & <b> by @ada", "", "loss", "0.5 **great** `x`", "ops"].map(str::to_owned).into();
    let html = as_html(&comment(&full_of(&texts, 1), false));
    let shown: String = Html::parse_fragment(&html).root_element().text().collect::<String>().replace('\u{200b}', "");
    for text in ["see #1 & <b> by @ada", "loss=0.5 **great** `x`", "[error] ops: 0.5 **great** `x`"] {
        assert!(shown.contains(text), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
    ) })]

    #[test]
    fn data_stays_text(texts in hostile_texts(), many in any::<bool>()) {
        let message = full_of(&texts, if many { 4 } else { 1 });
        check(&comment(&message, false), 65_536);
        check(&comment(&message, true), 1_000_000);
    }
}
