//! Durable delivery: takes transitions in, promises them in a store, delivers them whatever dies in between.
//!
//! [`Dispatcher::take_in`] answers once the promise is on disk. A worker leases what is due, attempts it as local dispatch
//! does, and records how it ended; what a dead process held is leased anew.

mod breaker;
mod conceal;
mod intake;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{BuildContext, Links, Map, Registry, RetryPolicy};
use runbell_store::Store;
use runbell_store::seal::KeyRing;

use crate::prepared::Workshop;
use conceal::Vault;
pub use intake::{Event, EventError, Taken};
use worker::Worker;

/// How a dispatcher works.
#[derive(Debug, Clone)]
pub struct DispatcherOptions {
    /// When to try again. Default [`RetryPolicy::server`].
    pub retry: RetryPolicy,
    /// How many attempts may be under way, all destinations together. Default 256.
    pub at_once: usize,
    /// Where messages link to. Default nowhere.
    pub ui_url: String,
    /// Params that fill in what notifications leave out, by kind: SMTP defaults.
    pub defaults: BTreeMap<String, Map>,
}

impl Default for DispatcherOptions {
    fn default() -> Self {
        DispatcherOptions {
            retry: RetryPolicy::server(),
            at_once: 256,
            ui_url: String::new(),
            defaults: BTreeMap::new(),
        }
    }
}

/// Takes transitions in and delivers them. Cheap to clone; all clones are one dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    store: Arc<dyn Store>,
    shop: Workshop,
    vault: Vault,
    worker: Worker,
}

impl Dispatcher {
    /// Starts to deliver what the store holds; call it inside a tokio runtime. `cx` should be
    /// [`BuildContext::server`]'s, or users' notifications read the operator's environment.
    pub fn start(
        store: Arc<dyn Store>,
        registry: Registry,
        cx: BuildContext,
        keys: KeyRing,
        options: DispatcherOptions,
    ) -> Self {
        let shop = Workshop { registry, cx, layers: Vec::new(), defaults: Arc::new(options.defaults) };
        let vault = Vault::new(Arc::clone(&store), keys);
        let links = Links::new(&options.ui_url);
        let worker =
            Worker::start(Arc::clone(&store), shop.clone(), vault.clone(), links, options.retry, options.at_once);
        Dispatcher { store, shop, vault, worker }
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Tells the worker that something became due, such as a delivery that was replayed.
    pub fn wake(&self) {
        self.worker.wake();
    }

    /// Takes no more deliveries up and waits up to `deadline` for those under way. What is not finished by then stays in the
    /// store, and is delivered by the next dispatcher that opens it.
    pub async fn stop(&self, deadline: Duration) {
        self.worker.stop(deadline).await;
    }
}
