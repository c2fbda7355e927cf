//! The shared HTML: MLRun's facts, limits, and that data stays text.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/data.rs"]
mod data;
#[path = "common/facts.rs"]
mod facts;

use data::{full_of, hostile_texts, message, run};
use facts::{Leeway, has_markup, same_facts, text_of};
use proptest::prelude::*;
use runbell_core::value::read;
use runbell_core::{Map, Message, Value};
use runbell_render::html::{self, Flavour};
use runbell_render::plain;
use scraper::{Html, Selector};

fn rendered(message: &Message) -> String {
    let html = html::render(message, Flavour::Html, usize::MAX).expect("rendered");
    assert!(html.notes.is_empty(), "{:?}", html.notes);
    html.html
}

#[test]
fn every_fact_of_mlruns_html() {
    let file = read(include_str!("vectors/html.json")).expect("JSON");
    let (mut compared, mut escaped, mut formats) = (0, 0, 0);
    for case in file.get("cases").and_then(Value::as_list).expect("cases") {
        let (id, input) =
            (case.get("id").and_then(Value::as_str).expect("an id"), case.get("input").expect("an input"));
        if input.get("alert").is_some() {
            continue;
        }
        let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
        let runs = input.get("runs").and_then(Value::as_list).unwrap_or_default();
        let mut message = message(text("name"), text("message"), text("severity"), runs, text("ui_url"));
        message.html = input.get("custom_html").and_then(Value::as_str).map(Into::into);
        let ours = rendered(&message);
        let Some(theirs) = case.at(&["expected", "html"]).and_then(Value::as_str) else {
            // Mixed formats of timestamps are an error there; here every run is shown.
            assert!(id.contains("mixed-time-formats") && ours.matches(" UTC").count() == 4, "{id}: {ours}");
            formats += 1;
            continue;
        };
        if message.html.is_some() {
            assert_eq!(ours, theirs, "{id}");
            continue;
        }
        let document = Html::parse_fragment(&ours);
        let head = document.select(&Selector::parse("h3").expect("it")).next().map(text_of).expect("a headline");
        let colon = if text("name").is_empty() { "" } else { ": " };
        let expected = format!("[{}] {}{colon}{}", text("severity"), text("name"), text("message"));
        assert!(head.trim().ends_with(expected.lines().next().expect("a line").trim()), "{id}: {head}");
        if runs.is_empty() {
            assert_eq!(theirs, expected, "{id}");
            continue;
        }
        let markup = has_markup(&Value::List(runs.to_vec()));
        same_facts(id, &ours, theirs, Leeway { markup, kind: false });
        if markup { escaped += 1 } else { compared += 1 }
    }
    assert!(compared >= 25 && formats == 1, "{compared} {escaped} {formats}");
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[test]
fn runs_that_do_not_fit_are_counted_and_linked() {
    let long = "x".repeat(100_000);
    let steps: Vec<Value> = (0..3_000)
        .map(|index| {
            let state = if index % 1_000 == 999 { "error" } else { "completed" };
            run(state, &[(&["metadata", "name"][..], format!("step-{index}").into())])
        })
        .collect();
    let results: Map = (0..5_000).map(|index| (format!("r{index}"), Value::from(index))).collect();
    for flavour in [Flavour::Html, Flavour::Markdown] {
        for (what, runs) in [
            ("an error", vec![run("error", &[(&["status", "error"][..], long.clone().into())])]),
            ("results", vec![run("completed", &[(&["status", "results"][..], results.clone().into())])]),
            ("a name", vec![run("completed", &[(&["metadata", "name"][..], long.clone().into())])]),
            ("steps", steps.clone()),
        ] {
            let message = message("n", "workflow completed in project p", "info", &runs, "https://ui.example");
            let html = html::render(&message, flavour, 65_000).expect("rendered");
            assert!(units(&html.html) <= 65_000, "{what}: {}", units(&html.html));
            assert_eq!(html.notes.len(), 1, "{what}: {:?}", html.notes);
            assert!(html.html.contains("See everything</a>") || what == "a name", "{what}");
            if what == "steps" {
                // The run itself and the failed ones are there, whatever else had to go.
                for name in ["step-0<", "step-999<", "step-1999<", "step-2999<"] {
                    assert!(html.html.contains(name), "{name}");
                }
                assert!(html.html.contains(" more of 3000 runs are not shown") && units(&html.html) > 40_000);
            }
        }
        let whole = message("n", "t", "info", &steps[..50], "");
        assert!(html::render(&whole, flavour, 65_000).expect("rendered").notes.is_empty());
        assert!(html::render(&whole, flavour, 100).is_err());
    }
}

#[test]
fn plain_text_says_the_same() {
    let message = message(
        "ops",
        "Run failed in project p: look\nRetries attempted: 2",
        "error",
        &[run(
            "error",
            &[
                (&["status", "error"][..], "exit code 1\nlast line".into()),
                (&["status", "start_time"][..], "2026-02-03T04:00:00Z".into()),
                (&["status", "end_time"][..], "2026-02-03T04:07:01Z".into()),
                (&["spec", "parameters"][..], Map::from([("epochs".to_owned(), Value::from(20))]).into()),
            ],
        )],
        "https://ui.example",
    );
    assert_eq!(
        plain::render(&message, 10_000),
        "[error] ops: Run failed in project p: look\n\
         Retries attempted: 2\n\
         \n\
         ❌ n: error\n  uid: 0123456789abcdef\n  started: 2026-02-03 04:00:00 UTC\n  ended: 2026-02-03 04:07:01 UTC\n  \
         duration: 7 min 1 s\n  error:\n    exit code 1\n    last line\n  parameters: epochs=20\n  \
         page: https://ui.example/projects/p/jobs/monitor-jobs/n/0123456789abcdef/overview\n"
    );
    assert!(plain::render(&message, 60).ends_with("… 1 more of 1 runs\n"));
}

/// What the template itself is made of.
const ELEMENTS: [&str; 15] =
    ["html", "body", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "b", "i", "br", "code", "a"];

fn check_structure(html: &str) {
    let document = Html::parse_fragment(html);
    for node in document.tree.nodes() {
        let Some(element) = node.value().as_element() else {
            assert!(!node.value().is_comment(), "a comment in {html}");
            continue;
        };
        assert!(ELEMENTS.contains(&element.name()), "<{}> in {html}", element.name());
        for (name, value) in element.attrs() {
            let ours = matches!(
                name,
                "style" | "title" | "border" | "cellpadding" | "cellspacing" | "align" | "valign" | "nowrap"
            ) || (name == "href" && value.starts_with("https://ui.example/projects/"));
            assert!(ours, "{name}={value} in {html}");
        }
    }
    assert!(!html.contains(['\n', '\r', '\0', '\x1b', '\u{202e}', '\u{9b}']), "{html}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
    ) })]

    #[test]
    fn data_stays_text(texts in hostile_texts(), many in any::<bool>(), limit in 3_000_usize..70_000) {
        let message = full_of(&texts, if many { 5 } else { 1 });
        for flavour in [Flavour::Html, Flavour::Markdown] {
            if let Ok(rendered) = html::render(&message, flavour, limit) {
                prop_assert!(units(&rendered.html) <= limit);
                check_structure(&rendered.html);
            }
        }
        let text = plain::render(&message, limit);
        prop_assert!(text.chars().all(|c| c == '\n' || runbell_core::text::is_inert(c)), "{text:?}");
    }
}
