//! One delivery from this process: it waits in memory, in its order, and ends in a line of the report.

use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::{Failure, Next, Outcome, Progress};
use runbell_core::{Clock, Error, ErrorKind, Job, Links, Note, NoteCode, Reason, Rendered, RetryPolicy, SecretValues};
use tokio::time::Instant;

use crate::admission::{Admission, Permit};
use crate::attempt::Attempt;
use crate::decide::{message, render};
use crate::order::{Go, OrderTicket};
use crate::ready::ReadyNotification;
use crate::report::{ReportLine, Status};

/// A job under delivery.
pub(crate) struct Delivery<'a> {
    pub(crate) job: &'a Job,
    pub(crate) ready: &'a ReadyNotification,
    pub(crate) secrets: &'a SecretValues,
    pub(crate) links: &'a Links,
    pub(crate) is_sample: bool,
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) admission: &'a Arc<Admission>,
    pub(crate) clock: &'a dyn Clock,
}

/// The progress of a delivery.
struct Course {
    rendered: Option<Rendered>,
    started: Option<Instant>,
    /// The time it waited for admission since its first attempt. It does not count against the time budget.
    held: Duration,
    last_error: Option<Error>,
}

impl Course {
    fn age(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed().saturating_sub(self.held))
    }
}

impl Delivery<'_> {
    /// Waits for its turn, then makes attempts until [`OrderTicket::advance`] says that it is over.
    pub(crate) async fn carry_out(&self, ticket: &OrderTicket, line: &mut ReportLine) {
        let mut course = Course { rendered: None, started: None, held: Duration::ZERO, last_error: None };
        let mut go = ticket.first_turn().await;
        loop {
            if go == Go::Superseded {
                return superseded(line, course.last_error.as_ref());
            }
            let Some(permit) = self.admitted(ticket, &mut course).await else {
                return superseded(line, course.last_error.as_ref());
            };
            let last_chance = ticket.begin();
            let outcome = match self.attempt(permit, &mut course, line).await {
                Ok(outcome) => outcome,
                Err(error) => return line.failed(&error),
            };
            let progress = Progress { attempts: line.attempts, last_chance, is_replaced: false, age: course.age() };
            go = match ticket.advance(self.policy, progress, &outcome) {
                Next::Sent => {
                    line.status = Status::Sent;
                    return;
                }
                Next::Superseded => return superseded(line, course.last_error.as_ref()),
                Next::Failed | Next::Deferred { .. } => {
                    let unknown = || Error::new(ErrorKind::Internal, "an attempt without an outcome");
                    return line.failed(&course.last_error.unwrap_or_else(unknown));
                }
                Next::Retry { last_chance: true, .. } => Go::Attempt,
                Next::Retry { after, last_chance: false } => {
                    let reason = course.last_error.as_ref().map(Error::reason);
                    tracing::debug!(attempt = line.attempts, reason, ?after, "will try again");
                    ticket.next_turn(after).await
                }
            };
        }
    }

    /// Waits until an attempt is admitted; `None` when a new list of notifications took over meanwhile.
    async fn admitted(&self, ticket: &OrderTicket, course: &mut Course) -> Option<Permit> {
        let asked = Instant::now();
        let permit = tokio::select! {
            biased;
            permit = self.admission.permit(self.ready.flow, &self.ready.limits) => permit,
            () = ticket.replaced() => return None,
        };
        match course.started {
            Some(_) => course.held += asked.elapsed(),
            None => course.started = Some(Instant::now()),
        }
        Some(permit)
    }

    /// Makes one attempt. Renders before the first one, so that waiting deliveries are small.
    async fn attempt(&self, permit: Permit, course: &mut Course, line: &mut ReportLine) -> Result<Outcome, Error> {
        let rendered = match &mut course.rendered {
            Some(rendered) => rendered,
            empty => {
                let message = message(self.job, self.ready, self.secrets, self.links, self.is_sample);
                let mut rendered = render(self.ready, &message)?;
                line.notes.append(&mut rendered.notes);
                empty.insert(rendered)
            }
        };
        line.attempts += 1;
        let age = course.started.map_or(Duration::ZERO, |started| started.elapsed().saturating_sub(course.held));
        let left = self.policy.budget.map_or(Duration::MAX, |budget| budget.saturating_sub(age));
        let attempt = Attempt {
            sender: self.ready.sender.as_ref(),
            limits: &self.ready.limits,
            payload: &rendered.payload,
            secrets: &self.ready.secrets,
            key: self.job.key,
            number: line.attempts,
            clock: self.clock,
            at_most: left.max(Duration::from_millis(1)),
        };
        let made = attempt.make().await;
        self.admission.record(permit, &self.ready.limits, made.as_ref().err());
        Ok(match made {
            Ok(receipt) => Outcome::Sent { answer: receipt.answer.into_owned() },
            Err(error) => {
                let error = self.policy.explain(error, course.age());
                let failure = Failure::from(&error);
                course.last_error = Some(error);
                Outcome::Failed(failure)
            }
        })
    }
}

/// Newer news or a new list replaced it.
fn superseded(line: &mut ReportLine, last_error: Option<&Error>) {
    line.status = Status::Skipped;
    line.reason = Reason::Superseded.as_str().to_owned();
    let message = match last_error {
        Some(error) => format!("given up for newer news after: {}", error.reason()),
        None => "given up: the run has a new list of notifications".to_owned(),
    };
    line.notes.push(Note::new(NoteCode::Superseded, message));
}
