//! Tells events over a number of connections, each waiting for its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::body::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Driver {
    address: SocketAddr,
    authorization: Arc<str>,
}

/// A connection that writes what was made before, and reads no more of an answer than it must: the driver is to leave the
/// cores to the server.
pub(crate) struct Connection {
    stream: TcpStream,
    authorization: Arc<str>,
    read: Vec<u8>,
}

/// The path and body of an event: a run that ended, with one signed webhook.
pub(crate) fn event(uid: &str, url: &str) -> (String, Bytes) {
    let body = json!({
        "run": {
            "metadata": { "project": "benchmark", "uid": uid, "name": "train-model", "iteration": 0,
                "labels": { "host": "worker-7f9c5d", "owner": "dana", "kind": "job" } },
            "spec": { "parameters": { "epochs": 10, "batch": 64 } },
            "status": { "state": "completed", "results": { "accuracy": 0.937, "drift": 0.25, "rows": 17 },
                "start_time": "2026-03-01T10:00:00.123456+00:00", "end_time": "2026-03-01T11:00:00.654321+00:00",
                "status_text": "finished on a preemptible node after one checkpoint restore" },
        },
        "notifications": [{ "kind": "webhook", "name": "hook", "message": "nightly",
            "secret_params": { "url": url, "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } }],
    });
    (format!("/api/v1/projects/benchmark/runs/{uid}/events"), Bytes::from(body.to_string()))
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

    /// Returns of each event its uid, when it was told, and how long the answer took.
    pub(crate) async fn post_all(
        &self,
        events: Vec<(String, Bytes)>,
        connections: usize,
    ) -> Vec<(String, Instant, Duration)> {
        let share = events.len().div_ceil(connections);
        let loops = events.chunks(share).map(|chunk| async move {
            let mut connection = self.connect().await;
            let mut told = Vec::with_capacity(chunk.len());
            for (path, body) in chunk {
                let started = Instant::now();
                connection.post(path, body.clone()).await;
                let uid = path.split('/').nth(6).expect("a uid").to_owned();
                told.push((uid, started, started.elapsed()));
            }
            told
        });
        join_all(loops).await.into_iter().flatten().collect()
    }
}

impl Connection {
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nauthorization: {}\r\n\
             content-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        self.stream.write_all(&request).await.expect("written");
        let mut filled = 0;
        while !is_whole(&self.read[..filled]) {
            let more = self.stream.read(&mut self.read[filled..]).await.expect("an answer");
            assert!(more > 0, "the connection was closed");
            filled += more;
        }
        let answer = &self.read[..filled];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    }
}

/// Whether an answer is there with its whole body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    answer.len() >= end + 4 + length.parse::<usize>().expect("a number")
}
