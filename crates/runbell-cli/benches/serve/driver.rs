//! Tells events over a number of connections, each waiting for its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::json;

pub(crate) struct Driver {
    address: SocketAddr,
    authorization: Arc<str>,
}

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authorization: Arc<str>,
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
        let stream = tokio::net::TcpStream::connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection { sender, authorization: Arc::clone(&self.authorization) }
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
        let request = Request::post(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .header("authorization", &*self.authorization)
            .body(Full::new(body))
            .expect("a request");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    }
}
