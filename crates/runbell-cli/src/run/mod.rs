//! `runbell run`: a command as a run.

mod child;
mod orphans;
mod reporter;
mod results;
mod signals;
mod tail;

use std::path::Path;

use anyhow::bail;
use runbell::{Clock as _, Run, RunState, SystemClock};
use signal_hook::consts::SIGHUP;

use crate::args::RunArgs;
use crate::output;
use child::{CommandEnd, Execution};
use reporter::{PATIENCE, Reporter};
use results::Results;
use signals::Signals;

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let mut run = describe(&args)?;
    let reporter = Reporter::new(&args)?;
    let results = Results::prepare(args.results.as_deref())?;
    // From here on signals to this process are forwarded to the command.
    let mut signals = Signals::listen()?;

    run.status.start_time = Some(SystemClock.now().to_string());
    let execution = child::execute(&args, &results, &mut signals, || reporter.report(&run)).await;

    run.status.end_time = Some(SystemClock.now().to_string());
    conclude(&mut run, &execution, &reporter);
    let mut complaints = Vec::new();
    if execution.started {
        match results.read() {
            Ok(found) => run.status.results = found,
            Err(note) => complaints.push(format!("results: {note}")),
        }
    } else if let CommandEnd::NotStarted { message, .. } = &execution.end {
        complaints.push(message.clone());
    }
    complain(complaints).await;
    reporter.report(&run);
    complain(reporter.finish(&mut signals).await).await;
    Ok(execution.exit_code())
}

/// Prints complaints on a thread of its own: a blocked standard error must not delay the end of the run.
async fn complain(complaints: Vec<String>) {
    if !complaints.is_empty() {
        let printing = tokio::task::spawn_blocking(move || complaints.iter().for_each(|text| output::complain(text)));
        let _ = tokio::time::timeout(PATIENCE, printing).await;
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
    if let Some(owner) = ["USER", "LOGNAME"].iter().find_map(|name| crate::surroundings::variable(name)) {
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

/// Records the command's end in the run.
fn conclude(run: &mut Run, execution: &Execution, reporter: &Reporter) {
    let how = match &execution.end {
        CommandEnd::NotStarted { message, .. } => message.clone(),
        CommandEnd::Exited(code) => format!("exit code {code}"),
        CommandEnd::Killed(signal) => format!("killed by signal {signal} ({})", signals::name(*signal)),
    };
    run.status.state = match (execution.stopped_by, &execution.end) {
        // The terminal went away, and the command went on to a good end.
        (Some(SIGHUP), CommandEnd::Exited(0)) => RunState::Completed,
        (Some(_), _) => RunState::Aborted,
        (None, CommandEnd::Exited(0)) => RunState::Completed,
        (None, _) => RunState::Error,
    };
    let how = match execution.stopped_by {
        Some(signal) => format!("received {}, then {how}", signals::name(signal)),
        None => how,
    };
    let with_tail = || {
        let tail = tail::cut(&reporter.mask(&execution.tail));
        if tail.is_empty() { how.clone() } else { format!("{how}\n{tail}") }
    };
    match run.status.state {
        RunState::Aborted => run.status.status_text = Some(with_tail()),
        RunState::Error => run.status.error = Some(with_tail()),
        _ if execution.stopped_by.is_some() => run.status.status_text = Some(how),
        _ => {}
    }
}
