//! The one thread that writes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use crate::error::{StoreError, StoreResult};

/// How many writes a group holds at most.
const GROUP: usize = 256;

/// How long a write without a waiting caller may wait for other writes: long enough to share their commit, and so short that
/// a kill of the process loses little.
const PATIENCE: Duration = Duration::from_millis(2);

/// The most writes in the queue; further callers wait for a place.
const QUEUE: usize = 4_096;

/// A queued write: runs inside the group's transaction, more than once if needed.
trait Job: Send {
    /// Writes; false when that fails.
    fn write(&mut self, connection: &Connection) -> bool;

    /// Drops its result: it was rolled back.
    fn undone(&mut self);

    /// The time until which it may wait for other writes.
    fn may_wait_until(&self) -> Option<Instant>;

    /// Answers the caller, once it is known whether the commit succeeded.
    fn answer(self: Box<Self>, committed: StoreResult<()>);
}

/// A write with the caller who waits for it.
struct Asked<T, F> {
    write: F,
    outcome: Option<StoreResult<T>>,
    caller: oneshot::Sender<StoreResult<T>>,
    until: Option<Instant>,
}

impl<T: Send, F: Fn(&Connection) -> StoreResult<T> + Send> Job for Asked<T, F> {
    fn write(&mut self, connection: &Connection) -> bool {
        self.outcome.insert((self.write)(connection)).is_ok()
    }

    fn undone(&mut self) {
        self.outcome = None;
    }

    fn may_wait_until(&self) -> Option<Instant> {
        self.until
    }

    fn answer(self: Box<Self>, committed: StoreResult<()>) {
        // Dropped unanswered when it was not made.
        let Some(outcome) = self.outcome else { return };
        // The caller may have gone; the write stands all the same.
        let _ = self.caller.send(outcome.and_then(|done| committed.map(|()| done)));
    }
}

/// Passes writes to the writing thread. Dropping it waits for the queued writes: the file is free afterwards.
pub(super) struct Writer {
    jobs: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It has no reason to panic, and if it did, it has said so.
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, file: &Path, database: Arc<File>) -> StoreResult<Self> {
        let (sender, jobs) = sync_channel::<Box<dyn Job>>(QUEUE);
        let checkpoints = Checkpoints::start(&connection, file, database)?;
        let thread = std::thread::Builder::new()
            .name("runbell-store".to_owned())
            .spawn(move || serve(&connection, checkpoints, &jobs))
            .map_err(|error| StoreError::Unavailable(format!("no thread to write with: {}", error.kind())))?;
        Ok(Writer { jobs: Some(sender), thread: Some(thread) })
    }

    /// Writes, and waits for the commit. A `write` that fails is rolled back alone, without the others of its group. It may be
    /// called a second time, after its first effect was rolled back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.write_until(None, write).await
    }

    /// As [`write`](Self::write), for a write without urgency: it waits a little, to share the commit of other writes.
    pub(super) async fn write_patiently<T: Send + 'static>(
        &self,
        write: impl Fn(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.write_until(Some(Instant::now() + PATIENCE), write).await
    }

    async fn write_until<T: Send + 'static>(
        &self,
        until: Option<Instant>,
        write: impl Fn(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let stopped = || StoreError::Unavailable("it accepts no writes now".to_owned());
        let (caller, answered) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Asked { write, outcome: None, caller, until });
        let Some(jobs) = &self.jobs else { return Err(stopped()) };
        // The queue is long, so waiting for a place in it is rare; it must not hold up an async thread.
        if let Err(full) = jobs.try_send(job) {
            let (jobs, TrySendError::Full(job)) = (jobs.clone(), full) else { return Err(stopped()) };
            tokio::task::spawn_blocking(move || jobs.send(job)).await.map_err(|_| stopped())?.map_err(|_| stopped())?;
        }
        answered.await.map_err(|_| stopped())?
    }
}

fn serve(connection: &Connection, mut checkpoints: Checkpoints, jobs: &Receiver<Box<dyn Job>>) {
    let mut left: Vec<Box<dyn Job>> = Vec::new();
    loop {
        let mut group = std::mem::take(&mut left);
        if group.is_empty() {
            let Ok(first) = jobs.recv() else { return };
            group.push(first);
        }
        group.extend(jobs.try_iter().take(GROUP.saturating_sub(group.len())));
        // Only what is in no hurry is here: wait for something that is, as long as the first of it may.
        let until = group.iter().map(|job| job.may_wait_until()).min().flatten();
        while let Some(until) = until
            && group.len() < GROUP
            && let Ok(job) = jobs.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let hurries = job.may_wait_until().is_none();
            group.push(job);
            if hurries {
                group.extend(jobs.try_iter().take(GROUP.saturating_sub(group.len())));
                break;
            }
        }
        // Hardly any write fails after it has written something, so the group is tried without a savepoint for each, and
        // only when one did so again with them: they cost more than many a write.
        let written = begin(connection).and_then(|()| match together(connection, &mut group) {
            true => Ok(group.len()),
            false => begin(connection).map(|()| one_by_one(connection, &mut group)),
        });
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                // Dropped unanswered, which the callers see; the next group tries again.
                tracing::error!(%error, "the store accepts no writes");
                continue;
            }
        };
        let committed = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if committed.is_err() {
            // There may be nothing left to roll back.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let committed = committed.map(drop).map_err(StoreError::from);
        left = group.split_off(written);
        for job in group {
            job.answer(committed.clone());
        }
        checkpoints.tend(connection);
    }
}

/// Without a transaction nothing may be written: each job would be a commit of its own, or fail half-way.
fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

/// Makes all writes of a group. False, and nothing is written, when one failed half-way.
fn together(connection: &Connection, group: &mut [Box<dyn Job>]) -> bool {
    let failed = group.iter_mut().any(|job| {
        let before = connection.total_changes();
        !job.write(connection) && (connection.is_autocommit() || connection.total_changes() != before)
    });
    if failed {
        // What failed may have ended the transaction by itself.
        let _ = connection.execute_batch("ROLLBACK");
        group.iter_mut().for_each(|job| job.undone());
    }
    !failed
}

/// Makes the writes of a group, each in a savepoint of its own, and returns how many were made or failed. A full disk may
/// end the transaction half-way: what comes then is left for the next group.
fn one_by_one(connection: &Connection, group: &mut [Box<dyn Job>]) -> usize {
    let savepoint = |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let mut written = 0;
    for job in group {
        if connection.is_autocommit() {
            break;
        }
        written += 1;
        let Ok(_) = savepoint("SAVEPOINT one") else { continue };
        let is_done = job.write(connection);
        if connection.is_autocommit() {
            // What failed took the whole transaction with it, this savepoint too.
            break;
        }
        if !is_done {
            let _ = savepoint("ROLLBACK TO one");
        }
        let _ = savepoint("RELEASE one");
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::sqlite::{checkpoint, open};

    fn start(folder: &Path, prepare: impl FnOnce(&Connection)) -> Writer {
        let file = folder.join("runbell.db");
        let mut connection = open::connect(&file).expect("opened");
        open::migrate(&mut connection, &file).expect("made");
        prepare(&connection);
        Writer::start(connection, &file, Arc::new(open::held(&file).expect("opened"))).expect("a thread")
    }

    fn rows(connection: &Connection) -> StoreResult<i64> {
        Ok(connection.query_row("SELECT count(*) FROM projects", [], |row| row.get(0))?)
    }

    fn insert(connection: &Connection, name: &str, bytes: usize) -> StoreResult<()> {
        let sql = "INSERT INTO projects (name, document) VALUES (?1, ?2)";
        connection.execute(sql, [name, &"x".repeat(bytes)])?;
        Ok(())
    }

    #[tokio::test]
    async fn the_connection_that_writes_syncs_every_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = start(folder.path(), |_| ());
        let asked = writer.write(|connection| {
            let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            Ok((synchronous, journal))
        });
        // 2 is FULL.
        assert_eq!(asked.await.expect("answered"), (2, "wal".to_owned()));
    }

    #[tokio::test]
    async fn a_refused_write_is_not_kept_when_a_full_disk_ends_the_groups_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = start(folder.path(), |connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a count");
            connection.pragma_update_and_check(None, "max_page_count", pages + 4, |_| Ok(())).expect("set");
        });
        // All of one group: they are queued while the thread is busy.
        let (busy, go) = (channel(), channel());
        let once = std::sync::Once::new();
        let held = writer.write(move |_| {
            // It may be made a second time with the others.
            once.call_once(|| {
                let _ = (busy.0.send(()), go.1.recv());
            });
            Ok(())
        });
        let queued = async {
            let first = writer.write(|connection| insert(connection, "before", 10));
            let second = writer.write(|connection| insert(connection, "too large", 1_000_000));
            let third = writer.write(|connection| insert(connection, "after", 10));
            let go = async { go.0.send(()).map_err(|_| StoreError::Conflict) };
            tokio::join!(first, second, third, go)
        };
        let (_, (first, second, third, _)) = tokio::join!(held, queued);
        let full = second.expect_err("it does not fit").to_string();
        assert!(full.contains("full"), "{full}");
        let kept = writer.write(rows).await.expect("answered");
        let promised = [first, third].iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(kept, promised as i64, "kept and promised differ");
        // And it goes on.
        writer.write(|connection| insert(connection, "later", 10)).await.expect("written");
    }

    #[tokio::test]
    async fn the_log_is_copied_beside_the_commits_and_begins_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = start(folder.path(), |_| ());
        let log = folder.path().join("runbell.db-wal");
        let logged = || writer.write(|_| Ok(checkpoint::logged()));
        // Each takes about 50 pages.
        for number in 0..100 {
            writer.write(move |connection| insert(connection, &number.to_string(), 200_000)).await.expect("written");
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut number = 100;
        while logged().await.expect("answered") > 1_000 {
            assert!(Instant::now() < deadline, "the log does not begin again");
            writer.write(move |connection| insert(connection, &number.to_string(), 10)).await.expect("written");
            number += 1;
        }
        assert_eq!(writer.write(rows).await.expect("answered"), number);
        drop(writer);
        assert!(!log.exists(), "closed in order, there is one file");
        let file = Connection::open(folder.path().join("runbell.db")).expect("opened");
        assert_eq!(rows(&file).expect("read"), number);
    }
}
