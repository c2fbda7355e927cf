//! Whatever a run holds, Slack takes the message, and nothing in it is markup.
//!
//! `RUNBELL_PROPTEST_CASES` sets the number of random messages; the default is 64.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runbell_core::{
    BuildContext, DeliveryKey, Links, Map, Message, Payload, Registry, RunSnapshot, RunState, Sender, Severity,
    Timestamp, Value,
};
use runbell_testkit::{hostile_messages, sample_step};
use serde_json::Value as Json;

const UI: &str = "https://ui.example";

/// The one token that only authors write here.
const OWN: &str = "<!subteam^OWN>";

fn sender() -> std::sync::Arc<dyn Sender> {
    let registry = Registry::default().with(&runbell_slack::REGISTRATION).expect("one kind");
    let params = Map::from([("webhook".to_owned(), Value::from("http://sink.invalid/d"))]);
    registry.get("slack").expect("it").build(&params, &BuildContext::here()).expect("a sender")
}

fn rendered(message: &Message) -> (Json, Vec<String>) {
    let rendered = sender().render(message).expect("rendered");
    let Payload::Http(request) = rendered.payload else { panic!("it is HTTP") };
    (serde_json::from_slice(&request.body).expect("JSON"), rendered.notes.iter().map(ToString::to_string).collect())
}

/// Pieces of hostile texts.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "<!channel>",
        "<!here|here>",
        "<@U1>",
        "<#C1|x>",
        "<http://x|y>",
        "<mailto:a@b|c>",
        "<!date^1^{date}|x>",
        "&lt;",
        "&amp;lt;!channel&gt;",
        "<",
        ">",
        "&",
        "|",
        "*",
        "_",
        "~",
        "`",
        "```",
        "\n>",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{2066}",
        "\u{200b}",
        "\u{feff}",
        "\u{301}",
        "👩‍👩‍👧‍👦",
        "🚀",
        "שלום",
        "﷽",
        "日本",
        ", ",
        ",",
        ": ",
        " ",
        "@channel",
        "https://evil.example/?a=1&b=2",
        ":boom:",
        "Retries attempted: ",
        "\u{10ffff}",
        "\u{fffe}",
    ];
    prop_oneof![
        6 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        2 => "[a-z]{1,12}",
        1 => any::<String>(),
    ]
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat()),
        4 => (piece(), 1_usize..3_000).prop_map(|(piece, times)| piece.repeat(times)),
        1 => (piece(), Just(())).prop_map(|(piece, ())| piece.repeat((1 << 20) / piece.len().max(1))),
    ]
}

fn short() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat())
}

fn run() -> impl Strategy<Value = RunSnapshot> {
    let state = prop_oneof![
        4 => proptest::sample::select(vec!["completed", "running", "error", "aborted", "skipped", ""]).prop_map(str::to_owned),
        1 => short(),
    ];
    let kind = prop_oneof![3 => Just(String::new()), 2 => Just("run".to_owned()), 1 => short()];
    let error = prop_oneof![1 => Just(None), 3 => hostile().prop_map(Some)];
    let results = prop::collection::vec((short(), hostile()), 0..4);
    (prop_oneof![4 => short(), 1 => hostile()], short(), short(), state, kind, error, results).prop_map(
        |(name, project, uid, state, kind, error, results)| {
            let map = |entries: Vec<(&str, Value)>| {
                Value::from(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map>())
            };
            let results: Map = results.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
            RunSnapshot::step(map(vec![
                ("metadata", map(vec![("name", name.into()), ("project", project.into()), ("uid", uid.into())])),
                ("step_kind", kind.into()),
                (
                    "status",
                    map(vec![
                        ("state", state.into()),
                        ("error", error.map_or(Value::Null, Value::from)),
                        ("results", results.into()),
                    ]),
                ),
            ]))
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let own = prop_oneof![
        2 => Just(String::new()),
        2 => "[a-z ,]{0,200}",
        2 => (0_usize..400).prop_map(|times| format!("{}{}", "x, ".repeat(times % 70), OWN.repeat(times))),
    ];
    let count = prop_oneof![3 => 0_usize..6, 2 => 0_usize..60, 1 => 0_usize..2_000];
    (short(), own, hostile(), prop::collection::vec(run(), 1..6), count, any::<bool>(), any::<bool>()).prop_map(
        |(name, own, project, pool, count, retried, linked)| {
            let retries = if retried { "\nRetries attempted: 3" } else { "" };
            let colon = if own.is_empty() { "" } else { ": " };
            Message {
                key: DeliveryKey::of(&["x"]),
                notification: Value::Null.into(),
                name: name.into(),
                state: RunState::Error,
                at: Timestamp::UNIX_EPOCH,
                severity: Severity::Error,
                text: format!("Run failed in project {project}{colon}{own}{retries}"),
                own_text: own.into(),
                html: None,
                runs: pool.iter().cycle().take(count).cloned().collect::<Vec<_>>().into(),
                links: Links::new(if linked { UI } else { "" }),
            }
        },
    )
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Fails unless every token in an mrkdwn text is a link of ours or the author's own.
fn inert(text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&']) {
        rest = &rest[at..];
        if let Some(escape) = ["&amp;", "&lt;", "&gt;", OWN].into_iter().find(|escape| rest.starts_with(escape)) {
            rest = &rest[escape.len()..];
            continue;
        }
        assert!(
            rest.starts_with(&format!("<{UI}/projects/")),
            "a token: {:?}",
            rest.chars().take(60).collect::<String>()
        );
        let (token, tail) = rest[1..].split_once('>').expect("the token ends");
        let (url, label) = token.split_once('|').expect("the link has a label");
        assert!(!url.contains(['<', ' ', '\n']) && !label.contains(['<', '|', '\n']) && !label.is_empty(), "{token}");
        rest = tail;
    }
}

fn text_object(object: &Json, form: &str, limit: usize, total: &mut usize) {
    assert_eq!(object["type"], form);
    let text = object["text"].as_str().expect("a text");
    assert!(!text.is_empty() && units(text) <= limit, "{} of {limit}", units(text));
    *total += units(text);
    if form == "mrkdwn" {
        inert(text);
    }
}

/// Fails unless Slack would take the payload.
fn check(payload: &Json) {
    inert(payload["text"].as_str().expect("a text"));
    let blocks = payload["blocks"].as_array().expect("blocks");
    assert!((1..=50).contains(&blocks.len()), "{} blocks", blocks.len());
    let mut total = 0;
    for block in blocks {
        match block["type"].as_str().expect("a type") {
            "header" => text_object(&block["text"], "plain_text", 150, &mut total),
            "context" => text_object(&block["elements"][0], "mrkdwn", 3_000, &mut total),
            _ => match block.get("fields").and_then(Json::as_array) {
                Some(fields) => {
                    assert!((1..=10).contains(&fields.len()) && fields.len() % 2 == 0, "{} fields", fields.len());
                    fields.iter().for_each(|field| text_object(field, "mrkdwn", 2_000, &mut total));
                }
                None => text_object(&block["text"], "mrkdwn", 3_000, &mut total),
            },
        }
    }
    assert!(total <= 13_000, "{total} characters in all");
}

#[test]
fn random_messages() {
    let cases = std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&message(), |message| {
        check(&rendered(&message).0);
        Ok(())
    });
    if let Err(failure) = outcome {
        // The message itself may be megabytes of control characters.
        panic!("{}", failure.to_string().chars().take(2_000).collect::<String>());
    }
}

#[test]
fn hostile_samples() {
    for (name, mut message) in hostile_messages() {
        message.links = Links::new(UI);
        println!("{name}");
        check(&rendered(&message).0);
    }
}

fn many(count: usize, text: &str, failed: impl Fn(usize) -> bool) -> Message {
    let steps = (0..count).map(|index| {
        let state = if failed(index) { RunState::Error } else { RunState::Completed };
        let mut document = sample_step("run", &format!("step-{index}"), state).into_document();
        let Value::Map(map) = &mut document else { unreachable!("a run is an object") };
        let Some(Value::Map(status)) = map.get_mut("status") else { unreachable!("it has a status") };
        status.insert("error".to_owned(), text.into());
        status.insert("results".to_owned(), Map::from([("r".to_owned(), text.into())]).into());
        RunSnapshot::step(document)
    });
    runbell_testkit::message_about("n", steps.collect(), "Workflow failed in project demo: have a look")
}

#[test]
fn cuts_are_noted() {
    let long = "e".repeat(5_000);
    for (message, notes) in [
        (many(3, "short", |_| true), vec![]),
        (many(1, &long, |_| true), vec!["1 results cut to 2000 characters"]),
        (many(8, &long, |_| false), vec!["8 results cut to 1000 characters"]),
        (many(2_000, "", |_| false), vec!["1948 of 2000 runs left out"]),
        (many(300, &long, |_| false), vec!["272 of 300 runs left out", "28 results cut to 200 characters"]),
    ] {
        let (payload, found) = rendered(&message);
        check(&payload);
        assert_eq!(found, notes);
    }
}

#[test]
fn failed_runs_stay_longest() {
    let (payload, _) = rendered(&many(500, "boom", |index| index % 100 == 99));
    let shown = payload.to_string();
    for index in [0, 99, 199, 299, 399, 499] {
        assert!(shown.contains(&format!("|*step-{index}*>")), "step-{index} is left out");
    }
    assert!(shown.find("step-99*").expect("shown") < shown.find("step-199*").expect("shown"), "the order is kept");
    let last = payload["blocks"].as_array().and_then(|blocks| blocks.last()).expect("a last block").clone();
    let text = last["elements"][0]["text"].as_str().expect("a text");
    assert!(text.contains("|and ") && text.ends_with(" more runs>"), "{text}");
}

#[test]
fn the_authors_markup_works_and_the_runs_does_not() {
    let mut message = many(1, "<!channel>", |_| true);
    message.name = "<!here>".into();
    message.own_text = "please look <!here>".into();
    message.text =
        format!("Run failed in project <!everyone>{}: please look <!here>\nRetries attempted: 1", "p".repeat(150));
    let shown = rendered(&message).0;
    let texts: Vec<&str> =
        shown["blocks"].as_array().expect("blocks").iter().filter_map(|b| b["text"]["text"].as_str()).collect();
    assert!(texts[0].starts_with("[info] Run failed in project <!everyone>ppp"), "{texts:?}");
    assert!(texts[1].ends_with("p: please look <!here>\nRetries attempted: 1"), "{texts:?}");
    assert_eq!(texts[2], "&lt;!here&gt;");
    assert_eq!(shown["blocks"][3]["fields"][3]["text"], "*&lt;!channel&gt;*");
    assert_eq!(shown["blocks"][3]["fields"][3]["verbatim"], true);
    assert!(shown["text"].as_str().expect("a text").contains("&lt;!everyone&gt;"));
}
