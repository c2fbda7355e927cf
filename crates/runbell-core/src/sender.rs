//! The two traits of a kind: [`SenderKind`] describes it, [`Sender`] sends.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::context::BuildContext;
use crate::error::Result;
use crate::findings::Findings;
use crate::key::DeliveryKey;
use crate::message::Message;
use crate::payload::{Payload, Rendered};
use crate::secret::{REDACTED, SecretValues};
use crate::value::Map;

/// The default time limit of an attempt: 10 s.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Renders a message into a payload, and sends it.
#[async_trait]
pub trait Sender: Send + Sync + Debug + 'static {
    /// The payload, and notes on cuts. Pure: the same message gives the same payload.
    ///
    /// # Errors
    /// [`ErrorKind::Render`](crate::ErrorKind::Render) when no useful payload can be made.
    fn render(&self, message: &Message) -> Result<Rendered>;

    /// Sends a rendered payload once. No retry inside, no waiting for permits; dropping the future is safe.
    ///
    /// # Errors
    /// Any, with the advice whether another attempt can help; see [`Error::retry_advice`](crate::Error::retry_advice).
    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt>;

    /// The destination, its pace and the time limit of an attempt. The runtime enforces them.
    fn limits(&self) -> Limits;
}

/// Describes one kind: its name, its params, how to build its sender.
pub trait SenderKind: 'static {
    /// The kind's name, such as `slack`: `[a-z][a-z0-9-]*`, checked when it is compiled.
    const KIND: &'static str;
    /// Other names for it.
    const ALIASES: &'static [&'static str] = &[];
    /// Where it may be sent from.
    const PLACE: Place = Place::Anywhere;
    /// Kinds that show the same in a better way: where one of them is active and sends, this one is skipped as
    /// [`yielded`](crate::Reason::Yielded).
    const YIELDS_TO: &'static [&'static str] = &[];
    /// Its params. Fields of type [`Secret`](crate::Secret) are never printed.
    type Params: DeserializeOwned + JsonSchema + Debug;
    /// The sender.
    type Sender: Sender;

    /// Whether there is a display for it here. A kind that is not active is skipped as
    /// [`yielded`](crate::Reason::Yielded), never failed. Default: always.
    fn is_active(_cx: &BuildContext) -> bool {
        true
    }

    /// Fills in params that are missing, from the environment in `cx`. Explicit params are never changed.
    fn complete(_params: &mut Map, _cx: &BuildContext) {}

    /// Checks the rules that a schema cannot express. No I/O.
    fn validate(_params: &Self::Params, _cx: &BuildContext) -> Findings {
        Findings::default()
    }

    /// May create clients; must not connect, spawn or block.
    ///
    /// # Errors
    /// When no sender can be built from the params.
    fn build(params: Self::Params, cx: &BuildContext) -> Result<Self::Sender>;
}

/// Where a kind may be sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The runner's process or the server.
    Anywhere,
    /// The runner's process only: it prints for the user there.
    HereOnly,
}

/// The limits that the runtime enforces for a sender. Debug shows no bucket.
#[derive(Clone)]
pub struct Limits {
    /// The destination: `host:port` for a sender that uses the network. Permits and pace are kept for each.
    pub destination: Arc<str>,
    /// The account to which the target's limits apply: a hook, a channel, a token. Pace and Retry-After apply to all
    /// deliveries of the bucket. `None` if it is unknown; then the pace applies to the destination and a Retry-After to one
    /// delivery. May be a secret: never printed, and stored only as a keyed hash.
    pub bucket: Option<Arc<str>>,
    /// How many attempts the destination is given at once; `None` for as many as the runtime allows any (64).
    pub at_once: Option<usize>,
    /// How fast the destination may be written to; `None` for no limit.
    pub pace: Option<Pace>,
    /// How long one attempt may take, 1–60 s.
    pub timeout: Duration,
}

impl Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("destination", &self.destination)
            .field("at_once", &self.at_once)
            .field("pace", &self.pace)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Limits {
    /// The default timeout, no pace, and as many at once as the runtime allows.
    pub fn of(destination: impl Into<Arc<str>>) -> Self {
        Limits { destination: destination.into(), bucket: None, at_once: None, pace: None, timeout: ATTEMPT_TIMEOUT }
    }
}

/// At most `count` sends in any `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The number of sends.
    pub count: u32,
    /// The period.
    pub period: Duration,
}

/// The context of one attempt.
#[derive(Debug)]
pub struct SendContext<'a> {
    /// The delivery's key.
    pub key: DeliveryKey,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The deadline of the attempt.
    pub deadline: Instant,
    /// The time to sign with.
    pub now: Timestamp,
    written: &'a AtomicBool,
    secrets: Option<&'a SecretValues>,
}

impl<'a> SendContext<'a> {
    /// The context of attempt number `attempt`; `written` records whether bytes may have left.
    pub fn new(key: DeliveryKey, attempt: u32, deadline: Instant, now: Timestamp, written: &'a AtomicBool) -> Self {
        SendContext { key, attempt, deadline, now, written, secrets: None }
    }

    /// Sets the secrets of the notification, which an answer may repeat.
    #[must_use]
    pub fn with_secrets(mut self, secrets: &'a SecretValues) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// `text` without the secrets of the notification: what a target answers may repeat them.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.map_or(Cow::Borrowed(text), |secrets| secrets.mask(text, REDACTED))
    }

    /// Called by a sender once bytes of the request may have left: a timeout after that is ambiguous.
    pub fn written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }
}

/// The target's answer in a word or two: `200`. Never a body, never a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The answer.
    pub answer: Cow<'static, str>,
}

/// Wraps a sender: erased in, erased out. For embedders that count, trace or record; retries, limits and timeouts
/// belong to the runtime.
pub trait Layer: Debug + Send + Sync {
    /// The sender to use in place of `inner`.
    fn layer(&self, inner: Arc<dyn Sender>) -> Arc<dyn Sender>;
}
