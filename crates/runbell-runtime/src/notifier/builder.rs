//! The builder of a notifier.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use runbell_core::{
    BuildContext, Error, ErrorKind, Findings, FlowKey, Layer, Links, Look, Map, Notification, Registry, Result,
    RetryPolicy, SecretValues, text,
};
use tokio::sync::Semaphore;

use super::{Inner, Notifier, OnReport};
use crate::admission::{Admission, PERMITS, Rules};
use crate::flag::Flag;
use crate::ready::{Preparer, ReadyNotification};
use crate::report::ReportLine;

/// The default capacity of [`Notifier::enqueue`].
const QUEUE: usize = 1024;

impl Notifier {
    /// A builder for a notifier that can send the kinds of `registry`.
    pub fn builder(registry: Registry) -> NotifierBuilder {
        NotifierBuilder {
            preparer: Preparer {
                registry,
                cx: BuildContext::here(),
                layers: Vec::new(),
                defaults: Arc::new(BTreeMap::new()),
                flow_key: FlowKey::new(std::array::from_fn(|_| fastrand::u8(..))),
            },
            notifications: Vec::new(),
            links: Links::default(),
            policy: RetryPolicy::here(),
            permits: PERMITS,
            capacity: QUEUE,
            on_report: None,
        }
    }
}

/// The builder of a [`Notifier`].
#[derive(Clone)]
pub struct NotifierBuilder {
    preparer: Preparer,
    notifications: Vec<Notification>,
    links: Links,
    policy: RetryPolicy,
    permits: usize,
    capacity: usize,
    on_report: Option<OnReport>,
}

impl std::fmt::Debug for NotifierBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifierBuilder").field("notifications", &self.notifications).finish_non_exhaustive()
    }
}

impl NotifierBuilder {
    /// Adds a notification for every run, in addition to those in the runs' own `spec.notifications`.
    #[must_use]
    pub fn notification(mut self, notification: Notification) -> Self {
        self.notifications.push(notification);
        self
    }

    /// Adds several; see [`notification`](Self::notification).
    #[must_use]
    pub fn notifications(mut self, notifications: impl IntoIterator<Item = Notification>) -> Self {
        self.notifications.extend(notifications);
        self
    }

    /// Sets clock, output, environment and the values that senders share. Default [`BuildContext::here`].
    #[must_use]
    pub fn context(mut self, cx: BuildContext) -> Self {
        self.preparer.cx = cx;
        self
    }

    /// Sets default params of this kind, for notifications that leave them out. All other params override them.
    #[must_use]
    pub fn default_params(mut self, kind: impl Into<String>, params: Map) -> Self {
        Arc::make_mut(&mut self.preparer.defaults).insert(kind.into(), params);
        self
    }

    /// Sets the user interface that messages link to. Default none.
    #[must_use]
    pub fn ui_url(mut self, url: &str) -> Self {
        self.links = Links::new(url);
        self
    }

    /// Sets the retry policy. Default [`RetryPolicy::here`]: 3 attempts inside 30 s.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the most attempts at once to one destination. Default 64.
    #[must_use]
    pub fn concurrency(mut self, permits: usize) -> Self {
        self.permits = permits.max(1);
        self
    }

    /// Sets how many transitions [`Notifier::enqueue`] holds. Default 1,024.
    #[must_use]
    pub fn queue(mut self, capacity: usize) -> Self {
        self.capacity = capacity.clamp(1, 1 << 20);
        self
    }

    /// Wraps every sender.
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.preparer.layers.push(layer);
        self
    }

    /// Calls `on_report` with every line, also of enqueued transitions.
    #[must_use]
    pub fn on_report(mut self, on_report: impl Fn(&ReportLine) + Send + Sync + 'static) -> Self {
        self.on_report = Some(Arc::new(on_report));
        self
    }

    /// All faults and warnings of the notifications so far. Paths begin with `[index]`.
    pub fn check(&self) -> Findings {
        let mut found = Findings::default();
        for (index, notification) in self.notifications.iter().enumerate() {
            found.extend_below(&format!("[{index}]"), self.check_one(notification));
        }
        found
    }

    /// All faults and warnings of one notification, whether it was added or not.
    pub fn check_one(&self, notification: &Notification) -> Findings {
        self.preparer.check(notification)
    }

    /// Builds every sender and makes the notifier.
    ///
    /// # Errors
    /// For the first faulty notification: unknown kind, wrong params, missing secret, or a name used twice.
    pub fn build(self) -> Result<Notifier> {
        for kind in self.preparer.defaults.keys() {
            let known = self.preparer.registry.get(kind)?.registration().kind;
            if known != kind {
                let message = format!("`{kind}` is an alias; write `{known}`");
                return Err(Error::new(ErrorKind::ParamsInvalid, message).at("default_params"));
            }
        }
        let mut fixed: Vec<Arc<ReadyNotification>> = Vec::with_capacity(self.notifications.len());
        let mut secrets = SecretValues::default();
        for notification in self.notifications {
            let name = text::one_line(&notification.name, 80);
            if fixed.iter().any(|other| other.notification.name == notification.name) {
                let message = format!("`{name}` is used twice; names must be unique");
                return Err(Error::new(ErrorKind::ParamsInvalid, message).at("name"));
            }
            let ready = self
                .preparer
                .prepare(notification, Look::Own)
                .map_err(|error| Error::new(error.kind(), format!("notification `{name}`: {error}")))?;
            secrets.extend(&ready.secrets);
            fixed.push(Arc::new(ready));
        }
        let rules = Rules { permits: self.permits, places: None, longest_hold: self.policy.longest_wait };
        let admission = Admission::new(rules, Arc::clone(&self.preparer.cx.clock));
        Ok(Notifier(Arc::new(Inner {
            preparer: self.preparer,
            fixed,
            secrets,
            links: self.links,
            policy: self.policy,
            admission,
            order: Arc::default(),
            queue: Arc::new(Semaphore::new(self.capacity)),
            capacity: u32::try_from(self.capacity).unwrap_or(u32::MAX),
            closed: Flag::default(),
            expired: Flag::default(),
            last_lines: Mutex::default(),
            runtime: tokio::runtime::Handle::try_current().ok(),
            on_report: self.on_report,
        })))
    }
}
