//! One attempt: time limit and send. The only place that calls a sender.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use runbell_core::{
    Clock, DeliveryKey, Error, ErrorKind, Limits, Payload, Receipt, Result, SecretValues, SendContext, Sender,
};
use tokio::time::{Instant, timeout_at};

/// The inputs of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) sender: &'a dyn Sender,
    pub(crate) limits: &'a Limits,
    pub(crate) payload: &'a Payload,
    /// The secrets of the notification, which an answer may repeat.
    pub(crate) secrets: &'a SecretValues,
    pub(crate) key: DeliveryKey,
    pub(crate) number: u32,
    pub(crate) clock: &'a dyn Clock,
    /// The longest attempt, regardless of the kind's own timeout.
    pub(crate) at_most: Duration,
}

impl Attempt<'_> {
    /// Sends once, within the time limit. The caller has admitted the attempt before.
    ///
    /// # Errors
    /// The sender's own; [`ErrorKind::Timeout`] when time ran out, ambiguous if bytes had left by then; and
    /// [`ErrorKind::Internal`] when the sender panicked, which must not take the process with it.
    pub(crate) async fn make(&self) -> Result<Receipt> {
        let allowed = self.limits.timeout.clamp(Duration::from_secs(1), Duration::from_secs(60)).min(self.at_most);
        let deadline = Instant::now() + allowed;
        let written = AtomicBool::new(false);
        let cx = SendContext::new(self.key, self.number, deadline.into_std(), self.clock.now(), &written);
        let cx = cx.with_secrets(self.secrets);
        let sending = AssertUnwindSafe(self.sender.send(self.payload, &cx)).catch_unwind();
        match timeout_at(deadline, sending).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(Error::new(ErrorKind::Internal, "the sender panicked")),
            Err(_elapsed) => {
                let error = Error::new(ErrorKind::Timeout, "no answer in time")
                    .with("after", format_args!("{:.1}s", allowed.as_secs_f64()))
                    .retry();
                Err(if written.load(Ordering::Relaxed) { error.ambiguous() } else { error })
            }
        }
    }
}
