#![doc = include_str!("../README.md")]

mod paint;
mod table;

use async_trait::async_trait;
use runbell_core::text::inert_lines;
use runbell_core::{
    BuildContext, Error, ErrorKind, Limits, Message, Output, Payload, Place, Receipt, Rendered, Result, SendContext,
    Sender, SenderKind,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The `console` kind.
#[derive(Debug)]
pub struct Console;

/// Params of the `console` kind: there are none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ConsoleParams {}

/// Prints messages to an [`Output`].
#[derive(Debug)]
pub struct ConsoleSender {
    output: Output,
}

impl SenderKind for Console {
    const KIND: &'static str = "console";
    const PLACE: Place = Place::HereOnly;
    const YIELDS_TO: &'static [&'static str] = &["notebook"];
    type Params = ConsoleParams;
    type Sender = ConsoleSender;

    fn build(_params: ConsoleParams, cx: &BuildContext) -> Result<ConsoleSender> {
        Ok(ConsoleSender { output: cx.output.clone() })
    }
}

runbell_core::register_sender!(Console);

#[async_trait]
impl Sender for ConsoleSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let mut body = format!("[{}] {}\n", message.severity, inert_lines(&message.text));
        let mut notes = Vec::new();
        if !message.runs.is_empty() {
            body.push('\n');
            table::write(&message.runs, self.output.width, &mut body, &mut notes);
        }
        Ok(Rendered { payload: Payload::Text { content_type: "text/plain", body }, notes })
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Text { body, .. } = payload else {
            return Err(Error::new(ErrorKind::Internal, "console can only print text"));
        };
        cx.written();
        let text = if self.output.colour { paint::paint(body) } else { body.clone() };
        let output = self.output.clone();
        // A pipe without a reader blocks the writing thread, which must not be the job's.
        let printing = tokio::task::spawn_blocking(move || output.print(&text));
        match printing.await.unwrap_or_else(|_stopped| Err(std::io::ErrorKind::Interrupted.into())) {
            Ok(()) => Ok(Receipt { answer: "printed".into() }),
            Err(error) => Err(Error::new(ErrorKind::Unreachable, "the output cannot be written to").caused_by(error)),
        }
    }

    fn limits(&self) -> Limits {
        Limits::of("console")
    }
}
