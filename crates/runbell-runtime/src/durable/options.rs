//! The options of a dispatcher, and the events for its observer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{ErrorKind, Map, Notification, RetryPolicy};

/// Called with every attempt that was made, for metrics. Must not block.
pub type Observer = Arc<dyn Fn(&Attempted) + Send + Sync>;

/// The figures of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    /// The kind of notification; empty when it could not be made ready.
    pub kind: &'static str,
    /// The outcome.
    pub outcome: AttemptResult,
    /// The error's kind of a failed attempt.
    pub error: Option<ErrorKind>,
    /// The duration.
    pub took: Duration,
    /// The time since the delivery was accepted.
    pub since_accepted: Duration,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The target took it.
    Sent,
    /// It failed and will be tried again.
    Retry,
    /// It failed for good.
    Failed,
    /// It failed, and newer news or another list replaced it.
    Superseded,
}

/// The options of a dispatcher.
#[derive(Clone)]
pub struct DispatcherOptions {
    /// The retry policy. Default [`RetryPolicy::server`].
    pub retry: RetryPolicy,
    /// The most attempts at once, over all destinations. Default 256.
    pub at_once: usize,
    /// The URL of the UI that messages link to. Default none.
    pub ui_url: String,
    /// Default params by kind, for notifications that leave them out: SMTP defaults.
    pub defaults: BTreeMap<String, Map>,
    /// Notifications to the operator about deliveries that failed for good. Default none.
    pub on_failure: Vec<Notification>,
    /// Called with every attempt. Default none.
    pub observer: Option<Observer>,
}

impl Default for DispatcherOptions {
    fn default() -> Self {
        DispatcherOptions {
            retry: RetryPolicy::server(),
            at_once: 256,
            ui_url: String::new(),
            defaults: BTreeMap::new(),
            on_failure: Vec::new(),
            observer: None,
        }
    }
}
