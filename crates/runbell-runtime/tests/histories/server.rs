//! Plays a history on a server: a `Dispatcher` accepts the changes, and a simulated worker claims and completes on its store.
//!
//! The test sets the store's clock, so nothing waits. All histories share one store, each with a run of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runbell_core::delivery::{Failure, Held, Outcome};
use runbell_core::{BuildContext, Clock as _, FlowHash, Registry, Retry, Timestamp, Value, value};
use runbell_runtime::{Dispatcher, DispatcherOptions, Event};
use runbell_store::seal::KeyRing;
use runbell_store::{
    Claim, Completion, DeliveryFilter, DeliveryState, LeasedDelivery, Recorded, Rooms, RunKey, VerdictRecord,
};
use runbell_testkit::FixedClock;
use tokio::runtime::Runtime;

use crate::here::{REGISTRATION, change_of};
use crate::history::{AnswerKind, History, lane_of};
use crate::line::{End, Line};

/// Longer than any history lasts: no lease runs out.
const LEASE: Duration = Duration::from_secs(100_000);

/// The time between two histories.
const BREAK: Duration = Duration::from_secs(200_000);

/// The most claims during one history. More means that the history does not end.
const MOST_CLAIMS: usize = 10_000;

/// A server without a worker of its own.
pub(crate) struct Server {
    runtime: Runtime,
    dispatcher: Dispatcher,
    clock: FixedClock,
    runs: AtomicU32,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), FixedClock::default());
        let url = format!("sqlite://{}", folder.path().join("runbell.db").display());
        let dispatcher = runtime.block_on(async {
            let store = runbell_store::open(&url, Arc::new(clock.clone())).await.expect("opened");
            let registry = Registry::default().with(&REGISTRATION).expect("one kind");
            let keys = KeyRing::new([("test".to_owned(), [7; 32])]).expect("a key");
            let cx = BuildContext { clock: Arc::new(clock.clone()), ..BuildContext::server() };
            Dispatcher::at_rest(store, registry, cx, keys, DispatcherOptions::default()).await.expect("at rest")
        });
        Server { runtime, dispatcher, clock, runs: AtomicU32::new(0), _folder: folder }
    }

    /// Plays the history. Returns a line for each notification of each change, in order.
    pub(crate) fn play(&self, history: &History) -> Vec<Line> {
        let uid = format!("u{}", self.runs.fetch_add(1, Ordering::Relaxed));
        self.clock.advance(BREAK);
        let began = self.clock.now();
        let worker = Worker { server: self, history, uid, began, now: 0, under_way: Vec::new(), made: HashMap::new() };
        self.runtime.block_on(worker.play())
    }
}

struct Unlimited;

impl Rooms for Unlimited {
    fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
        usize::MAX
    }
}

/// An attempt that has begun.
struct UnderWay {
    ends: u64,
    leased: LeasedDelivery,
    answer: AnswerKind,
}

/// The attempts of a delivery so far.
#[derive(Default)]
struct Made {
    /// When each began, in milliseconds since the history began.
    attempts: Vec<u64>,
    /// How often the lease of the next attempt was handed back.
    handed_back: u8,
}

/// Carries out one history.
struct Worker<'a> {
    server: &'a Server,
    history: &'a History,
    uid: String,
    began: Timestamp,
    /// In milliseconds since `began`.
    now: u64,
    under_way: Vec<UnderWay>,
    /// By change and lane.
    made: HashMap<(usize, usize), Made>,
}

impl Worker<'_> {
    async fn play(mut self) -> Vec<Line> {
        let (mut change, mut claims) = (0, 0);
        loop {
            self.set_time();
            if change < self.history.changes.len() && self.history.time_of(change) == self.now {
                self.take_in(change).await;
                change += 1;
            }
            let claimed_next = self.work_until_idle(&mut claims).await;
            let next_change = (change < self.history.changes.len()).then(|| self.history.time_of(change));
            let next_end = self.under_way.iter().map(|one| one.ends).min();
            // Without attempts under way, the store has something due later or nothing at all.
            let next_due = claimed_next.filter(|next| *next < LEASE / 2).map(|next| self.now + millis(next));
            match [next_change, next_end, next_due].into_iter().flatten().min() {
                Some(next) => self.now = next,
                None => return self.lines().await,
            }
        }
    }

    fn set_time(&self) {
        let now = self.began.checked_add(Duration::from_millis(self.now)).expect("near the sample's time");
        self.server.clock.set(now);
    }

    async fn take_in(&self, change: usize) {
        let event = Event {
            project: "p".to_owned(),
            uid: self.uid.clone(),
            run: Value::from(self.history.document(change, &self.uid)),
            steps: Vec::new(),
            notifications: Some(Value::from(self.history.notifications(change))),
            state: None,
            at: None,
        };
        self.server.dispatcher.take_in(event).await.expect("taken in");
    }

    /// Ends and begins all attempts of this instant. Returns the wait until another delivery is due.
    async fn work_until_idle(&mut self, claims: &mut usize) -> Option<Duration> {
        loop {
            *claims += 1;
            assert!(*claims < MOST_CLAIMS, "the history does not end: {:?}", self.history);
            let ended = self.under_way.extract_if(.., |one| one.ends <= self.now).collect::<Vec<_>>();
            for one in ended {
                self.complete(&one.leased, outcome_of(one.answer)).await;
            }
            let claim = Claim { limit: 100, lease: LEASE, probes: 100, rooms: Arc::new(Unlimited) };
            let claimed = self.server.dispatcher.store().claim(claim).await.expect("claimed");
            if claimed.deliveries.is_empty() {
                return claimed.next;
            }
            for leased in claimed.deliveries {
                self.begin(leased).await;
            }
        }
    }

    /// Begins an attempt, or hands the lease back.
    async fn begin(&mut self, leased: LeasedDelivery) {
        let document = leased.document.as_deref().expect("the run's document");
        let change = change_of(&value::read(document).expect("JSON"));
        let lane = lane_of(&leased.notification.name);
        let made = self.made.entry((change, lane)).or_default();
        let number = made.attempts.len() + 1;
        assert_eq!(leased.lease.progress.attempts as usize, number, "the store counts the attempts that were made");
        let answer = self.history.answer(change, lane, number);
        if made.handed_back < answer.handed_back {
            made.handed_back += 1;
            return self.complete(&leased, Outcome::Held(Held { after: Duration::ZERO, down: None })).await;
        }
        made.handed_back = 0;
        made.attempts.push(self.now);
        self.under_way.push(UnderWay { ends: self.now + answer.takes * 1_000, leased, answer: answer.result });
    }

    /// Records the end of an attempt, and checks that its lease ended too.
    async fn complete(&self, leased: &LeasedDelivery, outcome: Outcome) {
        let completion = Completion {
            lease: leased.lease,
            outcome,
            policy: Arc::new(self.history.policy()),
            chance: 0.5,
            took: Duration::ZERO,
            flow: leased.flow,
            holds: Vec::new(),
            follow_ups: Vec::new(),
        };
        let store = self.server.dispatcher.store();
        let recorded = store.complete(completion.clone()).await.expect("answered");
        assert!(matches!(recorded, Recorded::Done { .. }), "the lease holds: {recorded:?}");
        let again = store.complete(completion).await.expect("answered");
        assert_eq!(again, Recorded::Lost, "an attempt is recorded once");
    }

    /// Reads the result from the store.
    async fn lines(mut self) -> Vec<Line> {
        let store = self.server.dispatcher.store();
        let filter = DeliveryFilter { uid: Some(self.uid.clone()), ..DeliveryFilter::default() };
        let mut lines = Vec::new();
        for record in store.deliveries(&filter, 1_000).await.expect("read") {
            let (_, attempts) = store.delivery("p", record.id).await.expect("read").expect("it is there");
            let (change, lane) = (self.change_at(record.created_at), lane_of(&record.notification));
            let made = self.made.remove(&(change, lane)).unwrap_or_default();
            assert_eq!(record.attempts as usize, made.attempts.len(), "attempts are counted: {record:?}");
            assert_eq!(attempts.len(), made.attempts.len(), "attempts are recorded: {attempts:?}");
            let end = match record.status {
                DeliveryState::Sent => End::Sent,
                DeliveryState::Failed => End::Failed,
                DeliveryState::Superseded => End::Superseded,
                other => panic!("still {other:?}: {record:?}"),
            };
            lines.push(Line { change, lane, attempts: made.attempts, end });
        }
        assert!(self.made.is_empty(), "every attempt belongs to a delivery");
        let key = RunKey { project: "p".to_owned(), uid: self.uid.clone(), iteration: 0 };
        let verdicts = store.verdicts(&key, 1_000).await.expect("read");
        lines.extend(verdicts.iter().filter_map(|verdict| self.skipped(verdict)));
        lines.sort();
        lines
    }

    fn skipped(&self, verdict: &VerdictRecord) -> Option<Line> {
        let (change, lane) = (self.change_at(verdict.at), lane_of(&verdict.notification));
        match verdict.reason.as_str() {
            "state_not_in_when" => Some(Line { change, lane, attempts: Vec::new(), end: End::Skipped }),
            "matched" => None,
            other => panic!("unexpected reason {other}"),
        }
    }

    /// The change that was accepted at a time.
    fn change_at(&self, at: Timestamp) -> usize {
        let since = at.duration_since(self.began).as_millis();
        let mut changes = 0..self.history.changes.len();
        changes.find(|change| i128::from(self.history.time_of(*change)) == since).expect("the time of a change")
    }
}

/// Rounded up: the store counts in microseconds, and what is due must not be looked for too early.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000)).expect("a short wait").max(1)
}

fn outcome_of(answer: AnswerKind) -> Outcome {
    let ambiguous = answer == AnswerKind::Unclear;
    let failed = |retry, reason: &str| Outcome::Failed(Failure { retry, ambiguous, reason: reason.to_owned() });
    match answer {
        AnswerKind::Success => Outcome::Sent { answer: "200".to_owned() },
        AnswerKind::Down => failed(Retry::Backoff, "unreachable: down"),
        AnswerKind::Unclear => failed(Retry::Backoff, "timeout: no answer"),
        AnswerKind::Refused => failed(Retry::Never, "rejected: refused"),
        AnswerKind::SlowDown(seconds) => failed(Retry::After(Duration::from_secs(seconds)), "rate_limited: slow down"),
    }
}
