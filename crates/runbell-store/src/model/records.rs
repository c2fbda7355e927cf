//! Secrets, tokens and tasks.

use runbell_core::Timestamp;

/// The prefix of internal secrets, which hold a notification's params, as in MLRun. They belong to the notifications that
/// refer to them: callers neither see, make nor delete them, and they are deleted with their last notification.
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
    /// A name for its use.
    pub name: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Whether it allows every action.
    pub admin: bool,
    /// The projects that it may use; `*` means every project.
    pub projects: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Work that a caller polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// The time at which it began.
    pub created_at: Timestamp,
    /// The time since it began.
    pub age: std::time::Duration,
    /// The number of its deliveries that wait for their first attempt.
    pub untried: usize,
}
