//! Whatever a run holds, its mail is one mail: no header, part or address is made from data, and the parts say it.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the messages are shared with other tests")]

#[path = "../../../crates/runbell-render/tests/common/data.rs"]
mod data;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use data::{full_of, hostile_texts};
use mail_parser::{MessageParser, MimeHeaders as _};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runbell_core::{Message, Payload, Registry, SendContext, Sender, Value};
use runbell_testkit::TestContext;
use runbell_testkit::smtp::FakeSmtp;
use serde_json::json;

fn sender(port: u16) -> Arc<dyn Sender> {
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let params = json!({
        "server_host": "127.0.0.1",
        "server_port": port,
        "sender_address": "runs@example.com",
        "email_addresses": ["ada@example.com"],
        "use_tls": false,
        "start_tls": false,
    });
    let Value::Map(params) = Value::from(params) else { panic!("an object") };
    registry.get("mail").expect("it").build(&params, &TestContext::here().build()).expect("built")
}

async fn check(peer: &FakeSmtp, sender: &Arc<dyn Sender>, message: &Message) {
    let payload = sender.render(message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    sender.send(&payload, &cx).await.expect("sent");
    let Payload::Mail(wanted) = &payload else { panic!("a mail") };
    let mails = peer.take_mails();
    assert_eq!((mails.len(), mails[0].to.as_slice()), (1, &["ada@example.com".to_owned()][..]));
    let mail = MessageParser::default().parse(&mails[0].data).expect("a mail");
    let mut names: Vec<&str> = mail.headers().iter().map(mail_parser::Header::name).collect();
    names.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "In-Reply-To",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
    ];
    assert_eq!(names, expected);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(mail.subject().unwrap_or_default()), squeezed(&wanted.subject));
    assert!(!wanted.subject.contains(['\n', '\r']) && wanted.subject.chars().count() <= 500);
    let types: Vec<_> =
        mail.parts.iter().filter_map(|part| part.content_type()).filter_map(|of| of.subtype()).collect();
    assert_eq!(types, ["alternative", "plain", "html"]);
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(lines(&mail.body_text(0).expect("text")), lines(&wanted.text));
    assert_eq!(lines(&mail.body_html(0).expect("HTML")), lines(&wanted.html));
}

#[test]
fn data_makes_no_headers_and_no_parts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let peer = runtime.block_on(FakeSmtp::start());
    let sender = sender(peer.port());
    let cases = std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&(hostile_texts(), any::<bool>()), |(texts, many)| {
        runtime.block_on(check(&peer, &sender, &full_of(&texts, if many { 4 } else { 1 })));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn long_subjects_and_words_keep_their_lines_short() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let peer = runtime.block_on(FakeSmtp::start());
    let sender = sender(peer.port());
    for text in ["w".repeat(2_000), "日本語".repeat(400), format!("{} end", "word ".repeat(300)), "é ".repeat(500)]
    {
        let mut message = full_of(&vec!["x".to_owned(); 8], 1);
        message.text = text;
        let payload = sender.render(&message).expect("rendered").payload;
        runtime.block_on(check(&peer, &sender, &message));
        let Payload::Mail(mail) = payload else { panic!("a mail") };
        assert!(mail.subject.ends_with('…'));
    }
}
