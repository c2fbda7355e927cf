//! Encrypted connections and logins: what is refused, and in which words.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use runbell_core::{BuildContext, Egress, Error, ErrorKind, Receipt, Registry, Result, Retry, SendContext, Value};
use runbell_testkit::smtp::{FakeSmtp, ReceivedMail, SmtpFault, Step, TestCa, Tls};
use runbell_testkit::{TestContext, sample_message};
use serde_json::{Value as Json, json};

fn trusting(ca: &TestCa) -> BuildContext {
    BuildContext { env: ca.env(), ..TestContext::here().build() }
}

async fn send(cx: &BuildContext, peer: &FakeSmtp, more: Json) -> Result<Receipt> {
    let mut params = json!({
        "server_host": "localhost",
        "server_port": peer.port(),
        "sender_address": "runs@example.com",
        "email_addresses": "ada@example.com",
    });
    let all = params.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let Value::Map(params) = Value::from(params) else { panic!("an object") };
    let sender = registry.get("mail").expect("it").build(&params, cx)?;
    let message = sample_message("tls");
    let payload = sender.render(&message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    sender.send(&payload, &cx).await
}

fn refused(outcome: Result<Receipt>, kind: ErrorKind, retried: bool, said: &str) -> Error {
    let error = outcome.expect_err(said);
    assert_eq!((error.kind(), error.retry_advice() != Retry::Never), (kind, retried), "{error}");
    assert!(error.to_string().contains(said), "{error}");
    error
}

fn only_mail(peer: &FakeSmtp) -> ReceivedMail {
    let mails = peer.take_mails();
    assert_eq!(mails.len(), 1);
    mails.into_iter().next().expect("one")
}

#[tokio::test]
async fn every_way_of_encrypting() {
    let ca = TestCa::new();
    let cx = trusting(&ca);
    for (tls, params) in [
        (Tls::StartTls, json!({ "start_tls": true })),
        (Tls::StartTls, json!({})),
        (Tls::Implicit, json!({ "use_tls": true })),
    ] {
        let peer = FakeSmtp::start_encrypted(tls, &ca, Some(("runs", "secret"))).await;
        let mut params = params;
        params["username"] = json!("runs");
        params["password"] = json!("secret");
        send(&cx, &peer, params.clone()).await.expect("sent");
        let mail = only_mail(&peer);
        assert!(mail.encrypted);
        assert_eq!(mail.login, Some(("runs".to_owned(), "PLAIN".to_owned())));
        params["password"] = json!("wrong");
        let error =
            refused(send(&cx, &peer, params).await, ErrorKind::Unauthorized, false, "refuses user name or password");
        assert!(error.to_string().contains("code=535 5.7.8") && !error.to_string().contains("wrong"), "{error}");
        assert!(peer.mails().is_empty());
    }
}

#[tokio::test]
async fn starttls_that_was_stripped_sends_nothing() {
    let cx = TestContext::here().build();
    let peer = FakeSmtp::start().await;
    refused(send(&cx, &peer, json!({ "start_tls": true })).await, ErrorKind::Unreachable, true, "offers no STARTTLS");
    let login = json!({ "username": "runs", "password": "secret" });
    refused(send(&cx, &peer, login.clone()).await, ErrorKind::Unauthorized, false, "the password is not sent");
    assert!(!peer.steps().iter().any(|step| matches!(step, Step::Auth | Step::Sender)), "{:?}", peer.steps());
    // Without a password it is sent as the server can, and with both switched off as it was asked for.
    send(&cx, &peer, json!({})).await.expect("sent");
    assert!(!only_mail(&peer).encrypted);
    let mut plain = login;
    plain["use_tls"] = json!(false);
    plain["start_tls"] = json!(false);
    send(&cx, &peer, plain).await.expect("sent");
    assert_eq!(only_mail(&peer).login.expect("a login").0, "runs");
}

#[tokio::test]
async fn certificates_are_checked_unless_the_params_disable_it() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    for tls in [Tls::StartTls, Tls::Implicit] {
        let params = if tls == Tls::Implicit { json!({ "use_tls": true }) } else { json!({ "start_tls": true }) };
        let peer = FakeSmtp::start_encrypted(tls, &other, None).await;
        let error = refused(
            send(&trusting(&ca), &peer, params.clone()).await,
            ErrorKind::Unreachable,
            true,
            "an authority that is not trusted; name its file in RUNBELL_CA_FILE",
        );
        assert!(error.to_string().contains("validate_certs"), "{error}");
        let elsewhere = FakeSmtp::start_with(tls, Some(ca.acceptor("elsewhere.example")), None).await;
        let outcome = send(&trusting(&ca), &elsewhere, params.clone()).await;
        refused(outcome, ErrorKind::Unreachable, true, "is for another host");
        let mut unchecked = params;
        unchecked["validate_certs"] = json!(false);
        for peer in [&peer, &elsewhere] {
            send(&trusting(&ca), peer, unchecked.clone()).await.expect("sent");
            assert!(only_mail(peer).encrypted);
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_plainly_where_encryption_is_expected() {
    let peer = FakeSmtp::start().await;
    let outcome = send(&TestContext::here().build(), &peer, json!({ "use_tls": true })).await;
    refused(outcome, ErrorKind::Unreachable, true, "does not encrypt from the first byte");
}

#[tokio::test]
async fn a_server_without_the_mechanisms_we_speak() {
    let cx = TestContext::here().build();
    let peer = FakeSmtp::start().await;
    peer.fault(Step::Hello, SmtpFault::Say("250-localhost\r\n250 AUTH CRAM-MD5".to_owned()), 1);
    let params = json!({ "username": "runs", "password": "secret", "use_tls": false, "start_tls": false });
    refused(send(&cx, &peer, params).await, ErrorKind::Unauthorized, false, "neither AUTH PLAIN nor AUTH LOGIN");
    // LOGIN is enough.
    peer.fault(Step::Hello, SmtpFault::Say("250-localhost\r\n250 AUTH LOGIN".to_owned()), 1);
    let params = json!({ "username": "ada", "password": "secret", "use_tls": false, "start_tls": false });
    send(&cx, &peer, params).await.expect("sent");
    assert_eq!(only_mail(&peer).login, Some(("ada".to_owned(), "LOGIN".to_owned())));
}

#[tokio::test]
async fn a_guard_decides_by_address() {
    let peer = FakeSmtp::start().await;
    let cx = TestContext::server().build();
    cx.shared.set(Egress::guarded([]));
    let literal = send(&cx, &peer, json!({ "server_host": "127.0.0.1" })).await;
    refused(literal, ErrorKind::ParamsInvalid, false, "params.server_host: the target's address is loopback");
    for odd in ["localhost", "0x7f.1", "2130706433", "::1", "[::ffff:127.0.0.1]"] {
        refused(send(&cx, &peer, json!({ "server_host": odd })).await, ErrorKind::ParamsInvalid, false, "is loopback");
    }
    assert_eq!(peer.connections(), 0);
    let cx = TestContext::server().build();
    cx.shared.set(Egress::guarded(["127.0.0.0/8".parse().expect("a network")]));
    send(&cx, &peer, json!({})).await.expect("sent");
}

#[tokio::test]
async fn data_appended_before_encryption_is_not_accepted() {
    let ca = TestCa::new();
    let peer = FakeSmtp::start_encrypted(Tls::StartTls, &ca, None).await;
    // Somebody in between answers for the server: everything was accepted already.
    peer.fault(Step::StartTls, SmtpFault::Say("220 go ahead\r\n250 it is\r\n250 all\r\n250 accepted".to_owned()), 1);
    let outcome = send(&trusting(&ca), &peer, json!({ "start_tls": true })).await;
    let error = outcome.expect_err("no handshake");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("STARTTLS") && !error.is_ambiguous(), "{error}");
    assert!(peer.mails().is_empty() && !peer.steps().contains(&Step::Sender), "{:?}", peer.steps());
}

#[tokio::test]
async fn a_kept_connection_that_says_nothing_is_given_up_for_a_new_one() {
    let peer = FakeSmtp::start().await;
    let cx = TestContext::here().build();
    send(&cx, &peer, json!({})).await.expect("sent");
    peer.fault(Step::Reset, SmtpFault::Hang, 1);
    send(&cx, &peer, json!({})).await.expect("sent over another");
    assert_eq!((peer.mails().len(), peer.connections()), (2, 2));
}
