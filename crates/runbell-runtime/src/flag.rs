//! A flag that tasks can wait for: set once, never cleared.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Set once, never cleared.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    set: AtomicBool,
    waiters: Notify,
}

impl Flag {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.waiters.notify_waiters();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        // Registered before the flag is read, so that a `set` in between is not missed.
        let mut notified = std::pin::pin!(self.waiters.notified());
        notified.as_mut().enable();
        if !self.is_set() {
            notified.await;
        }
    }
}
