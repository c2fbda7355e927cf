//! The kind keeps the promises of every kind.

use runbell_testkit::{FakeHttp, delivery_contract, params_contract};
use runbell_webhook::Webhook;
use serde_json::json;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn params() {
    params_contract::<Webhook>(json!({
        "url": "https://dashboard.example/hooks/3f9c",
        "method": "put",
        "headers": { "X-Team": "ml", "X-Count": 5, "X-Flag": true },
        "override_body": { "text": "{{ state }}" },
        "verify_ssl": false,
        "signing_secret": SECRET,
        "timeout_secs": 5,
    }));
}

#[tokio::test]
async fn delivery() {
    let peer = FakeHttp::start().await;
    delivery_contract::<Webhook>(&peer, json!({ "url": peer.url("/hook") })).await;
}

#[tokio::test]
async fn delivery_signed_with_headers_and_body() {
    let peer = FakeHttp::start().await;
    let params = json!({
        "url": peer.url("/hook?a=b"),
        "method": "PUT",
        "headers": { "Authorization": "Bearer x", "Content-Type": "application/vnd.example+json" },
        "signing_secret": SECRET,
        "override_body": { "text": "{{ run.metadata.name }}", "all": ["{{ runs }}", "{{ broken", 1, null] },
        "timeout_secs": 2,
    });
    delivery_contract::<Webhook>(&peer, params).await;
}
