//! A correct sender passes every contract.

mod support;

use runbell_testkit::{FakeHttp, delivery_contract, params_contract};
use serde_json::json;
use support::Pager;

#[test]
fn params() {
    params_contract::<Pager>(json!({ "url": "http://hooks.example/T0/x", "token": "t-0", "level": 3 }));
    params_contract::<Pager>(json!({ "url": "http://hooks.example/T0/x" }));
}

#[tokio::test]
async fn delivery() {
    let peer = FakeHttp::start().await;
    delivery_contract::<Pager>(&peer, json!({ "url": peer.url("/hook") })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_on_many_threads() {
    let peer = FakeHttp::start().await;
    delivery_contract::<Pager>(&peer, json!({ "url": peer.url("/hook?a=b"), "token": "t" })).await;
}
