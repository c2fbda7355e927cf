#![doc = include_str!("../README.md")]

use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use runbell_core::{
    BuildContext, Env, Error, ErrorKind, Limits, Message, Output, Payload, Place, Receipt, Rendered, Result,
    SendContext, Sender, SenderKind,
};
use runbell_render::html::{self, Flavour};
use schemars::JsonSchema;
use serde::Deserialize;

/// The variable that the evcxr kernel sets in the process that runs a notebook's code.
pub const KERNEL_VARIABLE: &str = "EVCXR_IS_RUNTIME";

/// How much HTML is shown, in UTF-16 units: browsers take more, notebooks are files.
const LIMIT: usize = 1 << 20;

/// Shows HTML in a notebook, or elsewhere in an embedder. Set it with `cx.shared.set(display)` before senders are
/// built; it takes precedence over the evcxr kernel.
#[derive(Clone)]
pub struct Display(Arc<dyn Fn(&str) + Send + Sync>);

impl Display {
    /// A display that calls `show` with each message as HTML. It is called off the async threads, and may block.
    pub fn new(show: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Display(Arc::new(show))
    }
}

impl Debug for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Display")
    }
}

/// The `notebook` kind.
#[derive(Debug)]
pub struct Notebook;

/// Params of the `notebook` kind: there are none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct NotebookParams {}

/// Shows messages in a notebook.
#[derive(Debug)]
pub struct NotebookSender {
    display: Option<Display>,
    output: Output,
}

runbell_core::register_sender!(Notebook);

fn in_kernel(env: &dyn Env) -> bool {
    env.var(KERNEL_VARIABLE).is_some()
}

impl SenderKind for Notebook {
    const KIND: &'static str = "notebook";
    const ALIASES: &'static [&'static str] = &["ipython"];
    const PLACE: Place = Place::HereOnly;
    type Params = NotebookParams;
    type Sender = NotebookSender;

    fn is_active(cx: &BuildContext) -> bool {
        in_kernel(cx.env.as_ref()) || cx.shared.get::<Display>().is_some()
    }

    fn build(_params: NotebookParams, cx: &BuildContext) -> Result<NotebookSender> {
        let display = cx.shared.get::<Display>().map(|display| (*display).clone());
        Ok(NotebookSender { display, output: cx.output.clone() })
    }
}

#[async_trait]
impl Sender for NotebookSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let rendered = html::render(message, Flavour::Html, LIMIT)?;
        let payload = Payload::Text { content_type: "text/html", body: rendered.html };
        Ok(Rendered { payload, notes: rendered.notes })
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Text { body, .. } = payload else {
            return Err(Error::new(ErrorKind::Internal, "notebook can only show HTML"));
        };
        cx.written();
        let (display, output, body) = (self.display.clone(), self.output.clone(), body.clone());
        // Neither a display nor a pipe without a reader may delay the job.
        let showing = tokio::task::spawn_blocking(move || match display {
            Some(Display(show)) => catch_unwind(AssertUnwindSafe(|| show(&body))).map_err(|_panic| ()),
            None => output.print(&frame(&body)).map_err(drop),
        });
        match showing.await {
            Ok(Ok(())) => Ok(Receipt { answer: "shown".into() }),
            _ => Err(Error::new(ErrorKind::Unreachable, "the notebook cannot be shown anything")),
        }
    }

    fn limits(&self) -> Limits {
        Limits::of("notebook")
    }
}

/// Content as the evcxr kernel takes it from the standard output of the code it runs (its README, "Custom display of
/// data"). The HTML is one line, so that nothing in it can be taken for the end of the frame.
fn frame(html: &str) -> String {
    format!("EVCXR_BEGIN_CONTENT text/html\n{html}\nEVCXR_END_CONTENT\n")
}
