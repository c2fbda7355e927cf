//! The store in one SQLite file: one thread writes, in groups; readers have connections of their own.
//!
//! A group has the writes that arrived during the commit of the group before: a single caller waits for one commit, many
//! callers share one. `synchronous=FULL` makes every commit survive a power cut.

mod attempts;
mod checkpoint;
mod claim;
mod complete;
mod intake;
mod lane;
mod open;
mod read;
mod ready;
mod records;
mod replay;
mod runs;
mod upkeep;
mod values;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::{Clock, RetryPolicy};
use rusqlite::Connection;

use crate::error::{StoreError, StoreResult};
use crate::model::{
    Accepted, AttemptRecord, Backlog, Claim, Claimed, Completion, DeliveryFilter, DeliveryRecord, LeasedDelivery,
    ProjectSecret, Recorded, RunChange, RunFilter, RunKey, RunRecord, SealedSecret, StoredHold, StoredRun, TaskRecord,
    TokenRecord, VerdictRecord,
};
use crate::sqlite::writer::Writer;
use crate::traits::{History, Queue, Records, Upkeep};
use crate::wakeups::{Waker, Wakeups};
use values::micros;

/// The deliveries that one transaction replays; other writes go in between.
const REPLAYED_AT_ONCE: usize = 200;

/// The number of reading connections that are kept.
const READERS: usize = 4;

/// A store in one file, owned by this process.
pub(crate) struct SqliteStore {
    file: PathBuf,
    clock: Arc<dyn Clock>,
    waker: Waker,
    /// Closed before the writer, which then leaves one file instead of three.
    readers: Arc<Mutex<Vec<Connection>>>,
    writer: Writer,
    /// Open for longer than any connection.
    _database: Arc<File>,
    /// Held for as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens or makes the file, and locks it for this process. Leases of an earlier process end.
    pub(crate) fn open(file: &Path, clock: Arc<dyn Clock>) -> StoreResult<Self> {
        let lock = open::lock(file)?;
        let mut connection = open::connect(file)?;
        open::migrate(&mut connection, file)?;
        claim::end_all_leases(&mut connection, micros(clock.now()))?;
        let database = Arc::new(open::held(file)?);
        Ok(SqliteStore {
            file: file.to_owned(),
            clock,
            waker: Waker::new(),
            writer: Writer::start(connection, file, Arc::clone(&database))?,
            readers: Arc::default(),
            _database: database,
            _lock: lock,
        })
    }

    fn now(&self) -> i64 {
        micros(self.clock.now())
    }

    /// Wakes the claiming worker, when a delivery may be due.
    fn wake_if(&self, may_be_due: bool) {
        if may_be_due {
            self.waker.wake();
        }
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
impl Queue for SqliteStore {
    async fn intake(&self, change: RunChange) -> StoreResult<Accepted> {
        let now = self.now();
        let take_in = move |connection: &Connection| intake::take_in(connection, &change, now);
        let (accepted, may_be_due) = self.writer.write(take_in).await?;
        self.wake_if(may_be_due);
        Ok(accepted)
    }

    async fn claim(&self, claim: Claim) -> StoreResult<Claimed> {
        let now = self.now();
        self.writer.write(move |connection| claim::claim(connection, &claim, now)).await
    }

    async fn complete(&self, completion: Completion) -> StoreResult<Recorded> {
        let now = self.now();
        let write = move |connection: &Connection| complete::complete(connection, &completion, now);
        let (recorded, may_be_due) = self.writer.write_patiently(write).await?;
        self.wake_if(may_be_due);
        Ok(recorded)
    }

    async fn overdue(&self, policy: &RetryPolicy, limit: usize, lease: Duration) -> StoreResult<Vec<LeasedDelivery>> {
        let (now, policy) = (self.now(), policy.clone());
        let ids = self.read(move |connection| claim::overdue(connection, &policy, limit, now)).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.write(move |connection| claim::lease_these(connection, &ids, lease, now)).await
    }

    async fn holds(&self, limit: usize) -> StoreResult<Vec<StoredHold>> {
        let now = self.clock.now();
        self.read(move |connection| ready::holds(connection, limit, now)).await
    }

    async fn replay(&self, project: &str, id: i64, new_key: bool) -> StoreResult<Option<i64>> {
        let (project, now) = (project.to_owned(), self.now());
        let replay = move |connection: &Connection| replay::replay(connection, &project, id, new_key, now);
        let due = self.writer.write(replay).await?;
        self.wake_if(due.is_some());
        Ok(due)
    }

    async fn replay_all(&self, filter: &DeliveryFilter, limit: usize, new_key: bool) -> StoreResult<Vec<i64>> {
        let (filter, now) = (filter.clone(), self.now());
        let found = self.read(move |connection| read::deliveries(connection, &filter, limit)).await?;
        let found: Vec<(String, i64)> = found.into_iter().map(|record| (record.project, record.id)).collect();
        let mut due = Vec::new();
        for batch in found.chunks(REPLAYED_AT_ONCE).map(<[_]>::to_vec) {
            let replay = move |connection: &Connection| replay::replay_these(connection, &batch, new_key, now);
            due.extend(self.writer.write(replay).await?);
            self.wake_if(!due.is_empty());
        }
        Ok(due)
    }

    async fn cancel(&self, project: &str, id: i64) -> StoreResult<bool> {
        let (project, now) = (project.to_owned(), self.now());
        let is_cancelled = self.writer.write(move |connection| replay::cancel(connection, &project, id, now)).await?;
        self.wake_if(is_cancelled);
        Ok(is_cancelled)
    }

    async fn backlog(&self) -> StoreResult<Backlog> {
        let now = self.now();
        self.read(move |connection| read::backlog(connection, now)).await
    }

    fn wakeups(&self) -> Wakeups {
        self.waker.wakeups()
    }
}

#[async_trait]
impl History for SqliteStore {
    async fn run(&self, key: &RunKey) -> StoreResult<Option<StoredRun>> {
        let key = key.clone();
        self.read(move |connection| read::run(connection, &key)).await
    }

    async fn runs(&self, filter: &RunFilter, limit: usize) -> StoreResult<Vec<RunRecord>> {
        let filter = filter.clone();
        self.read(move |connection| read::runs(connection, &filter, limit)).await
    }

    async fn delete_run(&self, key: &RunKey) -> StoreResult<bool> {
        let key = key.clone();
        self.writer.write(move |connection| runs::delete_run(connection, &key)).await
    }

    async fn heartbeat(&self, key: &RunKey) -> StoreResult<bool> {
        let (key, now) = (key.clone(), self.now());
        self.writer.write(move |connection| runs::heartbeat(connection, &key, now)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, limit: usize) -> StoreResult<Vec<DeliveryRecord>> {
        let filter = filter.clone();
        self.read(move |connection| read::deliveries(connection, &filter, limit)).await
    }

    async fn delivery(&self, project: &str, id: i64) -> StoreResult<Option<(DeliveryRecord, Vec<AttemptRecord>)>> {
        let project = project.to_owned();
        self.read(move |connection| read::delivery(connection, &project, id)).await
    }

    async fn latest(&self, key: &RunKey) -> StoreResult<Vec<DeliveryRecord>> {
        let key = key.clone();
        self.read(move |connection| read::latest(connection, &key)).await
    }

    async fn verdicts(&self, key: &RunKey, limit: usize) -> StoreResult<Vec<VerdictRecord>> {
        let key = key.clone();
        self.read(move |connection| read::verdicts(connection, &key, limit)).await
    }
}

#[async_trait]
impl Records for SqliteStore {
    async fn project(&self, name: &str) -> StoreResult<Option<String>> {
        let name = name.to_owned();
        self.read(move |connection| records::project(connection, &name)).await
    }

    async fn put_project(&self, name: &str, document: &str) -> StoreResult<()> {
        let (name, document) = (name.to_owned(), document.to_owned());
        self.writer.write(move |connection| records::put_project(connection, &name, &document)).await
    }

    async fn secret(&self, project: &str, name: &str) -> StoreResult<Option<Vec<u8>>> {
        let (project, name) = (project.to_owned(), name.to_owned());
        self.read(move |connection| records::secret(connection, &project, &name)).await
    }

    async fn secret_names(&self, project: &str) -> StoreResult<Vec<String>> {
        let project = project.to_owned();
        self.read(move |connection| records::secret_names(connection, &project)).await
    }

    async fn put_secrets(&self, project: &str, secrets: Vec<SealedSecret>) -> StoreResult<()> {
        let project = project.to_owned();
        self.writer.write(move |connection| records::put_secrets(connection, &project, &secrets)).await
    }

    async fn delete_secrets(&self, project: &str, names: Option<Vec<String>>) -> StoreResult<()> {
        let project = project.to_owned();
        self.writer.write(move |connection| records::delete_secrets(connection, &project, names.as_deref())).await
    }

    async fn secrets(&self, after: Option<(String, String)>, limit: usize) -> StoreResult<Vec<ProjectSecret>> {
        self.read(move |connection| {
            let after = after.as_ref().map(|(project, name)| (project.as_str(), name.as_str()));
            records::secrets(connection, after, limit)
        })
        .await
    }

    async fn reseal(&self, old: ProjectSecret, sealed: Vec<u8>) -> StoreResult<bool> {
        self.writer.write(move |connection| records::reseal(connection, &old, &sealed)).await
    }

    async fn flow_key(&self, offered: Vec<u8>) -> StoreResult<Vec<u8>> {
        self.writer.write(move |connection| records::flow_key(connection, &offered)).await
    }

    async fn put_flow_key(&self, sealed: Vec<u8>, forgets_flows: bool) -> StoreResult<()> {
        let now = self.now();
        let put = move |connection: &Connection| records::put_flow_key(connection, &sealed, forgets_flows, now);
        self.writer.write(put).await?;
        self.wake_if(forgets_flows);
        Ok(())
    }

    async fn tokens(&self) -> StoreResult<Vec<TokenRecord>> {
        self.read(records::tokens).await
    }

    async fn put_token(&self, token: TokenRecord) -> StoreResult<()> {
        self.writer.write(move |connection| records::put_token(connection, &token)).await
    }

    async fn revoke_token(&self, id: &str) -> StoreResult<bool> {
        let (id, now) = (id.to_owned(), self.now());
        self.writer.write(move |connection| records::revoke_token(connection, &id, now)).await
    }

    async fn put_task(&self, project: &str, name: &str, deliveries: Vec<i64>) -> StoreResult<TaskRecord> {
        let (project, name, now) = (project.to_owned(), name.to_owned(), self.now());
        self.writer.write(move |connection| records::put_task(connection, &project, &name, &deliveries, now)).await
    }

    async fn task(&self, project: &str, name: &str) -> StoreResult<Option<TaskRecord>> {
        let (project, name, now) = (project.to_owned(), name.to_owned(), self.now());
        self.read(move |connection| records::task(connection, &project, &name, now)).await
    }
}

#[async_trait]
impl Upkeep for SqliteStore {
    async fn prune(&self, age: Duration, limit: usize) -> StoreResult<usize> {
        let now = self.now();
        self.writer.write(move |connection| upkeep::prune(connection, age, limit, now)).await
    }

    async fn backup(&self, file: &Path) -> StoreResult<()> {
        let file = file.to_owned();
        self.read(move |connection| upkeep::backup(connection, &file)).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.writer.write(upkeep::probe).await
    }
}
