//! Params and payloads as tables.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use runbell_core::value::read;
use runbell_core::{HttpRequest, Map, Message, Payload, Registry, SendContext, Sender, Value};
use runbell_testkit::{FakeHttp, TestContext, sample_message};
use serde_json::{Value as Json, json};

fn params(params: Json) -> Map {
    Value::from(params).as_map().expect("an object").clone()
}

fn findings(given: Json) -> Vec<String> {
    let registry = Registry::default().with(&runbell_webhook::REGISTRATION).expect("one kind");
    let found = registry.get("webhook").expect("it").check(&params(given), &TestContext::here().build());
    found.iter().map(ToString::to_string).collect()
}

fn sender(given: Json) -> std::sync::Arc<dyn Sender> {
    let registry = Registry::default().with(&runbell_webhook::REGISTRATION).expect("one kind");
    let kind = registry.get("webhook").expect("it");
    kind.build(&params(given), &TestContext::here().build()).expect("a sender")
}

fn rendered(given: Json, message: &Message) -> (HttpRequest, Vec<String>) {
    let rendered = sender(given).render(message).expect("rendered");
    match rendered.payload {
        Payload::Http(request) => (request, rendered.notes.iter().map(ToString::to_string).collect()),
        other => panic!("{other:?}"),
    }
}

fn body(given: Json, message: &Message) -> String {
    String::from_utf8(rendered(given, message).0.body.to_vec()).expect("UTF-8")
}

const URL: &str = "https://dashboard.example/hooks/CANARY";

#[test]
fn every_fault_names_its_field() {
    let with = |name: &str, value: Json| {
        let mut all = json!({ "url": URL });
        all[name] = value;
        findings(all)
    };
    for (name, value, expected) in [
        (
            "url",
            json!("dashboard.example"),
            "url: has no scheme; it must be a URL that starts with https:// or http://",
        ),
        ("url", json!("ftp://h/"), "url: has a scheme that is not supported; it must start with https:// or http://"),
        ("url", json!("https://h:99999/"), "url: has a port that is no number from 0 to 65535"),
        ("url", json!("   "), "url: is required and must not be empty"),
        ("method", json!("FETCH"), "method: must be one of GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("headers", json!({"X Y": "1"}), "headers.X Y: is no valid name of a header; letters, digits and hyphens are"),
        ("headers", json!({"Host": "h"}), "headers.Host: belongs to the connection and cannot be set"),
        ("headers", json!({"X": "a\r\nB: c"}), "headers.X: must not hold line breaks or other control characters"),
        ("headers", json!({"X": ["a"]}), "headers.X: must be a text, a number or a boolean"),
        ("headers", json!({"Webhook-Id": "1"}), "headers.Webhook-Id: is set by Runbell; this value is not sent"),
        (
            "headers",
            json!({"webhook-signature": "mine"}),
            "headers.webhook-signature: is set by Runbell; this value is not sent",
        ),
        ("headers", json!("X: 1"), "headers: must be an object, not a text"),
        ("signing_secret", json!("hunter2"), "signing_secret: must start with `whsec_`"),
        ("timeout_secs", json!(0), "timeout_secs: must be from 1 to 60"),
        ("timeout_secs", json!(61), "timeout_secs: must be from 1 to 60"),
        ("verify_ssl", json!("no"), "verify_ssl: must be a boolean, not a text"),
    ] {
        assert_eq!(with(name, value.clone()), [expected], "{name} {value}");
    }
    for (name, value) in [
        ("url", json!(" HTTPS://User:pw@h:1/x?y#z ")),
        ("method", json!(" pAtCh ")),
        ("headers", json!({"X": 1.5, "Y": true, "Z": "ü"})),
        ("headers", Json::Null),
        ("method", Json::Null),
        ("override_body", json!({"a": ["{{ runs }}", {"b": 1}]})),
        ("timeout_secs", json!(60)),
        ("signing_secret", Json::Null),
    ] {
        assert_eq!(with(name, value.clone()), [""; 0], "{name} {value}");
    }
    let broken = with("override_body", json!({"a": ["{{ run. }}"]}));
    assert!(broken.len() == 1 && broken[0].starts_with("override_body.a[0]: template error"), "{broken:?}");
}

#[test]
fn the_default_body() {
    let mut message = sample_message("");
    message.runs = Vec::new().into();
    assert_eq!(
        body(json!({ "url": URL }), &message),
        r#"{"message":"Run completed in project demo: have a look","severity":"info"}"#
    );
    let document = r#"{"metadata":{},"status":{"results":{"a":1,"b":1.0,"c":123456789012345678901234567890,"d":NaN}}}"#;
    let run = runbell_core::RunSnapshot::new(read(document).expect("JSON")).expect("a run");
    message.runs = vec![run].into();
    message.name = "n".into();
    message.html = Some("<p>".into());
    assert_eq!(
        body(json!({ "url": URL }), &message),
        concat!(
            r#"{"message":"Run completed in project demo: have a look","severity":"info","name":"n","#,
            r#""runs":[{"metadata":{},"status":{"results":{"a":1,"b":1.0,"c":123456789012345678901234567890,"#,
            r#""d":null}}}],"custom_html":"<p>"}"#
        )
    );
}

#[test]
fn an_overridden_body() {
    let message = sample_message("n");
    for (template, expected) in [
        (json!("a {{ state }}"), r#""a completed""#),
        (json!(["{{ run.status.results.loss }}", 1, {"k": null}]), r#"["0.21",1,{"k":null}]"#),
        (json!(5), "5"),
        (json!({"{{ state }}": "x"}), r#"{"{{ state }}":"x"}"#),
    ] {
        assert_eq!(body(json!({ "url": URL, "override_body": template }), &message), expected);
    }
    let default = body(json!({ "url": URL }), &message);
    for falsy in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
        assert_eq!(body(json!({ "url": URL, "override_body": falsy }), &message), default);
    }
    let (_, notes) = rendered(json!({ "url": URL, "override_body": {"a": "{{ broken"} }), &message);
    assert!(notes.len() == 1 && notes[0].starts_with("override_body.a: template error"), "{notes:?}");
}

#[test]
fn headers_and_what_the_preview_shows() {
    let given = json!({
        "url": "http://user:p%40ss@h/x", "headers": {"content-type": "text/x", "webhook-id": "mine", "X": " 5 "},
        "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "method": "get",
    });
    let message = sample_message("n");
    let payload = Payload::Http(rendered(given, &message).0);
    let shown = serde_json::to_value(runbell_core::Preview { payload: &payload, reveal: true }).expect("JSON");
    assert_eq!((&shown["http"]["method"], &shown["http"]["url"]), (&json!("GET"), &json!("http://h/x")));
    assert_eq!(
        shown["http"]["headers"],
        json!({
            "Authorization": "Basic dXNlcjpwQHNz",
            "content-type": "text/x",
            "X": "5",
            "webhook-id": message.key.to_string(),
            "webhook-timestamp": "<per attempt>",
            "webhook-signature": "<per attempt>",
        })
    );
}

#[tokio::test]
async fn each_attempt_is_signed_with_its_own_time() {
    let peer = FakeHttp::start().await;
    let sender = sender(json!({
        "url": peer.url("/hook"), "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }));
    let message = sample_message("n");
    let payload = sender.render(&message).expect("rendered").payload;
    for (attempt, seconds) in [(1, 1_700_000_000), (2, 1_700_000_005)] {
        let written = AtomicBool::new(false);
        let now = runbell_core::Timestamp::from_second(seconds).expect("a time");
        let cx = SendContext::new(message.key, attempt, Instant::now() + sender.limits().timeout, now, &written);
        sender.send(&payload, &cx).await.expect("sent");
    }
    let seen = peer.requests();
    let header = |index: usize, name: &str| seen[index].header(name).expect("set").to_owned();
    assert_eq!(
        (header(0, "webhook-timestamp"), header(1, "webhook-timestamp")),
        ("1700000000".into(), "1700000005".into())
    );
    assert_eq!(header(0, "webhook-id"), header(1, "webhook-id"));
    assert_ne!(header(0, "webhook-signature"), header(1, "webhook-signature"));
}

#[test]
fn nothing_is_known_of_how_a_webhook_counts() {
    assert_eq!(sender(json!({ "url": URL })).limits().bucket, None);
}
