//! Opens the store that a URL names.

use std::path::PathBuf;
use std::sync::Arc;

use runbell_core::Clock;

use crate::error::{StoreError, StoreResult};
use crate::sqlite::SqliteStore;
use crate::traits::Store;

/// The scheme of a store in a file.
const FILE_SCHEME: &str = "sqlite://";

/// Opens or makes the store of a URL: `sqlite://FILE`. `clock` is the clock of a store in a file.
///
/// Leases that an earlier process held on a store in a file end.
///
/// # Errors
/// [`StoreError::Location`] for a URL that names no store, [`StoreError::Held`] while another process owns it,
/// [`StoreError::Newer`] and [`StoreError::Foreign`] for one that this program must not touch, [`StoreError::Unavailable`]
/// when it cannot be opened or written.
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> StoreResult<Arc<dyn Store>> {
    let file = file_of(url)?;
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&file, clock)).await;
    let store = opened.map_err(|_| StoreError::Unavailable("opening it was interrupted".to_owned()))??;
    Ok(Arc::new(store))
}

/// The file that a URL names.
///
/// # Errors
/// [`StoreError::Location`] for a URL that names no file.
fn file_of(url: &str) -> StoreResult<PathBuf> {
    match url.strip_prefix(FILE_SCHEME) {
        Some(file) if !file.is_empty() => Ok(PathBuf::from(file)),
        _ => Err(StoreError::Location(format!(
            "must be {FILE_SCHEME}FILE, such as {FILE_SCHEME}runbell.db or {FILE_SCHEME}/var/lib/runbell.db"
        ))),
    }
}
