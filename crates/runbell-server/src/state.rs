//! The state that handlers share.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use runbell_core::Clock;
use runbell_runtime::Dispatcher;

use crate::config::ServerLimits;
use crate::metrics::Metrics;
use crate::tokens::Tokens;

/// The state of the handlers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
    /// Whether a token is required before the store has one: the server listens on more than loopback.
    pub(crate) needs_tokens: bool,
    /// Whether requests come from this process.
    pub(crate) is_local: bool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: ServerLimits,
    pub(crate) ui_url: Option<String>,
    /// The folder in which backups are made.
    pub(crate) folder: PathBuf,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
