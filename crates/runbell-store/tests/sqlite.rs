//! The SQLite store: its contract, and what belongs to a file.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::value::read;
use runbell_core::{
    Clock, DeliveryKey, Flow, FlowHash, Job, Lane, Look, Notification, RunSnapshot, RunState, Subject, Timestamp,
};
use runbell_store::{
    Claim, Deliver, DeliveryState, LeasedDelivery, NewJob, RegisteredNotification, Rooms, RunChange, RunFacts, RunKey,
    Store, StoreError,
};
use runbell_testkit::{FixedClock, SAMPLE_TIME, StoreBench};

async fn open_with(file: &Path, clock: impl Clock + 'static) -> Result<Arc<dyn Store>, StoreError> {
    runbell_store::open(&format!("sqlite://{}", file.display()), Arc::new(clock)).await
}

async fn open(file: &Path) -> Result<Arc<dyn Store>, StoreError> {
    open_with(file, FixedClock::default()).await
}

async fn refused(file: &Path) -> StoreError {
    open(file).await.err().expect("it is refused")
}

struct Unlimited;

impl Rooms for Unlimited {
    fn room(&self, _: FlowHash, _: &[(FlowHash, usize)]) -> usize {
        usize::MAX
    }
}

async fn claim(store: &Arc<dyn Store>, lease: Duration) -> Vec<LeasedDelivery> {
    let claim = Claim { limit: 10, lease, probes: 1, rooms: Arc::new(Unlimited) };
    store.claim(claim).await.expect("claimed").deliveries
}

fn intake(uid: &str) -> RunChange {
    let run = RunSnapshot::step(read("{}").expect("JSON"));
    let job = Job {
        key: DeliveryKey::of(&[uid]),
        lane: Some(Lane::new(run.clone(), "n")),
        subject: Subject::run(run, []),
        state: RunState::Completed,
        at: SAMPLE_TIME,
        notification: Arc::new(Notification::new("webhook", "n")),
        look: Look::Mlrun,
    };
    RunChange {
        run: RunKey { project: "p".to_owned(), uid: uid.to_owned(), iteration: 0 },
        document: "{}".to_owned(),
        steps: None,
        facts: RunFacts::default(),
        expected: None,
        notifications: Some(vec![RegisteredNotification {
            name: "n".to_owned(),
            kind: "webhook".to_owned(),
            document: "{}".to_owned(),
            secret: None,
        }]),
        secrets: Vec::new(),
        verdicts: Vec::new(),
        jobs: vec![NewJob { job, flow: Flow::default(), lease: None }],
        deliver: Deliver::Always,
    }
}

async fn bench() -> StoreBench {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), FixedClock::default());
    let store = open_with(&folder.path().join("runbell.db"), clock.clone()).await.expect("opened");
    StoreBench { store, second: None, set_time: Box::new(move |now| clock.set(now)), keep: Box::new(folder) }
}

mod contract {
    use super::bench;

    runbell_testkit::store_contract!(bench);
}

#[tokio::test]
async fn only_files_are_stores() {
    for (url, part) in [("postgres://u:CANARY@h/d", "sqlite://FILE"), ("sqlite://", "sqlite://FILE"), ("", "must be")] {
        let clock = Arc::new(FixedClock::default());
        let error = runbell_store::open(url, clock).await.err().expect("it is refused").to_string();
        assert!(error.starts_with("store: ") && error.contains(part) && !error.contains("CANARY"), "{error}");
    }
}

#[tokio::test]
async fn a_file_belongs_to_one_process_and_leases_end_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runbell.db");
    let store = open(&file).await.expect("opened");
    let id = store.intake(intake("u")).await.expect("taken in").jobs[0].id;
    let lease = claim(&store, Duration::from_secs(3600)).await.remove(0).lease;
    assert_eq!(refused(&file).await, StoreError::Held(file.display().to_string()));
    drop(store);

    let store = open(&file).await.expect("opened again");
    let (record, attempts) = store.delivery("p", id).await.expect("read").expect("it is there");
    assert_eq!(
        (record.status, attempts[0].outcome.as_str(), attempts[0].ambiguous),
        (DeliveryState::Retry, "lost", true)
    );
    let again = claim(&store, Duration::from_secs(25)).await.remove(0).lease;
    assert!(again.id == lease.id && again.fence > lease.fence && again.progress.attempts == 2);
}

#[tokio::test]
async fn a_backup_is_one_file_that_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let store = open(&file).await.expect("opened");
    store.intake(intake("before")).await.expect("taken in");
    store.backup(&copy).await.expect("copied");
    store.intake(intake("after")).await.expect("taken in");
    assert!(matches!(store.backup(&copy).await, Err(StoreError::Unavailable(what)) if what.contains("exists already")));
    let restored = open(&copy).await.expect("opened");
    let leased = claim(&restored, Duration::from_secs(25)).await;
    let uids: Vec<&str> = leased.iter().filter_map(|one| Some(one.run.as_ref()?.uid.as_str())).collect();
    assert_eq!(uids, ["before"]);
}

#[tokio::test]
async fn files_of_others_and_of_newer_versions_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough to be looked at as if it were one".repeat(20))
        .expect("written");
    assert_eq!(refused(&text).await, StoreError::Foreign(text.display().to_string()));

    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).and_then(|c| c.execute_batch("CREATE TABLE theirs (x)")).expect("made");
    assert_eq!(refused(&other).await, StoreError::Foreign(other.display().to_string()));

    let newer = folder.path().join("newer.db");
    drop(open(&newer).await.expect("made"));
    rusqlite::Connection::open(&newer).and_then(|c| c.pragma_update(None, "user_version", 99)).expect("changed");
    assert_eq!(refused(&newer).await, StoreError::Newer { found: 99, known: 1 });
    let before = std::fs::read(&newer).expect("read");
    assert!(
        refused(&newer).await.to_string().contains("its schema is 99")
            && std::fs::read(&newer).expect("read") == before
    );

    assert!(matches!(refused(&folder.path().join("no/such/folder.db")).await, StoreError::Unavailable(_)));
}

#[tokio::test]
async fn the_database_itself_refuses_leaps() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runbell.db");
    let store = open(&file).await.expect("opened");
    store.intake(intake("u")).await.expect("taken in");
    drop(store);
    let connection = rusqlite::Connection::open(&file).expect("opened");
    for sql in [
        "UPDATE deliveries SET status = 'sent', due_at = NULL, finished_at = 1",
        "UPDATE deliveries SET status = 'retry'",
        "UPDATE deliveries SET status = 'done'",
        "UPDATE deliveries SET leased_until = 1",
        "UPDATE deliveries SET status = 'leased', finished_at = 1",
    ] {
        assert!(connection.execute(sql, []).is_err(), "{sql}");
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "wal");
    // No attempt was made, so no attempt has a time.
    assert_eq!(Timestamp::from_microsecond(SAMPLE_TIME.as_microsecond()).expect("a time"), SAMPLE_TIME);
}
