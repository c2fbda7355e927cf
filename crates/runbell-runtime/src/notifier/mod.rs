//! The notifier that a runner embeds. It decides, renders and sends in this process.

mod builder;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use runbell_core::{
    Error, ErrorKind, Links, Note, Result, RetryPolicy, RunSnapshot, RunView, SecretValues, Timestamp, Transition,
    Value, text,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::decide::{Decision, Entry, Plan, note_of};
use crate::explain::Explanation;
use crate::flag::Flag;
use crate::local::Delivery;
use crate::order::{OrderQueue, OrderTicket};
use crate::preview::PreviewLine;
use crate::ready::{Preparer, ReadyNotification};
use crate::report::{Report, ReportLine, Status};
use crate::sample;

pub use builder::NotifierBuilder;

/// Called with every line of every report.
type OnReport = Arc<dyn Fn(&ReportLine) + Send + Sync>;

/// Sends the notifications of runs from this process. Cheap to clone; all clones are one notifier.
///
/// Make one call for each state change of a run. No call fails or blocks the job: failures are in the
/// [`Report`].
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    preparer: Preparer,
    fixed: Vec<Arc<ReadyNotification>>,
    secrets: SecretValues,
    links: Links,
    policy: RetryPolicy,
    admission: Arc<Admission>,
    order: Arc<OrderQueue>,
    queue: Arc<Semaphore>,
    capacity: u32,
    /// The queue is closed; reports are kept for [`Notifier::shutdown`].
    closed: Flag,
    /// Time is up; unsent deliveries are given up.
    expired: Flag,
    last_lines: Mutex<Vec<ReportLine>>,
    runtime: Option<tokio::runtime::Handle>,
    on_report: Option<OnReport>,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("notifications", &self.0.fixed.len()).finish_non_exhaustive()
    }
}

impl Notifier {
    /// Sends the notifications of `run` for the state that it has entered, and reports the outcome of each.
    ///
    /// The run is frozen before this returns its future (about 10 µs for each kilobyte); the order of calls is the order
    /// of news, so a future that is kept and not polled delays later news of the same run. Takes as long as the
    /// slowest target, at most the retry policy's budget (30 s). Dropping the future gives up the unsent
    /// notifications.
    pub fn run_changed(&self, run: &dyn RunView) -> impl Future<Output = Report> + Send + 'static + use<> {
        let frozen = freeze(run).map(|snapshot| self.submit(self.current(snapshot)));
        async move {
            match frozen {
                Ok(dispatch) => dispatch.run().await,
                Err(error) => Report { lines: vec![ReportLine::not_a_run(&error)] },
            }
        }
    }

    /// As [`run_changed`](Self::run_changed), for a transition with a time or with workflow steps.
    pub fn dispatch(&self, transition: Transition) -> impl Future<Output = Report> + Send + 'static + use<> {
        self.submit(transition).run()
    }

    /// As [`run_changed`](Self::run_changed), in the background. Never blocks.
    ///
    /// # Errors
    /// [`ErrorKind::RunInvalid`] for a value that is no run; [`ErrorKind::QueueFull`] when as many transitions are under way
    /// as the queue holds (1,024 by default) or after [`shutdown`](Self::shutdown); [`ErrorKind::Internal`] when the
    /// notifier was built, and is called, outside a tokio runtime.
    pub fn enqueue(&self, run: &dyn RunView) -> Result<()> {
        if self.0.closed.is_set() {
            return Err(Error::new(ErrorKind::QueueFull, "the notifier is shut down"));
        }
        let Ok(place) = Arc::clone(&self.0.queue).try_acquire_owned() else {
            return Err(Error::new(ErrorKind::QueueFull, "the queue is full").with("capacity", self.0.capacity));
        };
        let runtime = self.0.runtime.clone().or_else(|| tokio::runtime::Handle::try_current().ok());
        let Some(runtime) = runtime else {
            return Err(Error::new(
                ErrorKind::Internal,
                "enqueue needs a tokio runtime; build the notifier inside one",
            ));
        };
        let snapshot = freeze(run)?;
        let end = Unfinished::new(&snapshot);
        let (dispatch, notifier) = (self.submit(self.current(snapshot)), self.clone());
        runtime.spawn(async move {
            let _place = place;
            let report = dispatch.run().await;
            end.finish();
            if notifier.0.closed.is_set() {
                notifier.0.last_lines.lock().unwrap_or_else(PoisonError::into_inner).extend(report.lines);
            }
        });
        Ok(())
    }

    /// Closes the queue, waits up to `deadline` for its transitions, and gives up the rest.
    ///
    /// Returns the report lines of all transitions that were still in the queue; a given-up delivery is an error. Lines from
    /// before the call are not kept: use [`NotifierBuilder::on_report`] to see every line.
    pub async fn shutdown(&self, deadline: Duration) -> Report {
        self.0.closed.set();
        let idle = || Arc::clone(&self.0.queue).acquire_many_owned(self.0.capacity);
        let flushed = timeout(deadline, idle()).await.is_ok();
        if !flushed {
            self.0.expired.set();
            // A delivery that is given up only has to write its line.
            drop(timeout(Duration::from_secs(1), idle()).await);
        }
        Report { lines: std::mem::take(&mut *self.0.last_lines.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// Sends a sample through the notifier's own notifications of these names, all of them when `names` is empty: clearly
    /// marked, with the attempts, time limits and pace of a real delivery, regardless of `when` and conditions.
    ///
    /// Returns a line for each; a name that is not among them has an error line.
    pub async fn send_test(&self, names: &[&str]) -> Report {
        let wanted = |ready: &&Arc<ReadyNotification>| names.is_empty() || names.contains(&&*ready.name);
        let plans: Vec<(Plan, Option<OrderTicket>)> = self
            .0
            .fixed
            .iter()
            .filter(wanted)
            .map(|ready| {
                let transition = sample::transition(&ready.notification, self.now());
                let only = std::slice::from_ref(ready);
                let names = only.iter().map(|ready| &*ready.name);
                let ticket = self.0.order.enter(&transition.run, std::iter::empty(), names).pop().flatten();
                (Plan::new(transition, only, &self.0.secrets, &self.0.preparer).into_sample(), ticket)
            })
            .collect();
        let work = plans.into_iter().map(async |(plan, ticket)| match plan.entries.first() {
            Some(entry) => vec![self.work(&plan, entry, ticket).await],
            None => Vec::new(),
        });
        let mut lines = join_all(work).await.concat();
        for unknown in names.iter().filter(|name| !self.0.fixed.iter().any(|known| *known.name == ***name)) {
            let error = Error::new(ErrorKind::ParamsInvalid, "there is no notification of this name");
            let mut line = ReportLine::not_a_run(&error);
            line.notification = (*unknown).to_owned();
            lines.push(line);
        }
        Report { lines }
    }

    /// The decision about each notification for this transition, with its reason. Does not send.
    pub fn explain(&self, transition: Transition) -> Vec<Explanation> {
        let plan = self.plan(transition);
        plan.entries.iter().map(|entry| Explanation::new(&plan, entry, |ready| plan.decide(ready).verdict)).collect()
    }

    /// The payloads for this transition, byte for byte. Does not send.
    pub fn preview(&self, transition: Transition) -> Vec<PreviewLine> {
        let plan = self.plan(transition);
        plan.entries.iter().map(|entry| PreviewLine::new(&plan, entry, &self.0.links)).collect()
    }

    /// The names of the notifier's own notifications.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.fixed.iter().map(|ready| &*ready.name)
    }

    /// Where a notification of the notifier goes: host and port, or what its kind names in their place. For the person whose
    /// notification it is: a host can be a secret towards others.
    pub fn destination(&self, name: &str) -> Option<&str> {
        self.0.fixed.iter().find(|ready| *ready.name == *name).map(|ready| &*ready.limits.destination)
    }

    /// `text` with the secrets of the notifier's own notifications masked.
    pub fn mask(&self, text: &str) -> String {
        self.0.secrets.mask(text, runbell_core::MASK).into_owned()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.preparer.cx.clock.now()
    }

    fn current(&self, run: RunSnapshot) -> Transition {
        Transition::current(run, self.now())
    }

    fn plan(&self, transition: Transition) -> Plan {
        Plan::new(transition, &self.0.fixed, &self.0.secrets, &self.0.preparer)
    }

    /// Takes a transition's place behind earlier news of the same run. All other work is done later, in a task.
    fn submit(&self, transition: Transition) -> Submitted {
        let run = &transition.run;
        let own = names_of(run.notifications());
        let fixed = self.0.fixed.iter().map(|ready| &*ready.name);
        let tickets = self.0.order.enter(run, own.iter().map(Option::as_deref), fixed);
        Submitted { notifier: self.clone(), transition, tickets }
    }

    fn report(&self, line: &ReportLine) {
        let failed = line.status == Status::Error;
        if failed || tracing::enabled!(tracing::Level::DEBUG) {
            let (uid, notification) = (text::one_line(&line.uid, 64), text::one_line(&line.notification, 80));
            let (kind, state, reason) = (&line.kind, line.state.as_str(), &line.reason);
            let status = line.status.as_str();
            if failed {
                tracing::warn!(uid, notification, kind, state, reason, "not delivered");
            } else {
                tracing::debug!(uid, notification, kind, state, reason, status, "done");
            }
        }
        if let Some(on_report) = &self.0.on_report
            && catch_unwind(AssertUnwindSafe(|| on_report(line))).is_err()
        {
            tracing::error!("the function that is called with reports panicked");
        }
    }
}

/// The names of a run's own notifications, in order; `None` for one without a name, which has no place in a lane.
fn names_of(list: Option<&Value>) -> Vec<Option<String>> {
    match list {
        None => Vec::new(),
        Some(Value::List(list)) => list.iter().map(name_of).collect(),
        Some(_) => vec![None],
    }
}

fn name_of(notification: &Value) -> Option<String> {
    notification.as_map()?;
    Some(match notification.get("name") {
        Some(Value::String(name)) => name.clone(),
        Some(number @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_))) => number.to_json(),
        _ => String::new(),
    })
}

/// A transition on its way: in its place, not yet decided.
struct Submitted {
    notifier: Notifier,
    transition: Transition,
    tickets: Vec<Option<OrderTicket>>,
}

impl Submitted {
    /// Decides and delivers all notifications at once.
    async fn run(self) -> Report {
        let Submitted { notifier, transition, mut tickets } = self;
        let plan = notifier.plan(transition);
        // One notification is the common case and needs no list of futures.
        let lines = match plan.entries.as_slice() {
            [only] => vec![notifier.work(&plan, only, tickets.pop().flatten()).await],
            entries => {
                let work = entries.iter().zip(tickets).map(|(entry, ticket)| notifier.work(&plan, entry, ticket));
                Box::pin(join_all(work)).await
            }
        };
        Report { lines }
    }
}

impl Notifier {
    async fn work(&self, plan: &Plan, entry: &Entry, ticket: Option<OrderTicket>) -> ReportLine {
        let mut line = ReportLine::about(plan.transition.run.uid(), plan.transition.state);
        match (entry, ticket) {
            (Ok(ready), Some(ticket)) => self.decide_and_deliver(plan, ready, ticket, &mut line).await,
            (Err(unusable), _) => {
                line.notification.clone_from(&unusable.name);
                line.kind.clone_from(&unusable.kind);
                line.failed(&unusable.error);
            }
            // A place needs a name, and a notification without one is faulty.
            (Ok(_), None) => line.failed(&Error::new(ErrorKind::Internal, "a delivery has no place in its lane")),
        }
        self.report(&line);
        line
    }

    async fn decide_and_deliver(
        &self,
        plan: &Plan,
        ready: &ReadyNotification,
        ticket: OrderTicket,
        line: &mut ReportLine,
    ) {
        line.notification.clone_from(&ready.notification.name);
        line.kind.clone_from(&ready.notification.kind);
        line.notes.extend(ready.warnings.iter().map(Note::from));
        let Decision { verdict, job } = plan.decide(ready);
        line.reason = verdict.reason.as_str().to_owned();
        line.notes.extend(note_of(&verdict));
        let Some(job) = job else { return };
        let delivery = Delivery {
            job: &job,
            ready,
            secrets: &plan.secrets,
            links: &self.0.links,
            is_sample: plan.is_sample(),
            policy: &self.0.policy,
            admission: &self.0.admission,
            clock: self.0.preparer.cx.clock.as_ref(),
        };
        tokio::select! {
            biased;
            () = Box::pin(delivery.carry_out(&ticket, line)) => return,
            () = self.0.expired.wait() => {}
        }
        line.failed(&Error::new(ErrorKind::Timeout, "shut down before it was sent"));
    }
}

/// Freezes a run, and turns a panic of its `Serialize` into an error.
fn freeze(run: &dyn RunView) -> Result<RunSnapshot> {
    catch_unwind(AssertUnwindSafe(|| run.freeze()))
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::RunInvalid, "the run panicked while it was serialized")))
}

/// Logs a dispatch that is dropped, as with its runtime, before it has a report.
struct Unfinished {
    uid: String,
    finished: bool,
}

impl Unfinished {
    fn new(run: &RunSnapshot) -> Self {
        Unfinished { uid: text::one_line(run.uid(), 64), finished: false }
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            tracing::error!(uid = self.uid, "not reported: the runtime ended first; call shutdown before it does");
        }
    }
}
