//! The answers of the fake peer: good ones, bad ones, none.

use std::io;

use runbell_core::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Shared;
use super::request::Request;

/// The peer's answer to a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FakeAnswer {
    plan: Plan,
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    echo: bool,
    held: Option<watch::Receiver<bool>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Whole,
    Close,
    Reset,
    HalfHead,
    HalfBody,
    Silence,
    EndlessHead,
    EndlessBody,
    Garbage,
}

/// Holds an answer back until it is released or dropped.
#[derive(Debug)]
pub struct Hold(watch::Sender<bool>);

impl Hold {
    /// Lets the answer go.
    pub fn release(self) {
        self.0.send_replace(true);
    }
}

impl FakeAnswer {
    fn plan(plan: Plan, status: u16) -> Self {
        FakeAnswer { plan, status, headers: Vec::new(), body: Bytes::new(), echo: false, held: None }
    }

    /// This status, no headers but the length, an empty body.
    pub fn status(status: u16) -> Self {
        FakeAnswer::plan(Plan::Whole, status)
    }

    /// 200 with the body `ok`.
    pub fn ok() -> Self {
        FakeAnswer::status(200).body("ok")
    }

    /// A redirect to `location`.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        FakeAnswer::status(status).header("location", location)
    }

    /// Closes the connection once the request has been read.
    pub fn close() -> Self {
        FakeAnswer::plan(Plan::Close, 0)
    }

    /// Resets the connection once the request has been read.
    pub fn reset() -> Self {
        FakeAnswer::plan(Plan::Reset, 0)
    }

    /// Closes the connection in the middle of the head.
    pub fn half_head() -> Self {
        FakeAnswer::plan(Plan::HalfHead, 200)
    }

    /// Promises a longer body than it sends, then closes the connection.
    pub fn half_body(status: u16) -> Self {
        FakeAnswer::plan(Plan::HalfBody, status)
    }

    /// Never answers; the connection stays open for as long as the client keeps it.
    pub fn black_hole() -> Self {
        FakeAnswer::plan(Plan::Silence, 0)
    }

    /// A body in chunks that never ends; [`bytes_sent`](super::FakeHttp::bytes_sent) counts them.
    pub fn endless_body(status: u16) -> Self {
        FakeAnswer::plan(Plan::EndlessBody, status)
    }

    /// Headers that never end; [`bytes_sent`](super::FakeHttp::bytes_sent) counts them.
    pub fn endless_head() -> Self {
        FakeAnswer::plan(Plan::EndlessHead, 200)
    }

    /// Bytes that are no HTTP, then closes the connection.
    pub fn garbage() -> Self {
        FakeAnswer::plan(Plan::Garbage, 0)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Repeats the request's head in the body and its path in the header `x-echo`, as careless targets do.
    #[must_use]
    pub fn echoing(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Holds the answer back until the test releases it.
    #[must_use]
    pub fn held(mut self) -> (Self, Hold) {
        let (sender, receiver) = watch::channel(false);
        self.held = Some(receiver);
        (self, Hold(sender))
    }

    /// The body.
    pub(crate) fn body_bytes(&self) -> &Bytes {
        &self.body
    }

    /// The same answer with another status; one of those that have no body loses it.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Plays the answer. Returns whether the connection may serve another request.
    pub(super) async fn play(
        mut self,
        request: &Request,
        stream: &mut TcpStream,
        ahead: &mut Vec<u8>,
        shared: &Shared,
    ) -> io::Result<bool> {
        if let Some(mut held) = self.held.take() {
            tokio::select! {
                // A hold that was dropped is a hold that was released.
                _ = held.wait_for(|released| *released) => {}
                () = until_gone(stream, ahead) => return Ok(false),
            }
        }
        if self.echo {
            self.add_echo(request);
        }
        match self.plan {
            Plan::Whole => {
                let with_body = request.method != "HEAD" && !matches!(self.status, 100..=199 | 204 | 304);
                let mut out = self.head(with_body.then_some(self.body.len()));
                if with_body {
                    out.extend_from_slice(&self.body);
                }
                stream.write_all(&out).await?;
                return Ok(request.keeps_alive());
            }
            Plan::Close => {}
            Plan::Reset => stream.set_zero_linger()?,
            Plan::HalfHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/pl").await?,
            Plan::HalfBody => {
                let mut out = self.head(Some(self.body.len() + 4096));
                out.extend_from_slice(&self.body);
                stream.write_all(&out).await?;
            }
            Plan::Silence => until_gone(stream, ahead).await,
            Plan::EndlessHead => {
                stream.write_all(format!("HTTP/1.1 {} OK\r\n", self.status).as_bytes()).await?;
                let line = format!("x-filler: {}\r\n", "a".repeat(8 * 1024 - 12));
                flood(stream, line.as_bytes(), shared).await?;
            }
            Plan::EndlessBody => {
                self.headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
                stream.write_all(&self.head(None)).await?;
                let chunk = format!("{:x}\r\n{}\r\n", 32 * 1024, "a".repeat(32 * 1024));
                flood(stream, chunk.as_bytes(), shared).await?;
            }
            Plan::Garbage => stream.write_all(b"\x00\xff\x16\x03SSH-2.0-nothing\r\n\r\n\xc3\x28").await?,
        }
        stream.shutdown().await?;
        Ok(false)
    }

    fn head(&self, length: Option<usize>) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} FakeAnswer\r\n", self.status);
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            out.push_str(&format!("content-length: {length}\r\n"));
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    fn add_echo(&mut self, request: &Request) {
        let mut text = format!("{} {}\n", request.method, request.path);
        for (name, value) in &request.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        self.headers.push(("x-echo".to_owned(), request.path.clone()));
        self.body = text.into();
    }
}

/// Writes `piece` until the client has had enough.
async fn flood(stream: &mut TcpStream, piece: &[u8], shared: &Shared) -> io::Result<()> {
    loop {
        stream.write_all(piece).await?;
        shared.update(|state| state.bytes_sent += piece.len() as u64);
    }
}

/// Resolves when the client closes the connection. What it sends meanwhile is kept for later.
async fn until_gone(stream: &mut TcpStream, ahead: &mut Vec<u8>) {
    while matches!(stream.read_buf(ahead).await, Ok(read) if read > 0) {}
}
