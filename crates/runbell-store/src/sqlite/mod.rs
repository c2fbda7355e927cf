//! The store in one SQLite file: one thread writes, in groups; readers have connections of their own.
//!
//! A group is what came in while the group before was being committed: a caller alone waits for one commit, many callers
//! share theirs. `synchronous=FULL` makes every commit survive a power cut.

mod checkpoint;
mod intake;
mod keep;
mod open;
mod read;
mod upkeep;
mod work;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::Timestamp;
use rusqlite::Connection;

use crate::error::{StoreError, StoreResult};
use crate::model::{
    Accepted, AttemptRecord, Backlog, Claimed, Completion, DeliveryFilter, DeliveryRecord, Intake, ProjectSecret,
    Recorded, RunFilter, RunKey, RunRecord, SealedSecret, StoredRun, TaskRecord, TokenRecord, VerdictRecord,
};
use crate::{Store, sqlite::writer::Writer};

/// How many reading connections are kept.
const READERS: usize = 4;

/// A store in one file, owned by this process.
pub struct SqliteStore {
    file: PathBuf,
    /// Closed before the writer, which then leaves one file instead of three.
    readers: Arc<Mutex<Vec<Connection>>>,
    writer: Writer,
    /// Open for longer than any connection.
    _database: Arc<File>,
    /// Held for as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, or makes it, and takes it for this process alone. Leases of an earlier process end.
    ///
    /// # Errors
    /// [`StoreError::Held`] while another process has it, [`StoreError::Newer`] and [`StoreError::Foreign`] for a file this
    /// program must not touch, [`StoreError::Unavailable`] when it cannot be opened or written.
    pub fn open(file: &Path, now: Timestamp) -> StoreResult<Self> {
        let lock = open::lock(file)?;
        let mut connection = open::connect(file)?;
        open::migrate(&mut connection, file)?;
        work::end_all_leases(&mut connection, now)?;
        let database = Arc::new(open::held(file)?);
        Ok(SqliteStore {
            file: file.to_owned(),
            writer: Writer::start(connection, file, Arc::clone(&database))?,
            readers: Arc::default(),
            _database: database,
            _lock: lock,
        })
    }

    /// Reads off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (file, readers) = (self.file.clone(), Arc::clone(&self.readers));
        let reading = tokio::task::spawn_blocking(move || {
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open::reader(&file)?,
            };
            let outcome = read(&connection);
            let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(connection);
            }
            outcome
        });
        reading.await.unwrap_or_else(|_| Err(StoreError::Unavailable("reading was interrupted".to_owned())))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn run(&self, key: &RunKey) -> StoreResult<Option<StoredRun>> {
        let key = key.clone();
        self.read(move |connection| read::run(connection, &key)).await
    }

    async fn intake(&self, intake: Intake) -> StoreResult<Accepted> {
        self.writer.write(move |connection| intake::take_in(connection, &intake)).await
    }

    async fn claim(&self, now: Timestamp, limit: usize, lease: Duration) -> StoreResult<Claimed> {
        self.writer.write(move |connection| work::claim(connection, now, limit, lease)).await
    }

    async fn complete(&self, completion: Completion) -> StoreResult<Recorded> {
        self.writer.write_patiently(move |connection| work::complete(connection, &completion)).await
    }

    async fn hasten(&self, ids: Vec<i64>, now: Timestamp) -> StoreResult<()> {
        self.writer.write(move |connection| work::hasten(connection, &ids, now)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, limit: usize) -> StoreResult<Vec<DeliveryRecord>> {
        let filter = filter.clone();
        self.read(move |connection| read::deliveries(connection, &filter, limit)).await
    }

    async fn delivery(&self, project: &str, id: i64) -> StoreResult<Option<(DeliveryRecord, Vec<AttemptRecord>)>> {
        let project = project.to_owned();
        self.read(move |connection| read::delivery(connection, &project, id)).await
    }

    async fn replay(&self, project: &str, id: i64, now: Timestamp, new_key: bool) -> StoreResult<Option<i64>> {
        let project = project.to_owned();
        self.writer.write(move |connection| work::replay(connection, &project, id, now, new_key)).await
    }

    async fn replay_all(
        &self,
        filter: &DeliveryFilter,
        limit: usize,
        now: Timestamp,
        new_key: bool,
    ) -> StoreResult<Vec<i64>> {
        let filter = filter.clone();
        self.writer.write(move |connection| work::replay_all(connection, &filter, limit, now, new_key)).await
    }

    async fn cancel(&self, project: &str, id: i64, now: Timestamp) -> StoreResult<bool> {
        let project = project.to_owned();
        self.writer.write(move |connection| work::cancel(connection, &project, id, now)).await
    }

    async fn secret(&self, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>> {
        let (project, name) = (project.to_owned(), name.to_owned());
        self.read(move |connection| keep::secret(connection, &project, &name)).await
    }

    async fn secret_names(&self, project: &str) -> StoreResult<Vec<String>> {
        let project = project.to_owned();
        self.read(move |connection| keep::secret_names(connection, &project)).await
    }

    async fn put_secrets(&self, project: &str, secrets: Vec<SealedSecret>) -> StoreResult<()> {
        let project = project.to_owned();
        self.writer.write(move |connection| keep::put_secrets(connection, &project, &secrets)).await
    }

    async fn delete_secrets(&self, project: &str, names: Option<Vec<String>>) -> StoreResult<()> {
        let project = project.to_owned();
        self.writer.write(move |connection| keep::delete_secrets(connection, &project, names.as_deref())).await
    }

    async fn secrets(&self, after: Option<(String, String)>, limit: usize) -> StoreResult<Vec<ProjectSecret>> {
        self.read(move |connection| {
            let after = after.as_ref().map(|(project, name)| (project.as_str(), name.as_str()));
            keep::secrets(connection, after, limit)
        })
        .await
    }

    async fn reseal(&self, old: ProjectSecret, sealed: Vec<u8>) -> StoreResult<bool> {
        self.writer.write(move |connection| keep::reseal(connection, &old, &sealed)).await
    }

    async fn runs(&self, filter: &RunFilter, limit: usize) -> StoreResult<Vec<RunRecord>> {
        let filter = filter.clone();
        self.read(move |connection| read::runs(connection, &filter, limit)).await
    }

    async fn delete_run(&self, key: &RunKey) -> StoreResult<bool> {
        let key = key.clone();
        self.writer.write(move |connection| keep::delete_run(connection, &key)).await
    }

    async fn heartbeat(&self, key: &RunKey, now: Timestamp) -> StoreResult<bool> {
        let key = key.clone();
        self.writer.write(move |connection| keep::heartbeat(connection, &key, now)).await
    }

    async fn latest(&self, key: &RunKey) -> StoreResult<Vec<DeliveryRecord>> {
        let key = key.clone();
        self.read(move |connection| read::latest(connection, &key)).await
    }

    async fn verdicts(&self, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>> {
        let key = key.clone();
        self.read(move |connection| read::verdicts(connection, &key, limit)).await
    }

    async fn project(&self, name: &str) -> StoreResult<Option<String>> {
        let name = name.to_owned();
        self.read(move |connection| keep::project(connection, &name)).await
    }

    async fn put_project(&self, name: &str, document: &str) -> StoreResult<()> {
        let (name, document) = (name.to_owned(), document.to_owned());
        self.writer.write(move |connection| keep::put_project(connection, &name, &document)).await
    }

    async fn tokens(&self) -> StoreResult<Vec<TokenRecord>> {
        self.read(keep::tokens).await
    }

    async fn put_token(&self, token: TokenRecord) -> StoreResult<()> {
        self.writer.write(move |connection| keep::put_token(connection, &token)).await
    }

    async fn revoke_token(&self, id: &str, now: Timestamp) -> StoreResult<bool> {
        let id = id.to_owned();
        self.writer.write(move |connection| keep::revoke_token(connection, &id, now)).await
    }

    async fn put_task(&self, project: &str, name: &str, deliveries: Vec<i64>, now: Timestamp) -> StoreResult<()> {
        let (project, name) = (project.to_owned(), name.to_owned());
        self.writer.write(move |connection| keep::put_task(connection, &project, &name, &deliveries, now)).await
    }

    async fn task(&self, project: &str, name: &str) -> StoreResult<Option<TaskRecord>> {
        let (project, name) = (project.to_owned(), name.to_owned());
        self.read(move |connection| keep::task(connection, &project, &name)).await
    }

    async fn backlog(&self) -> StoreResult<Backlog> {
        self.read(read::backlog).await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.writer.write(move |connection| upkeep::prune(connection, before, limit)).await
    }

    async fn backup(&self, file: &Path) -> StoreResult<()> {
        let file = file.to_owned();
        self.read(move |connection| upkeep::backup(connection, &file)).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.writer.write(upkeep::probe).await
    }
}

/// The rule by which a delivery was made, where nothing else is written down.
const MATCHED: &str = "matched";

/// Times in the database: microseconds since 1970.
fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn timestamp(micros: i64) -> StoreResult<Timestamp> {
    Timestamp::from_microsecond(micros)
        .map_err(|_| StoreError::Unavailable("the database holds a time that is none".to_owned()))
}
