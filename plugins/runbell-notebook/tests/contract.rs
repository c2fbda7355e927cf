//! The kind keeps the promises of every kind, and those of one that prints.

use runbell_notebook::{KERNEL_VARIABLE, Notebook};
use runbell_testkit::{TestContext, params_contract, text_contract_in};
use serde_json::json;

#[test]
fn params() {
    params_contract::<Notebook>(json!({}));
}

#[tokio::test]
async fn printing() {
    text_contract_in::<Notebook>(json!({}), &TestContext::here().env(KERNEL_VARIABLE, "1")).await;
}
