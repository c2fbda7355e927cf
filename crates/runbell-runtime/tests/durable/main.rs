//! Durable dispatch, from an event to what the target got, on a real store and over real connections.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod fragile;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{BuildContext, Registry, RetryPolicy, RunState, SystemClock, Timestamp, Value};
use runbell_runtime::{Dispatcher, DispatcherOptions, Event, EventError, Taken};
use runbell_store::seal::KeyRing;
use runbell_store::{DeliveryFilter, DeliveryRecord, DeliveryState, RunKey, Store};
use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value as Json, json};

/// A store's file, and dispatchers that open it.
struct Site {
    folder: tempfile::TempDir,
}

/// Long enough for anything that is not hanging.
const PATIENCE: Duration = Duration::from_secs(20);

impl Site {
    fn new() -> Self {
        Site { folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("runbell.db")
    }

    async fn open(&self) -> Arc<dyn Store> {
        let url = format!("sqlite://{}", self.file().display());
        runbell_store::open(&url, Arc::new(SystemClock)).await.expect("opened")
    }

    /// A dispatcher that tries three times, at once.
    async fn start(&self) -> Dispatcher {
        let retry = RetryPolicy { waits: vec![Duration::from_millis(20); 2], ..RetryPolicy::server() };
        self.start_with(DispatcherOptions { retry, ..DispatcherOptions::default() }).await
    }

    async fn start_with(&self, options: DispatcherOptions) -> Dispatcher {
        let dispatcher = at_rest(self.open().await, options).await;
        dispatcher.deliver();
        dispatcher
    }
}

async fn at_rest(store: Arc<dyn Store>, options: DispatcherOptions) -> Dispatcher {
    let kinds = [&runbell_webhook::REGISTRATION, &runbell_console::REGISTRATION, &fragile::REGISTRATION];
    let keys = KeyRing::new([("test".to_owned(), [7; 32])]).expect("a key");
    let registry = Registry::collect(kinds).expect("kinds");
    Dispatcher::at_rest(store, registry, BuildContext::server(), keys, options).await.expect("the store answers")
}

fn run(uid: &str, state: &str) -> Json {
    json!({ "metadata": { "project": "p", "uid": uid, "name": "train" }, "status": { "state": state } })
}

fn hook(name: &str, url: &str) -> Json {
    json!({ "kind": "webhook", "name": name, "when": ["running", "completed", "error"], "secret_params": { "url": url } })
}

async fn report(dispatcher: &Dispatcher, run: Json, notifications: Option<Json>) -> Result<Taken, EventError> {
    let uid = run["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let (run, notifications) = (Value::from(run), notifications.map(Value::from));
    dispatcher
        .take_in(Event { project: "p".to_owned(), uid, run, steps: Vec::new(), notifications, state: None, at: None })
        .await
}

/// Lets what is under way end, and lists every delivery, the oldest first.
async fn settled(dispatcher: &Dispatcher) -> Vec<DeliveryRecord> {
    dispatcher.stop(PATIENCE).await;
    let mut all = dispatcher.store().deliveries(&DeliveryFilter::default(), 1_000).await.expect("read");
    all.reverse();
    all
}

async fn until(peer: &FakeHttp, requests: usize) {
    tokio::time::timeout(PATIENCE, peer.until_requests(requests)).await.expect("they arrive");
}

#[tokio::test]
async fn an_event_is_delivered_once_however_often_it_is_reported() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    let list = json!([hook("hook", &peer.url("/x")), { "kind": "console", "name": "screen" },
                      { "kind": "webhook", "name": "later", "when": ["error"], "params": { "url": peer.url("/later") } }]);
    let taken = report(&dispatcher, run("u", "completed"), Some(list.clone())).await.expect("taken in");
    let verdicts: Vec<(&str, &str)> = taken.verdicts.iter().map(|(name, reason)| (name.as_str(), *reason)).collect();
    assert_eq!(verdicts, [("hook", "matched"), ("screen", "here_only_kind"), ("later", "state_not_in_when")]);
    assert_eq!(taken.deliveries.len(), 1);
    until(&peer, 1).await;
    for again in [Some(list), None] {
        let taken = report(&dispatcher, run("u", "completed"), again).await.expect("taken in");
        assert!(taken.deliveries.is_empty(), "the same key is the same news");
    }
    let all = settled(&dispatcher).await;
    assert_eq!((all.len(), all[0].status, all[0].attempts), (1, DeliveryState::Sent, 1));
    let requests = peer.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("webhook-id"), Some(all[0].key.as_str()));
    assert_eq!(requests[0].json()["message"], "Run completed in project p");
}

#[tokio::test]
async fn a_target_that_comes_back_gets_it_and_one_that_does_not_fails_for_good() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    peer.answer(FakeAnswer::status(503)).answer(FakeAnswer::close());
    report(&dispatcher, run("u", "completed"), Some(json!([hook("hook", &peer.url("/x"))]))).await.expect("taken in");
    until(&peer, 3).await;
    peer.answer_always(FakeAnswer::status(500));
    report(&dispatcher, run("v", "error"), Some(json!([hook("hook", &peer.url("/y"))]))).await.expect("taken in");
    until(&peer, 6).await;
    let all = settled(&dispatcher).await;
    assert_eq!((all[0].status, all[0].attempts), (DeliveryState::Sent, 3));
    assert_eq!((all[1].status, all[1].attempts), (DeliveryState::Failed, 3));
    assert!(all[1].reason.as_deref().is_some_and(|reason| reason.contains("status=500")), "{:?}", all[1].reason);
    let (_, attempts) = dispatcher.store().delivery("p", all[0].id).await.expect("read").expect("it is there");
    let outcomes: Vec<(&str, bool)> = attempts.iter().map(|one| (one.outcome.as_str(), one.ambiguous)).collect();
    assert_eq!(outcomes, [("retry", false), ("retry", true), ("sent", false)]);
    let keys: Vec<_> =
        peer.requests()[..3].iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn accepted_deliveries_are_kept_after_a_restart() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    // Accepted, while no worker runs.
    let idle = site.start().await;
    idle.stop(PATIENCE).await;
    for index in 0..20 {
        let list = json!([hook("hook", &peer.url("/x"))]);
        report(&idle, run(&format!("u{index}"), "completed"), Some(list)).await.expect("taken in");
    }
    assert!(peer.requests().is_empty());
    drop(idle);
    let dispatcher = site.start().await;
    until(&peer, 20).await;
    let all = settled(&dispatcher).await;
    assert!(all.iter().all(|one| one.status == DeliveryState::Sent && one.attempts == 1), "{all:?}");
    assert_eq!(peer.requests().len(), 20);
}

#[tokio::test]
async fn a_dead_target_delays_no_other() {
    let (site, dead, healthy) = (Site::new(), FakeHttp::start().await, FakeHttp::start().await);
    let dispatcher = site.start_with(DispatcherOptions { at_once: 16, ..DispatcherOptions::default() }).await;
    dead.answer_always(FakeAnswer::black_hole());
    // More than there are places: what hangs must not take them all.
    for index in 0..20 {
        let list = json!([hook("dead", &dead.url("/x"))]);
        report(&dispatcher, run(&format!("d{index}"), "completed"), Some(list)).await.expect("taken in");
    }
    // As many as one that was never reached is given at once.
    until(&dead, 8).await;
    for index in 0..50 {
        let list = json!([hook("healthy", &healthy.url("/x"))]);
        report(&dispatcher, run(&format!("h{index}"), "completed"), Some(list)).await.expect("taken in");
    }
    until(&healthy, 50).await;
}

#[tokio::test]
async fn secrets_rest_sealed_and_go_out_with_no_run() {
    const CANARY: &str = "CANARY0123456789";
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    let mut document = run("u", "completed");
    document["status"]["results"] = json!({ "leak": format!("see {CANARY}") });
    let list = json!([{ "kind": "webhook", "name": "hook",
        "secret_params": { "url": peer.url(&format!("/{CANARY}")), "headers": { "X-Token": CANARY } } }]);
    report(&dispatcher, document, Some(list)).await.expect("taken in");
    until(&peer, 1).await;
    let request = peer.requests().remove(0);
    assert_eq!((request.header("x-token"), request.path.as_str()), (Some(CANARY), format!("/{CANARY}").as_str()));
    assert!(!request.text().contains(CANARY), "{}", request.text());
    let all = settled(&dispatcher).await;
    assert!(!format!("{all:?}").contains(CANARY));
    let key = RunKey { project: "p".to_owned(), uid: "u".to_owned(), iteration: 0 };
    let stored = dispatcher.store().run(&key).await.expect("read").expect("it is there");
    assert!(stored.notifications[0].document.contains(r#""secret_params":{"secret":"mlrun.notifications."#));
    for entry in std::fs::read_dir(site.folder.path()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    }
}

#[tokio::test]
async fn invalid_events_are_refused_as_a_whole() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    let list = json!([hook("good", &peer.url("/x")), { "kind": "webhook", "name": "bad", "params": {} }, hook("good", "http://h")]);
    let Err(EventError::Invalid(found)) = report(&dispatcher, run("u", "completed"), Some(list)).await else {
        panic!("refused")
    };
    let shown: Vec<String> = found.faults().map(ToString::to_string).collect();
    assert!(shown.iter().any(|fault| fault.starts_with("notifications[1].params.url: is required")), "{shown:?}");
    assert!(shown.iter().any(|fault| fault.starts_with("notifications[2].name: `good` is the name of")), "{shown:?}");
    let mut other = run("u", "completed");
    other["metadata"]["project"] = json!("q");
    let refused = report(&dispatcher, other, None).await;
    assert!(
        matches!(refused, Err(EventError::Invalid(found)) if found.faults().any(|one| one.path == "run.metadata.project"))
    );
    assert!(settled(&dispatcher).await.is_empty() && peer.requests().is_empty());
}

#[tokio::test]
async fn an_ended_run_stays_ended_unless_it_is_tried_again() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    report(&dispatcher, run("u", "error"), Some(json!([hook("hook", &peer.url("/x"))]))).await.expect("taken in");
    let refused = report(&dispatcher, run("u", "running"), None).await;
    assert!(matches!(refused, Err(EventError::Ended { from: RunState::Error, to: RunState::Running })), "{refused:?}");
    let mut retried = run("u", "running");
    retried["status"]["retry_count"] = json!(1);
    assert_eq!(report(&dispatcher, retried, None).await.expect("taken in").deliveries.len(), 1);
    let mut again = run("u", "error");
    again["status"]["retry_count"] = json!(1);
    assert_eq!(
        report(&dispatcher, again, None).await.expect("taken in").deliveries.len(),
        1,
        "the second failure is news"
    );
    until(&peer, 3).await;
    let states: Vec<RunState> = settled(&dispatcher).await.into_iter().map(|one| one.state).collect();
    assert_eq!(states, [RunState::Error, RunState::Running, RunState::Error]);
}

#[tokio::test]
async fn a_changed_list_is_a_new_generation_and_the_time_of_the_run_counts() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    let mut document = run("u", "completed");
    document["status"]["end_time"] = json!("2026-02-03T04:05:06+00:00");
    let list = |path: &str| Some(json!([hook("hook", &peer.url(path))]));
    let first = report(&dispatcher, document.clone(), list("/a")).await.expect("taken in");
    let second = report(&dispatcher, document, list("/b")).await.expect("taken in");
    assert_eq!((first.deliveries.len(), second.deliveries.len()), (1, 1));
    until(&peer, 2).await;
    let all = settled(&dispatcher).await;
    assert_ne!(all[0].key, all[1].key);
    assert!(all[0].created_at > "2026-02-04T00:00:00Z".parse::<Timestamp>().expect("a time"));
}

#[tokio::test]
async fn a_kind_that_panics_fails_alone_and_once() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let dispatcher = site.start().await;
    let fragile = |at: &str| json!({ "kind": "fragile", "name": at, "params": { "panics_at": at } });
    let refused = report(&dispatcher, run("u", "completed"), Some(json!([fragile("validate")]))).await;
    let Err(EventError::Invalid(found)) = refused else { panic!("{refused:?}") };
    let faults: Vec<String> = found.faults().map(ToString::to_string).collect();
    assert_eq!(faults, ["notifications[0]: the kind panicked while it was made ready"]);
    let list = json!([fragile("build"), hook("hook", &peer.url("/x"))]);
    assert_eq!(report(&dispatcher, run("u", "completed"), Some(list)).await.expect("taken in").deliveries.len(), 2);
    until(&peer, 1).await;
    let all = settled(&dispatcher).await;
    let states: Vec<_> = all.iter().map(|one| (one.status, one.attempts, one.reason.as_deref())).collect();
    let reason = "internal: the kind panicked while it was made ready";
    assert_eq!(states[0], (DeliveryState::Failed, 1, Some(reason)));
    assert_eq!((states[1].0, states[1].1), (DeliveryState::Sent, 1));
}

#[tokio::test]
async fn whenever_it_stops_nothing_stays_leased() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let store = site.open().await;
    let (rounds, runs) = (40, 5);
    for round in 0..rounds {
        let dispatcher = at_rest(Arc::clone(&store), DispatcherOptions::default()).await;
        for index in 0..runs {
            let list = json!([hook("hook", &peer.url("/x"))]);
            report(&dispatcher, run(&format!("u{round}-{index}"), "completed"), Some(list)).await.expect("taken in");
        }
        dispatcher.deliver();
        // Before, while and after it claims.
        for _ in 0..round * 4 {
            tokio::task::yield_now().await;
        }
        let all = settled(&dispatcher).await;
        let (sent, rest): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.status == DeliveryState::Sent);
        assert!(rest.iter().all(|one| one.status == DeliveryState::Pending && one.attempts == 0), "{rest:?}");
        assert_eq!(peer.requests().len(), sent.len());
        // It takes nothing up any more, nor does it wait again.
        dispatcher.stop(PATIENCE).await;
    }
    let dispatcher = at_rest(store, DispatcherOptions::default()).await;
    dispatcher.deliver();
    until(&peer, rounds * runs).await;
    let all = settled(&dispatcher).await;
    assert!(all.iter().all(|one| one.status == DeliveryState::Sent && one.attempts == 1), "{all:?}");
    assert_eq!((all.len(), peer.requests().len()), (rounds * runs, rounds * runs));
}

#[tokio::test]
async fn the_steps_of_a_workflow_are_delivered_at_once_and_later() {
    let (site, peer) = (Site::new(), FakeHttp::start().await);
    let step = |name: &str| json!({ "metadata": { "name": name }, "status": { "state": "error" } });
    let event = |uid: &str| Event {
        project: "p".to_owned(),
        uid: uid.to_owned(),
        run: Value::from(run(uid, "error")),
        steps: vec![Value::from(step("fetch")), Value::from(step("fit"))],
        notifications: Some(Value::from(json!([hook("hook", &peer.url("/x"))]))),
        state: None,
        at: None,
    };
    // Read from the store: nothing is delivered while it is accepted.
    let dispatcher = at_rest(site.open().await, DispatcherOptions::default()).await;
    dispatcher.take_in(event("later")).await.expect("taken in");
    dispatcher.deliver();
    until(&peer, 1).await;
    dispatcher.take_in(event("at-once")).await.expect("taken in");
    until(&peer, 2).await;
    for request in peer.requests() {
        let body = request.text();
        assert!(body.contains(r#""name":"fetch""#) && body.contains(r#""name":"fit""#), "{body}");
    }
}
