//! The contract of a store: nothing is lost, nothing is done twice, and what came first goes first.
//!
//! A list of named cases, each on a store of its own. [`store_contract!`](crate::store_contract) makes a test of each.

mod destinations;
mod history;
mod queue;
mod records;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::{Failure, Held, Outcome};
use runbell_core::value::read;
use runbell_core::{
    DeliveryKey, Flow, FlowHash, Job, Lane, Look, Notification, Retry, RetryPolicy, RunSnapshot, RunState, Subject,
    Timestamp,
};
use runbell_store::{
    Accepted, Claim, Claimed, Completion, Deliver, DeliveryState, Lease, LeasedDelivery, NewJob, NewVerdict, Placement,
    Recorded, RegisteredNotification, Rooms, RunChange, RunFacts, RunKey, Store, StoreResult,
};

use crate::check::Check;
use crate::samples::SAMPLE_TIME;

/// An empty store to be tested, with the power to set its time.
pub struct StoreBench {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Another handle on the same database, where a store allows it.
    pub second: Option<Arc<dyn Store>>,
    /// Sets the time of the store.
    pub set_time: Box<dyn Fn(Timestamp) + Send + Sync>,
    /// What must live as long as the store, such as its folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for StoreBench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreBench").field("has_second", &self.second.is_some()).finish_non_exhaustive()
    }
}

/// Makes a test of every case of the store contract: `store_contract!(bench);`, where `bench` is an async function that makes a
/// [`StoreBench`].
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract!(@cases $make;
            runs_and_versions same_key_same_news lists_of_notifications what_a_list_takes_the_place_of leases
            leases_from_the_start the_run_as_it_was older_news_goes_first newer_news_hurries_a_retry
            newer_news_that_is_cancelled_hurries_nothing a_replay_takes_its_old_place endings replay_and_cancel
            many_at_once two_handles steps_travel jobs_without_a_run wakeups
            destinations_take_turns projects_take_turns_at_a_destination buckets_take_turns_at_a_destination
            no_room_no_lease a_destination_that_is_down_is_probed a_destination_that_heals
            a_bucket_that_asks_to_slow_down what_is_down_for_too_long_ends an_unknown_destination
            a_destination_may_change a_new_flow_key
            lists_and_pages verdicts_and_latest_deliveries replays_under_a_new_key lists_of_runs pruning
            secrets tokens_projects_tasks);
    };
    (@cases $make:path; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::run_store_case(stringify!($case), $make().await).await;
            }
        )*
    };
}

/// Runs one case of the store contract.
///
/// # Panics
/// When a check of the case fails, naming it; and for a case that does not exist.
pub async fn run_store_case(case: &str, bench: StoreBench) {
    let bench = &bench;
    bench.at(0);
    match case {
        "runs_and_versions" => queue::runs_and_versions(bench).await,
        "same_key_same_news" => queue::same_key_same_news(bench).await,
        "lists_of_notifications" => queue::lists_of_notifications(bench).await,
        "what_a_list_takes_the_place_of" => queue::what_a_list_takes_the_place_of(bench).await,
        "leases" => queue::leases(bench).await,
        "leases_from_the_start" => queue::leases_from_the_start(bench).await,
        "the_run_as_it_was" => queue::the_run_as_it_was(bench).await,
        "older_news_goes_first" => queue::older_news_goes_first(bench).await,
        "newer_news_hurries_a_retry" => queue::newer_news_hurries_a_retry(bench).await,
        "newer_news_that_is_cancelled_hurries_nothing" => {
            queue::newer_news_that_is_cancelled_hurries_nothing(bench).await;
        }
        "a_replay_takes_its_old_place" => queue::a_replay_takes_its_old_place(bench).await,
        "endings" => queue::endings(bench).await,
        "replay_and_cancel" => queue::replay_and_cancel(bench).await,
        "many_at_once" => queue::many_at_once(bench).await,
        "two_handles" => queue::two_handles(bench).await,
        "steps_travel" => queue::steps_travel(bench).await,
        "jobs_without_a_run" => queue::jobs_without_a_run(bench).await,
        "wakeups" => queue::wakeups(bench).await,
        "destinations_take_turns" => destinations::destinations_take_turns(bench).await,
        "projects_take_turns_at_a_destination" => destinations::projects_take_turns(bench).await,
        "buckets_take_turns_at_a_destination" => destinations::buckets_take_turns(bench).await,
        "no_room_no_lease" => destinations::no_room_no_lease(bench).await,
        "a_destination_that_is_down_is_probed" => destinations::a_destination_that_is_down_is_probed(bench).await,
        "a_destination_that_heals" => destinations::a_destination_that_heals(bench).await,
        "a_bucket_that_asks_to_slow_down" => destinations::a_bucket_that_asks_to_slow_down(bench).await,
        "what_is_down_for_too_long_ends" => destinations::what_is_down_for_too_long_ends(bench).await,
        "an_unknown_destination" => destinations::an_unknown_destination(bench).await,
        "a_destination_may_change" => destinations::a_destination_may_change(bench).await,
        "a_new_flow_key" => destinations::a_new_flow_key(bench).await,
        "lists_and_pages" => history::lists_and_pages(bench).await,
        "verdicts_and_latest_deliveries" => history::verdicts_and_latest_deliveries(bench).await,
        "replays_under_a_new_key" => history::replays_under_a_new_key(bench).await,
        "lists_of_runs" => history::lists_of_runs(bench).await,
        "pruning" => history::pruning(bench).await,
        "secrets" => records::secrets(bench).await,
        "tokens_projects_tasks" => records::tokens_projects_tasks(bench).await,
        other => panic!("store_contract: there is no case {other}"),
    }
}

/// How long a lease lasts here.
const LEASE: Duration = Duration::from_secs(25);

/// Any number of attempts, each at the time that the target asks for.
fn policy() -> Arc<RetryPolicy> {
    let longest_wait = Duration::from_secs(1_000_000);
    Arc::new(RetryPolicy { waits: vec![Duration::ZERO; 100], jitter: 0.0, budget: None, longest_wait })
}

/// As many as there are, without a limit.
struct Unlimited;

impl Rooms for Unlimited {
    fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
        usize::MAX
    }
}

/// What came of an attempt.
fn sent() -> Outcome {
    Outcome::Sent { answer: "200".to_owned() }
}

/// It fails, and the next attempt is in so many seconds.
fn fails_for(seconds: u64) -> Outcome {
    let retry = Retry::After(Duration::from_secs(seconds));
    Outcome::Failed(Failure { retry, ambiguous: false, reason: "unreachable: down".to_owned() })
}

fn fails() -> Outcome {
    Outcome::Failed(Failure { retry: Retry::Never, ambiguous: false, reason: "unreachable: down".to_owned() })
}

fn held_for(seconds: u64) -> Outcome {
    Outcome::Held(Held { after: Duration::from_secs(seconds), down: None })
}

impl StoreBench {
    fn check(&self, name: &str) -> Check {
        Check::new("store_contract", name)
    }

    /// Sets the time, in seconds from the sample's.
    fn at(&self, seconds: i64) {
        (self.set_time)(at(seconds));
    }

    /// Takes a change in, at the time that it names as the run's start.
    async fn intake(&self, intake: RunChange) -> Accepted {
        self.try_intake(intake).await.expect("taken in")
    }

    async fn try_intake(&self, intake: RunChange) -> StoreResult<Accepted> {
        (self.set_time)(intake.facts.started_at.expect("a time"));
        self.store.intake(intake).await
    }

    async fn claim_with(&self, seconds: i64, claim: Claim) -> Claimed {
        self.at(seconds);
        self.store.claim(claim).await.expect("claimed")
    }

    async fn claim(&self, seconds: i64) -> Vec<LeasedDelivery> {
        self.claim_with(seconds, everything()).await.deliveries
    }

    /// When to look again, in seconds, for somebody who takes what is due by then.
    async fn next(&self, seconds: i64) -> Option<Duration> {
        self.claim_with(seconds, everything()).await.next
    }

    async fn only(&self, check: &Check, seconds: i64) -> LeasedDelivery {
        let mut leased = self.claim(seconds).await;
        check.equal("the number of leases", &leased.len(), &1);
        leased.pop().expect("one")
    }

    async fn complete(&self, leased: &LeasedDelivery, outcome: Outcome, seconds: i64) -> Recorded {
        self.complete_with(completion(leased.lease, outcome, leased.flow), seconds).await
    }

    async fn complete_with(&self, completion: Completion, seconds: i64) -> Recorded {
        self.at(seconds);
        self.store.complete(completion).await.expect("answered")
    }

    async fn status(&self, id: i64) -> DeliveryState {
        self.store.delivery("p", id).await.expect("read").expect("it is there").0.status
    }
}

fn everything() -> Claim {
    Claim { limit: 100, lease: LEASE, probes: 100, rooms: Arc::new(Unlimited) }
}

fn completion(lease: Lease, outcome: Outcome, flow: Flow) -> Completion {
    Completion {
        lease,
        outcome,
        policy: policy(),
        chance: 0.5,
        took: Duration::ZERO,
        flow,
        holds: Vec::new(),
        follow_ups: Vec::new(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("near the sample's time")
}

fn key(uid: &str) -> RunKey {
    RunKey { project: "p".to_owned(), uid: uid.to_owned(), iteration: 0 }
}

fn registered(name: &str) -> RegisteredNotification {
    RegisteredNotification {
        name: name.to_owned(),
        kind: "webhook".to_owned(),
        document: format!(r#"{{"name":"{name}"}}"#),
        secret: None,
    }
}

/// The destination of a test, by a number.
fn flow(destination: u8) -> Flow {
    Flow { destination: FlowHash([destination; 16]), bucket: FlowHash::default() }
}

fn job(project: &str, uid: &str, name: &str, state: RunState, at: Timestamp) -> Job {
    let document = format!(r#"{{"metadata":{{"project":"{project}","uid":"{uid}"}}}}"#);
    let run = RunSnapshot::step(read(&document).expect("JSON"));
    Job {
        key: DeliveryKey::of(&[uid, name, state.as_str()]),
        lane: Some(Lane::new(run.clone(), name)),
        subject: Subject::run(run, []),
        state,
        at,
        notification: Arc::new(Notification::new("webhook", name)),
        look: Look::Mlrun,
    }
}

/// A run's entering `state` at a time, with a job for each of `names`.
fn transition(uid: &str, expected: Option<i64>, state: RunState, names: &[&str], seconds: i64) -> RunChange {
    let verdict = |name: &&str| NewVerdict {
        notification: (*name).to_owned(),
        state,
        reason: "matched",
        detail: None,
        why: None,
    };
    let new = |name: &&str| NewJob { job: job("p", uid, name, state, at(seconds)), flow: flow(1), lease: None };
    RunChange {
        run: key(uid),
        document: format!(r#"{{"state":"{state}"}}"#),
        steps: None,
        facts: RunFacts { name: "train".to_owned(), state: state.to_string(), started_at: Some(at(seconds)) },
        expected,
        notifications: expected.is_none().then(|| names.iter().map(|name| registered(name)).collect()),
        secrets: Vec::new(),
        verdicts: names.iter().map(verdict).collect(),
        jobs: names.iter().map(new).collect(),
        deliver: Deliver::Always,
    }
}

/// The ids of the new deliveries.
fn made(accepted: &Accepted) -> Vec<i64> {
    let is_new = |placed: &&runbell_store::Placed| placed.placement != Placement::Known;
    accepted.jobs.iter().filter(is_new).map(|placed| placed.id).collect()
}

fn leases(accepted: &Accepted) -> Vec<Lease> {
    let lease = |placed: &runbell_store::Placed| match placed.placement {
        Placement::Leased(lease) => Some(lease),
        _ => None,
    };
    accepted.jobs.iter().filter_map(lease).collect()
}
