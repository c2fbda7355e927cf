//! Wakes the claiming worker when a delivery may be due.

use tokio::sync::watch;

/// Wakes the claiming worker. Wake-ups while it does not wait are not lost: they make the next wait end at once.
#[derive(Debug, Clone)]
pub struct Wakeups(watch::Receiver<u64>);

impl Wakeups {
    /// Waits for the next wake-up; for ever once the store is closed.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The other end.
#[derive(Debug, Clone)]
pub(crate) struct Waker(watch::Sender<u64>);

impl Waker {
    pub(crate) fn new() -> Self {
        Waker(watch::Sender::new(0))
    }

    pub(crate) fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn wakeups(&self) -> Wakeups {
        Wakeups(self.0.subscribe())
    }
}
