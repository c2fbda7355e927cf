//! `runbell run`: a command under it behaves as without it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use runbell_testkit::{FakeAnswer, FakeHttp};

use crate::tools::{Folder, SIGNAL_PRINTER, runbell, say, say_with};

#[test]
fn streams_pass_through_untouched() {
    let said =
        say_with(&mut runbell(&["run", "--", "sh", "-c", "cat | tr a-z A-Z; echo to-stderr >&2"]), "hello\nworld");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "HELLO\nWORLD"));
    assert!(said.err.starts_with("to-stderr\n"), "{}", said.err);
    assert!(said.err.contains("[info] Run completed in project default"), "{}", said.err);
}

#[test]
fn bytes_that_are_no_text_pass_too() {
    let said = runbell(&["run", "--", "sh", "-c", "printf '\\377\\000\\376'"]).output().expect("it starts");
    assert_eq!(said.stdout, [0xff, 0, 0xfe]);
}

#[test]
fn it_ends_as_the_command_did() {
    for (script, code, text) in [
        ("exit 0", 0, "Run completed in project default"),
        ("exit 3", 3, "Run failed in project default"),
        ("exit 255", 255, "exit code 255"),
        ("kill -KILL $$", 137, "killed by signal 9"),
        ("kill -SEGV $$", 139, "killed by signal 11"),
        ("kill -TERM $$", 143, "killed by signal 15"),
    ] {
        let said = say(&mut runbell(&["run", "--", "sh", "-c", script]));
        assert_eq!(said.code, Some(code), "{script}: {}", said.err);
        assert!(said.err.contains(text), "{script}: {}", said.err);
    }
}

#[test]
fn a_command_that_cannot_be_started_is_notified_as_failed() {
    let folder = Folder::new();
    let plain = folder.file("plain", "#!/bin/sh\n");
    let said = say(&mut runbell(&["run", "--", "/nonexistent/command", "--secret", "CANARY"]));
    assert_eq!(said.code, Some(127));
    assert!(said.err.contains("/nonexistent/command: command not found"), "{}", said.err);
    assert!(said.err.contains("Run failed in project default") && !said.err.contains("CANARY"), "{}", said.err);
    let said = say(&mut runbell(&["run", "--", &plain]));
    assert_eq!(said.code, Some(126));
    assert!(said.err.contains("is not executable"), "{}", said.err);
    std::fs::set_permissions(folder.path("plain"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    assert_eq!(say(&mut runbell(&["run", "--", &plain])).code, Some(0));
}

#[test]
fn the_run_says_who_where_and_when_and_not_with_what() {
    let folder = Folder::new();
    let config =
        folder.file("n.json", r#"[{"kind": "webhook", "name": "w", "params": {"url": "http://127.0.0.1:1/"}}]"#);
    let log = folder.path("run.json");
    // The default body holds the whole run; a results file shows that the command saw its environment.
    let script = "echo '{\"loss\": 0.5, \"big\": 123456789012345678901234567890}' > \"$RUNBELL_RESULTS\"";
    let peer = Listener::start();
    std::fs::write(&config, std::fs::read_to_string(&config).expect("read").replace("127.0.0.1:1", &peer.address))
        .expect("written");
    let said = say(&mut runbell(&[
        "run",
        "-c",
        &config,
        "--project",
        "p",
        "--name",
        "n",
        "--label",
        "team=a=b",
        "--",
        "sh",
        "-c",
        script,
        "CANARY",
    ]));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let request = peer.request();
    assert!(request.contains("123456789012345678901234567890"), "{request}");
    let body: serde_json::Value =
        serde_json::from_str(request.split("\r\n\r\n").nth(1).expect("a body")).expect("json");
    let run = &body["runs"][0];
    assert_eq!((&run["metadata"]["name"], &run["metadata"]["project"]), (&"n".into(), &"p".into()));
    assert_eq!(
        (&run["metadata"]["labels"]["team"], &run["metadata"]["labels"]["owner"]),
        (&"a=b".into(), &"tester".into())
    );
    let uid = run["metadata"]["uid"].as_str().expect("a uid");
    assert!(uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uid}");
    assert!(run["metadata"]["labels"]["host"].as_str().is_some_and(|host| !host.is_empty()));
    assert_eq!(run["status"]["results"]["loss"], 0.5);
    for time in ["start_time", "end_time"] {
        assert!(run["status"][time].as_str().is_some_and(|time| time.ends_with('Z')), "{run}");
    }
    assert!(!request.contains("CANARY") && !log.exists());
}

#[test]
fn results_that_cannot_be_used_are_reported_and_change_nothing() {
    for (script, note) in [
        ("head -c 1100000 /dev/zero > \"$RUNBELL_RESULTS\"", "larger than 1 MiB"),
        ("echo '{\"a\": }' > \"$RUNBELL_RESULTS\"", "line 1, column 7"),
        ("echo '[1]' > \"$RUNBELL_RESULTS\"", "must be a JSON object"),
        ("mkdir \"$RUNBELL_RESULTS\"", "is not a regular file"),
        ("printf '\\377' > \"$RUNBELL_RESULTS\"", "is not UTF-8 text"),
    ] {
        let said = say(&mut runbell(&["run", "--", "sh", "-c", script]));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains(note) && said.err.contains("the results are left out"), "{script}: {}", said.err);
        assert!(said.err.contains("Run completed"), "{}", said.err);
    }
}

#[test]
fn results_of_an_earlier_run_are_not_sent_again() {
    let folder = Folder::new();
    let old = folder.file("r.json", r#"{"stale": 1}"#);
    let said = say(&mut runbell(&["run", "--results", &old, "--", "true"]));
    assert!(said.err.contains("was not written by this command") && !said.err.contains("stale"), "{}", said.err);
    let script = format!("echo '{{\"fresh\": 1}}' > {old}");
    let said = say(&mut runbell(&["run", "--results", &old, "--", "sh", "-c", &script]));
    assert!(said.err.contains("fresh=1"), "{}", said.err);
}

#[test]
fn the_tail_of_a_failure_is_in_its_text() {
    let script = "for i in 1 2 3 4; do echo \"line $i\" >&2; done; exit 1";
    let said = say(&mut runbell(&["run", "--tail", "2", "--", "sh", "-c", script]));
    assert!(said.err.starts_with("line 1\nline 2\nline 3\nline 4\n"), "{}", said.err);
    let notified = said.err.split("line 4\n").nth(1).expect("a notification");
    assert!(
        notified.contains("exit code 1") && notified.contains("line 3") && !notified.contains("line 2"),
        "{notified}"
    );
    let said = say(&mut runbell(&["run", "--tail", "2", "--", "sh", "-c", "echo fine >&2"]));
    assert_eq!(said.err.matches("fine").count(), 1, "{}", said.err);
}

#[test]
fn a_program_left_behind_does_not_hold_the_end() {
    let started = std::time::Instant::now();
    let said = runbell(&["run", "--tail", "1", "--", "sh", "-c", "sleep 20 >/dev/null & echo gone >&2; exit 1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert_eq!(said.code(), Some(1));
    assert!(started.elapsed().as_secs() < 15, "it waited for the program left behind");
}

/// The command that prints the signals it gets, under runbell.
struct Signalled {
    runbell: Child,
    out: BufReader<std::process::ChildStdout>,
    pid: Pid,
}

impl Signalled {
    fn start(prepare: impl FnOnce(&mut std::process::Command)) -> Self {
        let mut command = runbell(&["run", "--", SIGNAL_PRINTER]);
        prepare(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut runbell = command.spawn().expect("it starts");
        let mut out = BufReader::new(runbell.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it is ready");
        let pid = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok()).expect("a pid");
        Signalled { runbell, out, pid: Pid::from_raw(pid).expect("a pid") }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.runbell), signal).expect("it runs");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it prints");
        line.trim().to_owned()
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut err = String::new();
        self.runbell.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        (self.runbell.wait().expect("it ends").code(), err)
    }
}

#[test]
fn a_signal_to_runbell_alone_is_forwarded_once_and_aborts() {
    for (signal, name) in
        [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP"), (Signal::QUIT, "SIGQUIT")]
    {
        let mut command = Signalled::start(|_| {});
        command.send(signal);
        assert_eq!(command.line(), format!("got {name}"));
        // It ignores them all, as commands may; runbell waits with it.
        assert!(command.runbell.try_wait().expect("waits").is_none());
        command.send(Signal::USR1);
        assert_eq!(command.line(), "got SIGUSR1", "{name} came once");
        let (code, err) = command.end();
        assert_eq!(code, Some(0));
        // A terminal that went away stopped nothing: the command went on to a good end.
        let end = if signal == Signal::HUP { "completed" } else { "aborted" };
        assert!(err.contains(&format!("Run {end} in project default")), "{err}");
    }
}

#[tokio::test]
async fn the_same_signal_twice_at_once_gives_nothing_up() {
    let peer = FakeHttp::start().await;
    let (slow, hold) = FakeAnswer::ok().held();
    peer.answer(slow);
    let spec = format!("webhook:url={},name=w", peer.url("/x"));
    let mut command = runbell(&["run", "--notify", &spec, "--", "sh", "-c", "echo ready; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("it is ready");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).expect("it runs");
    // The command is gone and its notification under way when the second one comes, as from `timeout` of coreutils.
    peer.until_requests(1).await;
    kill_process(pid, Signal::TERM).expect("it runs");
    kill_process(pid, Signal::HUP).expect("it runs");
    hold.release();
    let said = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic").expect("it ends");
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!((said.status.code(), err.as_ref()), (Some(143), ""));
    assert_eq!(peer.requests()[0].json()["runs"][0]["status"]["state"], "aborted");
}

#[test]
fn sigusr1_is_forwarded_and_aborts_nothing() {
    let mut command = Signalled::start(|_| {});
    command.send(Signal::USR1);
    assert_eq!(command.line(), "got SIGUSR1");
    let (code, err) = command.end();
    assert_eq!(code, Some(0));
    assert!(err.contains("Run completed"), "{err}");
}

#[test]
fn a_command_killed_by_the_forwarded_signal_was_aborted() {
    let mut command = runbell(&["run", "--", "sh", "-c", "echo ready; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("it is ready");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let said = child.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(143), "{err}");
    assert!(err.contains("Run aborted in project default"), "{err}");
}

#[test]
fn a_command_killed_by_another_process_failed() {
    let mut command = Signalled::start(|_| {});
    kill_process(command.pid, Signal::KILL).expect("it runs");
    assert_eq!(command.line(), "");
    let (code, err) = command.end();
    assert_eq!(code, Some(137));
    assert!(err.contains("Run failed") && err.contains("killed by signal 9"), "{err}");
}

#[test]
fn nohup_stays_nohup() {
    // `trap '' HUP` is what nohup does: the command inherits that SIGHUP is ignored.
    let script = format!(
        "trap '' HUP; exec {} run -- sh -c 'kill -HUP $$; echo alive'",
        env!("CARGO_BIN_EXE_runbell-under-test")
    );
    let said = std::process::Command::new("sh").args(["-c", &script]).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "alive\n");
    assert_eq!(said.status.code(), Some(0));
}

#[test]
fn the_command_stays_in_the_group_of_its_caller() {
    let mut command =
        runbell(&["run", "--", "sh", "-c", "ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat"]);
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let pid = child.id();
    let said = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), pid.to_string());
}

#[test]
fn a_dead_target_neither_changes_the_code_nor_holds_the_end_beyond_its_budget() {
    // A port that takes connections and never answers.
    let hole = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let spec = format!("webhook:url=http://{}/x,timeout_secs=1", hole.local_addr().expect("an address"));
    let started = std::time::Instant::now();
    let said = say(&mut runbell(&["run", "--notify", &spec, "--", "sh", "-c", "exit 5"]));
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("webhook-1: not delivered (error): timeout: no answer in time"), "{}", said.err);
    assert!(started.elapsed().as_secs() <= 31, "{:?}", started.elapsed());
}

/// Takes one HTTP request and answers 200.
struct Listener {
    address: String,
    request: std::sync::mpsc::Receiver<String>,
}

impl Listener {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, request) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut text, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                text.push_str(&line);
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            text.push_str(&String::from_utf8_lossy(&body));
            std::io::Write::write_all(&mut &stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
            sender.send(text).expect("somebody listens");
        });
        Listener { address, request }
    }

    fn request(&self) -> String {
        self.request.recv_timeout(std::time::Duration::from_secs(20)).expect("a request")
    }
}

#[test]
fn an_unknown_option_is_refused_and_not_run() {
    for args in [vec!["run", "--notfy", "console", "--", "true"], vec!["run", "--tial", "5", "--", "true"]] {
        let said = say(&mut runbell(&args));
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(said.err.contains("unexpected argument"), "{}", said.err);
    }
    assert_eq!(say(&mut runbell(&["run", "--", "sh", "-c", "exit $#", "-x", "--y", "-z", "-w"])).code, Some(3));
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up_for_long() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // Fills the pipe, so that the next writer has to wait.
    let filling = std::thread::spawn({
        let mut writer = writer.try_clone().expect("a pipe");
        move || while std::io::Write::write_all(&mut writer, &[b'x'; 4096]).is_ok() {}
    });
    let started = std::time::Instant::now();
    let mut child = runbell(&["run", "--", "sh", "-c", "exit 4"]).stderr(writer).spawn().expect("it starts");
    assert_eq!(child.wait().expect("it ends").code(), Some(4));
    assert!(started.elapsed().as_secs() <= 35, "{:?}", started.elapsed());
    drop(reader);
    filling.join().expect("no panic");
}

#[test]
fn with_a_tail_a_reader_that_is_gone_ends_the_command_as_without() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = runbell(&["run", "--tail", "3", "--", "sh", "-c", "while echo y >&2; do :; done; exit 9"]);
    let started = std::time::Instant::now();
    let status = command.stderr(writer).status().expect("it starts");
    // The shell's own SIGPIPE, or its echo's failure: either way it does not go on for ever.
    assert!(matches!(status.code(), Some(9 | 141)), "{status:?}");
    assert!(started.elapsed().as_secs() < 30);
}

#[test]
fn no_place_for_results_does_not_keep_the_command_from_running() {
    let said =
        say(runbell(&["run", "--", "sh", "-c", "echo ran ${RUNBELL_RESULTS:-none}"]).env("TMPDIR", "/nonexistent"));
    assert_eq!((said.code, said.out.as_str()), (Some(0), "ran none\n"), "{}", said.err);
    assert!(said.err.contains("set TMPDIR"), "{}", said.err);
}

#[test]
fn results_that_would_block_are_refused() {
    for script in
        ["mkfifo \"$RUNBELL_RESULTS\"", "ln -s /proc/kmsg \"$RUNBELL_RESULTS\"", "ln -s /dev/zero \"$RUNBELL_RESULTS\""]
    {
        let said = say(&mut runbell(&["run", "--", "sh", "-c", script]));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains("the results are left out"), "{script}: {}", said.err);
    }
}
