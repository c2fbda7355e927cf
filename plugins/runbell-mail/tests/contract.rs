//! The kind keeps the promises of every kind, and those of one that sends mail.

use runbell_mail::Mail;
use runbell_testkit::smtp::FakeSmtp;
use runbell_testkit::{mail_contract, params_contract};
use serde_json::json;

#[test]
fn params() {
    params_contract::<Mail>(json!({
        "server_host": "smtp.example.com",
        "server_port": "587",
        "sender_address": "runs@example.com",
        "email_addresses": ["ada@example.com", "bob@example.com"],
        "default_email_addresses": "ops@example.com, oncall@example.com",
        "username": "runs",
        "password": "correct horse",
        "start_tls": true,
        "validate_certs": true,
        "message_body_override": "<p>{{ runs }}</p>",
    }));
}

#[tokio::test]
async fn delivery() {
    let peer = FakeSmtp::start().await;
    let params = json!({
        "server_host": "127.0.0.1",
        "server_port": peer.port(),
        "sender_address": "runs@example.com",
        "email_addresses": ["ada@example.com", "bob@example.com", "eve@example.com"],
        "username": "runs",
        "password": "correct horse",
        "use_tls": false,
        "start_tls": false,
    });
    mail_contract::<Mail>(&peer, params).await;
}
