//! The notifier: what a runner embeds. Decides, renders and sends from this process.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use runbell_core::{
    BuildContext, Error, ErrorKind, Findings, Layer, Links, Map, Notification, Registry, Result, RetryPolicy, Run,
    RunSnapshot, RunView, SecretValues, Timestamp, Transition, Value, text,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::attempt::{Destinations, PERMITS};
use crate::flag::Flag;
use crate::guard::RunGuard;
use crate::insight::{Explanation, PreviewLine};
use crate::lanes::{Lanes, Ticket};
use crate::local::Delivery;
use crate::plan::{Entry, Plan};
use crate::prepared::{Prepared, Workshop};
use crate::report::{Report, ReportLine, Status};
use crate::sample;

/// How many transitions [`Notifier::enqueue`] holds unless the builder says otherwise.
const QUEUE: usize = 1024;

/// Called with every line of every report.
type OnReport = Arc<dyn Fn(&ReportLine) + Send + Sync>;

/// Sends the notifications of runs from this process. Cheap to clone; all clones are one notifier.
///
/// One call for each state change of a run. Nothing here fails or blocks the job: what goes wrong is in the
/// [`Report`].
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    shop: Workshop,
    fixed: Vec<Arc<Prepared>>,
    secrets: SecretValues,
    links: Links,
    policy: RetryPolicy,
    destinations: Destinations,
    lanes: Arc<Lanes>,
    queue: Arc<Semaphore>,
    capacity: u32,
    /// No more is taken in; reports are kept for [`Notifier::shutdown`].
    closed: Flag,
    /// Time is up; what is not sent is given up.
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
    /// Starts to make a notifier that can send the kinds of `registry`.
    pub fn builder(registry: Registry) -> NotifierBuilder {
        NotifierBuilder {
            shop: Workshop {
                registry,
                cx: BuildContext::here(),
                layers: Vec::new(),
                defaults: Arc::new(BTreeMap::new()),
            },
            notifications: Vec::new(),
            links: Links::default(),
            policy: RetryPolicy::here(),
            permits: PERMITS,
            capacity: QUEUE,
            on_report: None,
        }
    }

    /// Tells everybody who wants to know that `run` has entered its current state, and says what became of it.
    ///
    /// The run is frozen before this returns its future (about 10 µs for each kilobyte); the order of calls is the order
    /// of news, so a future that is kept and not polled holds up later news of the same run. Takes as long as the
    /// slowest target, at most the retry policy's budget (30 s). Dropping the future gives up what is not sent.
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
    /// [`ErrorKind::RunInvalid`] for what is no run; [`ErrorKind::QueueFull`] when as many transitions are under way
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

    /// Begins a run: tells that it is running, and will tell how it ended, whatever happens.
    pub fn start(&self, run: Run) -> RunGuard {
        RunGuard::start(self.clone(), run)
    }

    /// Takes no more into the queue, waits up to `deadline` for what is in it, gives up the rest.
    ///
    /// Returns what became of everything that was still in the queue; what was given up is in it as an error. What was
    /// told before is in nobody's hands any more: use [`NotifierBuilder::on_report`] to see every line.
    pub async fn shutdown(&self, deadline: Duration) -> Report {
        self.0.closed.set();
        let idle = || Arc::clone(&self.0.queue).acquire_many_owned(self.0.capacity);
        let flushed = timeout(deadline, idle()).await.is_ok();
        if !flushed {
            self.0.expired.set();
            // What was told to give up only has to write its line.
            drop(timeout(Duration::from_secs(1), idle()).await);
        }
        Report { lines: std::mem::take(&mut *self.0.last_lines.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// Sends a sample through the notifier's own notifications of these names, all of them when `names` is empty: clearly
    /// marked, with the attempts, time limits and pace of a real delivery, whatever `when` and conditions say.
    ///
    /// Returns a line for each; a name that is not among them has an error line.
    pub async fn send_test(&self, names: &[&str]) -> Report {
        let wanted = |prepared: &&Arc<Prepared>| names.is_empty() || names.contains(&&*prepared.name);
        let plans: Vec<(Plan, Ticket)> = self
            .0
            .fixed
            .iter()
            .filter(wanted)
            .map(|prepared| {
                let transition = sample::transition(&prepared.notification, self.now());
                let ticket = self.0.lanes.enter(&transition.run, &prepared.name);
                let only = std::slice::from_ref(prepared);
                (Plan::new(transition, only, &self.0.secrets, &self.0.shop).into_sample(), ticket)
            })
            .collect();
        let work = plans.into_iter().map(async |(plan, ticket)| match plan.entries.first() {
            Some(entry) => vec![self.work(&plan, entry, Some(ticket)).await],
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

    /// What would happen for this transition, and why. Sends nothing.
    pub fn explain(&self, transition: Transition) -> Vec<Explanation> {
        let plan = self.plan(transition);
        plan.entries.iter().map(|entry| Explanation::new(&plan, entry)).collect()
    }

    /// What would be sent for this transition, byte for byte. Sends nothing.
    pub fn preview(&self, transition: Transition) -> Vec<PreviewLine> {
        let plan = self.plan(transition);
        plan.entries.iter().map(|entry| PreviewLine::new(&plan, entry, &self.0.links)).collect()
    }

    /// `text` with the secrets of the notifier's own notifications masked.
    pub fn mask(&self, text: &str) -> String {
        self.0.secrets.mask(text, runbell_core::MASK).into_owned()
    }

    /// What is odd about the notifier's own notifications: unknown params and the like, with their names.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.0.fixed.iter().flat_map(|prepared| {
            prepared.warnings.iter().map(|warning| format!("{}: {warning}", text::one_line(&prepared.name, 80)))
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.shop.cx.clock.now()
    }

    fn current(&self, run: RunSnapshot) -> Transition {
        Transition::current(run, self.now())
    }

    fn plan(&self, transition: Transition) -> Plan {
        Plan::new(transition, &self.0.fixed, &self.0.secrets, &self.0.shop)
    }

    /// Takes a transition's place behind earlier news of the same run. Everything else can wait for a task.
    fn submit(&self, transition: Transition) -> Dispatch {
        let run = &transition.run;
        let own = names_of(run.notifications());
        let fixed = self.0.fixed.iter().map(|prepared| Some(self.0.lanes.enter(run, &prepared.name)));
        let tickets = own.iter().map(|name| Some(self.0.lanes.enter(run, name.as_deref()?))).chain(fixed).collect();
        Dispatch { notifier: self.clone(), transition, tickets }
    }

    fn told(&self, line: &ReportLine) {
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

/// The names of a run's own notifications, in order; `None` for what has none and so no place in a lane either.
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
struct Dispatch {
    notifier: Notifier,
    transition: Transition,
    tickets: Vec<Option<Ticket>>,
}

impl Dispatch {
    /// Decides and delivers all notifications at once.
    async fn run(self) -> Report {
        let Dispatch { notifier, transition, mut tickets } = self;
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
    async fn work(&self, plan: &Plan, entry: &Entry, ticket: Option<Ticket>) -> ReportLine {
        let mut line = ReportLine::about(plan.transition.run.uid(), plan.transition.state);
        match (entry, ticket) {
            (Ok(prepared), Some(ticket)) => self.decide_and_deliver(plan, prepared, ticket, &mut line).await,
            (Err(unprepared), _) => {
                line.notification.clone_from(&unprepared.name);
                line.kind.clone_from(&unprepared.kind);
                line.failed(&unprepared.error);
            }
            // Its name tells its place, and a notification without one is faulty.
            (Ok(_), None) => line.failed(&Error::new(ErrorKind::Internal, "a delivery has no place in its lane")),
        }
        self.told(&line);
        line
    }

    async fn decide_and_deliver(&self, plan: &Plan, prepared: &Prepared, ticket: Ticket, line: &mut ReportLine) {
        line.notification.clone_from(&prepared.notification.name);
        line.kind.clone_from(&prepared.notification.kind);
        line.notes.clone_from(&prepared.warnings);
        let (verdict, note) = plan.decide(prepared);
        line.reason = verdict.reason.as_str().to_owned();
        line.notes.extend(note);
        if !verdict.sends() {
            return;
        }
        tokio::select! {
            biased;
            () = self.deliver(plan, prepared, ticket, line) => return,
            () = self.0.expired.wait() => {}
        }
        line.failed(&Error::new(ErrorKind::Timeout, "shut down before it was sent"));
    }
}

impl Notifier {
    /// Waits for its turn, then delivers. What waits is small: message and payload are made when its turn has come.
    async fn deliver(&self, plan: &Plan, prepared: &Prepared, ticket: Ticket, line: &mut ReportLine) {
        ticket.wait_for_older().await;
        let destination = self.0.destinations.get(&prepared.limits);
        let permit = destination.permit().await;
        let carried_out = async {
            let delivery = Delivery {
                prepared,
                message: plan.message(prepared, &self.0.links),
                policy: &self.0.policy,
                destination: &destination,
                clock: self.0.shop.cx.clock.as_ref(),
            };
            delivery.carry_out(&ticket, permit, line).await;
        };
        Box::pin(carried_out).await;
    }
}

/// Freezes a run, and turns a panic of its `Serialize` into an error.
fn freeze(run: &dyn RunView) -> Result<RunSnapshot> {
    catch_unwind(AssertUnwindSafe(|| run.freeze()))
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::RunInvalid, "the run panicked while it was serialized")))
}

/// Tells when a dispatch ends with its runtime instead of with a report.
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
            tracing::error!(uid = self.uid, "not told: the runtime ended first; call shutdown before it does");
        }
    }
}

/// Makes a [`Notifier`].
#[derive(Clone)]
pub struct NotifierBuilder {
    shop: Workshop,
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
    /// Adds a notification for every run, beside those in the runs' own `spec.notifications`.
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

    /// Sets clock, output, environment and what senders share. Default [`BuildContext::here`].
    #[must_use]
    pub fn context(mut self, cx: BuildContext) -> Self {
        self.shop.cx = cx;
        self
    }

    /// Sets params that fill in what notifications of this kind leave out. They lose against everything else.
    #[must_use]
    pub fn default_params(mut self, kind: impl Into<String>, params: Map) -> Self {
        Arc::make_mut(&mut self.shop.defaults).insert(kind.into(), params);
        self
    }

    /// Sets the user interface that messages link to. Default none.
    #[must_use]
    pub fn ui_url(mut self, url: &str) -> Self {
        self.links = Links::new(url);
        self
    }

    /// Sets when to try again. Default [`RetryPolicy::here`]: 3 attempts inside 30 s.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how many attempts may be under way to one destination. Default 64.
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
        self.shop.layers.push(layer);
        self
    }

    /// Calls `on_report` with every line, also of what is enqueued.
    #[must_use]
    pub fn on_report(mut self, on_report: impl Fn(&ReportLine) + Send + Sync + 'static) -> Self {
        self.on_report = Some(Arc::new(on_report));
        self
    }

    /// Everything that is wrong or odd with the notifications so far. Paths begin with `[index]`.
    pub fn check(&self) -> Findings {
        let mut found = Findings::default();
        for (index, notification) in self.notifications.iter().enumerate() {
            found.extend_below(&format!("[{index}]"), self.check_one(notification));
        }
        found
    }

    /// Everything that is wrong or odd with one notification, whether it is among those so far or not.
    pub fn check_one(&self, notification: &Notification) -> Findings {
        self.shop.check(notification)
    }

    /// Builds every sender and makes the notifier.
    ///
    /// # Errors
    /// That of the first notification at fault: unknown kind, wrong params, missing secret, or a name used twice.
    pub fn build(self) -> Result<Notifier> {
        for kind in self.shop.defaults.keys() {
            let known = self.shop.registry.get(kind)?.registration().kind;
            if known != kind {
                let message = format!("default_params: `{kind}` is an alias; say `{known}`");
                return Err(Error::new(ErrorKind::ParamsInvalid, message));
            }
        }
        let mut fixed: Vec<Arc<Prepared>> = Vec::with_capacity(self.notifications.len());
        let mut secrets = SecretValues::default();
        for notification in self.notifications {
            let name = text::one_line(&notification.name, 80);
            if fixed.iter().any(|other| other.notification.name == notification.name) {
                let message = format!("name: `{name}` is used twice; names must be unique");
                return Err(Error::new(ErrorKind::ParamsInvalid, message));
            }
            let prepared = self
                .shop
                .prepare(notification)
                .map_err(|error| Error::new(error.kind(), format!("notification `{name}`: {error}")))?;
            secrets.extend(&prepared.secrets);
            fixed.push(Arc::new(prepared));
        }
        Ok(Notifier(Arc::new(Inner {
            shop: self.shop,
            fixed,
            secrets,
            links: self.links,
            policy: self.policy,
            destinations: Destinations::new(self.permits),
            lanes: Arc::default(),
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
