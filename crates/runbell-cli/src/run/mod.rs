//! `runbell run`: a command as a run.

mod child;
mod results;
mod signals;
mod tail;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use runbell::{Clock as _, Notification, Notifier, ReportLine, Run, RunState, Status, SystemClock, Value, text};

use crate::args::RunArgs;
use crate::{config, output};
use child::{Ending, Outcome};
use results::Results;
use signals::Signals;

/// How long the notifications may hold the end of a run.
const BUDGET: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let mut run = describe(&args)?;
    let notifications = configured(&args)?;
    let failures = Arc::new(Mutex::new(Vec::<ReportLine>::new()));
    let kept = Arc::clone(&failures);
    let notifier = crate::notifier()?
        .notifications(notifications)
        .on_report(move |line| {
            if line.status == Status::Error || !line.notes.is_empty() {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
            }
        })
        .build()?;
    let results = Results::prepare(args.results.as_deref())?;
    // From here on a signal to this process is the command's business.
    let mut signals = Signals::listen()?;

    run.status.start_time = Some(SystemClock.now().to_string());
    let outcome = child::execute(&args, &results, &mut signals, || tell(&notifier, &run)).await;

    run.status.end_time = Some(SystemClock.now().to_string());
    conclude(&mut run, &outcome, &notifier);
    let mut complaints = Vec::new();
    if outcome.started {
        match results.read() {
            Ok(found) => run.status.results = found,
            Err(note) => complaints.push(format!("results: {note}")),
        }
    } else if let Ending::NotStarted { message, .. } = &outcome.ending {
        complaints.push(message.clone());
    }
    complain(std::mem::take(&mut complaints)).await;
    tell(&notifier, &run);

    tokio::select! {
        _ = notifier.shutdown(BUDGET) => {}
        // Whoever asks to stop now has seen the command end and does not want to wait for its news.
        () = signals.asked_to_stop() => complaints.push("notifications given up".to_owned()),
    }
    // Oddities of the configuration have been told before the command began.
    let mut told: BTreeSet<String> = notifier.warnings().collect();
    for line in failures.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let name = text::one_line(&line.notification, 80);
        if line.status == Status::Error {
            complaints.push(format!("{name}: not delivered ({}): {}", line.state, line.reason));
        }
        for note in &line.notes {
            if told.insert(format!("{name}: {note}")) {
                complaints.push(format!("{name}: note: {note}"));
            }
        }
    }
    complain(complaints).await;
    Ok(outcome.exit_code())
}

/// Says what is wrong, on a thread of its own: somebody who does not read must not hold the end of the run.
async fn complain(complaints: Vec<String>) {
    if !complaints.is_empty() {
        let saying = tokio::task::spawn_blocking(move || complaints.iter().for_each(|text| output::complain(text)));
        let _ = tokio::time::timeout(PATIENCE, saying).await;
    }
}

/// How long standard error may take a complaint.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells of the run's current state in the background.
fn tell(notifier: &Notifier, run: &Run) {
    if let Err(error) = notifier.enqueue(run) {
        output::complain(&format!("not told: {error}"));
    }
}

/// The run as it starts. Arguments are left out: they may hold secrets.
fn describe(args: &RunArgs) -> anyhow::Result<Run> {
    let name = match (&args.name, args.command.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(command)) => {
            let file = Path::new(command).file_name().unwrap_or(command.as_os_str());
            file.to_string_lossy().into_owned()
        }
        (None, None) => bail!("CMD: is required"),
    };
    if args.command.first().is_some_and(|command| command.is_empty()) {
        bail!("CMD: must not be empty");
    }
    if args.project.trim().is_empty() {
        bail!("--project: must not be empty");
    }
    if name.trim().is_empty() {
        bail!("--name: must not be empty");
    }
    let mut run = Run::new(name, uuid::Uuid::new_v4().simple().to_string()).project(args.project.clone());
    run = run.label("host", rustix::system::uname().nodename().to_string_lossy().into_owned());
    if let Some(owner) = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()) {
        run = run.label("owner", owner);
    } else {
        run = run.label("owner", rustix::process::getuid().as_raw().to_string());
    }
    for label in &args.label {
        match label.split_once('=') {
            Some((name, value)) if !name.is_empty() => run = run.label(name, value),
            _ => bail!("--label: must be name=value, such as team=search"),
        }
    }
    Ok(run)
}

fn configured(args: &RunArgs) -> anyhow::Result<Vec<Notification>> {
    let registry = runbell::registry()?;
    let given = config::notifications(args.config.config.as_deref(), &args.notify, &registry)?;
    if !given.is_empty() {
        return Ok(given);
    }
    let ended = [RunState::Completed, RunState::Error, RunState::Aborted];
    Ok(vec![Notification::new("console", "console").when(ended)])
}

/// Writes into the run how it ended.
fn conclude(run: &mut Run, outcome: &Outcome, notifier: &Notifier) {
    let how = match &outcome.ending {
        Ending::NotStarted { message, .. } => message.clone(),
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Killed(signal) => format!("killed by signal {signal}"),
    };
    run.status.state = match (outcome.stopped_by, &outcome.ending) {
        (Some(_), _) => RunState::Aborted,
        (None, Ending::Exited(0)) => RunState::Completed,
        (None, _) => RunState::Error,
    };
    match outcome.stopped_by {
        Some(signal) => {
            let name = signals::name(signal);
            run.status.status_text = Some(format!("received {name}, then {how}"));
        }
        None if run.status.state == RunState::Error => {
            let tail = tail::cut(&notifier.mask(&outcome.tail));
            run.status.error = Some(if tail.is_empty() { how } else { format!("{how}\n{tail}") });
        }
        None => {}
    }
}

/// A command's file name for messages.
fn shown(command: &OsStr) -> String {
    text::one_line(&command.to_string_lossy(), 200)
}

/// Results as they are written into a run.
type ResultsMap = runbell::value::Map;

/// Whether results fit into a run.
fn as_results(value: Value) -> Result<ResultsMap, String> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(format!("must be a JSON object such as {{\"loss\": 0.1}}, not {}", other.type_name())),
    }
}
