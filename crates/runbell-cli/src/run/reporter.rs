//! Reports a run's changes, in parallel: to the notifications that this process sends, and to the server.

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runbell::remote::{EventQueue, EventQueueOptions, RemoteClient, RemoteEvent, Unreported, register};
use runbell::{
    BuildContext, Clock as _, Dispatch, Finding, FindingCode, MASK, NoteCode, Notification, Notifier, ReportLine, Run,
    RunSnapshot, RunState, RunView as _, SecretValues, Status, SystemClock, Transition, route, text,
};
use tokio::time::{Instant, sleep, timeout};

use super::signals::Signals;
use crate::args::{Fallback, RunArgs};
use crate::spool::{self, Spool};
use crate::{config, output, server};

/// The longest delay of a run's end by standard error or the disk.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The longest delay of a run's end by deliveries and reports.
const BUDGET: Duration = Duration::from_secs(30);

/// The delay of a run's end after which a person reads what it waits for.
const SILENCE: Duration = Duration::from_secs(1);

/// The attempts at a server before the fallback sends.
const TRIES: u32 = 3;

/// The longest delay of this run's events by spooled events of earlier runs.
const EARLIER: Duration = Duration::from_secs(10);

/// The kind whose missing params the server fills in from its SMTP defaults.
const FILLED_IN: &str = "mail";

/// Lines for a person, gathered while the command runs.
type Gathered<T> = Arc<Mutex<Vec<T>>>;

/// Reports a run's changes. It neither fails nor delays the command.
pub(super) struct Reporter {
    here: Notifier,
    remote: Option<Remote>,
    /// The report lines of failed deliveries and of deliveries with notes.
    failures: Gathered<ReportLine>,
    /// What is being delivered from here.
    under_way: Gathered<UnderWay>,
}

/// A notification that is being delivered: its name, and the state it reports.
type UnderWay = (String, RunState);

/// The part of a [`Reporter`] that reports to a server.
struct Remote {
    client: RemoteClient,
    queue: EventQueue,
    /// The notifications for the server; `None` keeps the registered ones.
    notifications: Option<Vec<Notification>>,
    secrets: SecretValues,
    fallback: Option<Notifier>,
    /// The events that the server refused, as lines.
    refused: Gathered<String>,
    /// The outcome of each spooled event of earlier runs.
    earlier: Gathered<spool::Line>,
}

impl Reporter {
    /// Reads the configuration and builds the notifiers. Does not connect, but needs the tokio runtime.
    ///
    /// What is at fault is left out with a warning: a command is never held up for its notifications.
    ///
    /// # Errors
    /// With `--strict`, for every fault of the configuration.
    pub(super) fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let registry = runbell::registry()?;
        let cx = crate::surroundings::context();
        let mut faults = Vec::new();
        let client = server::client(args.server.as_deref(), &cx).unwrap_or_else(|error| {
            faults.push(format!("{error:#}"));
            None
        });
        let left = |notification: &Notification, fault: &Finding| {
            client.is_some() && notification.kind == FILLED_IN && fault.code == FindingCode::Required
        };
        let given = config::configured(args.config.path().as_deref(), &args.notify, &registry, left)?;
        faults.extend(given.faults);
        let given = given.notifications;
        let failures: Gathered<ReportLine> = Arc::default();
        let under_way = Gathered::<UnderWay>::default();
        let mut builder = Builder { failures: &failures, under_way: &under_way, faults: &mut faults };
        let (mut here, mut there, mut secrets) = (Vec::new(), Vec::new(), SecretValues::default());
        let has_any = !given.is_empty();
        let remote = match client {
            None => {
                here = given;
                None
            }
            Some(client) => {
                for notification in given {
                    let name = text::one_line(&notification.name, 80);
                    match register(notification, &registry, &cx) {
                        Ok(registrable) => {
                            secrets.extend(&registrable.secrets);
                            match route(registrable.place, true) {
                                Dispatch::Here => here.push(registrable.notification),
                                Dispatch::Server => there.push(registrable.notification),
                            }
                        }
                        Err(error) => builder.faults.push(format!("notification `{name}`: {error}")),
                    }
                }
                if let Some(token) = client.token() {
                    secrets.add(&token.reveal().as_str().into());
                }
                let fallback = match args.fallback {
                    Some(Fallback::Local) => Some(fallback(&there, &failures)?),
                    None => None,
                };
                Some((client, fallback))
            }
        };
        let here = builder.build(here, remote.is_none() || !has_any)?;
        if !faults.is_empty() {
            if args.strict {
                anyhow::bail!("{}", faults.join("\n"));
            }
            faults.iter().for_each(|fault| output::complain(&format!("warning: {fault}; goes on without it")));
        }
        let remote = remote.map(|(client, fallback)| Remote::start(client, there, secrets, fallback, cx));
        Ok(Reporter { here, remote, failures, under_way })
    }

    /// Reports the run's current state in the background.
    pub(super) fn report(&self, run: &Run) {
        let names = self.here.names().map(|name| (name.to_owned(), run.status.state));
        lock(&self.under_way).extend(names);
        let enqueued = match &self.remote {
            None => self.here.enqueue(run),
            Some(remote) => run.freeze().and_then(|snapshot| {
                let mut document = snapshot.into_document();
                remote.secrets.redact_run(&mut document);
                remote.report(RunSnapshot::new(document.clone())?);
                self.here.enqueue(&document)
            }),
        };
        if let Err(error) = enqueued {
            lock(&self.under_way).retain(|(_, state)| *state != run.status.state);
            output::complain(&format!("not reported: {error}"));
        }
    }

    /// `text` without the secrets of any notification.
    pub(super) fn mask(&self, text: &str) -> String {
        let masked = self.here.mask(text);
        match &self.remote {
            Some(remote) => remote.secrets.mask(&masked, MASK).into_owned(),
            None => masked,
        }
    }

    /// Waits until all is delivered and reported, for at most 30 s or until a signal asks to stop; then spools the events
    /// that the server does not have. Returns the complaints.
    pub(super) async fn finish(self, signals: &mut Signals) -> Vec<String> {
        let mut complaints = Vec::new();
        let end = Instant::now() + BUDGET;
        let (mut stopped, mut here_done) = (false, false);
        let here = async {
            self.here.shutdown(BUDGET).await;
            here_done = true;
        };
        let there = async {
            if let Some(remote) = &self.remote {
                remote.queue.drained(BUDGET).await;
                if let Some(fallback) = &remote.fallback {
                    fallback.shutdown(end - Instant::now()).await;
                }
            }
        };
        tokio::select! {
            ((), _) = futures_util::future::join(here, timeout(BUDGET, there)) => {}
            // The command has ended; a signal now means that its notifications are not waited for.
            () = signals.given_up() => stopped = true,
            () = self.say_what_is_waited_for() => {}
        }
        if stopped && !here_done {
            let left: Vec<String> =
                lock(&self.under_way).iter().map(|(name, state)| format!("{} ({state})", shown(name))).collect();
            complaints.push(match left.is_empty() {
                true => "notifications given up".to_owned(),
                false => format!("notifications given up: {}", left.join(", ")),
            });
        }
        let fallback = self.remote.as_ref().and_then(|remote| remote.fallback.as_ref());
        if let Some(fallback) = fallback {
            // Logs an error for each delivery that is still under way.
            fallback.shutdown(Duration::ZERO).await;
        }
        complaints.extend(of_deliveries(&lock(&self.failures)));
        if let Some(remote) = self.remote {
            complaints.extend(remote.finish().await);
        }
        complaints
    }

    /// Says on a terminal, after a second, what the end of this program waits for. Never returns.
    async fn say_what_is_waited_for(&self) {
        if std::io::stderr().is_terminal() {
            sleep(SILENCE).await;
            let mut waited: Vec<String> = Vec::new();
            for (name, _) in lock(&self.under_way).iter() {
                let at = self.here.destination(name).filter(|destination| destination.contains(':'));
                let host = at.and_then(|destination| destination.rsplit_once(':')).map(|(host, _)| host);
                let what = host.map_or_else(|| shown(name), |host| format!("{} ({})", shown(name), shown(host)));
                if !waited.contains(&what) {
                    waited.push(what);
                }
            }
            if let Some(remote) = &self.remote {
                waited.push(server_of(&remote.client));
            }
            if !waited.is_empty() {
                let line = format!("waiting for {}; ^C ends", waited.join(", "));
                drop(tokio::task::spawn_blocking(move || output::complain(&line)));
            }
        }
        std::future::pending().await
    }
}

/// Builds the notifier that sends from here.
struct Builder<'a> {
    failures: &'a Gathered<ReportLine>,
    under_way: &'a Gathered<UnderWay>,
    faults: &'a mut Vec<String>,
}

impl Builder<'_> {
    /// A notifier of those notifications that can be sent; of the console when there are none.
    fn build(&mut self, notifications: Vec<Notification>, wants_console: bool) -> anyhow::Result<Notifier> {
        let mut able = Vec::new();
        for notification in notifications {
            match crate::surroundings::notifier()?.notification(notification.clone()).build() {
                Ok(_) => able.push(notification),
                Err(error) => self.faults.push(error.to_string()),
            }
        }
        if wants_console {
            able = or_console(able);
        }
        let under_way = Arc::clone(self.under_way);
        let kept = Arc::clone(self.failures);
        let builder = crate::surroundings::notifier()?.notifications(able).on_report(move |line| {
            let mut under_way = lock(&under_way);
            let is_its = |(name, state): &UnderWay| *name == line.notification && *state == line.state;
            if let Some(place) = under_way.iter().position(is_its) {
                under_way.remove(place);
            }
            keep(&kept, line);
        });
        Ok(builder.build()?)
    }
}

/// A name or a host for a person.
fn shown(name: &str) -> String {
    text::one_line(name, 80)
}

impl Remote {
    fn start(
        client: RemoteClient,
        notifications: Vec<Notification>,
        secrets: SecretValues,
        fallback: Option<Notifier>,
        cx: BuildContext,
    ) -> Self {
        let (refused, earlier) = (Gathered::<String>::default(), Gathered::<spool::Line>::default());
        let mut options = EventQueueOptions::default();
        options = match fallback.clone() {
            Some(fallback) => options.tries(TRIES).on_given_up(move |event, _why| {
                if let Err(error) = fallback.enqueue(event.run().document()) {
                    output::complain(&format!("not reported: {error}"));
                }
            }),
            None => {
                let refused = Arc::clone(&refused);
                options.on_given_up(move |event, why| {
                    lock(&refused).push(format!("not reported ({}): {why}", event.state()))
                })
            }
        };
        let first = send_earlier(client.clone(), cx, Arc::clone(&earlier));
        let queue = EventQueue::start(client.clone(), options, first);
        let notifications = (!notifications.is_empty()).then_some(notifications);
        Remote { client, queue, notifications, secrets, fallback, refused, earlier }
    }

    fn report(&self, run: RunSnapshot) {
        let transition = Transition::current(run, SystemClock.now());
        self.queue.enqueue(RemoteEvent::new(transition, self.notifications.as_deref()));
    }

    /// Spools the remaining events; returns the complaints.
    async fn finish(self) -> Vec<String> {
        let server = text::one_line(self.client.server(), 200);
        let unreported = self.queue.stop();
        let mut complaints: Vec<String> = lock(&self.refused).iter().map(|why| format!("{server}: {why}")).collect();
        complaints.extend(of_earlier(&lock(&self.earlier), &server, unreported.events.is_empty()));
        if !unreported.events.is_empty() {
            let token = self.client.token().cloned();
            let count = unreported.events.len();
            let spooling = tokio::task::spawn_blocking(move || spool_all(&unreported, &server, token.as_ref()));
            complaints.push(match timeout(PATIENCE, spooling).await {
                Ok(Ok(said)) => said,
                _ => format!(
                    "{}; spooling takes too long and may have failed",
                    not_reported(count, &server_of(&self.client))
                ),
            });
        }
        complaints
    }
}

fn server_of(client: &RemoteClient) -> String {
    text::one_line(client.server(), 200)
}

fn not_reported(count: usize, server: &str) -> String {
    format!("{} not reported to {server}", events(count))
}

fn events(count: usize) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// Writes events into the spool; returns the line to print.
fn spool_all(unreported: &Unreported, server: &str, token: Option<&runbell::Secret<String>>) -> String {
    let count = unreported.events.len();
    let what = not_reported(count, server);
    let why = unreported.reason.as_deref().unwrap_or("no answer yet");
    let (written, outcome, folder) = match Spool::locate() {
        Ok(spool) => {
            let (written, outcome) = spool.add(&unreported.events, server, token);
            (written, outcome, spool.shown())
        }
        Err(error) => (0, Err(error), String::new()),
    };
    match outcome {
        Ok(()) => format!(
            "{what} ({why}); spooled in {folder}: the next `runbell run` with this server sends what is there, or \
             `runbell spool flush` does"
        ),
        Err(error) => format!("{what} ({why}), and {written} of them spooled: {error:#}"),
    }
}

/// Sends the spooled events of earlier runs to this server, unless another process does so.
async fn send_earlier(client: RemoteClient, cx: BuildContext, report: Gathered<spool::Line>) {
    let sending = async {
        let Ok(spool) = Spool::locate() else { return };
        let opening = spool.clone();
        let Ok(Ok(Some(_lock))) = tokio::task::spawn_blocking(move || opening.lock()).await else { return };
        let wanted = |server: &str| server == client.server();
        let sent = spool::send(&spool, &cx, Some(&client), wanted, &|line| lock(&report).push(line)).await;
        if let Err(error) = sent {
            tracing::warn!("{error:#}");
        }
    };
    // The next run sends the others; this run has its own events to send.
    let _ = timeout(EARLIER, sending).await;
}

/// The complaints about deliveries, and the notes on them.
fn of_deliveries(lines: &[ReportLine]) -> Vec<String> {
    let mut said = Vec::new();
    let mut noted: HashSet<(&str, NoteCode, &str)> = HashSet::new();
    for line in lines {
        let name = text::one_line(&line.notification, 80);
        if line.status == Status::Error {
            said.push(format!("{name}: not delivered ({}): {}", line.state, line.reason));
        }
        // Each state repeats the notes of the one before for another message; the first state's are enough.
        // Notes about the configuration were printed before the command began.
        let mut subjects = Vec::with_capacity(line.notes.len());
        for note in line.notes.iter().filter(|note| note.code != NoteCode::Configuration) {
            let subject = (line.notification.as_str(), note.code, note.path.as_str());
            if !noted.contains(&subject) {
                said.push(format!("{name}: note: {note}"));
            }
            subjects.push(subject);
        }
        noted.extend(subjects);
    }
    said
}

/// The complaints about spooled events of earlier runs.
fn of_earlier(lines: &[spool::Line], server: &str, is_reachable: bool) -> Vec<String> {
    let of = |status| lines.iter().filter(move |line| line.status == status);
    let mut said = Vec::new();
    let sent = of(spool::Status::Sent).count();
    if sent > 0 {
        said.push(format!("{} of earlier runs sent to {server}", events(sent)));
    }
    for line in of(spool::Status::Refused) {
        let spool::Line { uid, state, reason, file, .. } = line;
        said.push(format!(
            "{server}: an event of an earlier run ({uid}, {state}) is refused: {reason}; kept as {file}"
        ));
    }
    let damaged = of(spool::Status::Damaged).count();
    if damaged > 0 {
        said.push(format!("{damaged} spooled files cannot be read; `runbell spool flush` says why"));
    }
    // When this run's own events are spooled too, their complaint is enough.
    if let Some(line) = of(spool::Status::Left).next().filter(|_| is_reachable) {
        let left = of(spool::Status::Left).count();
        said.push(format!("{} of earlier runs stay spooled: {}", events(left), line.reason));
    }
    said
}

/// The notifications, or the default when there are none.
fn or_console(given: Vec<Notification>) -> Vec<Notification> {
    if !given.is_empty() {
        return given;
    }
    let ended = [RunState::Completed, RunState::Error, RunState::Aborted];
    vec![Notification::new("console", "console").when(ended)]
}

/// Keeps a line that a person should see.
fn keep(kept: &Gathered<ReportLine>, line: &ReportLine) {
    if line.status == Status::Error || !line.notes.is_empty() {
        lock(kept).push(line.clone());
    }
}

/// The notifier that sends from here when the server does not. A notification that only the server can send is a warning
/// and left out.
fn fallback(notifications: &[Notification], failures: &Gathered<ReportLine>) -> anyhow::Result<Notifier> {
    let mut able = Vec::new();
    for notification in notifications {
        match crate::surroundings::notifier()?.notification(notification.clone()).build() {
            Ok(_) => able.push(notification.clone()),
            Err(error) => output::complain(&format!("warning: --fallback local cannot send this from here: {error}")),
        }
    }
    let kept = Arc::clone(failures);
    let builder = crate::surroundings::notifier()?.notifications(able).on_report(move |line| keep(&kept, line));
    Ok(builder.build()?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use runbell::Note;

    use super::*;

    #[test]
    fn a_remark_that_each_state_has_is_printed_once() {
        let of = |notification: &str, state, notes: &[Note]| ReportLine {
            uid: "u".to_owned(),
            notification: notification.to_owned(),
            kind: "slack".to_owned(),
            state,
            status: Status::Sent,
            reason: "matched".to_owned(),
            attempts: 1,
            notes: notes.to_vec(),
            error: None,
            ambiguous: false,
        };
        let known = Note::new(NoteCode::Configuration, "has no effect").at("params.username");
        let (running, completed) = (RunState::Running, RunState::Completed);
        let lines = [
            of("a", running, &[known, Note::cut("message cut"), Note::cut("1 names cut")]),
            of("a", completed, &[Note::cut("2 names cut"), Note::cut("is long").at("body.x")]),
            of("b", completed, &[Note::cut("message cut")]),
        ];
        let printed =
            ["a: note: message cut", "a: note: 1 names cut", "a: note: body.x: is long", "b: note: message cut"];
        assert_eq!(of_deliveries(&lines), printed);
    }
}
