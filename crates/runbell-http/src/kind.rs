//! Kinds that speak HTTP: the trait of such a kind, and the sender made from it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::{
    ATTEMPT_TIMEOUT, BuildContext, Error, ErrorKind, Findings, HeaderValue, HttpRequest, Limits, Message, Note, Pace,
    Payload, Receipt, Rendered, Result, SendContext, Sender,
};

use crate::answer::{Answer, classify_status};
use crate::client::{Client, HttpOptions};
use crate::target::TargetUrl;

/// A kind that sends one HTTP request for each message.
pub trait HttpKind: Send + Sync + Debug + 'static {
    /// Where requests go. Asked for with every request, so keep it in the kind.
    fn target(&self) -> &TargetUrl;

    /// The request for a message; cuts and failed templates are added to `notes`. Pure.
    ///
    /// Everything is in it but `host`, `user-agent`, `accept` and `content-length`, which the client adds. A header
    /// that is only known when an attempt is made is [`HeaderValue::PerAttempt`] here.
    ///
    /// # Errors
    /// [`ErrorKind::Render`] when no useful request can be made.
    fn request(&self, message: &Message, notes: &mut Vec<Note>) -> Result<HttpRequest>;

    /// Fills in the headers that are [`HeaderValue::PerAttempt`]. Called only when there are any.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] unless overridden.
    fn finish(&self, _request: &mut HttpRequest, _cx: &SendContext<'_>) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "a header is left to the attempt, but the kind does not fill it in"))
    }

    /// The meaning of the answer. By default that of its status; see [`classify_status`].
    ///
    /// # Errors
    /// Whatever the answer says, and whether trying again can help. Never quote the body: it may echo secrets.
    fn classify(&self, answer: &Answer) -> Result<Receipt> {
        classify_status(answer)
    }

    /// How long one attempt may take, 1–60 s. Default 10 s.
    fn timeout(&self) -> Duration {
        ATTEMPT_TIMEOUT
    }

    /// How fast the target may be written to, all senders of a bucket together; without a bucket, all senders to one
    /// `host:port`. Default: no limit.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// The bucket that the target counts requests by: a hook's URL, a token. May be a secret; see [`Limits::bucket`].
    /// Default: none is known.
    fn bucket(&self) -> Option<Arc<str>> {
        None
    }
}

/// The sender of an [`HttpKind`].
#[derive(Debug)]
pub struct Http<K> {
    kind: K,
    client: Client,
    limits: Limits,
}

impl<K: HttpKind> Http<K> {
    /// Combines a kind with the shared client for these options. Does not connect.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when the target is no URL or its address is refused, and as [`Client::new`].
    pub fn new(kind: K, cx: &BuildContext, options: HttpOptions) -> Result<Self> {
        let mut found = Findings::default();
        kind.target().validate("target", cx, &mut found);
        found.into_result()?;
        let limits = Limits {
            bucket: kind.bucket(),
            pace: kind.pace(),
            timeout: kind.timeout(),
            ..Limits::of(kind.target().destination())
        };
        Ok(Http { client: Client::new(cx, &options)?, kind, limits })
    }

    /// The kind.
    pub fn kind(&self) -> &K {
        &self.kind
    }
}

#[async_trait]
impl<K: HttpKind> Sender for Http<K> {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let mut notes = Vec::new();
        let request = self.kind.request(message, &mut notes)?;
        Ok(Rendered { payload: Payload::Http(request), notes })
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Http(request) = payload else {
            return Err(Error::new(ErrorKind::Internal, "an HTTP kind was given a payload that is no HTTP request"));
        };
        let url = self.kind.target().parsed(request.url.reveal());
        let answer = if request.headers.iter().any(|header| header.value == HeaderValue::PerAttempt) {
            let mut finished = request.clone();
            self.kind.finish(&mut finished, cx)?;
            self.client.send_to(url, &finished, cx).await?
        } else {
            self.client.send_to(url, request, cx).await?
        };
        self.kind.classify(&answer).map_err(|error| answer.explain(error))
    }

    fn limits(&self) -> Limits {
        self.limits.clone()
    }
}
