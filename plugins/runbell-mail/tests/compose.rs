//! What arrives: the head for many recipients, and the author's own HTML with tables in it.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mail_parser::MessageParser;
use runbell_core::{MailMessage, Message, Payload, Registry, RunState, SendContext, Sender, Value};
use runbell_testkit::smtp::{FakeSmtp, SmtpFault, Step};
use runbell_testkit::{TestContext, message_about, sample_message, sample_step};
use serde_json::{Value as Json, json};

fn sender(port: u16, more: Json) -> Arc<dyn Sender> {
    let mut params = json!({
        "server_host": "127.0.0.1",
        "server_port": port,
        "sender_address": "runs@example.com",
        "email_addresses": "ada@example.com",
        "use_tls": false,
        "start_tls": false,
    });
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let Value::Map(params) = Value::from(params) else { panic!("an object") };
    registry.get("mail").expect("it").build(&params, &TestContext::here().build()).expect("built")
}

fn rendered(body_override: &str, message: &Message) -> MailMessage {
    let payload =
        sender(25, json!({ "message_body_override": body_override })).render(message).expect("rendered").payload;
    let Payload::Mail(mail) = payload else { panic!("a mail") };
    mail
}

#[tokio::test]
async fn three_hundred_recipients_get_one_mail() {
    let peer = FakeSmtp::start().await;
    let everybody: Vec<String> =
        (0..300).map(|index| format!("somebody.{index}@department-{index}.example.com")).collect();
    let sender = sender(peer.port(), json!({ "email_addresses": everybody }));
    let message = sample_message("many");
    let payload = sender.render(&message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    sender.send(&payload, &cx).await.expect("sent");
    let mails = peer.take_mails();
    assert_eq!((mails.len(), &mails[0].to), (1, &everybody));
    // RFC 5322 section 2.1.1, and what mail servers reject for.
    let head = mails[0].head();
    assert!(head.lines().all(|line| line.len() <= 78), "{head}");
    let text = mails[0].text();
    let parsed = MessageParser::default().parse(&text).expect("a mail");
    let to: Vec<&str> = parsed.to().expect("recipients").iter().filter_map(|one| one.address()).collect();
    assert_eq!(to, everybody);
}

async fn sent(sender: &Arc<dyn Sender>, key: &str) -> runbell_core::Result<runbell_core::Receipt> {
    let message = sample_message(key);
    let payload = sender.render(&message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    sender.send(&payload, &cx).await
}

#[tokio::test]
async fn names_stand_in_the_head_and_bare_addresses_on_the_envelope() {
    let peer = FakeSmtp::start().await;
    let sender = sender(
        peer.port(),
        json!({
            "sender_address": "Run Bot <runs@corp.test>",
            "email_addresses": ["Doe, Jane <jane@corp.test>", "Jürgen <j@müller.example>", "jane@corp.test"],
            "default_email_addresses": "\"Li, Wei\" <li@corp.test>, JANE@corp.test",
        }),
    );
    sent(&sender, "names").await.expect("sent");
    let mail = peer.take_mails().remove(0);
    assert_eq!(mail.from, "runs@corp.test");
    assert_eq!(mail.to, ["jane@corp.test", "j@xn--mller-kva.example", "li@corp.test"]);
    assert!(!mail.is_utf8 && mail.head().is_ascii(), "{}", mail.head());
    let text = mail.text();
    let parsed = MessageParser::default().parse(&text).expect("a mail");
    let names = |list: Option<&mail_parser::Address<'_>>| -> Vec<Option<String>> {
        list.expect("addresses").iter().map(|one| one.name().map(str::to_owned)).collect()
    };
    assert_eq!(names(parsed.from()), [Some("Run Bot".to_owned())]);
    assert_eq!(names(parsed.to()), ["Doe, Jane", "Jürgen", "Li, Wei"].map(|name| Some(name.to_owned())));
    // The domain of the Message-ID is the bare one.
    assert!(parsed.message_id().is_some_and(|id| id.ends_with("@corp.test")), "{:?}", parsed.message_id());
}

#[tokio::test]
async fn a_local_part_beyond_ascii_needs_smtputf8() {
    let peer = FakeSmtp::start().await;
    let both = json!({ "email_addresses": ["jürgen@müller.example", "ada@example.com"] });
    let sender_of = |more: &Json| sender(peer.port(), more.clone());
    let error = sent(&sender_of(&both), "ascii").await.expect_err("one is refused").to_string();
    assert!(error.contains("jürgen@xn--mller-kva.example") && error.contains("SMTPUTF8"), "{error}");
    let mail = peer.take_mails().remove(0);
    assert_eq!((mail.to.as_slice(), mail.is_utf8), (&["ada@example.com".to_owned()][..], false));
    assert!(mail.head().is_ascii(), "{}", mail.head());
    let from = json!({ "sender_address": "läufe@example.com" });
    let error = sent(&sender_of(&from), "from").await.expect_err("refused").to_string();
    assert!(error.contains("sender's address") && error.contains("SMTPUTF8"), "{error}");
    peer.offer_utf8();
    let fresh = FakeSmtp::start().await;
    fresh.offer_utf8();
    sent(&sender(fresh.port(), both), "utf8").await.expect("sent");
    let mail = fresh.take_mails().remove(0);
    assert_eq!(mail.to, ["jürgen@xn--mller-kva.example", "ada@example.com"]);
    assert!(mail.is_utf8 && mail.head().contains("jürgen@xn--mller-kva.example"), "{}", mail.head());
}

#[tokio::test]
async fn a_machine_gives_a_host_name_or_its_own_address() {
    let peer = FakeSmtp::start().await;
    sent(&sender(peer.port(), json!({})), "hello").await.expect("sent");
    let hello = peer.take_mails().remove(0).hello;
    // This machine's name may be qualified; else the client's own side of the connection stands in its place.
    assert!(hello == "[127.0.0.1]" || (hello.contains('.') && !hello.contains('_')), "{hello}");
    let deaf = FakeSmtp::start().await;
    deaf.fault(Step::Hello, SmtpFault::Say("501 5.5.4 invalid EHLO argument".to_owned()), 1);
    let error = sent(&sender(deaf.port(), json!({})), "deaf").await.expect_err("refused").to_string();
    assert!(error.contains("refuses the name of this machine"), "{error}");
}

#[test]
fn a_replacement_is_not_searched_for_placeholders() {
    let run = sample_step("run", "{{ runs }}", RunState::Completed);
    let message = message_about("override", vec![run], "see {{runs}}");
    let mail = rendered("<i>a</i>{{ runs }}<i>b</i>{{runs}}<i>c</i>{{ runs}}", &message);
    let table =
        runbell_render::html::render(&message, runbell_render::html::Flavour::Html, 200_000).expect("rendered").html;
    assert_eq!(mail.html, format!("<i>a</i>{table}<i>b</i>{table}<i>c</i>{{{{ runs}}}}"));
    // Without markup the text is the template's too.
    let mail = rendered("Runs: {{ runs }}.", &message);
    assert!(mail.text.starts_with("Runs: ") && mail.text.ends_with('.') && mail.text.contains("see"), "{}", mail.text);
}

#[test]
fn several_tables_share_the_room() {
    let steps = (0..2_000).map(|index| sample_step(&format!("run-{index}"), "train", RunState::Error)).collect();
    let message = message_about("override", steps, "many");
    let one = rendered("{{ runs }}", &message).html.len();
    let ten = rendered(&"{{ runs }}".repeat(10), &message).html.len();
    assert!(one > 300_000 && ten <= one + one / 2, "{one} {ten}");
    // Those beyond the twentieth stay as they are.
    let mail = rendered(&"{{runs}}".repeat(100_000), &message);
    assert_eq!(mail.html.matches("{{runs}}").count(), 100_000 - 20);
}
