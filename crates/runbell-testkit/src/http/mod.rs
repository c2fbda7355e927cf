//! A peer to send to: real HTTP/1.1 on the loopback interface, scripted answer by answer.

mod answer;
mod request;

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

pub use answer::{FakeAnswer, Hold};
pub use request::Request;

/// A real HTTP/1.1 server on 127.0.0.1 that records requests and gives scripted answers.
///
/// It lives on a thread of its own, so that a sender which blocks its thread gets answers all the same. Dropping
/// it closes every connection.
///
/// ```
/// # use runbell_testkit::{FakeAnswer, FakeHttp};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let peer = FakeHttp::start().await;
/// peer.answer(FakeAnswer::status(503).header("retry-after", "7")); // For the next request; 200 after that.
/// // … send something to peer.url("/hook") …
/// assert!(peer.requests().is_empty());
/// # });
/// ```
pub struct FakeHttp {
    shared: Arc<Shared>,
    address: SocketAddr,
    refused: TcpSocket,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type AnswerFn = dyn Fn(&Request) -> FakeAnswer + Send;

struct State {
    requests: Vec<Request>,
    malformed: usize,
    queue: VecDeque<FakeAnswer>,
    always: FakeAnswer,
    by: Option<Box<AnswerFn>>,
    connections: Vec<Connection>,
    bytes_sent: u64,
}

struct Connection {
    client: SocketAddr,
    open: bool,
    probe: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let out = change(&mut self.lock());
        self.changed.send_replace(());
        out
    }
}

impl Debug for FakeHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHttp").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has shown itself to the test already, as a connection without an answer.
            let _ = thread.join();
        }
    }
}

impl FakeHttp {
    /// Starts a peer that answers 200 `ok` until another answer is set.
    ///
    /// # Panics
    /// When the system has no port or thread left.
    #[expect(clippy::unused_async, reason = "starting may have to wait one day, and tests are async anyway")]
    pub async fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("the listener's address");
        // Bound and never listening: connecting is refused, and no other process can get the port meanwhile.
        let refused = TcpSocket::new_v4().expect("a socket");
        refused.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let state = State {
            requests: Vec::new(),
            malformed: 0,
            queue: VecDeque::new(),
            always: FakeAnswer::ok(),
            by: None,
            connections: Vec::new(),
            bytes_sent: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("fake-http".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
            })
            .expect("a thread");
        FakeHttp { shared, address, refused, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of this peer; `path` begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// An address that refuses connections for as long as this peer lives.
    pub fn refused_address(&self) -> SocketAddr {
        self.refused.local_addr().expect("the socket's address")
    }

    /// A URL that refuses connections for as long as this peer lives; `path` begins with `/`.
    pub fn refused_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.refused_address())
    }

    /// Sets the answer to one request; several wait in line. They come before every other way to answer.
    pub fn answer(&self, answer: FakeAnswer) -> &Self {
        self.shared.update(|state| state.queue.push_back(answer));
        self
    }

    /// Sets the answer to all requests that have none of their own. The contracts take it as this target's success.
    pub fn answer_always(&self, answer: FakeAnswer) -> &Self {
        self.shared.update(|state| {
            state.by = None;
            state.always = answer;
        });
        self
    }

    /// Answers by request, such as by its path.
    pub fn answer_with(&self, answer: impl Fn(&Request) -> FakeAnswer + Send + 'static) -> &Self {
        self.shared.update(|state| state.by = Some(Box::new(answer)));
        self
    }

    /// The default answer; `None` when a function decides.
    pub(crate) fn usual_answer(&self) -> Option<FakeAnswer> {
        let state = self.shared.lock();
        state.by.is_none().then(|| state.always.clone())
    }

    /// Every request so far, in the order they were complete.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests could not be understood.
    pub fn malformed(&self) -> usize {
        self.shared.lock().malformed
    }

    /// Takes what was recorded, and forgets answers that were not needed.
    pub fn take_requests(&self) -> Vec<Request> {
        self.shared.update(|state| {
            state.queue.clear();
            state.malformed = 0;
            state.bytes_sent = 0;
            std::mem::take(&mut state.requests)
        })
    }

    /// How many bytes endless answers have written since the last [`take_requests`](Self::take_requests).
    pub fn bytes_sent(&self) -> u64 {
        self.shared.lock().bytes_sent
    }

    /// How many connections have been accepted, closed ones included.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.iter().filter(|connection| !connection.probe).count()
    }

    /// Resolves once `count` requests are recorded.
    pub async fn until_requests(&self, count: usize) {
        self.until(|state| state.requests.len() >= count).await;
    }

    /// Resolves once the client has closed connection number `connection`.
    pub async fn until_closed(&self, connection: usize) {
        self.until(|state| state.connections.get(connection).is_some_and(|known| !known.open)).await;
    }

    /// Resolves once endless answers have written more than `bytes`.
    pub async fn until_bytes_sent(&self, bytes: u64) {
        self.until(|state| state.bytes_sent > bytes).await;
    }

    /// Resolves once every connection that was opened before is accepted, and so counted.
    ///
    /// Connections are accepted in order, so this opens one more and waits for it.
    ///
    /// # Panics
    /// When the peer cannot be connected to.
    pub async fn settle(&self) {
        let probe = TcpStream::connect(self.address).await.expect("the peer accepts");
        let client = probe.local_addr().expect("the probe's address");
        self.until(|state| state.connections.iter().any(|known| known.open && known.client == client)).await;
        self.shared.update(|state| {
            // The last of this address: ports come round again.
            if let Some(known) = state.connections.iter_mut().rev().find(|known| known.client == client) {
                known.probe = true;
            }
        });
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        while !holds(&self.shared.lock()) {
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let mut connections = JoinSet::new();
    loop {
        // Finished ones are taken out, or a long test would collect them.
        while connections.try_join_next().is_some() {}
        let Ok((stream, client)) = listener.accept().await else { continue };
        let id = shared.update(|state| {
            state.connections.push(Connection { client, open: true, probe: false });
            state.connections.len() - 1
        });
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            serve(stream, id, &shared).await;
            shared.update(|state| state.connections[id].open = false);
        });
    }
}

/// Serves one connection until either side has had enough.
async fn serve(mut stream: TcpStream, id: usize, shared: &Shared) {
    let mut ahead = Vec::new();
    loop {
        let request = match request::read(&mut stream, &mut ahead, id).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => return shared.update(|state| state.malformed += 1),
        };
        let answer = shared.update(|state| {
            state.requests.push(request.clone());
            match (state.queue.pop_front(), &state.by) {
                (Some(next), _) => next,
                (None, Some(by)) => by(&request),
                (None, None) => state.always.clone(),
            }
        });
        if !matches!(answer.play(&request, &mut stream, &mut ahead, shared).await, Ok(true)) {
            return;
        }
    }
}
