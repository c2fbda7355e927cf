//! Where deliveries go: answers 200, and notes when each path came first.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// The largest body that a recorded delivery keeps, in bytes: those of `event::lane`.
const SMALL: usize = 64;

pub(crate) struct Sink {
    address: SocketAddr,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    arrivals: Mutex<HashMap<String, Instant>>,
    /// Every delivery in the order of arrival, where that is wanted.
    records: Option<Mutex<Vec<Record>>>,
    came: Notify,
}

/// A delivery that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) path: String,
    /// Empty when it was large.
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Notes {
    fn note(&self, path: String, body: Bytes) {
        let at = Instant::now();
        if let Some(records) = &self.records {
            let body = if body.len() <= SMALL { body } else { Bytes::new() };
            records.lock().expect("a lock").push(Record { path: path.clone(), body, at });
        }
        self.arrivals.lock().expect("a lock").entry(path).or_insert(at);
        self.came.notify_waiters();
    }
}

impl Sink {
    /// A sink on a free port and a thread of its own.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"), Notes::default())
    }

    /// A sink that records every delivery.
    pub(crate) fn recording(listener: TcpListener) -> Self {
        Self::on(listener, Notes { records: Some(Mutex::default()), ..Notes::default() })
    }

    fn on(listener: TcpListener, notes: Notes) -> Self {
        let (address, notes) = (listener.local_addr().expect("an address"), Arc::new(notes));
        listener.set_nonblocking(true).expect("a socket");
        let noting = Arc::clone(&notes);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                accept(tokio::net::TcpListener::from_std(listener).expect("a listener"), noting).await;
            });
        });
        Sink { address, notes }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn reset(&self) {
        self.notes.arrivals.lock().expect("a lock").clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.notes.arrivals.lock().expect("a lock").len()
    }

    /// The time of an arrival; panics when there was none.
    pub(crate) fn arrived(&self, path: &str) -> Instant {
        self.notes.arrivals.lock().expect("a lock")[path]
    }

    /// The time of an arrival; `None` when there was none before `end`.
    pub(crate) async fn arrival(&self, path: &str, end: Instant) -> Option<Instant> {
        let arrival = async {
            loop {
                let mut came = std::pin::pin!(self.notes.came.notified());
                came.as_mut().enable();
                if let Some(at) = self.notes.arrivals.lock().expect("a lock").get(path) {
                    return *at;
                }
                came.await;
            }
        };
        timeout_at(end.into(), arrival).await.ok()
    }

    /// Waits for so many paths, at most for `limit`; returns how many came.
    pub(crate) async fn until(&self, count: usize, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        while self.count() < count && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.count()
    }

    /// How many deliveries arrived, and the time of the last.
    pub(crate) fn last_record(&self) -> (usize, Option<Instant>) {
        let records = self.notes.records.as_ref().expect("a recording sink").lock().expect("a lock");
        (records.len(), records.last().map(|record| record.at))
    }

    /// Every delivery, in the order of arrival.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.notes.records.as_ref().expect("a recording sink").lock().expect("a lock").clone()
    }
}

async fn accept(listener: tokio::net::TcpListener, notes: Arc<Notes>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let notes = Arc::clone(&notes);
        let service = service_fn(move |request: Request<Incoming>| {
            let notes = Arc::clone(&notes);
            async move {
                let path = request.uri().path().trim_start_matches('/').to_owned();
                // Half a request is no delivery.
                if let Ok(body) = request.into_body().collect().await {
                    notes.note(path, body.to_bytes());
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
