//! A client of the server, on a number of connections, each of which waits for its response.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::event::Request;

/// How long a response may take after the time of a closed loop is over.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Driver {
    address: SocketAddr,
    authorization: Arc<str>,
}

/// A connection that reads no more of a response than it must: the driver is to leave the cores to the server.
pub(crate) struct Connection {
    stream: TcpStream,
    authorization: Arc<str>,
    read: Vec<u8>,
}

/// The outcome of a closed loop.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Events that the server accepted.
    pub(crate) accepted: usize,
    /// Events that the server refused or did not answer in time.
    pub(crate) failed: usize,
    /// From the first request to the last response.
    pub(crate) took: Duration,
}

impl Answers {
    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

impl Driver {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Driver { address, authorization: format!("Bearer {token}").into() }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Connection { stream, authorization: Arc::clone(&self.authorization), read: vec![0; 16 * 1024] }
    }

    /// Returns of each event its uid, the time of the request, and how long the response took.
    pub(crate) async fn post_all(&self, events: Vec<Request>, connections: usize) -> Vec<(String, Instant, Duration)> {
        let share = events.len().div_ceil(connections);
        let loops = events.chunks(share).map(|chunk| async move {
            let mut connection = self.connect().await;
            let mut posted = Vec::with_capacity(chunk.len());
            for (path, body) in chunk {
                let started = Instant::now();
                connection.post(path, body.clone()).await;
                let uid = path.split('/').nth(6).expect("a uid").to_owned();
                posted.push((uid, started, started.elapsed()));
            }
            posted
        });
        join_all(loops).await.into_iter().flatten().collect()
    }

    /// Posts what `make` returns for 0, 1, … below `count`, until `limit` is over. What one call returns is posted in its
    /// order, by one connection.
    pub(crate) async fn closed_loop(
        &self,
        connections: usize,
        count: usize,
        limit: Duration,
        make: impl Fn(usize) -> Vec<Request>,
    ) -> Answers {
        let (next, accepted, posted) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let started = Instant::now();
        let one_loop = async || {
            let mut connection = self.connect().await;
            while started.elapsed() < limit && next.get() < count {
                let number = next.replace(next.get() + 1);
                for (path, body) in make(number) {
                    posted.set(posted.get() + 1);
                    match connection.try_post(&path, body).await {
                        Ok(true) => accepted.set(accepted.get() + 1),
                        Ok(false) => {}
                        Err(_) => connection = self.connect().await,
                    }
                }
            }
        };
        let all = join_all((0..connections).map(|_| one_loop()));
        // What is not answered by then counts as failed.
        let _ = timeout_at((started + limit + GRACE).into(), all).await;
        let accepted = accepted.get();
        Answers { accepted, failed: posted.get() - accepted, took: started.elapsed() }
    }
}

impl Connection {
    /// Posts an event that the server must accept.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) {
        let is_accepted = self.try_post(path, body).await.expect("a response");
        assert!(is_accepted, "{}", String::from_utf8_lossy(&self.read[..200]));
    }

    /// Posts an event, and returns whether the server accepted it.
    ///
    /// # Errors
    /// When the connection ends before the response.
    pub(crate) async fn try_post(&mut self, path: &str, body: Bytes) -> io::Result<bool> {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nauthorization: {}\r\n\
             content-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        self.stream.write_all(&request).await?;
        let mut filled = 0;
        while !is_whole(&self.read[..filled]) {
            match self.stream.read(&mut self.read[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        }
        Ok(self.read.starts_with(b"HTTP/1.1 200"))
    }
}

/// Whether a response is there with its whole body.
fn is_whole(response: &[u8]) -> bool {
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&response[..end]).expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    response.len() >= end + 4 + length.parse::<usize>().expect("a number")
}
