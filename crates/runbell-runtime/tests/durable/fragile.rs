//! A kind that panics in the method its params name.

use runbell_core::{
    BuildContext, Findings, Limits, Message, Payload, Receipt, Rendered, Result, SendContext, Sender, SenderKind,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FragileParams {
    panics_at: String,
}

pub(crate) struct Fragile;

#[derive(Debug)]
pub(crate) struct FragileSender;

impl SenderKind for Fragile {
    const KIND: &'static str = "fragile";
    type Params = FragileParams;
    type Sender = FragileSender;

    fn validate(params: &FragileParams, _: &BuildContext) -> Findings {
        assert_ne!(params.panics_at, "validate", "as configured");
        Findings::default()
    }

    fn build(params: FragileParams, _: &BuildContext) -> Result<FragileSender> {
        assert_ne!(params.panics_at, "build", "as configured");
        Ok(FragileSender)
    }
}

runbell_core::register_sender!(Fragile);

#[async_trait::async_trait]
impl Sender for FragileSender {
    fn render(&self, _: &Message) -> Result<Rendered> {
        Ok(Rendered::new(Payload::Text { content_type: "text/plain", body: String::new() }))
    }

    async fn send(&self, _: &Payload, _: &SendContext<'_>) -> Result<Receipt> {
        Ok(Receipt::default())
    }

    fn limits(&self) -> Limits {
        Limits::of("fragile")
    }
}
