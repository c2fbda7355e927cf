//! Checkpoints: copies committed pages from the log into the database, in parallel with the committing thread.
//!
//! A checkpoint waits for the disk several times as long as a commit does. The pass that copies and syncs most of the log
//! runs on its own thread, while commits go on. The few pages that they add meanwhile are copied by the writer itself, because
//! only between its commits can the log be at its end and begin again.

use std::cell::Cell;
use std::ffi::c_int;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::open;
use crate::error::{StoreError, StoreResult};

/// The pages of log that cause a checkpoint: 8 MB, twice as many as SQLite's default, because most pages are written many
/// times and copied once. The log's file grows to about this size, and commits are slower until it has; a killed process
/// reads as many pages at its next start.
const ENOUGH: c_int = 2_000;

thread_local! {
    /// How many pages the log had after this thread's last commit.
    static LOGGED: Cell<c_int> = const { Cell::new(0) };
}

/// How many pages the log had after the last commit of the calling thread.
pub(super) fn logged() -> c_int {
    LOGGED.get()
}

/// The checkpoints of one writer's log.
pub(super) struct Checkpoints {
    passes: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    is_passing: Arc<AtomicBool>,
    /// A pass was made; the writer has not copied the rest yet.
    is_begun: bool,
    /// How many pages the log must have for the next pass.
    enough: c_int,
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.passes.take());
        if let Some(thread) = self.thread.take() {
            // It is not expected to panic; a panic was logged already.
            let _ = thread.join();
        }
    }
}

impl Checkpoints {
    /// For a connection whose commits no longer make checkpoints by themselves; one thread makes all of them. `database` is
    /// the file, and outlives every connection to it: closing it would end SQLite's locks.
    pub(super) fn start(connection: &Connection, file: &Path, database: Arc<File>) -> StoreResult<Self> {
        connection.wal_hook(Some(|_: &Wal, pages| {
            LOGGED.set(pages);
            Ok(())
        }));
        let beside = open::connect(file)?;
        // No page of the log is dropped before the database has it on disk.
        beside.pragma_update(None, "synchronous", "full")?;
        let (passes, asked) = sync_channel::<()>(1);
        let is_passing = Arc::new(AtomicBool::new(false));
        let passing = Arc::clone(&is_passing);
        let thread = std::thread::Builder::new()
            .name("runbell-log".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    checkpoint(&beside);
                    // SQLite syncs only once all is copied, and then has little left to wait for.
                    if let Err(error) = database.sync_data() {
                        tracing::warn!(error = %error.kind(), "the database is not synced yet");
                    }
                    passing.store(false, Ordering::Release);
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread to keep the log short: {}", error.kind())))?;
        Ok(Checkpoints { passes: Some(passes), thread: Some(thread), is_passing, is_begun: false, enough: ENOUGH })
    }

    /// Called by the writer between two transactions.
    pub(super) fn tend(&mut self, connection: &Connection) {
        let logged = logged();
        if logged < ENOUGH {
            // It has begun again.
            self.enough = ENOUGH;
        }
        if self.is_passing.load(Ordering::Acquire) {
            return;
        }
        if self.is_begun {
            self.is_begun = false;
            checkpoint(connection);
            // While somebody reads, as a backup does, the log does not begin again, and the next pass is worth it only later.
            self.enough = logged.saturating_add(ENOUGH);
        } else if logged >= self.enough
            && let Some(passes) = &self.passes
        {
            self.is_passing.store(true, Ordering::Release);
            self.is_begun = passes.try_send(()).is_ok();
        }
    }
}

/// Copies the pages that no reader needs in their old form, without waiting; the next pass copies the rest.
fn checkpoint(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        // No data is lost: it is in the log, and commits fail by themselves when the disk is full.
        tracing::warn!(%error, "the log is not copied into the database");
    }
}
