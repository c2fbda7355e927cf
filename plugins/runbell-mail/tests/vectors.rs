//! What MLRun 1.12.1 does with the same params and texts.
//!
//! Only what one sender decides belongs here; whole pushes are the runtime's.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::value::read;
use runbell_core::{DeliveryKey, Links, Map, Message, Payload, Registry, RunState, Timestamp, Value};
use runbell_testkit::TestContext;

fn cases(text: &str) -> Vec<Value> {
    read(text).expect("JSON").get("cases").and_then(Value::as_list).expect("cases").to_vec()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn message(input: &Value) -> Message {
    Message {
        key: DeliveryKey::of(&["vector"]),
        notification: Value::Null.into(),
        name: text(input, "name").into(),
        state: RunState::Completed,
        at: Timestamp::UNIX_EPOCH,
        severity: text(input, "severity").parse().expect("a severity"),
        text: text(input, "message").to_owned(),
        own_text: "".into(),
        html: None,
        runs: Vec::new().into(),
        links: Links::default(),
    }
}

fn mail(params: &Map, message: &Message) -> runbell_core::MailMessage {
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let (kind, cx) = (registry.get("mail").expect("it"), TestContext::here().build());
    let mut params = params.clone();
    kind.complete(&mut params, &cx);
    match kind.build(&params, &cx).expect("built").render(message).expect("rendered").payload {
        Payload::Mail(mail) => mail,
        _ => panic!("a mail"),
    }
}

#[test]
fn subjects_and_bodies() {
    let mut compared = 0;
    for case in cases(include_str!("vectors/mail.json")) {
        let (id, input) = (text(&case, "id"), case.get("input").expect("an input"));
        if text(&case, "mode") != "direct" || input.get("alert").is_some() {
            continue;
        }
        let ours = mail(input.get("params").and_then(Value::as_map).expect("params"), &message(input));
        let theirs = &case.at(&["expected", "mails"]).and_then(Value::as_list).expect("mails")[0];
        assert_eq!(ours.subject, text(theirs, "subject"), "{id}");
        assert_eq!(
            (ours.from.as_str(), ours.to.join(", ").as_str()),
            (text(theirs, "from"), text(theirs, "to")),
            "{id}"
        );
        // Their body is one line of text, but for its line breaks; ours has the same in its headline.
        let body = theirs.get("parts").and_then(Value::as_list).expect("parts")[0].get("body").and_then(Value::as_str);
        let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>();
        let (theirs, ours) = (bare(body.expect("a body")), bare(&ours.text.replace(['␋', '\u{fffd}'], "")));
        assert_eq!(ours, theirs.replace('\u{2028}', ""), "{id}");
        compared += 1;
    }
    assert_eq!(compared, 7);
}

/// The params that are what MLRun makes of them. Encryption is another matter: its default of encrypting from the first
/// byte on, on port 587, works with no server.
#[test]
fn completed_params() {
    let (mut compared, mut refused, mut pairs) = (0, 0, 0);
    for case in cases(include_str!("vectors/mail_enrich.json")) {
        let (id, input) = (text(&case, "id"), case.get("input").expect("an input"));
        let expected = case.at(&["expected", "params"]).expect("params");
        let map = |key: &str| input.get(key).and_then(Value::as_map).cloned().unwrap_or_default();
        // As the runtime merges them: defaults lie under params.
        let mut params = map("default_params");
        params.extend(map("params"));
        let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
        let (kind, cx) = (registry.get("mail").expect("it"), TestContext::here().build());
        kind.complete(&mut params, &cx);
        let found = kind.check(&params, &cx);
        let complete = ["server_host", "sender_address", "email_addresses"]
            .into_iter()
            .all(|name| expected.get(name).is_some_and(Value::is_truthy));
        if !complete {
            assert!(found.has_faults(), "{id}");
            refused += 1;
            continue;
        }
        let encryption =
            |finding: &runbell_core::Finding| ["server_port", "start_tls"].contains(&finding.path.as_str());
        if found.has_faults() {
            assert!(found.faults().all(encryption), "{id}: {found:?}");
            pairs += 1;
            continue;
        }
        let mail = mail(&params, &message(&Value::Map(Map::from([("severity".to_owned(), Value::from("info"))]))));
        assert_eq!(mail.to.join(","), text(expected, "email_addresses"), "{id}");
        assert_eq!(mail.from, text(expected, "sender_address"), "{id}");
        compared += 1;
    }
    assert!(compared >= 5 && refused > 5 && compared + refused + pairs == 20, "{compared} {refused} {pairs}");
}
