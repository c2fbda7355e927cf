//! Tells a server in the background: one event after the other, each until the server has it.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runbell_core::ATTEMPT_TIMEOUT;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{RemoteClient, RemoteEvent, Told};
use crate::flag::Flag;

/// The wait after the first failure, doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait, unless the server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long all tries of an event may take where their number is limited: somebody else has to send in time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Called with what the courier will not tell any more, and why.
type GiveUp = Arc<dyn Fn(&RemoteEvent, &str) + Send + Sync>;

/// How a [`Courier`] goes about it. The default never gives up on what may work later.
#[derive(Clone, Default)]
pub struct CourierOptions {
    tries: Option<u32>,
    on_given_up: Option<GiveUp>,
}

impl Debug for CourierOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CourierOptions").field("tries", &self.tries).finish_non_exhaustive()
    }
}

impl CourierOptions {
    /// Gives an event up after so many tries, or 10 s, or when the server wants to be left alone for longer than that,
    /// or wants something mended first.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries.max(1));
        self
    }

    /// Calls `on_given_up` with every event that is given up or that the server refuses for good, and the reason.
    #[must_use]
    pub fn on_given_up(mut self, on_given_up: impl Fn(&RemoteEvent, &str) + Send + Sync + 'static) -> Self {
        self.on_given_up = Some(Arc::new(on_given_up));
        self
    }
}

/// Tells a server in the background, in the order of [`enqueue`](Self::enqueue), until it has every event.
///
/// Nothing here blocks or fails: what is not told in the end is in [`stop`](Self::stop)'s hands.
#[derive(Debug)]
pub struct Courier {
    round: Arc<Round>,
    task: JoinHandle<()>,
}

/// What a courier could not tell.
#[derive(Debug, Clone, Default)]
pub struct Untold {
    /// The events, in order. The server may have the first one all the same.
    pub events: Vec<RemoteEvent>,
    /// Why the last try failed, when there was one.
    pub reason: Option<String>,
}

struct Round {
    client: RemoteClient,
    options: CourierOptions,
    queue: Mutex<VecDeque<RemoteEvent>>,
    news: Notify,
    /// Nothing more comes; set with the time until which telling makes sense.
    closed: Flag,
    until: Mutex<Option<Instant>>,
    done: Flag,
    reason: Mutex<Option<String>>,
}

impl Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What became of one event.
enum Outcome {
    Settled,
    GivenUp(String),
    /// It and everything behind it has to wait for somebody.
    Stuck,
}

impl Courier {
    /// Starts one, on the tokio runtime this is called in. It tells nothing before `first` is done.
    pub fn start(
        client: RemoteClient,
        options: CourierOptions,
        first: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let round = Arc::new(Round {
            client,
            options,
            queue: Mutex::default(),
            news: Notify::new(),
            closed: Flag::default(),
            until: Mutex::default(),
            done: Flag::default(),
            reason: Mutex::default(),
        });
        let working = Arc::clone(&round);
        let task = tokio::spawn(async move {
            first.await;
            working.work().await;
            working.done.set();
        });
        Courier { round, task }
    }

    /// Puts an event behind those that are not told yet. Never blocks.
    pub fn enqueue(&self, event: RemoteEvent) {
        lock(&self.round.queue).push_back(event);
        self.round.news.notify_one();
    }

    /// Waits until every event is told or given up, or the rest has to wait for longer than `limit` anyway.
    ///
    /// Does not end by itself at `limit`. Events that are enqueued after this may not be told.
    pub async fn drained(&self, limit: Duration) {
        *lock(&self.round.until) = Some(Instant::now() + limit);
        self.round.closed.set();
        self.round.news.notify_one();
        self.round.done.wait().await;
    }

    /// Stops telling, and returns what is left.
    pub fn stop(self) -> Untold {
        self.task.abort();
        let events = lock(&self.round.queue).drain(..).collect();
        Untold { events, reason: lock(&self.round.reason).take() }
    }
}

impl Round {
    async fn work(&self) {
        let mut patience = PATIENCE;
        while let Some(event) = self.next().await {
            match self.settle(&event, patience).await {
                Outcome::Settled => {}
                Outcome::GivenUp(why) => {
                    if let Some(on_given_up) = &self.options.on_given_up {
                        on_given_up(&event, &why);
                    }
                    // The next one finds the same server; what it needs is to be sent by somebody else.
                    patience = PATIENCE / 2;
                }
                Outcome::Stuck => return,
            }
            lock(&self.queue).pop_front();
        }
    }

    /// The oldest event, once there is one; `None` when no more come.
    async fn next(&self) -> Option<RemoteEvent> {
        loop {
            if let Some(event) = lock(&self.queue).front() {
                return Some(event.clone());
            }
            if self.closed.is_set() {
                return None;
            }
            // It keeps a permit for whoever comes between looking and waiting.
            self.news.notified().await;
        }
    }

    /// Tells one event until the server has said yes or no.
    async fn settle(&self, event: &RemoteEvent, patience: Duration) -> Outcome {
        let end = self.options.tries.map(|tries| (tries, Instant::now() + patience));
        let mut planned = FIRST_WAIT;
        for attempt in 1_u32.. {
            let limit = end.map_or(ATTEMPT_TIMEOUT, |(_, end)| ATTEMPT_TIMEOUT.min(end - Instant::now()));
            let (why, asked) = match self.client.tell_within(event, limit).await {
                Told::Accepted => return Outcome::Settled,
                Told::Refused(why) => return Outcome::GivenUp(why),
                Told::Kept(why) if end.is_some() => return Outcome::GivenUp(why),
                Told::Kept(why) => {
                    *lock(&self.reason) = Some(why);
                    return Outcome::Stuck;
                }
                Told::Later(why, asked) => (why, asked),
            };
            tracing::debug!(attempt, reason = why, "the server was not told");
            *lock(&self.reason) = Some(why.clone());
            let wake = Instant::now() + planned.max(asked.unwrap_or_default());
            if end.is_some_and(|(tries, end)| attempt >= tries || wake >= end) {
                return Outcome::GivenUp(why);
            }
            if !self.sleep_until(wake).await {
                return Outcome::Stuck;
            }
            planned = (planned * 2).min(LONGEST_WAIT);
        }
        Outcome::Stuck
    }

    /// Waits, unless nobody will wait for that long. Returns whether to go on.
    async fn sleep_until(&self, wake: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.closed.wait() => {}
            () = sleep_until(wake) => return true,
        }
        if lock(&self.until).is_some_and(|until| wake > until) {
            return false;
        }
        sleep_until(wake).await;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
