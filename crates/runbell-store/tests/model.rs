//! Random lives of a run's deliveries, on a store and on a small model of what they should come to: restarts, replays,
//! cancellations, expired leases and deferrals among them. The model is written apart from `runbell_core::delivery`.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use runbell_core::delivery::{Failure, Held, Outcome};
use runbell_core::value::read;
use runbell_core::{
    DeliveryKey, Flow, FlowHash, Job, Lane, Look, Notification, Retry, RetryPolicy, RunSnapshot, RunState, Subject,
    Timestamp,
};
use runbell_store::{
    Claim, Completion, Deliver, DeliveryFilter, Lease, NewJob, RegisteredNotification, Rooms, RunChange, RunFacts,
    RunKey, Store,
};
use runbell_testkit::{FixedClock, SAMPLE_TIME};

const CASES: u32 = 64;
const LEASE: i64 = 50;
const WAITS: [u64; 3] = [3, 7, 20];
const LANES: [&str; 2] = ["a", "b"];

/// One step of a life. Numbers choose among what is there, modulo its count.
#[derive(Debug, Clone)]
enum Step {
    /// The run enters a state; with `new_list` it is given another list of notifications.
    News {
        new_list: bool,
    },
    Claim,
    End {
        which: usize,
        end: End,
    },
    Cancel {
        which: usize,
    },
    Replay {
        which: usize,
        new_key: bool,
    },
    Restart,
    Pass {
        seconds: i64,
    },
}

#[derive(Debug, Clone, Copy)]
enum End {
    Sent,
    Fails,
    FailsFor(u64),
    Refused,
    Held(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        2 => Just(End::Sent),
        4 => Just(End::Fails),
        1 => (0..30_u64).prop_map(End::FailsFor),
        1 => Just(End::Refused),
        1 => (0..4_u64).prop_map(End::Held),
    ];
    let which = 0..20_usize;
    let step = prop_oneof![
        4 => any::<bool>().prop_map(|new_list| Step::News { new_list }),
        6 => Just(Step::Claim),
        8 => (which.clone(), end).prop_map(|(which, end)| Step::End { which, end }),
        1 => which.clone().prop_map(|which| Step::Cancel { which }),
        2 => (which, any::<bool>()).prop_map(|(which, new_key)| Step::Replay { which, new_key }),
        1 => Just(Step::Restart),
        4 => (0..30_i64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Pass { seconds: LEASE }),
    ];
    prop::collection::vec(step, 1..40)
}

/// A delivery as it should be.
#[derive(Debug, Clone)]
struct Expected {
    id: i64,
    lane: usize,
    status: &'static str,
    attempts: i64,
    /// Attempts before the last replay.
    before: i64,
    due: Option<i64>,
    leased_until: i64,
    fence: i64,
    created: i64,
    last_chance: bool,
    is_replaced: bool,
}

impl Expected {
    fn is_finished(&self) -> bool {
        matches!(self.status, "sent" | "failed" | "superseded")
    }

    fn finish(&mut self, status: &'static str) {
        (self.status, self.due) = (status, None);
    }
}

#[derive(Debug, Default)]
struct Model {
    all: Vec<Expected>,
    now: i64,
}

impl Model {
    fn lane(&self, lane: usize) -> Vec<usize> {
        let mut places: Vec<usize> =
            (0..self.all.len()).filter(|at| self.all[*at].lane == lane && !self.all[*at].is_finished()).collect();
        places.sort_by_key(|at| self.all[*at].id);
        places
    }

    /// The oldest may go, at once and for the last time if it failed before and holds up newer news; the others wait.
    fn arrange(&mut self, lane: usize) {
        let places = self.lane(lane);
        // Replayed older news waits for the end of an attempt of newer news.
        let is_busy = places.iter().skip(1).any(|at| self.all[*at].status == "leased");
        for (place, at) in places.iter().enumerate() {
            let (now, is_followed) = (self.now, places.len() > 1);
            let one = &mut self.all[*at];
            match (place, one.status) {
                (_, "leased") => {}
                (0, _) if is_busy => one.due = None,
                (0, "retry") if is_followed && !one.last_chance => (one.due, one.last_chance) = (Some(now), true),
                (0, _) => one.due = one.due.or(Some(now)),
                _ => one.due = None,
            }
        }
    }

    fn add(&mut self, id: i64, lane: usize) {
        let (now, status) = (self.now, "pending");
        let (due, leased_until, fence, created) = (Some(now), 0, 0, now);
        let (attempts, before, last_chance, is_replaced) = (0, 0, false, false);
        self.all.push(Expected {
            id,
            lane,
            status,
            attempts,
            before,
            due,
            leased_until,
            fence,
            created,
            last_chance,
            is_replaced,
        });
        self.arrange(lane);
    }

    fn replace(&mut self) {
        for one in self.all.iter_mut().filter(|one| !one.is_finished()) {
            match one.status {
                "leased" => one.is_replaced = true,
                _ => one.finish("superseded"),
            }
        }
    }

    /// Leases that are over, or all of them.
    fn end_leases(&mut self, all: bool) {
        let mut over: Vec<usize> = (0..self.all.len())
            .filter(|at| self.all[*at].status == "leased" && (all || self.all[*at].leased_until <= self.now))
            .collect();
        over.sort_by_key(|at| (self.all[*at].leased_until, self.all[*at].id));
        for at in over {
            let (now, lane) = (self.now, self.all[at].lane);
            match self.all[at].is_replaced {
                true => self.all[at].finish("superseded"),
                false => (self.all[at].status, self.all[at].due) = ("retry", Some(now)),
            }
            self.arrange(lane);
        }
    }

    /// What a claim should lease: id, attempts since the last replay, last chance.
    fn claim(&mut self) -> Vec<(i64, u32, bool)> {
        self.end_leases(false);
        let now = self.now;
        let mut leased = Vec::new();
        for one in self.all.iter_mut().filter(|one| one.due.is_some_and(|due| due <= now)) {
            (one.status, one.due, one.leased_until) = ("leased", None, now + LEASE);
            (one.attempts, one.fence) = (one.attempts + 1, one.fence + 1);
            leased.push((one.id, u32::try_from(one.attempts - one.before).expect("small"), one.last_chance));
        }
        leased.sort_unstable();
        leased
    }

    fn end(&mut self, at: usize, end: End) {
        let (now, lane) = (self.now, self.all[at].lane);
        let is_followed = self.lane(lane).iter().any(|other| self.all[*other].id > self.all[at].id);
        let one = &mut self.all[at];
        let tried = one.attempts - one.before;
        let wait = |asked: Option<u64>| {
            let planned = WAITS.get(usize::try_from(tried - 1).expect("tried"))?;
            Some(i64::try_from(asked.map_or(*planned, |asked| asked.max(*planned))).expect("small"))
        };
        match end {
            End::Sent => one.finish("sent"),
            End::Held(_) if one.is_replaced => {
                one.attempts -= 1;
                one.finish("superseded");
            }
            End::Held(after) => {
                one.attempts -= 1;
                one.status = if one.attempts > one.before { "retry" } else { "pending" };
                let untried = one.attempts == one.before && after == 0;
                one.due = Some(if untried { one.created } else { now + i64::try_from(after).expect("small") });
            }
            _ if one.is_replaced || (is_followed && one.last_chance) => one.finish("superseded"),
            End::Refused => one.finish("failed"),
            End::Fails | End::FailsFor(_) => {
                let asked = if let End::FailsFor(asked) = end { Some(asked) } else { None };
                match wait(asked) {
                    None => one.finish("failed"),
                    Some(_) if is_followed => (one.status, one.due, one.last_chance) = ("retry", Some(now), true),
                    Some(wait) => (one.status, one.due, one.last_chance) = ("retry", Some(now + wait), false),
                }
            }
        }
        self.arrange(lane);
    }
}

struct Unlimited;

impl Rooms for Unlimited {
    fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
        usize::MAX
    }
}

struct Real {
    store: Option<Arc<dyn Store>>,
    clock: FixedClock,
    url: String,
    version: Option<i64>,
    news: usize,
    leases: Vec<(i64, Lease)>,
    _folder: tempfile::TempDir,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("near the sample's time")
}

impl Real {
    async fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), FixedClock::default());
        let url = format!("sqlite://{}", folder.path().join("runbell.db").display());
        let mut real = Real { store: None, clock, url, version: None, news: 0, leases: Vec::new(), _folder: folder };
        real.restart().await;
        real
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().expect("open")
    }

    async fn restart(&mut self) {
        self.store = None;
        self.store = Some(runbell_store::open(&self.url, Arc::new(self.clock.clone())).await.expect("opened"));
    }

    async fn news(&mut self, new_list: bool) -> Vec<i64> {
        self.news += 1;
        let run = RunSnapshot::step(read(r#"{"metadata":{"project":"p","uid":"u"}}"#).expect("JSON"));
        let job = |name: &str| NewJob {
            job: Job {
                key: DeliveryKey::of(&[name, &self.news.to_string()]),
                lane: Some(Lane::new(run.clone(), name)),
                subject: Subject::run(run.clone(), []),
                state: RunState::Completed,
                at: self.clock_now(),
                notification: Arc::new(Notification::new("webhook", name)),
                look: Look::Own,
            },
            flow: Flow::default(),
            lease: None,
        };
        let registered = |name: &&str| RegisteredNotification {
            name: (*name).to_owned(),
            kind: "webhook".to_owned(),
            document: self.news.to_string(),
            secret: None,
        };
        let is_first = self.version.is_none();
        let change = RunChange {
            run: RunKey { project: "p".to_owned(), uid: "u".to_owned(), iteration: 0 },
            document: "{}".to_owned(),
            steps: None,
            facts: RunFacts { name: "train".to_owned(), state: "completed".to_owned(), started_at: None },
            expected: self.version,
            notifications: (is_first || new_list).then(|| LANES.iter().map(registered).collect()),
            secrets: Vec::new(),
            verdicts: Vec::new(),
            jobs: LANES.iter().map(|name| job(name)).collect(),
            deliver: Deliver::Always,
        };
        let accepted = self.store().intake(change).await.expect("taken in");
        self.version = Some(accepted.version);
        accepted.jobs.iter().map(|placed| placed.id).collect()
    }

    fn clock_now(&self) -> Timestamp {
        use runbell_core::Clock as _;
        self.clock.now()
    }

    async fn claim(&mut self) -> Vec<(i64, u32, bool)> {
        let lease = Duration::from_secs(LEASE.unsigned_abs());
        let claim = Claim { limit: 500, lease, probes: 0, rooms: Arc::new(Unlimited) };
        let claimed = self.store().claim(claim).await.expect("claimed").deliveries;
        let mut shown = Vec::new();
        for leased in claimed {
            let Lease { id, progress, .. } = leased.lease;
            self.leases.retain(|(other, _)| *other != id);
            self.leases.push((id, leased.lease));
            shown.push((id, progress.attempts, progress.last_chance));
        }
        shown.sort_unstable();
        shown
    }

    async fn end(&self, lease: Lease, end: End) {
        let failed = |retry| Outcome::Failed(Failure { retry, ambiguous: false, reason: "down".to_owned() });
        let outcome = match end {
            End::Sent => Outcome::Sent { answer: "200".to_owned() },
            End::Fails => failed(Retry::Backoff),
            End::FailsFor(asked) => failed(Retry::After(Duration::from_secs(asked))),
            End::Refused => failed(Retry::Never),
            End::Held(after) => Outcome::Held(Held { after: Duration::from_secs(after), down: None }),
        };
        let waits = WAITS.map(Duration::from_secs).to_vec();
        let longest_wait = Duration::from_secs(1_000);
        let completion = Completion {
            lease,
            outcome,
            policy: Arc::new(RetryPolicy { waits, jitter: 0.0, budget: None, longest_wait }),
            chance: 0.5,
            took: Duration::ZERO,
            flow: Flow::default(),
            holds: Vec::new(),
            follow_ups: Vec::new(),
        };
        self.store().complete(completion).await.expect("answered");
    }

    /// Every delivery: id, status, attempts, due.
    async fn shown(&self) -> Vec<(i64, String, i64, Option<i64>)> {
        let all = self.store().deliveries(&DeliveryFilter::default(), 1_000).await.expect("read");
        let seconds = |at: Timestamp| at.as_second() - SAMPLE_TIME.as_second();
        let mut shown: Vec<_> = all
            .iter()
            .map(|one| (one.id, one.status.as_str().to_owned(), i64::from(one.attempts), one.due_at.map(seconds)))
            .collect();
        shown.sort_unstable();
        shown
    }
}

async fn live(steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut real, mut model) = (Real::new().await, Model::default());
    for step in steps {
        match step {
            Step::News { new_list } => {
                let replaces = *new_list && real.version.is_some();
                let ids = real.news(*new_list).await;
                if replaces {
                    model.replace();
                }
                ids.into_iter().enumerate().for_each(|(lane, id)| model.add(id, lane));
            }
            Step::Claim => prop_assert_eq!(real.claim().await, model.claim(), "claimed at {}", model.now),
            Step::End { which, end } if !real.leases.is_empty() => {
                let (id, lease) = real.leases.remove(which % real.leases.len());
                real.end(lease, *end).await;
                // A lost lease changes nothing.
                let held = |one: &Expected| one.id == id && one.status == "leased" && one.fence == lease.fence;
                if let Some(at) = model.all.iter().position(held) {
                    model.end(at, *end);
                }
            }
            Step::Cancel { which } if !model.all.is_empty() => {
                let at = which % model.all.len();
                let waits = matches!(model.all[at].status, "pending" | "retry");
                let cancelled = real.store().cancel("p", model.all[at].id).await.expect("answered");
                prop_assert_eq!(cancelled, waits);
                if waits {
                    model.all[at].finish("superseded");
                    model.arrange(model.all[at].lane);
                }
            }
            Step::Replay { which, new_key } if !model.all.is_empty() => {
                let at = which % model.all.len();
                let replayed = real.store().replay("p", model.all[at].id, *new_key).await.expect("answered");
                prop_assert_eq!(replayed.is_some(), model.all[at].is_finished());
                let lane = model.all[at].lane;
                match replayed {
                    None => {}
                    Some(id) if *new_key => model.add(id, lane),
                    Some(_) => {
                        let (now, one) = (model.now, &mut model.all[at]);
                        (one.status, one.due, one.before) = ("pending", Some(now), one.attempts);
                        (one.last_chance, one.is_replaced) = (false, false);
                        model.arrange(lane);
                    }
                }
            }
            Step::Restart => {
                real.restart().await;
                model.end_leases(true);
            }
            Step::Pass { seconds } => {
                model.now += seconds;
                real.clock.set(at(model.now));
            }
            _ => {}
        }
        let mut expected: Vec<_> =
            model.all.iter().map(|one| (one.id, one.status.to_owned(), one.attempts, one.due)).collect();
        expected.sort_unstable();
        prop_assert_eq!(real.shown().await, expected, "after {:?} at {}", step, model.now);
    }
    Ok(())
}

#[test]
fn newer_news_hurries_a_held_delivery() {
    let news = || Step::News { new_list: false };
    let held = Step::End { which: 0, end: End::Held(1) };
    let steps = [news(), Step::Claim, Step::Restart, Step::Claim, news(), held, Step::Claim];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(live(&steps)).expect("as the model does");
}

#[test]
fn a_store_does_as_the_model_does() {
    let cases = std::env::var("RUNBELL_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    proptest!(config, |(steps in steps())| runtime.block_on(live(&steps))?);
}
