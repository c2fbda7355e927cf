//! The console keeps what kinds promise.

use runbell_console::Console;
use runbell_testkit::{params_contract, text_contract};
use serde_json::json;

#[test]
fn params() {
    params_contract::<Console>(json!({}));
}

#[tokio::test]
async fn text() {
    text_contract::<Console>(json!({})).await;
}
