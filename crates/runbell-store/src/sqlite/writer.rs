//! The one thread that writes.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{StoreError, StoreResult};

/// How many writes a group holds at most.
const GROUP: usize = 256;

/// How many writes may wait; a caller beyond that waits to get in line.
const QUEUE: usize = 4_096;

/// Answers a caller, once it is known whether the commit went through.
type Answer = Box<dyn FnOnce(StoreResult<()>) + Send>;

/// A write: does its part inside the group's transaction.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;

/// Hands writes to the thread that makes them. Dropping it waits for what was handed over: the file is free afterwards.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
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
    pub(super) fn start(connection: Connection) -> StoreResult<Self> {
        let (sender, jobs) = sync_channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("runbell-store".to_owned())
            .spawn(move || serve(&connection, &jobs))
            .map_err(|error| StoreError::Unavailable(format!("no thread to write with: {}", error.kind())))?;
        Ok(Writer { jobs: Some(sender), thread: Some(thread) })
    }

    /// Writes, and waits for the commit. `write` fails alone: what it wrote is undone, others of its group are not.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let stopped = || StoreError::Unavailable("it takes no writes at present".to_owned());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = alone(connection, write);
            Box::new(move |committed: StoreResult<()>| {
                // Whoever asked may have gone; the write stands all the same.
                let _ = answer.send(outcome.and_then(|done| committed.map(|()| done)));
            })
        });
        let Some(jobs) = &self.jobs else { return Err(stopped()) };
        // The queue is long, so waiting for a place in it is rare; it must not hold up an async thread.
        if let Err(full) = jobs.try_send(job) {
            let (jobs, TrySendError::Full(job)) = (jobs.clone(), full) else { return Err(stopped()) };
            tokio::task::spawn_blocking(move || jobs.send(job)).await.map_err(|_| stopped())?.map_err(|_| stopped())?;
        }
        answered.await.map_err(|_| stopped())?
    }
}

/// Inside a savepoint of its own.
fn alone<T>(connection: &Connection, write: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
    connection.prepare_cached("SAVEPOINT one")?.execute([])?;
    let outcome = write(connection);
    if connection.is_autocommit() {
        // What failed took the whole transaction with it, this savepoint too.
        return outcome;
    }
    if outcome.is_err() {
        connection.prepare_cached("ROLLBACK TO one")?.execute([])?;
    }
    connection.prepare_cached("RELEASE one")?.execute([])?;
    outcome
}

fn serve(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let begun = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        let mut group = std::iter::once(first).chain(jobs.try_iter().take(GROUP - 1));
        // Without a transaction nothing may be written: each job would be a commit of its own, or fail half-way.
        let (answers, committed) = match begun {
            Ok(_) => {
                let mut answers: Vec<Answer> = Vec::new();
                // A full disk may end the transaction half-way: what comes then is left for the next group.
                while !connection.is_autocommit()
                    && let Some(job) = group.next()
                {
                    answers.push(job(connection));
                }
                let committed = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
                if committed.is_err() {
                    // There may be nothing left to roll back.
                    let _ = connection.execute_batch("ROLLBACK");
                }
                (answers, committed.map(drop).map_err(StoreError::from))
            }
            Err(error) => {
                // Dropped unanswered, and told so by that; the next group tries anew.
                group.for_each(drop);
                tracing::error!(%error, "the store takes no writes");
                continue;
            }
        };
        for answer in answers {
            answer(committed.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::sqlite::open;

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
        let file = folder.path().join("runbell.db");
        let mut connection = open::connect(&file).expect("opened");
        open::migrate(&mut connection, &file).expect("made");
        let writer = Writer::start(connection).expect("a thread");
        let asked = writer.write(|connection| {
            let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            Ok((synchronous, journal))
        });
        // 2 is FULL.
        assert_eq!(asked.await.expect("answered"), (2, "wal".to_owned()));
    }

    #[tokio::test]
    async fn what_is_refused_is_not_kept_when_a_full_disk_ends_the_groups_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("runbell.db");
        let mut connection = open::connect(&file).expect("opened");
        open::migrate(&mut connection, &file).expect("made");
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a count");
        connection.pragma_update_and_check(None, "max_page_count", pages + 4, |_| Ok(())).expect("set");
        let writer = Writer::start(connection).expect("a thread");
        // All of one group: they are queued while the thread is busy.
        let (busy, go) = (channel(), channel());
        let held = writer.write(move |_| {
            let _ = (busy.0.send(()), go.1.recv());
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
}
