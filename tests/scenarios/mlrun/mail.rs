//! Mails for whole runs, sent to a mail server and read from there.

use mail_parser::{HeaderValue, MessageParser, MimeHeaders as _};
use runbell::{Map, Notifier, Registry, RetryPolicy, RunSnapshot, Status, Transition, Value};
use runbell_testkit::smtp::FakeSmtp;

use super::{Case, Difference, cases, facts, leeway};

/// The port of the server in the observed runs.
const PORT: &str = "10025";

async fn deliver(case: &Case, peer: &FakeSmtp) -> Vec<(String, Status, String)> {
    let readdress = |value: &Value| {
        runbell::value::read(&value.to_json().replace(&format!(":{PORT}"), &format!(":{}", peer.port()))).expect("JSON")
    };
    let run = readdress(case.at(&["input", "run"]).expect("a run"));
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    let mut builder = Notifier::builder(registry).ui_url(case.text(&["input", "ui_url"])).retry(RetryPolicy::once());
    if let Some(defaults) = case.at(&["input", "default_params", "mail"]) {
        let Value::Map(defaults) = readdress(defaults) else { panic!("params") };
        builder = builder.default_params("mail", defaults);
    }
    let notifier = builder.build().expect("no notifications of its own");
    let transition = Transition::current(RunSnapshot::new(run).expect("a run"), runbell::Timestamp::UNIX_EPOCH);
    let report = notifier.dispatch(transition).await;
    report.lines.into_iter().map(|line| (line.notification, line.status, line.reason)).collect()
}

#[tokio::test]
async fn every_mail_of_a_run() {
    let (mut compared, mut more, mut failed) = (0, 0, 0);
    for case in cases(include_str!("../../../plugins/runbell-mail/tests/vectors/mail.json")) {
        if case.text(&["mode"]) != "push_run" {
            continue;
        }
        let (id, peer) = (&case.id, FakeSmtp::start().await);
        let lines = deliver(&case, &peer).await;
        let theirs = case.at(&["expected", "mails"]).and_then(Value::as_list).unwrap_or_default();
        let run = case.at(&["input", "run"]).expect("a run");
        let expected = case.at(&["expected", "notifications"]).and_then(Value::as_list).expect("notifications");
        if expected.iter().any(|wanted| wanted.get("status").and_then(Value::as_str) == Some("error")) {
            assert!(lines.iter().all(|(_, status, _)| *status == Status::Error), "{id}: {lines:?}");
            failed += 1;
            continue;
        }
        let mails = peer.take_mails();
        let workflow = run.at(&["metadata", "labels", "workflow"]).is_some();
        let results = run.at(&["status", "results"]).is_some_and(|results| *results != Value::Null);
        if workflow && !results {
            let difference = Difference::WorkflowWithoutResults;
            assert!(theirs.is_empty() && mails.len() == 1, "{id}: {difference:?} {lines:?}");
            more += 1;
            continue;
        }
        assert_eq!(mails.len(), theirs.len(), "{id}: {lines:?}");
        for (ours, theirs) in mails.iter().zip(theirs) {
            let text = |key: &str| theirs.get(key).and_then(Value::as_str).expect("a text");
            let list = |key: &str| -> Vec<&str> {
                theirs.get(key).and_then(Value::as_list).expect("a list").iter().filter_map(Value::as_str).collect()
            };
            assert_eq!(
                (ours.from.as_str(), ours.to.as_slice()),
                (text("envelope_from"), &list("envelope_to").iter().map(|to| (*to).to_owned()).collect::<Vec<_>>()[..]),
                "{id}"
            );
            let parsed = MessageParser::default().parse(&ours.data).expect("a mail");
            assert_eq!(parsed.subject(), Some(text("subject")), "{id}");
            // Ours has everything theirs has, and what theirs lacks.
            let names: Vec<String> = parsed.headers().iter().map(|header| header.name().to_lowercase()).collect();
            for name in list("header_names").into_iter().chain(["date", "message-id", "references", "in-reply-to"]) {
                assert!(names.iter().any(|known| known == name), "{id}: {name}: {names:?}");
            }
            let types: Vec<String> = parsed
                .parts
                .iter()
                .filter_map(|part| {
                    part.content_type().map(|t| format!("{}/{}", t.c_type, t.c_subtype.as_deref().unwrap_or_default()))
                })
                .collect();
            assert_eq!(types, ["multipart/alternative", "text/plain", "text/html"], "{id}");
            let html = parsed.body_html(0).expect("HTML");
            let body = theirs.get("parts").and_then(Value::as_list).expect("parts")[0]
                .get("body")
                .and_then(Value::as_str)
                .expect("a body");
            let tables =
                |html: &str| html.split("<table").skip(1).map(|table| format!("<table{table}")).collect::<Vec<_>>();
            let (our_tables, their_tables) = (tables(&html), tables(body));
            assert_eq!(our_tables.len(), their_tables.len(), "{id}");
            for (our, their) in our_tables.iter().zip(&their_tables) {
                facts::same_facts(id, our, their, leeway(run));
            }
            // What the author wrote around the tables is left alone.
            if case.value.to_json().contains("message_body_override") {
                let ends = |html: &str| {
                    (
                        html.split('<').next().map(str::to_owned),
                        html.rsplit('>').next().map(|end| end.trim_end().to_owned()),
                    )
                };
                assert_eq!(ends(&html), ends(body), "{id}");
            }
            assert!(matches!(parsed.references(), HeaderValue::Text(_)), "{id}");
            compared += 1;
        }
    }
    assert!(compared >= 15 && more >= 1 && failed == 2, "{compared} {more} {failed}");
}

#[test]
fn defaults_of_a_server_lie_under_everything_else() {
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    let defaults = Map::from([
        ("server_host".to_owned(), Value::from("smtp.example.com")),
        ("sender_address".to_owned(), Value::from("runs@example.com")),
        ("default_email_addresses".to_owned(), Value::from("ops@example.com")),
    ]);
    let builder = Notifier::builder(registry).default_params("mail", defaults);
    let found = builder.check_one(&runbell::Notification::new("mail", "m"));
    assert!(found.is_empty(), "{found:?}");
}
