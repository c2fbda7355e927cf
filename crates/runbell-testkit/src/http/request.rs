//! The requests that the fake peer records, and their parser.

use std::io;
use std::time::Instant;

use runbell_core::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How large a request's head may be: 1 MiB, so that a header made of a whole run is seen rather than refused.
const MAX_HEAD: usize = 1 << 20;
const MAX_HEADERS: usize = 256;

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST`, …
    pub method: String,
    /// Path and query exactly as sent.
    pub path: String,
    /// Names as spelt and values, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, decoded when it came in chunks.
    pub body: Bytes,
    /// Which connection it came by, counted from 0.
    pub connection: usize,
    /// When it was complete.
    pub at: Instant,
}

impl Request {
    /// The first header of this name, in any letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }

    fn lists(&self, header: &str, word: &str) -> bool {
        self.header(header).is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }

    /// Whether the peer may keep the connection open.
    pub(super) fn keeps_alive(&self) -> bool {
        !self.lists("connection", "close")
    }
}

/// Reads one request; `None` at the end of the connection.
///
/// `buffer` holds what was read ahead. An error is a request that cannot be understood.
pub(super) async fn read<S>(stream: &mut S, buffer: &mut Vec<u8>, connection: usize) -> io::Result<Option<Request>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = loop {
        if let Some((head, length)) = parse_head(buffer, connection)? {
            buffer.drain(..length);
            break head;
        }
        if buffer.len() > MAX_HEAD {
            return Err(malformed("the head is too large"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(malformed("the head is cut off")) };
        }
    };
    if request.lists("expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    request.body = if request.lists("transfer-encoding", "chunked") {
        read_chunks(stream, buffer).await?
    } else {
        let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| malformed("length"))?;
        take(stream, buffer, length).await?
    }
    .into();
    request.at = Instant::now();
    Ok(Some(request))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn parse_head(buffer: &[u8], connection: usize) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(malformed("the head is no HTTP")),
    };
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        connection,
        at: Instant::now(),
    };
    Ok(Some((request, length)))
}

/// Exactly `length` bytes.
async fn take<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(malformed("the body is cut off"));
        }
    }
    Ok(buffer.drain(..length).collect())
}

async fn read_chunks<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (line, size) = loop {
            match httparse::parse_chunk_size(buffer).map_err(|_| malformed("a chunk's size"))? {
                httparse::Status::Complete(found) => break found,
                httparse::Status::Partial if stream.read_buf(buffer).await? == 0 => {
                    return Err(malformed("the body is cut off"));
                }
                httparse::Status::Partial => {}
            }
        };
        buffer.drain(..line);
        let size = usize::try_from(size).map_err(|_| malformed("a chunk's size"))?;
        body.extend(take(stream, buffer, size).await?);
        // Every chunk, the empty last one too, ends with a line break; trailers are not supported.
        take(stream, buffer, 2).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}
