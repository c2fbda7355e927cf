//! The contract of a kind that prints.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use runbell_core::text::is_inert;
use runbell_core::{
    BuildContext, Map, Message, Output, Payload, Place, RegisteredKind, Result, Retry, SendContext, Sender, SenderKind,
};

use crate::check::Check;
use crate::check::everything_about;
use crate::context::{BrokenOutput, TestContext};
use crate::delivery::unharmed;
use crate::params::{kind_of, map_of};
use crate::samples::{hostile_messages, sample_message};

const CONTRACT: &str = "text_contract";

/// Proves how a kind prints that writes plain text or HTML to [`BuildContext::output`].
///
/// It prints what it renders, once; HTML may have something around it. With any run its output is inert: it neither moves the cursor nor reorders text;
/// colour, where the output has it, changes nothing but colour. An output whose reader is gone is an error that is
/// never retried.
///
/// # Panics
/// When a check fails, naming it.
pub async fn text_contract<K: SenderKind>(params: serde_json::Value) {
    text_contract_in::<K>(params, &TestContext::here()).await;
}

/// [`text_contract`] in surroundings of your own; their output is not used.
///
/// # Panics
/// When a check fails, naming it.
pub async fn text_contract_in<K: SenderKind>(params: serde_json::Value, test: &TestContext) {
    let check = check("good params");
    let (kind, params) = (kind_of::<K>(), map_of(&check, params));
    let subject = Subject { kind, params, test: test.clone() };
    check.equal("the place of a kind that prints", &K::PLACE, &Place::HereOnly);
    subject.limits();
    subject.same_message_same_text();
    subject.prints_what_it_renders().await;
    subject.stays_inert().await;
    subject.broken_output().await;
}

struct Subject {
    kind: Arc<RegisteredKind>,
    params: Map,
    test: TestContext,
}

fn check(name: impl Into<String>) -> Check {
    Check::new(CONTRACT, name)
}

async fn send(check: &Check, sender: &Arc<dyn Sender>, payload: &Payload, message: &Message) -> Result<()> {
    let written = AtomicBool::new(false);
    let deadline = Instant::now() + sender.limits().timeout;
    let cx = SendContext::new(message.key, 1, deadline, message.at, &written);
    unharmed(check, sender.send(payload, &cx)).await.map(drop)
}

fn text_of<'p>(check: &Check, payload: &'p Payload) -> &'p str {
    match payload {
        Payload::Text { content_type: "text/plain" | "text/html", body } => body,
        _ => check.fail("the payload is neither text/plain nor text/html"),
    }
}

/// Whether the output is the rendered text; HTML may have a frame around it.
fn is_printed(payload: &Payload, printed: &str) -> bool {
    match payload {
        Payload::Text { content_type: "text/html", body } => printed.matches(body.as_str()).count() == 1,
        Payload::Text { body, .. } => printed.trim_end_matches('\n') == body.trim_end_matches('\n'),
        _ => false,
    }
}

impl Subject {
    fn sender(&self, check: &Check, cx: &BuildContext) -> Arc<dyn Sender> {
        match check.unharmed("building", || self.kind.build(&self.params, cx)) {
            Ok(sender) => sender,
            Err(error) => check.fail(format!("no sender is built: {error}")),
        }
    }

    fn render(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message) -> Payload {
        match check.unharmed("rendering", || sender.render(message)) {
            Ok(rendered) => rendered.payload,
            Err(error) => check.fail(format!("rendering fails: {error}")),
        }
    }

    fn limits(&self) {
        let check = check("limits");
        let limits = self.sender(&check, &self.test.build()).limits();
        check.ensure(!limits.destination.is_empty(), || "the destination is empty".to_owned());
        let seconds = Duration::from_secs(1)..=Duration::from_secs(60);
        check.ensure(seconds.contains(&limits.timeout), || format!("a timeout of {:?}", limits.timeout));
    }

    fn same_message_same_text(&self) {
        let check = check("same message, same text");
        let message = sample_message("contract");
        let first = self.render(&check, &self.sender(&check, &self.test.build()), &message);
        self.test.clock.advance(Duration::from_secs(3601));
        let again = self.render(&check, &self.sender(&check, &self.test.build()), &message);
        check.equal("rendered later, it", &text_of(&check, &again), &text_of(&check, &first));
    }

    async fn prints_what_it_renders(&self) {
        let check = check("prints what it renders, once");
        let sender = self.sender(&check, &self.test.build());
        for name in ["first", "second"] {
            let message = sample_message(name);
            self.test.recorder.take();
            let payload = self.render(&check, &sender, &message);
            check.ensure(self.test.recorder.text().is_empty(), || "rendering prints".to_owned());
            if let Err(error) = send(&check, &sender, &payload, &message).await {
                check.fail(format!("sending fails: {error}"));
            }
            let (printed, body) = (self.test.recorder.take(), text_of(&check, &payload));
            check.ensure(is_printed(&payload, &printed), || format!("it renders {body:?} and prints {printed:?}"));
            check.ensure(printed.ends_with('\n'), || "the last line does not end".to_owned());
        }
    }

    async fn stays_inert(&self) {
        for (width, colour) in [(None, false), (Some(80), false), (Some(80), true), (Some(1), true)] {
            let test = match width {
                Some(width) => self.test.clone().terminal(width, colour),
                None => self.test.clone(),
            };
            let cx = test.build();
            for (name, message) in hostile_messages() {
                let check = check(format!("a message with {name}, width {width:?}, colour {colour}"));
                let sender = self.sender(&check, &cx);
                let payload = self.render(&check, &sender, &message);
                let body = text_of(&check, &payload);
                check_inert(&check, "the rendered text", body);
                test.recorder.take();
                if let Err(error) = send(&check, &sender, &payload, &message).await {
                    check.fail(format!("sending fails: {error}"));
                }
                let printed = test.recorder.take();
                let plain = if colour { without_colour(&printed) } else { printed };
                check_inert(&check, "the printed text", &plain);
                check.ensure(is_printed(&payload, &plain), || "what is printed is not what is rendered".to_owned());
            }
        }
    }

    async fn broken_output(&self) {
        let check = check("an output without a reader");
        let cx = BuildContext { output: Output::to(BrokenOutput), ..self.test.build() };
        let sender = self.sender(&check, &cx);
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message);
        match send(&check, &sender, &payload, &message).await {
            Ok(()) => check.fail("it counts as a success"),
            Err(error) => {
                check.equal("the retry advice", &error.retry_advice(), &Retry::Never);
                check.ensure(!everything_about(&error).is_empty(), || "the error says nothing".to_owned());
            }
        }
    }
}

#[track_caller]
fn check_inert(check: &Check, what: &str, text: &str) {
    if let Some(character) = text.chars().find(|character| *character != '\n' && !is_inert(*character)) {
        check.fail(format!("{what} holds {}", character.escape_unicode()));
    }
}

/// `text` without `ESC [ … m`, the sequences that colour.
fn without_colour(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        let length = rest[at + 2..].find(|c: char| !c.is_ascii_digit() && c != ';').map(|end| at + 2 + end);
        match length {
            Some(end) if rest[end..].starts_with('m') => {
                out.push_str(&rest[..at]);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}
