//! Durable delivery: accepts transitions, stores their deliveries, and delivers them, also after a crash.
//!
//! [`Dispatcher::take_in`] answers once the deliveries are on disk. A worker leases due deliveries, attempts them as local
//! dispatch does, and records the outcomes; the leases of a dead process end.

mod alarm;
mod conceal;
mod deliver;
mod event;
mod explain;
mod fault;
mod intake;
mod options;
mod resources;
mod runs;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{BuildContext, Error, Findings, Links, Notification, Registry, Result, Value};
use runbell_store::Store;
use runbell_store::seal::KeyRing;

use crate::ready::Preparer;
use conceal::Vault;
pub use event::Event;
pub use explain::Explained;
pub use fault::{EventError, Taken};
use intake::Intake;
pub use options::{AttemptResult, Attempted, DispatcherOptions, Observer};
use resources::Resources;
use worker::Worker;

/// Accepts transitions and delivers them. Cheap to clone; all clones are one dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    intake: Intake,
    worker: Worker,
}

impl Dispatcher {
    /// A dispatcher that delivers from the store; call it inside a tokio runtime. `cx` should be [`BuildContext::server`]'s;
    /// otherwise users' notifications read the operator's environment.
    ///
    /// # Errors
    /// As [`at_rest`](Self::at_rest).
    pub async fn start(
        store: Arc<dyn Store>,
        registry: Registry,
        cx: BuildContext,
        keys: KeyRing,
        options: DispatcherOptions,
    ) -> Result<Self> {
        let dispatcher = Self::at_rest(store, registry, cx, keys, options).await?;
        dispatcher.deliver();
        Ok(dispatcher)
    }

    /// A dispatcher that only reads and changes the store, until [`deliver`](Self::deliver) is called.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn at_rest(
        store: Arc<dyn Store>,
        registry: Registry,
        cx: BuildContext,
        keys: KeyRing,
        options: DispatcherOptions,
    ) -> Result<Self> {
        let vault = Vault::new(Arc::clone(&store), keys);
        let (layers, defaults) = (Vec::new(), Arc::new(options.defaults.clone()));
        let preparer = Preparer { registry, cx, layers, defaults, flow_key: vault.flow_key().await? };
        let resources = Resources { store, preparer, vault };
        let worker = Worker::new(resources.clone(), Links::new(&options.ui_url), options);
        Ok(Dispatcher { intake: Intake { resources, worker: worker.clone() }, worker })
    }

    /// Starts to deliver from the store. Call it once, inside a tokio runtime.
    pub fn deliver(&self) {
        tokio::spawn(self.worker.clone().serve());
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.intake.resources.store
    }

    /// The kinds that can be sent.
    pub fn registry(&self) -> &Registry {
        &self.intake.resources.preparer.registry
    }

    /// All faults and warnings of a notification, each with its field's path.
    pub fn check(&self, notification: &Notification) -> Findings {
        self.intake.resources.preparer.check(notification)
    }

    /// A document without the secrets of the `secret_params` inside it.
    pub fn clean(&self, document: Value) -> Value {
        self.intake.resources.clean(document)
    }

    /// Stores secrets of a project, sealed. Their names must not be internal ones.
    ///
    /// # Errors
    /// [`EventError::Store`] and [`EventError::Internal`].
    pub async fn put_secrets(&self, project: &str, secrets: &BTreeMap<String, String>) -> Result<(), EventError> {
        self.intake.resources.vault.put(project, secrets).await
    }

    /// Seals every secret again that was sealed with a key other than the first. Returns their number, and the number of those
    /// that no key opens.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reseal(&self) -> Result<(usize, usize), Error> {
        self.intake.resources.vault.reseal().await
    }

    /// Starts no more deliveries and waits up to `deadline` for those under way. Unfinished deliveries stay in the store; the
    /// next dispatcher that opens it delivers them.
    pub async fn stop(&self, deadline: Duration) {
        self.worker.stop(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use runbell_core::value;
    use runbell_testkit::FixedClock;

    use super::*;

    #[tokio::test]
    async fn an_event_wakes_the_worker_although_its_caller_has_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("runbell.db").display());
        let store = runbell_store::open(&url, Arc::new(FixedClock::default())).await.expect("opened");
        let mut wakeups = store.wakeups();
        let keys = KeyRing::new([("only".to_owned(), [9; 32])]).expect("a key");
        // It does not deliver, so nothing else takes the wake-up.
        let (registry, options) = (Registry::collect([&runbell_webhook::REGISTRATION]), DispatcherOptions::default());
        let dispatcher = Dispatcher::at_rest(store, registry.expect("a kind"), BuildContext::server(), keys, options);
        let dispatcher = dispatcher.await.expect("the store answers");
        let run = value::read(r#"{"status": {"state": "completed"}}"#).expect("JSON");
        let (project, uid) = ("p".to_owned(), "u".to_owned());
        let hook = r#"[{"kind": "webhook", "name": "hook", "params": {"url": "http://127.0.0.1:9/"}}]"#;
        let notifications = Some(value::read(hook).expect("JSON"));
        let event = Event { project, uid, run, steps: Vec::new(), notifications, state: None, at: None };
        // Begun, and dropped before it is answered.
        assert!(dispatcher.take_in(event).now_or_never().is_none());
        let woken = tokio::time::timeout(Duration::from_secs(20), wakeups.next());
        woken.await.expect("it is woken although no caller waits for the answer");
    }
}
