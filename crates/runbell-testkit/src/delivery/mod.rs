//! The contract of a kind that speaks HTTP: answers, broken connections, secrets.

mod answers;
mod connection;
mod rendering;
mod sending;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runbell_core::{
    Error, MASK, Map, Message, Payload, Receipt, RegisteredKind, Rendered, Result, Retry, SendContext, Sender,
    SenderKind, Value,
};

use crate::canary::{Canaries, plant};
use crate::check::{Check, all_notes, everything_about};
use crate::context::TestContext;
use crate::http::{FakeAnswer, FakeHttp};
use crate::logs;
use crate::params::{kind_of, map_of};
use crate::samples::sample_message;

const CONTRACT: &str = "delivery_contract";

/// How long a send may take against a peer that answers at once. Only a hang comes near it.
const GUARD: Duration = Duration::from_secs(20);

/// Proves how a kind delivers over HTTP; `params` are good ones that point at `peer`.
///
/// Answers: 2xx is a success; 3xx and 4xx are never retried, 401 and 403 are `Unauthorized`; 408, 429 and 5xx are
/// retried, when Retry-After says. Connections: refused is retried, a connection that breaks before the answer is
/// retried and ambiguous, a slow peer is left to the caller's timeout, endless and senseless answers end in time.
/// Sending: once, by the preview, in parallel, and again after a future was dropped. Secrets: every secret field
/// holds a canary during all of this, which may be on the wire and nowhere else; logs are read at `TRACE`.
///
/// The answer that `peer` gives always ([`FakeHttp::answer_always`]) counts as this target's success, so set one for
/// a kind that reads the body. The contract sends each payload in one request; a kind that needs more for one
/// delivery proves those parts by tests of its own.
///
/// # Panics
/// When a check fails, naming it.
pub async fn delivery_contract<K: SenderKind>(peer: &FakeHttp, params: serde_json::Value) {
    delivery_contract_in::<K>(peer, params, &TestContext::here()).await;
}

/// [`delivery_contract`] in surroundings of your own.
///
/// # Panics
/// When a check fails, naming it.
pub async fn delivery_contract_in<K: SenderKind>(peer: &FakeHttp, params: serde_json::Value, test: &TestContext) {
    logs::listen();
    let subject = Subject::new(peer, kind_of::<K>(), params, test.clone());
    subject.rendering().await;
    subject.sending().await;
    subject.answers().await;
    subject.connection().await;
    let check = subject.check("secrets in logs");
    subject.canaries.absent(&check, "a log line", &logs::text());
}

/// The kind under test, with canaries in its params.
struct Subject<'p> {
    peer: &'p FakeHttp,
    kind: Arc<RegisteredKind>,
    test: TestContext,
    params: Map,
    canaries: Canaries,
    success: FakeAnswer,
}

/// The result of one send.
struct Outcome {
    result: Result<Receipt>,
    written: bool,
}

impl<'p> Subject<'p> {
    fn new(peer: &'p FakeHttp, kind: Arc<RegisteredKind>, params: serde_json::Value, test: TestContext) -> Self {
        let check = Check::new(CONTRACT, "good params");
        let Some(success) = peer.usual_answer() else {
            check.fail("the peer answers by function; set what is a success with answer_always instead")
        };
        let mut params = map_of(&check, params);
        let cx = test.build();
        kind.complete(&mut params, &cx);
        let found = kind.check(&params, &cx);
        check.ensure(!found.has_faults(), || {
            found.into_result().map_or_else(|error| error.to_string(), |()| String::new())
        });
        let (params, canaries) = plant(&kind, &params, &cx);
        Subject { peer, kind, test, params, canaries, success }
    }

    fn check(&self, name: impl Into<String>) -> Check {
        Check::new(CONTRACT, name)
    }

    /// A new sender that shares no client with others, so that no connection is left from an earlier check.
    fn sender(&self, check: &Check) -> Arc<dyn Sender> {
        self.sender_with(check, &self.params)
    }

    fn sender_with(&self, check: &Check, params: &Map) -> Arc<dyn Sender> {
        self.peer.take_requests();
        let cx = self.test.build();
        let sender = match check.unharmed("building", || self.kind.build(params, &cx)) {
            Ok(sender) => sender,
            Err(error) => check.fail(format!("no sender is built: {error}")),
        };
        self.canaries.absent(check, "Debug of the sender", &format!("{sender:?} {:?}", sender.limits()));
        sender
    }

    /// The params with every mention of the peer replaced by an address that refuses connections.
    fn refused_params(&self) -> Map {
        fn replace(value: &mut Value, from: &str, to: &str) {
            match value {
                Value::String(text) => *text = text.replace(from, to),
                Value::List(list) => list.iter_mut().for_each(|item| replace(item, from, to)),
                Value::Map(map) => map.values_mut().for_each(|item| replace(item, from, to)),
                _ => {}
            }
        }
        let mut params = Value::Map(self.params.clone());
        replace(&mut params, &self.peer.address().to_string(), &self.peer.refused_address().to_string());
        match params {
            Value::Map(params) => params,
            _ => unreachable!("replacing keeps the type"),
        }
    }

    fn render(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message) -> Rendered {
        let rendered = match check.unharmed("rendering", || sender.render(message)) {
            Ok(rendered) => rendered,
            Err(error) => {
                self.canaries.absent(check, "the error", &everything_about(&error));
                check.fail(format!("rendering fails: {error}"))
            }
        };
        let masked = serde_json::to_string(&rendered.payload);
        let masked = masked.unwrap_or_else(|error| check.fail(format!("the payload does not serialize: {error}")));
        self.canaries.absent(check, "the payload as it is previewed", &masked);
        self.canaries.absent(check, "Debug of the payload", &format!("{:?}", rendered.payload));
        self.canaries.absent(check, "a note", &all_notes(&rendered));
        rendered
    }

    /// Sends once and searches the results for canaries.
    async fn send(&self, check: &Check, sender: &Arc<dyn Sender>, payload: &Payload, message: &Message) -> Outcome {
        let outcome = in_time(check, unharmed(check, attempt(sender, payload, message))).await;
        self.clean(check, &outcome);
        outcome
    }

    fn clean(&self, check: &Check, outcome: &Outcome) {
        match &outcome.result {
            Ok(receipt) => self.canaries.absent(check, "the receipt", &format!("{receipt:?}")),
            Err(error) => self.canaries.absent(check, "the error", &everything_about(error)),
        }
    }

    /// One send by a new sender; the peer gives `answer` to it, and sees exactly one request.
    async fn once(&self, check: &Check, answer: FakeAnswer) -> Outcome {
        let sender = self.sender(check);
        let message = sample_message("contract");
        let payload = self.render(check, &sender, &message).payload;
        self.peer.answer(answer);
        let outcome = self.send(check, &sender, &payload, &message).await;
        self.saw_one(check);
        outcome
    }

    fn saw_one(&self, check: &Check) {
        let (seen, malformed) = (self.peer.requests().len(), self.peer.malformed());
        check.ensure(malformed == 0, || "the peer cannot understand what was sent".to_owned());
        check.ensure(seen == 1, || format!("the peer saw {seen} requests; send makes one, the runtime retries"));
    }

    /// [`once`](Self::once), where it has to fail.
    async fn failure(&self, check: &Check, answer: FakeAnswer) -> Error {
        match self.once(check, answer).await.result {
            Ok(receipt) => check.fail(format!("it counts as a success: {:?}", receipt.answer)),
            Err(error) => error,
        }
    }

    /// [`once`](Self::once), where it has to succeed.
    async fn success(&self, check: &Check, answer: FakeAnswer) -> Receipt {
        match self.once(check, answer).await.result {
            Ok(receipt) => receipt,
            Err(error) => check.fail(format!("it counts as a failure: {error}")),
        }
    }
}

/// One attempt, as the runtime makes it.
async fn attempt(sender: &Arc<dyn Sender>, payload: &Payload, message: &Message) -> Outcome {
    let written = AtomicBool::new(false);
    let result = sender.send(payload, &context(sender, message, &written)).await;
    Outcome { result, written: written.load(Ordering::Relaxed) }
}

fn context<'a>(sender: &Arc<dyn Sender>, message: &Message, written: &'a AtomicBool) -> SendContext<'a> {
    SendContext::new(message.key, 1, Instant::now() + sender.limits().timeout, message.at, written)
}

async fn in_time<T>(check: &Check, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(GUARD, future).await {
        Ok(value) => value,
        Err(_) => check.fail(format!("it does not end within {} s", GUARD.as_secs())),
    }
}

/// Names the check when `future` panics.
pub(crate) async fn unharmed<T>(check: &Check, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| check.unharmed("sending", || future.as_mut().poll(cx))).await
}

fn is_retried(error: &Error) -> bool {
    error.retry_advice() != Retry::Never
}

/// A payload with nothing masked, to compare two.
fn revealed(payload: &Payload) -> String {
    let preview = runbell_core::Preview { payload, reveal: true };
    serde_json::to_string(&preview).unwrap_or_else(|_| MASK.to_owned())
}

fn debug(value: &dyn Debug) -> String {
    format!("{value:?}")
}
