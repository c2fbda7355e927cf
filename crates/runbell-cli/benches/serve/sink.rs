//! Where deliveries go: answers 200, and notes when each path came first.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

pub(crate) struct Sink {
    address: SocketAddr,
    arrivals: Arrivals,
    came: Arc<Notify>,
}

impl Sink {
    /// On a thread of its own.
    pub(crate) fn start() -> Self {
        let (arrivals, came) = (Arrivals::default(), Arc::new(Notify::new()));
        let (sender, address) = std::sync::mpsc::channel();
        let (noting, telling) = (Arc::clone(&arrivals), Arc::clone(&came));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("an address")).expect("somebody waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    stream.set_nodelay(true).expect("no delay");
                    let (arrivals, came) = (Arc::clone(&noting), Arc::clone(&telling));
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (arrivals, came) = (Arc::clone(&arrivals), Arc::clone(&came));
                        async move {
                            let path = request.uri().path().trim_start_matches('/').to_owned();
                            request.into_body().collect().await.map(drop).unwrap_or_default();
                            arrivals.lock().expect("a lock").entry(path).or_insert_with(Instant::now);
                            came.notify_waiters();
                            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                        }
                    });
                    tokio::spawn(
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                    );
                }
            });
        });
        Sink { address: address.recv().expect("an address"), arrivals, came }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn reset(&self) {
        self.arrivals.lock().expect("a lock").clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.arrivals.lock().expect("a lock").len()
    }

    /// When it came; panics when it did not.
    pub(crate) fn arrived(&self, path: &str) -> Instant {
        self.arrivals.lock().expect("a lock")[path]
    }

    /// When it comes.
    pub(crate) async fn arrival(&self, path: &str) -> Instant {
        loop {
            let came = self.came.notified();
            let mut came = std::pin::pin!(came);
            came.as_mut().enable();
            if let Some(at) = self.arrivals.lock().expect("a lock").get(path) {
                return *at;
            }
            came.await;
        }
    }

    /// Until so many paths came.
    pub(crate) async fn until(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.count() < count {
            assert!(Instant::now() < deadline, "{} of {count} came", self.count());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
