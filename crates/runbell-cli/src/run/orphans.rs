//! Orphans, when this process is the first of a container: they become its children, and stay zombies until they are reaped.

use std::fs;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// Reaps orphans from now on, if this process is the first one (pid 1). The command is left to its own waiter.
pub(super) fn reap_all_but(command: Option<u32>) {
    if !getpid().is_init() {
        return;
    }
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            for orphan in zombies().filter(|pid| Some(*pid) != command) {
                if let Some(pid) = i32::try_from(orphan).ok().and_then(Pid::from_raw) {
                    // It fails when it is no child of this process, and then it is none of its business.
                    let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                }
            }
        }
    });
}

/// The processes that have ended and wait to be reaped by this one.
fn zombies() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        is_own_zombie(&stat).then_some(pid)
    })
}

/// Whether a line of `/proc/PID/stat` is that of a zombie whose parent is the first process. The name in it may hold anything,
/// brackets too (proc(5)).
fn is_own_zombie(stat: &str) -> bool {
    let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.next() == Some("Z") && fields.next() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_of_the_first_process() {
        for (stat, expected) in [
            ("12 (sleep) Z 1 12 12 0 -1", true),
            ("12 (a) b (c)) Z 1 12", true),
            ("12 (Z 1) S 1 12", false),
            ("12 (sleep) Z 7 12", false),
            ("", false),
        ] {
            assert_eq!(is_own_zombie(stat), expected, "{stat}");
        }
    }
}
