//! What can go wrong with a store.

use std::fmt::{self, Display};
use std::path::PathBuf;

/// What most functions here return.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The run was changed by somebody else meanwhile; decide anew and try again.
    Conflict,
    /// The database does not answer, or does not take what is written: a full disk, a file that is read-only.
    Unavailable(String),
    /// Another process owns the file.
    Held(PathBuf),
    /// The file was written by a newer version of this program.
    Newer {
        /// The version of its schema.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The file is no store of ours.
    Foreign(PathBuf),
}

impl Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Conflict => f.write_str("the run was changed meanwhile"),
            StoreError::Unavailable(what) => write!(f, "the store is not available: {what}"),
            StoreError::Held(file) => {
                write!(f, "{}: another process holds it; stop that one, or talk to it over its API", file.display())
            }
            StoreError::Newer { found, known } => write!(
                f,
                "the store has the schema of a newer version (its schema is {found}, this program knows {known}); use that \
                 version, or a backup from before"
            ),
            StoreError::Foreign(file) => write!(f, "{}: is no store of Runbell's", file.display()),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite's own words; statements and their values are not among them.
        let what = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => failure.to_string(),
            rusqlite::Error::QueryReturnedNoRows => "something that must be there is not".to_owned(),
            _ => "the database holds something unexpected".to_owned(),
        };
        StoreError::Unavailable(what)
    }
}
