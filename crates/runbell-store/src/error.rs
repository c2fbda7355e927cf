//! The errors of a store.

use std::fmt::{self, Display};

/// The result of most functions of this crate.
pub type StoreResult<T> = Result<T, StoreError>;

/// An error of a store. It names no database product, so that callers cannot depend on one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The run was changed meanwhile; decide again and try again.
    Conflict,
    /// The database does not answer, or refuses a write: a full disk, a read-only file.
    Unavailable(String),
    /// Another process owns the store at this location.
    Held(String),
    /// The store was written by a newer version of this program.
    Newer {
        /// The version of its schema.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The file at this location is no store of Runbell's.
    Foreign(String),
    /// The URL names no store that this program can open: the fault and its remedy.
    Location(String),
}

impl StoreError {
    /// An answer of the database that cannot be right.
    pub(crate) fn unexpected(what: &str) -> Self {
        StoreError::Unavailable(format!("the database holds something unexpected: {what}"))
    }
}

impl Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Conflict => f.write_str("the run was changed meanwhile"),
            StoreError::Unavailable(what) => write!(f, "the store is not available: {what}"),
            StoreError::Held(location) => {
                write!(f, "{location}: another process holds it; stop that one, or talk to it over its API")
            }
            StoreError::Newer { found, known } => write!(
                f,
                "the store has the schema of a newer version (its schema is {found}, this program knows {known}); use that \
                 version, or a backup from before"
            ),
            StoreError::Foreign(location) => write!(f, "{location}: is no store of Runbell's"),
            StoreError::Location(what) => write!(f, "store: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}
