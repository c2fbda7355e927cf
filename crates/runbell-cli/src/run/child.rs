//! The command: started with this process's own streams; it only gets signals forwarded.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use runbell::text;
use rustix::process::{Pid, Signal, getpid, getsid, kill_process};
use signal_hook::consts::SIGHUP;
use tokio::process::{Child, Command};

use super::orphans;
use super::results::Results;
use super::signals::{Received, Signals};
use super::tail::Tail;
use crate::args::RunArgs;

/// The end of a command, with the signal and the output before it.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) end: CommandEnd,
    /// Whether it was started.
    pub(super) started: bool,
    /// The signal that asked it to stop, when there was one before it ended.
    pub(super) stopped_by: Option<i32>,
    /// The last lines of its standard error, when they were asked for.
    pub(super) tail: String,
}

/// The end of a command.
#[derive(Debug)]
pub(super) enum CommandEnd {
    /// It could not be started.
    NotStarted { code: u8, message: String },
    /// It exited.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
}

impl Execution {
    /// The exit code to end with, as a shell would.
    pub(super) fn exit_code(&self) -> u8 {
        match self.end {
            CommandEnd::NotStarted { code, .. } => code,
            CommandEnd::Exited(code) => u8::try_from(code & 0xff).unwrap_or(1),
            CommandEnd::Killed(signal) => 128_u8.wrapping_add(u8::try_from(signal).unwrap_or(0)),
        }
    }
}

/// Runs the command to its end. `started` is called once it runs.
pub(super) async fn execute(
    args: &RunArgs,
    results: &Results,
    signals: &mut Signals,
    started: impl FnOnce(),
) -> Execution {
    let mut words = args.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words);
    if let Some(path) = results.path() {
        command.env("RUNBELL_RESULTS", path);
    }
    let tail = args.tail.and_then(|lines| {
        let (reader, writer) = std::io::pipe().ok()?;
        let tail = Tail::follow(reader, usize::from(lines)).ok()?;
        command.stderr(Stdio::from(writer));
        Some(tail)
    });
    let spawned = command.spawn();
    // It holds the writing end of the pipe: dropped here, so that the pipe closes with the command.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let (code, what) = match error.kind() {
                ErrorKind::NotFound => (127, "command not found".to_owned()),
                ErrorKind::PermissionDenied if std::path::Path::new(&program).is_dir() => {
                    (126, "is a directory; name a program in it".to_owned())
                }
                ErrorKind::PermissionDenied => (126, "is not executable; check its permissions".to_owned()),
                _ => (126, format!("cannot be executed: {error}")),
            };
            let end = CommandEnd::NotStarted { code, message: format!("{}: {what}", shown(&program)) };
            return Execution { end, started: false, stopped_by: None, tail: String::new() };
        }
    };
    orphans::reap_all_but(child.id());
    started();
    let (end, stopped_by) = wait(&mut child, signals).await;
    let tail = match tail {
        Some(tail) => tail.finish().await,
        None => String::new(),
    };
    Execution { end, started: true, stopped_by, tail }
}

async fn wait(child: &mut Child, signals: &mut Signals) -> (CommandEnd, Option<i32>) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut stopped_by = None;
    let status = loop {
        tokio::select! {
            biased;
            // The child is reaped inside `wait`, so a signal never reaches another process with the same pid.
            status = child.wait() => break status,
            received = signals.next() => {
                note(received, &mut stopped_by);
                if let (true, Some(pid), Some(signal)) =
                    (is_forwarded(received), pid, Signal::from_named_raw(received.signal))
                {
                    // It fails when the command has just ended; then no signal needs forwarding.
                    let _ = kill_process(pid, signal);
                }
            }
        }
    };
    let end = match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => CommandEnd::Exited(code),
            (None, Some(signal)) => CommandEnd::Killed(signal),
            (None, None) => CommandEnd::Exited(1),
        },
        Err(error) => CommandEnd::NotStarted { code: 126, message: format!("cannot be waited for: {error}") },
    };
    // A terminal's ^C reaches the command and this process at once, and the command's end may be seen first.
    if stopped_by.is_none() && looks_interrupted(&end) {
        while let Ok(received) = tokio::time::timeout(Duration::from_millis(20), signals.next()).await {
            note(received, &mut stopped_by);
            if stopped_by.is_some() {
                break;
            }
        }
    }
    (end, stopped_by)
}

/// Whether the command does not have a signal yet. A terminal's keys signal the whole group; a terminal that goes away signals
/// only the leader of its session.
fn is_forwarded(received: Received) -> bool {
    let leads_session = || getsid(None).is_ok_and(|session| session == getpid());
    !received.from_terminal || (received.signal == SIGHUP && leads_session())
}

fn note(received: Received, stopped_by: &mut Option<i32>) {
    if received.asks_to_stop() {
        stopped_by.get_or_insert(received.signal);
    }
}

/// Whether the command ended as an interrupted one: killed by the signal, or with exit code 128 + n.
fn looks_interrupted(end: &CommandEnd) -> bool {
    let signal = match end {
        CommandEnd::Killed(signal) => *signal,
        CommandEnd::Exited(code) => code - 128,
        CommandEnd::NotStarted { .. } => return false,
    };
    super::signals::STOPPING.contains(&signal)
}

/// A command's file name for messages.
fn shown(command: &OsStr) -> String {
    text::one_line(&command.to_string_lossy(), 200)
}
