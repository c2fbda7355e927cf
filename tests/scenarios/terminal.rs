//! `runbell run` in a terminal: a real pseudo-terminal with a session of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::tools::{Folder, SIGNAL_PRINTER, runbell};

/// A program in a terminal of its own.
struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Starts `command` as the leader of a session whose terminal this is. `setsid` (util-linux) makes it so.
    fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let slave = || File::options().read(true).write(true).open(&name).expect("the other side");
        let mut wrapped = Command::new("setsid");
        // Started by `nohup` or in a script's background, a test inherits ignored signals, and runbell leaves those ignored.
        wrapped
            .args(["--ctty", "--wait", "env", "--default-signal"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        wrapped.env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(Stdio::from(slave()));
        let child = wrapped.spawn().expect("setsid starts");
        Terminal { master: File::from(master), child, seen: String::new() }
    }

    /// Reads until `text` has been seen.
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            match self.master.read(&mut buffer) {
                Ok(count @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                // The terminal is gone with its last program.
                _ => panic!("the end came before {text:?}:\n{}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("typed");
    }

    /// Reads to the end and returns everything with the exit code.
    fn end(mut self) -> (Option<i32>, String) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.master.read(&mut buffer) {
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        (self.child.wait().expect("it ends").code(), self.seen)
    }
}

#[test]
fn a_command_that_needs_a_terminal_has_one() {
    let script = "test -t 0 && test -t 1 && test -t 2 && printf 'name? ' && read name && echo \"hello $name\"";
    let mut terminal = Terminal::start(&runbell(&["run", "--", "sh", "-c", script]));
    terminal.until("name? ");
    terminal.press(b"world\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("hello world") && seen.contains("Run completed"), "{seen}");
}

#[test]
fn control_c_reaches_the_command_once() {
    let mut terminal = Terminal::start(&runbell(&["run", "--", SIGNAL_PRINTER]));
    terminal.until("ready ");
    terminal.until("\n");
    let pid = terminal.seen.split("ready ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a pid");
    let pid: i32 = pid.parse().expect("a number");
    terminal.press(b"\x03");
    terminal.until("got SIGINT");
    // SIGUSR1 takes the way a second SIGINT would have taken: through runbell, which forwards in order.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let parent: i32 = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|pid| pid.parse().ok())
        .expect("a parent");
    let parent = rustix::process::Pid::from_raw(parent).expect("a pid");
    rustix::process::kill_process(parent, rustix::process::Signal::USR1).expect("it runs");
    terminal.until("got SIGUSR1");
    let (code, seen) = terminal.end();
    assert_eq!(seen.matches("got SIGINT").count(), 1, "{seen}");
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("Run aborted in project default"), "{seen}");
}

#[test]
fn control_c_ends_a_command_as_it_would_without_runbell() {
    let mut terminal = Terminal::start(&runbell(&["run", "--", "sh", "-c", "echo ready; exec sleep 60"]));
    terminal.until("ready");
    terminal.press(b"\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(130), "{seen}");
    assert!(seen.contains("Run aborted"), "{seen}");
}

#[test]
fn a_second_control_c_does_not_wait_for_the_news() {
    let hole = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let spec = format!("webhook:url=http://{}/x", hole.local_addr().expect("an address"));
    let mut terminal = Terminal::start(&runbell(&["run", "--notify", &spec, "--", "sh", "-c", "echo over"]));
    terminal.until("over");
    hole.accept().expect("the notification is under way");
    let started = std::time::Instant::now();
    terminal.press(b"\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("notifications given up: webhook-1 (completed)"), "{seen}");
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
}

#[test]
fn a_person_reads_what_the_end_waits_for() {
    let hole = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let spec = format!("webhook:name=hook,url=http://{}/x", hole.local_addr().expect("an address"));
    let mut terminal = Terminal::start(&runbell(&["run", "--notify", &spec, "--", "true"]));
    terminal.until("waiting for hook (127.0.0.1); ^C ends");
    terminal.press(b"\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
}

#[tokio::test]
async fn a_terminal_that_goes_away_signals_the_command_and_loses_no_notification() {
    let peer = runbell_testkit::FakeHttp::start().await;
    let spec = format!("webhook:url={}", peer.url("/x"));
    let script = "trap 'exit 0' HUP; echo ready; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(&runbell(&["run", "--notify", &spec, "--", "sh", "-c", script]));
    terminal.until("ready");
    let Terminal { master, mut child, .. } = terminal;
    drop(master);
    peer.until_requests(1).await;
    let status = &peer.requests()[0].json()["runs"][0]["status"];
    assert_eq!(
        (&status["state"], &status["status_text"]),
        (&"completed".into(), &"received SIGHUP, then exit code 0".into())
    );
    tokio::task::spawn_blocking(move || child.wait()).await.expect("no panic").expect("it ends");
}

#[test]
fn a_secret_is_typed_unseen() {
    let folder = Folder::new();
    let store = format!("sqlite://{}", folder.path("runbell.db").display());
    let mut terminal = Terminal::start(&runbell(&["secrets", "set", "HOOK", "--store", &store]));
    terminal.until("type the value of HOOK");
    terminal.press(b"CANARY-typed\n");
    let (code, seen) = terminal.end();
    assert!(code == Some(0) && !seen.contains("CANARY"), "{code:?} {seen}");
    let (code, seen) = Terminal::start(&runbell(&["secrets", "list", "--store", &store])).end();
    assert!(code == Some(0) && seen.contains("NAME") && seen.contains("HOOK"), "{code:?} {seen}");
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let (_, coloured) = Terminal::start(&runbell(&["run", "--", "true"])).end();
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let mut plain = runbell(&["run", "--", "true"]);
    plain.env("NO_COLOR", "1");
    let (_, plain) = Terminal::start(&plain).end();
    assert!(!plain.contains("\u{1b}["), "{plain:?}");
}
