//! A correct kind by hand: HTTP/1.1 over a socket. What it makes of answers is next door.

use runbell_core::{
    BuildContext, Error, ErrorKind, Findings, HeaderValue, HttpHeader, HttpRequest, Limits, Message, Payload, Receipt,
    Rendered, Result, Secret, SendContext, Sender, SenderKind, async_trait,
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::wire::{classify, request_bytes, split};

/// Params of the pager.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct PagerParams {
    /// Where to post.
    pub(crate) url: Secret<String>,
    /// A token sent along.
    pub(crate) token: Option<Secret<String>>,
    /// How urgent it is.
    pub(crate) level: Option<u8>,
}

pub(crate) struct Pager;

#[derive(Debug, Clone)]
pub(crate) struct PagerSender(pub(crate) PagerParams);

impl SenderKind for Pager {
    const KIND: &'static str = "pager";
    type Params = PagerParams;
    type Sender = PagerSender;

    fn validate(params: &PagerParams, _cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        if split(params.url.reveal()).is_none() {
            found.fault("url", "must be an http URL");
        }
        found
    }

    fn build(params: PagerParams, _cx: &BuildContext) -> Result<PagerSender> {
        let valid = split(params.url.reveal()).is_some();
        valid.then_some(PagerSender(params)).ok_or_else(|| Error::new(ErrorKind::ParamsInvalid, "url: must be http"))
    }
}

#[async_trait]
impl Sender for PagerSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let names: Vec<&str> = message.runs.iter().map(|run| run.name()).collect();
        let body = serde_json::json!({"text": message.text, "level": self.0.level, "runs": names}).to_string();
        let mut headers =
            vec![HttpHeader { name: "webhook-id".to_owned(), value: HeaderValue::Plain(message.key.to_string()) }];
        headers.extend(self.0.token.clone().map(|token| {
            let value = HeaderValue::Secret(Secret::new(format!("Bearer {}", token.reveal())));
            HttpHeader { name: "authorization".to_owned(), value }
        }));
        let (method, url) = ("POST".to_owned(), self.0.url.clone());
        Ok(Rendered::new(Payload::Http(HttpRequest { method, url, headers, body: body.into() })))
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Http(request) = payload else { return Err(Error::new(ErrorKind::Internal, "not mine")) };
        let sent = request_bytes(request);
        let address = split(request.url.reveal()).map_or("", |(address, _)| address);
        let mut stream = TcpStream::connect(address).await.map_err(|_| broken("it does not accept"))?;
        cx.written();
        stream.write_all(&sent).await.map_err(|_| broken("it stops listening").ambiguous())?;
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read_buf(&mut answer).await.unwrap_or(0);
            if read == 0 || answer.len() > 16 << 10 || !b"HTTP/".starts_with(&answer[..answer.len().min(5)]) {
                return Err(broken("it breaks off").ambiguous());
            }
        }
        classify(&String::from_utf8_lossy(&answer), cx.now)
    }

    fn limits(&self) -> Limits {
        Limits::of(split(self.0.url.reveal()).map_or("", |(address, _)| address))
    }
}

pub(crate) fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::Unreachable, what).retry()
}
