//! Signals to this process while a command runs under it.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::{Origin, WithOrigin};
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// Signals that ask a program to stop.
pub(super) const STOPPING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// The same request to stop, repeated within this time, is one request: `timeout` of GNU coreutils signals its child and then
/// the whole group, so the child gets two within a millisecond.
const REPEATED: Duration = Duration::from_secs(1);

/// A signal that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) signal: i32,
    at: Instant,
    /// Whether a terminal sent it to the whole group, so that the command has it already.
    pub(super) from_terminal: bool,
}

impl Received {
    pub(super) fn asks_to_stop(self) -> bool {
        STOPPING.contains(&self.signal)
    }
}

/// The signals to this process, in order.
#[derive(Debug)]
pub(super) struct Signals {
    received: mpsc::UnboundedReceiver<Received>,
    /// The requests to stop so far, the latest of each signal.
    stops: Vec<Received>,
}

impl Signals {
    /// Handles the signals that would end this process, and the two that users define.
    ///
    /// An ignored signal stays ignored (`nohup`, background jobs of a script): with a handler here the command, which
    /// inherits the disposition, would die of it.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let wanted = STOPPING.into_iter().chain([SIGUSR1, SIGUSR2]).filter(|signal| ignored & mask(*signal) == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for origin in &mut signals {
                let from_terminal = is_from_terminal(&origin);
                let received = Received { signal: origin.signal, at: Instant::now(), from_terminal };
                if sender.send(received).is_err() {
                    break;
                }
            }
        })?;
        Ok(Signals { received: receiver, stops: Vec::new() })
    }

    /// The next signal; pending without one. A request to stop that is repeated at once is left out.
    pub(super) async fn next(&mut self) -> Received {
        loop {
            let Some(received) = self.received.recv().await else { return std::future::pending().await };
            if !received.asks_to_stop() {
                return received;
            }
            match self.stops.iter_mut().find(|known| known.signal == received.signal) {
                Some(known) if received.at.duration_since(known.at) < REPEATED => {}
                Some(known) => {
                    *known = received;
                    return received;
                }
                None => {
                    self.stops.push(received);
                    return received;
                }
            }
        }
    }

    /// Waits, once the command has ended, until its notifications are not to be waited for: a person presses ^C, or a program
    /// asks to stop although it asked before. A terminal that goes away asks for nothing more.
    pub(super) async fn given_up(&mut self) {
        loop {
            let asked_before = !self.stops.is_empty();
            let received = self.next().await;
            if received.asks_to_stop() && received.signal != SIGHUP && (received.from_terminal || asked_before) {
                return;
            }
        }
    }
}

/// The kernel sends the signals of a terminal's keys; all others have a sending process.
fn is_from_terminal(origin: &Origin) -> bool {
    match origin.cause {
        Cause::Kernel => true,
        // Some systems do not report the cause: a sender with a number is a process.
        Cause::Unknown => origin.process.is_none_or(|process| process.pid == 0) && origin.signal != SIGTERM,
        _ => false,
    }
}

fn mask(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0)
}

/// The signals this process ignores, as a mask. Linux lists them in `/proc`; elsewhere the mask is empty.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// A signal's name, such as `SIGTERM`.
pub(super) fn name(signal: i32) -> String {
    match signal_hook::low_level::signal_name(signal) {
        Some(name) => name.to_owned(),
        None => format!("signal {signal}"),
    }
}
