//! Kinds that print, one right and the others wrong.

use runbell_core::text::is_inert;
use runbell_core::{
    BuildContext, Error, ErrorKind, Limits, Message, Output, Payload, Place, Receipt, Rendered, Result, SendContext,
    Sender, SenderKind, async_trait,
};

pub(crate) const RIGHT: u32 = 0;
pub(crate) const TWICE: u32 = 1;
pub(crate) const WHILE_RENDERING: u32 = 2;
pub(crate) const RAW: u32 = 3;
pub(crate) const SWALLOWS: u32 = 4;
pub(crate) const PANICS: u32 = 5;
pub(crate) const COLOURS_AWAY: u32 = 6;

pub(crate) struct Printer<const D: u32>;

#[derive(Debug)]
pub(crate) struct PrinterSender<const D: u32>(Output);

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub(crate) struct PrinterParams {}

impl<const D: u32> SenderKind for Printer<D> {
    const KIND: &'static str = "printer";
    const PLACE: Place = Place::HereOnly;
    type Params = PrinterParams;
    type Sender = PrinterSender<D>;

    fn build(_params: PrinterParams, cx: &BuildContext) -> Result<PrinterSender<D>> {
        Ok(PrinterSender(cx.output.clone()))
    }
}

#[async_trait]
impl<const D: u32> Sender for PrinterSender<D> {
    fn render(&self, message: &Message) -> Result<Rendered> {
        if D == WHILE_RENDERING {
            drop(self.0.print("rendering"));
        }
        let inert = |c: char| if D == RAW || is_inert(c) { c } else { '?' };
        let body = message.text.chars().map(inert).chain(['\n']).collect();
        Ok(Rendered::new(Payload::Text { content_type: "text/plain", body }))
    }

    async fn send(&self, payload: &Payload, _cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Text { body, .. } = payload else { return Err(Error::new(ErrorKind::Internal, "not mine")) };
        let body = match (D, self.0.colour) {
            (TWICE, _) => body.repeat(2),
            (COLOURS_AWAY, true) => "\x1b[31mit failed\x1b[0m\n".to_owned(),
            (_, true) => format!("\x1b[1;31m{body}\x1b[0m"),
            _ => body.clone(),
        };
        match self.0.print(&body) {
            Err(_) if D == PANICS => panic!("the pipe is closed"),
            Err(error) if D != SWALLOWS => {
                Err(Error::new(ErrorKind::Unreachable, "the output has no reader").caused_by(error))
            }
            _ => Ok(Receipt::default()),
        }
    }

    fn limits(&self) -> Limits {
        Limits::of("printer")
    }
}
