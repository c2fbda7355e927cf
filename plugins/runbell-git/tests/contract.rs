//! The kind keeps the promises of every kind.

use runbell_git::Git;
use runbell_testkit::{FakeAnswer, FakeHttp, TestContext, delivery_contract, params_contract, params_contract_in};
use serde_json::json;

#[test]
fn params() {
    params_contract::<Git>(json!({
        "repo": "octo/run-bell",
        "token": "ghp_0123456789",
        "issue": 7,
        "server": "https://github.example.com/api/v3",
        "update": true,
        "update_key": "nightly",
    }));
    params_contract::<Git>(json!({
        "repo": "group/sub/project",
        "token": "glpat-0123456789",
        "merge_request": "12",
        "gitlab": true,
    }));
}

#[test]
fn params_from_the_environment() {
    let job = TestContext::here()
        .env("CI_PROJECT_ID", "19")
        .env("CI_MERGE_REQUEST_IID", "7")
        .env("CI_SERVER_URL", "https://gitlab.example.com")
        .env("GIT_TOKEN", "from-the-environment");
    params_contract_in::<Git>(json!({ "repo": "o/r", "token": "t0123456789", "merge_request": 3 }), &job);
}

#[tokio::test]
async fn delivery_to_github() {
    let peer = FakeHttp::start().await;
    peer.answer_always(FakeAnswer::status(201).body(r#"{"id": 5}"#));
    let params = json!({ "repo": "octo/run-bell", "token": "ghp_0123456789", "issue": 7, "server": peer.url("") });
    delivery_contract::<Git>(&peer, params).await;
}

#[tokio::test]
async fn delivery_to_gitlab() {
    let peer = FakeHttp::start().await;
    peer.answer_always(FakeAnswer::status(201).body(r#"{"id": 5}"#));
    let params = json!({ "repo": "g/s/p", "token": "glpat-0123456789", "merge_request": 12, "gitlab": true, "server": peer.url("") });
    delivery_contract::<Git>(&peer, params).await;
}
