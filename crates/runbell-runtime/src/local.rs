//! One delivery from this process: attempts, waits from memory, one outcome.

use std::time::Duration;

use runbell_core::{Clock, Message, Reason, RetryPolicy};
use tokio::time::{Instant, sleep};

use crate::attempt::{Attempt, Destination, Permit};
use crate::lanes::Ticket;
use crate::plan::render;
use crate::prepared::Prepared;
use crate::report::{ReportLine, Status};

/// A verdict "send" being carried out.
pub(crate) struct Delivery<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) message: Message,
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) destination: &'a Destination,
    pub(crate) clock: &'a dyn Clock,
}

impl Delivery<'_> {
    /// Renders once, then attempts until it is sent or the policy gives up. `permit` is for the first attempt.
    ///
    /// When newer news of the same run comes up behind it, a failed delivery is tried once more at once; failing
    /// again it is superseded, for it is old news by then.
    pub(crate) async fn carry_out(&self, ticket: &Ticket, permit: Permit<'_>, line: &mut ReportLine) {
        let rendered = match render(self.prepared, &self.message) {
            Ok(rendered) => rendered,
            Err(error) => return line.failed(&error),
        };
        line.notes.extend(rendered.notes);
        let started = Instant::now();
        // The budget is for what a destination's failing costs; waiting for its pace is no failing.
        let mut paced = Duration::ZERO;
        let mut permit = Some(permit);
        let mut last_chance = false;
        loop {
            let held = match permit.take() {
                Some(held) => held,
                None => self.destination.permit().await,
            };
            let ready = Instant::now();
            self.destination.keep_pace(self.prepared.limits.pace).await;
            paced += ready.elapsed();
            line.attempts += 1;
            let left =
                self.policy.budget.map_or(Duration::MAX, |budget| budget.saturating_sub(started.elapsed() - paced));
            let attempt = Attempt {
                sender: self.prepared.sender.as_ref(),
                limits: &self.prepared.limits,
                payload: &rendered.payload,
                key: self.message.key,
                number: line.attempts,
                clock: self.clock,
                at_most: left.max(Duration::from_millis(1)),
            };
            let error = match attempt.make(held).await {
                Ok(_receipt) => {
                    line.status = Status::Sent;
                    return;
                }
                Err(error) => error,
            };
            if last_chance {
                line.status = Status::Skipped;
                line.reason = Reason::Superseded.as_str().to_owned();
                line.notes.push(format!("given up for newer news after: {}", error.reason()));
                return;
            }
            let wait = self.policy.next(line.attempts, &error, started.elapsed() - paced, fastrand::f64());
            let Some(wait) = wait else { return line.failed(&error) };
            tracing::debug!(attempt = line.attempts, reason = error.reason(), ?wait, "will try again");
            if !ticket.is_overtaken() {
                tokio::select! {
                    () = sleep(wait) => continue,
                    () = ticket.overtaken() => {}
                }
            }
            last_chance = true;
        }
    }
}
