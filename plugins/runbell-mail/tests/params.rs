//! Params one by one: which pairs of port and encryption work, what an address is.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::{Map, Registry, Value};
use runbell_testkit::TestContext;
use serde_json::{Value as Json, json};

/// The findings for params with `more` over good ones, as `fault path: message` lines.
fn findings(more: Json) -> Vec<String> {
    let mut params = json!({
        "server_host": "smtp.example.com",
        "sender_address": "runs@example.com",
        "email_addresses": ["ada@example.com"],
    });
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let Value::Map(mut params) = Value::from(params) else { panic!("an object") };
    params = params.into_iter().filter(|(_, value)| *value != Value::from("absent")).collect::<Map>();
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let (kind, cx) = (registry.get("mail").expect("it"), TestContext::here().build());
    kind.complete(&mut params, &cx);
    let found = kind.check(&params, &cx);
    assert_eq!(found.has_faults(), kind.build(&params, &cx).is_err());
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn pairs_of_port_and_encryption() {
    let table: &[(Json, Option<&str>)] = &[
        (json!({}), None),
        (json!({ "server_port": 465 }), None),
        (json!({ "server_port": "587" }), None),
        (json!({ "server_port": 25 }), None),
        (json!({ "use_tls": true }), None),
        (json!({ "use_tls": true, "server_port": 465 }), None),
        (json!({ "use_tls": true, "server_port": 2465 }), None),
        (json!({ "start_tls": true }), None),
        (json!({ "start_tls": true, "server_port": 25 }), None),
        (json!({ "use_tls": false, "start_tls": false, "server_port": 1025 }), None),
        (json!({ "use_tls": true, "start_tls": true }), Some("start_tls: cannot go with `use_tls`")),
        (
            json!({ "use_tls": true, "server_port": 587 }),
            Some("server_port: 587 expects STARTTLS: set `start_tls` to true"),
        ),
        (json!({ "use_tls": true, "server_port": "25" }), Some("server_port: 25 does not encrypt from the first byte")),
        (
            json!({ "start_tls": true, "server_port": 465 }),
            Some("server_port: 465 expects encryption from the first byte"),
        ),
        (
            json!({ "use_tls": false, "start_tls": false, "server_port": 465 }),
            Some("server_port: 465 expects encryption from the first byte"),
        ),
        (json!({ "use_tls": false, "server_port": 465 }), Some("server_port: 465 expects encryption")),
    ];
    for (params, expected) in table {
        let found = findings(params.clone());
        match expected {
            None => assert!(found.is_empty(), "{params}: {found:?}"),
            Some(fault) => assert!(found.len() == 1 && found[0].starts_with(fault), "{params}: {found:?}"),
        }
    }
}

#[test]
fn every_fault_names_its_field() {
    for (params, expected) in [
        (json!({ "server_host": "" }), "server_host: is required and must not be empty"),
        (json!({ "server_host": "smtp example" }), "server_host: must be the name or address"),
        (json!({ "server_port": 0 }), "server_port: must be a port from 1 to 65535"),
        (json!({ "server_port": 65536 }), "server_port: must be a port"),
        (json!({ "server_port": "smtp" }), "server_port: must be a port from 1 to 65535"),
        (json!({ "sender_address": "ab.co" }), "sender_address: must be a mail address"),
        (json!({ "sender_address": "a@localhost" }), "sender_address: must be a mail address"),
        (json!({ "email_addresses": [] }), "email_addresses: is empty"),
        (json!({ "email_addresses": "a@b.co, not-an-address" }), "email_addresses[1]: must be a mail address"),
        (json!({ "email_addresses": ["a@b.co", "a b@c.co"] }), "email_addresses[1]: must be a mail address"),
        (json!({ "email_addresses": [null] }), "email_addresses[0]: must be a mail address"),
        (json!({ "email_addresses": ["a@b.co", 7] }), "email_addresses[1]: must be a mail address"),
        (json!({ "username": "u" }), "username: has no effect without `password`"),
        (json!({ "email_addresses": "absent" }), "email_addresses: is required"),
        (json!({ "default_email_addresses": "x" }), "default_email_addresses[0]: must be a mail address"),
        (json!({ "password": "p" }), "username: is required when there is a password"),
        (
            json!({ "username": "u", "password": "p", "use_tls": false, "start_tls": false }),
            "password: is sent unencrypted",
        ),
        (json!({ "use_tls": "yes" }), "use_tls: "),
        (
            json!({ "validate_cert": true }),
            "validate_cert: is not known and has no effect; did you mean `validate_certs`?",
        ),
    ] {
        let found = findings(params.clone());
        assert!(found.iter().any(|finding| finding.starts_with(expected)), "{params}: {found:?}");
    }
}

#[test]
fn what_mlrun_accepts() {
    for params in [
        json!({ "email_addresses": "c@d.co, e@f.co" }),
        json!({ "email_addresses": " c@d.co ", "sender_address": " a@b.co " }),
        json!({ "username": "", "password": "" }),
        json!({ "server_host": "2001:db8::1" }),
        json!({ "email_addresses": "absent", "default_email_addresses": "ops@b.co" }),
    ] {
        assert!(findings(params.clone()).is_empty(), "{params}: {:?}", findings(params.clone()));
    }
}

#[test]
fn nothing_is_known_of_how_a_mail_server_counts() {
    let registry = Registry::default().with(&runbell_mail::REGISTRATION).expect("one kind");
    let params = json!({
        "server_host": "smtp.example.com",
        "sender_address": "runs@example.com",
        "email_addresses": ["ada@example.com"],
    });
    let Value::Map(mut params) = Value::from(params) else { panic!("an object") };
    let (kind, cx) = (registry.get("mail").expect("it"), TestContext::here().build());
    kind.complete(&mut params, &cx);
    assert_eq!(kind.build(&params, &cx).expect("a sender").limits().bucket, None);
}
