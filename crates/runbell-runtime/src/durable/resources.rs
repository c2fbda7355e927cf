//! The resources of durable delivery.

use std::sync::Arc;

use runbell_core::{Look, Notification, Result, RunSnapshot, SecretValues, Timestamp, Value};
use runbell_store::{RegisteredNotification, Store};

use super::conceal::Vault;
use crate::decide::Entry;
use crate::ready::{Preparer, Unusable};
use crate::redact::redact;

/// The resources of durable delivery. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resources {
    pub(super) store: Arc<dyn Store>,
    pub(super) preparer: Preparer,
    pub(super) vault: Vault,
}

impl Resources {
    pub(super) fn now(&self) -> Timestamp {
        self.preparer.cx.clock.now()
    }

    /// A notification made ready, or the reason why it is unusable.
    pub(super) fn prepare(&self, notification: Notification, look: Look) -> Entry {
        let (name, kind) = (notification.name.clone(), notification.kind.clone());
        let given = notification.secret_params.clone();
        self.preparer.prepare(notification, look).map(Arc::new).map_err(|error| {
            let mut unusable = Unusable::new(&name, &kind, error);
            unusable.secrets.add(&Value::Map(given));
            unusable
        })
    }

    /// A registered notification made ready, with its secrets.
    pub(super) async fn prepare_registered(
        &self,
        project: &str,
        registered: &RegisteredNotification,
        look: Look,
    ) -> Entry {
        match self.vault.reveal(project, registered).await {
            Ok(notification) => self.prepare(notification, look),
            Err(error) => Err(Unusable::new(&registered.name, &registered.kind, error)),
        }
    }

    /// Registered notifications made ready, each with its secrets.
    pub(super) async fn registered_entries(
        &self,
        project: &str,
        registered: &[RegisteredNotification],
        look: Look,
    ) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(registered.len());
        for one in registered {
            entries.push(self.prepare_registered(project, one, look).await);
        }
        entries
    }

    /// A document other than a run's, without the secrets of the `secret_params` inside it.
    pub(super) fn clean(&self, mut document: Value) -> Value {
        let mut secrets = SecretValues::default();
        own_secrets(&RunSnapshot::step(document.clone()), &mut secrets);
        redact(&mut document, &self.preparer.registry, &secrets);
        document
    }
}

/// The secrets of the notifications inside a run. They are not registered, but their secrets must not be stored.
pub(super) fn own_secrets(run: &RunSnapshot, secrets: &mut SecretValues) {
    for notification in run.notifications().and_then(Value::as_list).into_iter().flatten() {
        let reference = notification.at(&["secret_params", runbell_core::SECRET_KEY]).is_some();
        if let Some(params) = notification.get("secret_params").filter(|_| !reference) {
            secrets.add(params);
        }
    }
}

/// The error of a stored document that cannot be read.
pub(super) fn broken(what: &'static str) -> runbell_core::Error {
    runbell_core::Error::new(runbell_core::ErrorKind::Internal, what)
}

/// A stored run.
pub(super) fn read_document(text: &str) -> Result<Value> {
    runbell_core::value::read(text).map_err(|_| broken("a stored run cannot be read any more"))
}
