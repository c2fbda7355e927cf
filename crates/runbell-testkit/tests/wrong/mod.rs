//! Wrong senders: the correct one, each with one thing spoilt.

pub(crate) mod kinds;
pub(crate) mod printers;

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use runbell_core::{
    BuildContext, Error, ErrorKind, Findings, HeaderValue, HttpRequest, Limits, Message, Note, NoteCode, Payload,
    Receipt, Rendered, Result, Retry, SendContext, Sender, SenderKind, async_trait,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PagerParams, PagerSender, broken, classify, request_bytes};

macro_rules! names {
    ($($name:ident)*) => { names!(@ 0; $($name)*); };
    (@ $value:expr; $name:ident $($rest:ident)*) => {
        pub(crate) const $name: u32 = $value;
        names!(@ $value + 1; $($rest)*);
    };
    (@ $value:expr;) => {};
}

names! {
    WAITS_IN_MILLISECONDS IGNORES_DATES URL_IN_ERROR URL_IN_CAUSE TOKEN_IN_BASE64 HALF_URL_IN_ERROR URL_IN_DEBUG
    URL_IN_NOTE TOKEN_IN_PLAIN_HEADER URL_IN_RECEIPT URL_IN_LOG URL_IN_LOG_RECORD QUOTES_THE_BODY SWALLOWS_REDIRECTS
    RETRIES_REFUSALS NOT_UNAUTHORIZED RETRIES_INSIDE READS_TO_THE_END PANICS NEVER_RETRIES NEVER_AMBIGUOUS
    NEVER_WRITTEN WANTS_THE_BODY RENDERS_BY_COUNT RENDERS_THE_TIME NEEDS_A_RUN HIDDEN_HEADER OTHER_BODY GOES_ON
    STAYS_BUSY ONE_AT_A_TIME CONNECTS_IN_BUILD OTHER_DESTINATION HOURS WRONG_PATH QUOTES_THE_VALUE REFUSES_IN_BUILD
}

/// The pager with defect number `D`.
pub(crate) struct Wrong<const D: u32>;

pub(crate) struct WrongSender<const D: u32> {
    right: PagerSender,
    cx: BuildContext,
    count: AtomicU32,
    busy: AtomicBool,
    ready: tokio::sync::Mutex<bool>,
}

impl<const D: u32> SenderKind for Wrong<D> {
    const KIND: &'static str = "wrong";
    type Params = PagerParams;
    type Sender = WrongSender<D>;

    fn validate(params: &PagerParams, _cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        let url = params.url.reveal();
        if !url.starts_with("http://") {
            match D {
                WRONG_PATH => found.fault("webhook", "must be an http URL"),
                QUOTES_THE_VALUE => found.fault("url", format!("{url} is no http URL")),
                REFUSES_IN_BUILD => {}
                _ => found.fault("url", "must be an http URL"),
            }
        }
        found
    }

    fn build(params: PagerParams, cx: &BuildContext) -> Result<WrongSender<D>> {
        if !params.url.reveal().starts_with("http://") {
            return Err(Error::new(ErrorKind::ParamsInvalid, "url: must be an http URL"));
        }
        let right = PagerSender(params);
        if D == CONNECTS_IN_BUILD {
            drop(std::net::TcpStream::connect(&*right.limits().destination));
        }
        let (count, busy, ready) = (AtomicU32::new(0), AtomicBool::new(false), tokio::sync::Mutex::new(true));
        Ok(WrongSender { right, cx: cx.clone(), count, busy, ready })
    }
}

impl<const D: u32> Debug for WrongSender<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if D == URL_IN_DEBUG { f.write_str(self.url()) } else { f.write_str("WrongSender") }
    }
}

impl<const D: u32> WrongSender<D> {
    fn url(&self) -> &str {
        self.right.0.url.reveal()
    }

    fn spoil_request(&self, request: &mut HttpRequest, message: &Message) {
        let plain = |text: String| HeaderValue::Plain(text);
        match (D, &self.right.0.token) {
            (TOKEN_IN_PLAIN_HEADER, Some(token)) => request.set_header("x-token", plain(token.reveal().clone())),
            (RENDERS_BY_COUNT, _) => {
                request.set_header("x-count", plain(self.count.fetch_add(1, Ordering::Relaxed).to_string()));
            }
            (RENDERS_THE_TIME, _) => request.set_header("x-time", plain(self.cx.clock.now().to_string())),
            (NEEDS_A_RUN, _) => request.set_header("x-state", plain(message.runs[0].state().to_string())),
            _ => {}
        }
    }

    fn spoil_error(&self, error: Error) -> Error {
        let again = |kind, message: String| Error::new(kind, message);
        let token = self.right.0.token.as_ref().map(|token| token.reveal().clone()).unwrap_or_default();
        match (D, error.retry_advice()) {
            (WAITS_IN_MILLISECONDS, Retry::After(wait)) => error.retry_after(Duration::from_millis(wait.as_secs())),
            (IGNORES_DATES, Retry::After(wait)) if wait > Duration::from_secs(30) => error.retry(),
            (URL_IN_ERROR, _) => error.with("url", self.url()),
            (URL_IN_CAUSE, _) => error.caused_by(std::io::Error::other(self.url().to_owned())),
            (TOKEN_IN_BASE64, _) => {
                error.with("basic", base64::engine::general_purpose::STANDARD.encode(format!("user:{token}")))
            }
            (HALF_URL_IN_ERROR, _) => error.with("url", &self.url()[..self.url().len() - 16]),
            (RETRIES_REFUSALS, Retry::Never) => error.retry(),
            (NOT_UNAUTHORIZED, _) if error.kind() == ErrorKind::Unauthorized => {
                again(ErrorKind::Rejected, error.message().to_owned())
            }
            (NEVER_RETRIES, _) => again(error.kind(), error.message().to_owned()),
            (NEVER_AMBIGUOUS, Retry::Backoff) => again(error.kind(), error.message().to_owned()).retry(),
            (PANICS, _) if error.is_ambiguous() => panic!("it is no HTTP"),
            _ => error,
        }
    }

    /// Reads the whole answer, whatever its length.
    async fn read_all(&self, request: &HttpRequest, cx: &SendContext<'_>) -> Result<(Receipt, Vec<u8>)> {
        let mut stream =
            TcpStream::connect(&*self.right.limits().destination).await.map_err(|_| broken("it does not accept"))?;
        cx.written();
        stream.write_all(&request_bytes(request)).await.map_err(|_| broken("it breaks off").ambiguous())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|_| broken("it breaks off").ambiguous())?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| text.starts_with("HTTP/")) else {
            return Err(broken("it breaks off").ambiguous());
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if D == WANTS_THE_BODY && length.is_some_and(|length: usize| length > body.len()) {
            return Err(broken("the body is cut off").ambiguous());
        }
        let body = body.as_bytes().to_vec();
        classify(head, cx.now).map(|receipt| (receipt, body))
    }

    async fn send_right(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Http(request) = payload else { return self.right.send(payload, cx).await };
        match D {
            READS_TO_THE_END | WANTS_THE_BODY => self.read_all(request, cx).await.map(|(receipt, _)| receipt),
            QUOTES_THE_BODY => {
                let (_, body) = self.read_all(request, cx).await?;
                Ok(Receipt { answer: String::from_utf8_lossy(&body).into_owned().into() })
            }
            NEVER_WRITTEN => {
                let unseen = AtomicBool::new(false);
                let cx = SendContext::new(cx.key, cx.attempt, cx.deadline, cx.now, &unseen);
                self.right.send(payload, &cx).await
            }
            HIDDEN_HEADER | OTHER_BODY => {
                let mut request = request.clone();
                if D == HIDDEN_HEADER {
                    request.set_header("x-hidden", HeaderValue::Plain("1".to_owned()));
                } else {
                    request.body = [&request.body[..], b"\n"].concat().into();
                }
                self.right.send(&Payload::Http(request), cx).await
            }
            GOES_ON => {
                let (right, payload) = (self.right.clone(), payload.clone());
                let (key, now) = (cx.key, cx.now);
                cx.written();
                let task = tokio::spawn(async move {
                    let unseen = AtomicBool::new(false);
                    right.send(&payload, &SendContext::new(key, 1, Instant::now(), now, &unseen)).await
                });
                task.await.map_err(|_| broken("it breaks off"))?
            }
            _ => self.right.send(payload, cx).await,
        }
    }
}

#[async_trait]
impl<const D: u32> Sender for WrongSender<D> {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let mut rendered = self.right.render(message)?;
        if let Payload::Http(request) = &mut rendered.payload {
            self.spoil_request(request, message);
        }
        if D == URL_IN_NOTE {
            rendered.notes.push(Note::new(NoteCode::Other, format!("for {}", self.url())));
        }
        Ok(rendered)
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        match D {
            URL_IN_LOG => tracing::trace!(url = self.url(), "posting"),
            URL_IN_LOG_RECORD => log::trace!("posting to {}", self.url().replace("/", "%2F")),
            ONE_AT_A_TIME if self.busy.swap(true, Ordering::Relaxed) => return Err(broken("busy")),
            _ => {}
        }
        let mut result = if D == STAYS_BUSY {
            let mut ready = self.ready.lock().await;
            if !std::mem::take(&mut *ready) {
                return Err(broken("busy"));
            }
            let result = self.send_right(payload, cx).await;
            // A dropped future never gets here.
            *ready = true;
            result
        } else {
            self.send_right(payload, cx).await
        };
        self.busy.store(false, Ordering::Relaxed);
        if D == RETRIES_INSIDE && result.is_err() {
            result = self.send_right(payload, cx).await;
        }
        match result {
            Ok(_) if D == URL_IN_RECEIPT => Ok(Receipt { answer: self.url().to_owned().into() }),
            Err(error) if D == SWALLOWS_REDIRECTS && error.to_string().contains("status=30") => Ok(Receipt::default()),
            Err(error) => Err(self.spoil_error(error)),
            good => good,
        }
    }

    fn limits(&self) -> Limits {
        match D {
            OTHER_DESTINATION => Limits::of("hooks.example:443"),
            HOURS => Limits { timeout: Duration::from_secs(3600), ..self.right.limits() },
            _ => self.right.limits(),
        }
    }
}
