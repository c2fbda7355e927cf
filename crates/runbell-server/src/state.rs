//! The state that handlers share.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use runbell_core::Clock;
use runbell_runtime::Dispatcher;

use crate::config::ServerLimits;
use crate::metrics::Metrics;
use crate::tokens::Tokens;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
    /// Even when there is none yet: the server listens to more than this machine.
    pub(crate) needs_tokens: bool,
    /// Requests come from this very process.
    pub(crate) is_local: bool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: ServerLimits,
    pub(crate) ui_url: Option<String>,
    /// Where backups are put together.
    pub(crate) folder: PathBuf,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
