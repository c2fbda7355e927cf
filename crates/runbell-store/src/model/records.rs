//! Secrets, tokens and tasks.

use runbell_core::Timestamp;

/// What the names of secrets begin with that were made of a notification's params, as in MLRun. They belong to the
/// notifications that refer to them: callers neither see, make nor delete them, and they go with their last user.
pub const INTERNAL: &str = "mlrun.notifications.";

/// A secret, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Its name in the project.
    pub name: String,
    /// The output of [`seal`](crate::seal).
    pub sealed: Vec<u8>,
}

/// A secret and the project it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectSecret {
    /// The project.
    pub project: String,
    /// The secret.
    pub secret: SealedSecret,
}

/// An access token. Of its secret only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its public part.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Whether it may do everything.
    pub admin: bool,
    /// The projects it is for; `*` is any.
    pub projects: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Work that a caller polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// When it began.
    pub created_at: Timestamp,
    /// How long ago that is.
    pub age: std::time::Duration,
    /// How many of its deliveries wait for their first attempt.
    pub untried: usize,
}
