//! How a dispatcher works, and what it shows of its work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{ErrorKind, Map, Notification, RetryPolicy};

/// Called with every attempt that was made, for metrics. Must not block.
pub type Observer = Arc<dyn Fn(&Attempted) + Send + Sync>;

/// An attempt that was made, in figures.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    /// The kind of notification; empty when it could not be made ready.
    pub kind: &'static str,
    /// How it ended.
    pub outcome: AttemptResult,
    /// Of a failed one.
    pub error: Option<ErrorKind>,
    /// How long it took.
    pub took: Duration,
    /// How long ago the delivery was taken in.
    pub since_accepted: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The target took it.
    Sent,
    /// It failed and will be tried again.
    Retry,
    /// It failed for good.
    Failed,
    /// It failed, and newer news or another list took its place.
    Superseded,
}

/// How a dispatcher works.
#[derive(Clone)]
pub struct DispatcherOptions {
    /// When to try again. Default [`RetryPolicy::server`].
    pub retry: RetryPolicy,
    /// How many attempts may be under way, all destinations together. Default 256.
    pub at_once: usize,
    /// Where messages link to. Default nowhere.
    pub ui_url: String,
    /// Params that fill in what notifications leave out, by kind: SMTP defaults.
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
