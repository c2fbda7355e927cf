//! The kind keeps the promises of every kind.

use runbell_slack::Slack;
use runbell_testkit::{FakeAnswer, FakeHttp, TestContext, delivery_contract, params_contract, params_contract_in};
use serde_json::json;

const WEBHOOK: &str = "https://hooks.example/services/T0/B0/x";

#[test]
fn params() {
    params_contract::<Slack>(json!({ "webhook": WEBHOOK }));
}

#[test]
fn params_from_the_environment() {
    params_contract_in::<Slack>(json!({ "webhook": WEBHOOK }), &TestContext::here().env("SLACK_WEBHOOK", "http://h/x"));
}

#[tokio::test]
async fn delivery() {
    let peer = FakeHttp::start().await;
    peer.answer_always(FakeAnswer::ok().body("ok"));
    delivery_contract::<Slack>(&peer, json!({ "webhook": peer.url("/services/T0/B0/x") })).await;
}
