//! Reports events to a server in the background: one after the other, each until the server has it.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runbell_core::ATTEMPT_TIMEOUT;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{RemoteClient, RemoteEvent, Reported};
use crate::flag::Flag;

/// The wait after the first failure, doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait, unless the server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest time of all attempts at an event if their number is limited: a fallback has to send in time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Called with an event that is given up, and why.
type GiveUp = Arc<dyn Fn(&RemoteEvent, &str) + Send + Sync>;

/// Options of an [`EventQueue`]. By default, an event that may be accepted later is never given up.
#[derive(Clone, Default)]
pub struct EventQueueOptions {
    tries: Option<u32>,
    on_given_up: Option<GiveUp>,
}

impl Debug for EventQueueOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueueOptions").field("tries", &self.tries).finish_non_exhaustive()
    }
}

impl EventQueueOptions {
    /// Gives an event up after so many attempts or after 10 s, and at once when the server asks for a longer wait or
    /// blocks the event.
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

/// Reports events to a server in the background, in the order of [`enqueue`](Self::enqueue), until it has each.
///
/// Its methods neither block nor fail; [`stop`](Self::stop) returns the events that were not reported.
#[derive(Debug)]
pub struct EventQueue {
    pass: Arc<Pass>,
    task: JoinHandle<()>,
}

/// The events that an [`EventQueue`] did not report.
#[derive(Debug, Clone, Default)]
pub struct Unreported {
    /// The events, in order. The server may have the first one all the same.
    pub events: Vec<RemoteEvent>,
    /// The reason of the last failed try, if there was one.
    pub reason: Option<String>,
}

struct Pass {
    client: RemoteClient,
    options: EventQueueOptions,
    queue: Mutex<VecDeque<RemoteEvent>>,
    news: Notify,
    /// Nothing more is enqueued; set with the time until which reporting makes sense.
    closed: Flag,
    until: Mutex<Option<Instant>>,
    done: Flag,
    reason: Mutex<Option<String>>,
}

impl Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The result of one event.
enum Step {
    /// The server has it, or will never accept it.
    Settled,
    GivenUp(String),
    /// This event and all later ones wait until an operator acts.
    Stuck,
}

impl EventQueue {
    /// Starts a queue on the current tokio runtime. It reports nothing before `first` is done.
    pub fn start(
        client: RemoteClient,
        options: EventQueueOptions,
        first: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let pass = Arc::new(Pass {
            client,
            options,
            queue: Mutex::default(),
            news: Notify::new(),
            closed: Flag::default(),
            until: Mutex::default(),
            done: Flag::default(),
            reason: Mutex::default(),
        });
        let working = Arc::clone(&pass);
        let task = tokio::spawn(async move {
            first.await;
            working.work().await;
            working.done.set();
        });
        EventQueue { pass, task }
    }

    /// Appends an event. Never blocks.
    pub fn enqueue(&self, event: RemoteEvent) {
        lock(&self.pass.queue).push_back(event);
        self.pass.news.notify_one();
    }

    /// Waits until every event is reported or given up, or the rest has to wait for longer than `limit` anyway.
    ///
    /// Does not end by itself at `limit`. Events that are enqueued after this may not be reported.
    pub async fn drained(&self, limit: Duration) {
        *lock(&self.pass.until) = Some(Instant::now() + limit);
        self.pass.closed.set();
        self.pass.news.notify_one();
        self.pass.done.wait().await;
    }

    /// Stops, and returns the events that are left.
    pub fn stop(self) -> Unreported {
        self.task.abort();
        let events = lock(&self.pass.queue).drain(..).collect();
        Unreported { events, reason: lock(&self.pass.reason).take() }
    }
}

impl Pass {
    async fn work(&self) {
        let mut patience = PATIENCE;
        while let Some(event) = self.next().await {
            match self.settle(&event, patience).await {
                Step::Settled => {}
                Step::GivenUp(why) => {
                    if let Some(on_given_up) = &self.options.on_given_up {
                        on_given_up(&event, &why);
                    }
                    // The next one meets the same server, and its fallback has to send in time too.
                    patience = PATIENCE / 2;
                }
                Step::Stuck => return,
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
            // `Notify` keeps a permit for an event that comes between the look and the wait.
            self.news.notified().await;
        }
    }

    /// Reports one event until the server has accepted or refused it.
    async fn settle(&self, event: &RemoteEvent, patience: Duration) -> Step {
        let end = self.options.tries.map(|tries| (tries, Instant::now() + patience));
        let mut planned = FIRST_WAIT;
        for attempt in 1_u32.. {
            let limit = end.map_or(ATTEMPT_TIMEOUT, |(_, end)| ATTEMPT_TIMEOUT.min(end - Instant::now()));
            let (why, asked) = match self.client.report_within(event, limit).await {
                Reported::Accepted => return Step::Settled,
                Reported::Refused(why) => return Step::GivenUp(why),
                Reported::Blocked(why) if end.is_some() => return Step::GivenUp(why),
                Reported::Blocked(why) => {
                    *lock(&self.reason) = Some(why);
                    return Step::Stuck;
                }
                Reported::Later(why, asked) => (why, asked),
            };
            tracing::debug!(attempt, reason = why, "the event was not accepted");
            *lock(&self.reason) = Some(why.clone());
            let wake = Instant::now() + planned.max(asked.unwrap_or_default());
            if end.is_some_and(|(tries, end)| attempt >= tries || wake >= end) {
                return Step::GivenUp(why);
            }
            if !self.sleep_until(wake).await {
                return Step::Stuck;
            }
            planned = (planned * 2).min(LONGEST_WAIT);
        }
        Step::Stuck
    }

    /// Waits, unless [`EventQueue::drained`] would not wait for that long. Returns whether to go on.
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
