//! The SQLite store: its contract, and what belongs to a file.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use runbell_core::{RunState, Timestamp};
use runbell_store::{
    Deliver, DeliveryState, Intake, NewDelivery, Registered, RunFacts, RunKey, SqliteStore, Store, StoreError,
};
use runbell_testkit::{SAMPLE_TIME, store_contract};

fn open(file: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(file, SAMPLE_TIME)
}

fn refused(file: &Path) -> StoreError {
    open(file).err().expect("it is refused")
}

fn intake(uid: &str) -> Intake {
    let name = "n".to_owned();
    Intake {
        run: RunKey { project: "p".to_owned(), uid: uid.to_owned(), iteration: 0 },
        document: "{}".to_owned(),
        facts: RunFacts::default(),
        expected: None,
        notifications: Some(vec![Registered {
            name: name.clone(),
            kind: "webhook".to_owned(),
            document: "{}".to_owned(),
            secret: None,
        }]),
        secrets: Vec::new(),
        verdicts: Vec::new(),
        deliveries: vec![NewDelivery {
            key: uid.to_owned(),
            notification: name,
            state: RunState::Completed,
            at: SAMPLE_TIME,
            lease: None,
        }],
        deliver: Deliver::Always,
        now: SAMPLE_TIME,
    }
}

#[tokio::test]
async fn contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = std::sync::atomic::AtomicUsize::new(0);
    store_contract(async || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open(&folder.path().join(format!("{number}.db"))).expect("opened")
    })
    .await;
}

#[tokio::test]
async fn a_file_belongs_to_one_process_and_leases_end_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runbell.db");
    let store = open(&file).expect("opened");
    let id = store.intake(intake("u")).await.expect("taken in").deliveries[0];
    let lease = store.claim(SAMPLE_TIME, 10, Duration::from_secs(3600)).await.expect("claimed").leases.remove(0);
    assert_eq!(refused(&file), StoreError::Held(file.clone()));
    drop(store);

    let store = open(&file).expect("opened again");
    let (record, attempts) = store.delivery("p", id).await.expect("read").expect("it is there");
    assert_eq!(
        (record.status, attempts[0].outcome.as_str(), attempts[0].ambiguous),
        (DeliveryState::Retry, "lost", true)
    );
    let again = store.claim(SAMPLE_TIME, 10, Duration::from_secs(25)).await.expect("claimed").leases.remove(0);
    assert!(again.id == lease.id && again.fence > lease.fence && again.attempt == 2);
}

#[tokio::test]
async fn a_backup_is_one_file_that_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let store = open(&file).expect("opened");
    store.intake(intake("before")).await.expect("taken in");
    store.backup(&copy).await.expect("copied");
    store.intake(intake("after")).await.expect("taken in");
    assert!(matches!(store.backup(&copy).await, Err(StoreError::Unavailable(what)) if what.contains("exists already")));
    let restored = open(&copy).expect("opened");
    let leases = restored.claim(SAMPLE_TIME, 10, Duration::from_secs(25)).await.expect("claimed").leases;
    assert_eq!(leases.iter().map(|lease| lease.run.uid.as_str()).collect::<Vec<_>>(), ["before"]);
}

#[test]
fn files_of_others_and_of_newer_versions_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough to be looked at as if it were one".repeat(20))
        .expect("written");
    assert_eq!(refused(&text), StoreError::Foreign(text.clone()));

    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).and_then(|c| c.execute_batch("CREATE TABLE theirs (x)")).expect("made");
    assert_eq!(refused(&other), StoreError::Foreign(other.clone()));

    let newer = folder.path().join("newer.db");
    drop(open(&newer).expect("made"));
    rusqlite::Connection::open(&newer).and_then(|c| c.pragma_update(None, "user_version", 99)).expect("changed");
    assert_eq!(refused(&newer), StoreError::Newer { found: 99, known: 1 });
    let before = std::fs::read(&newer).expect("read");
    assert!(refused(&newer).to_string().contains("its schema is 99") && std::fs::read(&newer).expect("read") == before);

    assert!(matches!(refused(&folder.path().join("no/such/folder.db")), StoreError::Unavailable(_)));
}

#[test]
fn the_database_itself_refuses_leaps() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runbell.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = open(&file).expect("opened");
    runtime.block_on(store.intake(intake("u"))).expect("taken in");
    drop(store);
    let connection = rusqlite::Connection::open(&file).expect("opened");
    for sql in [
        "UPDATE deliveries SET status = 'sent', due_at = NULL, finished_at = 1",
        "UPDATE deliveries SET status = 'retry'",
        "UPDATE deliveries SET status = 'done'",
        "UPDATE deliveries SET due_at = NULL",
        "UPDATE deliveries SET status = 'leased', finished_at = 1",
    ] {
        assert!(connection.execute(sql, []).is_err(), "{sql}");
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "wal");
    // The time of the attempt that was never made is nobody's.
    assert_eq!(Timestamp::from_microsecond(SAMPLE_TIME.as_microsecond()).expect("a time"), SAMPLE_TIME);
}
