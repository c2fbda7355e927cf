//! `runbell run --server`: the server has the news, sooner or later, and the command never notices.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use runbell_core::{DeliveryKey, RunSnapshot, RunState};
use runbell_testkit::{FakeAnswer, FakeHttp, Request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use crate::canary::{CANARY, forms};
use crate::tools::{Folder, Said, runbell, say};

/// What Runbell's server answers to an event.
fn taken() -> FakeAnswer {
    FakeAnswer::status(200).body(r#"{"version": 1, "deliveries": [], "verdicts": []}"#)
}

/// A server that takes every event.
async fn server() -> FakeHttp {
    let peer = FakeHttp::start().await;
    peer.answer_always(taken());
    peer
}

/// The command with a state folder of the test's own.
fn command(folder: &Folder, args: &[&str]) -> Command {
    let mut command = runbell(args);
    command.env("XDG_STATE_HOME", folder.path("state"));
    command
}

fn spool(folder: &Folder) -> PathBuf {
    folder.path("state").join("runbell").join("spool")
}

/// The names in the spool, sorted.
fn spooled(folder: &Folder) -> Vec<String> {
    let Ok(listed) = fs::read_dir(spool(folder)) else { return Vec::new() };
    let mut names: Vec<String> =
        listed.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// The states that were reported, in order.
fn states(requests: &[Request]) -> Vec<Value> {
    requests.iter().map(|request| request.json()["state"].clone()).collect()
}

fn hook(folder: &Folder, url: &str) -> String {
    let list = json!([{ "kind": "webhook", "name": "hook", "when": ["running", "completed", "error", "aborted"],
        "secret_params": { "url": url, "headers": { "X-Token": CANARY } } }]);
    folder.file("hook.json", &list.to_string())
}

/// A port that refuses connections until it is opened.
struct Down(TcpSocket);

impl Down {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Down(socket)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }

    /// From now on connections reach `peer`.
    fn open(self, peer: &FakeHttp) {
        let (listener, to) = (self.0.listen(16).expect("it listens"), peer.address());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.expect("the peer accepts");
                    // Ends when either side has had enough.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    }
}

/// Waits until the command under `child` has ended, which its console line shows; then asks `child` to stop waiting.
fn interrupt_at_the_end(mut child: Child) -> Said {
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut text = String::new();
    while !text.contains("in project default") {
        assert_ne!(err.read_line(&mut text).expect("a line"), 0, "{text}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    err.read_to_string(&mut text).expect("text");
    let mut said = Said::from(child.wait_with_output().expect("it ends"));
    said.err = text;
    said
}

/// Runs a command with a hook and a console while the server is down, and does not wait for it.
fn run_while_down(folder: &Folder, server: &str, script: &str) -> Said {
    let config = hook(folder, &format!("http://127.0.0.1:1/{CANARY}"));
    let args = ["run", "--server", server, "-c", &config, "--notify", "console", "--", "sh", "-c", script];
    let mut command = command(folder, &args);
    command.env("RUNBELL_TOKEN", format!("rbt_{CANARY}")).env("RUNBELL_LOG", "trace");
    interrupt_at_the_end(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
}

fn assert_no_secret(text: &str, what: &str) {
    for form in forms() {
        assert!(!text.contains(&form), "{what} holds {form}: {text}");
    }
}

#[tokio::test]
async fn a_server_gets_the_events_and_notifications_in_order() {
    let (folder, peer) = (Folder::new(), server().await);
    let config = hook(&folder, "http://127.0.0.1:1/x");
    let args = [
        "run",
        "--server",
        &peer.url("/base/"),
        "--project",
        "a b",
        "-c",
        &config,
        "--notify",
        "console",
        "--notify",
        "slack:when=error",
        "--notify",
        r#"webhook:{"name": "ref", "secret": "NAMED"}"#,
        "--tail",
        "2",
        "--",
        "sh",
        "-c",
        &format!("echo {CANARY} >&2; exit 3"),
    ];
    let mut command = command(&folder, &args);
    let said = say(command.env("RUNBELL_TOKEN", "rbt_token").env("SLACK_WEBHOOK", "http://127.0.0.1:1/slack"));
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("Run failed in project a b") && !said.err.contains("reported"), "{}", said.err);
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "error"]);
    for request in &requests {
        let body = request.json();
        let uid = body["run"]["metadata"]["uid"].as_str().expect("a uid");
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, format!("/base/api/v1/projects/a%20b/runs/{uid}/events"));
        assert_eq!(request.header("authorization"), Some("Bearer rbt_token"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert!(body["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
        let list = body["notifications"].as_array().expect("a list");
        // The console stays here; the environment's webhook goes along as a secret; the reference stays one.
        assert_eq!(list.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["hook", "slack-2", "ref"]);
        assert_eq!(list[0]["secret_params"]["headers"]["X-Token"], CANARY);
        assert_eq!(list[1]["secret_params"], json!({ "webhook": "http://127.0.0.1:1/slack" }));
        assert_eq!(list[2]["secret_params"], json!({ "secret": "NAMED" }));
        assert_no_secret(&body["run"].to_string(), "the run");
    }
    let (first, last) = (requests[0].json(), requests[1].json());
    assert_eq!(first["notifications"], last["notifications"]);
    assert_eq!(last["run"]["status"]["error"], "exit code 3\n***");
    assert!(spooled(&folder).is_empty());
}

#[tokio::test]
async fn without_notifications_the_run_is_recorded_and_shown_here() {
    let (folder, peer) = (Folder::new(), server().await);
    let said = say(command(&folder, &["run", "--", "true"]).env("RUNBELL_SERVER", peer.url("")));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("Run completed in project default"), "{}", said.err);
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "completed"]);
    assert!(requests.iter().all(|request| request.json().get("notifications").is_none()));
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_a_server_that_is_down_are_reported_later_and_the_command_does_not_notice() {
    let (folder, down, peer) = (Folder::new(), Down::new(), server().await);
    let (url, marker) = (down.url(), folder.path("marker"));
    let script = format!("echo out; touch {}; exit 7", marker.display());
    let said = run_while_down(&folder, &url, &script);
    // All of this happens while the port refuses connections.
    assert_eq!((said.code, said.out.as_str()), (Some(7), "out\n"), "{}", said.err);
    assert!(marker.exists());
    let line = said.err.lines().find(|line| line.contains("events not reported")).expect("it says so");
    for part in [&format!("2 events not reported to {url} ("), "spooled in", "runbell spool flush"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_no_secret(&said.err, "standard error");

    let names = spooled(&folder);
    assert_eq!(names.len(), 2, "{names:?}");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let key = spool(&folder).with_file_name("spool.key");
    assert_eq!((mode(&spool(&folder)), mode(spool(&folder).parent().expect("a parent"))), (0o700, 0o700));
    assert_eq!((mode(&key), fs::read(&key).expect("a key").len()), (0o600, 32));
    for name in &names {
        let path = spool(&folder).join(name);
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(&path).expect("text");
        assert_no_secret(&text, name);
        let file: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&file["server"], &file["project"]), (&json!(url), &json!("default")));
    }

    // Still down: everything stays, and it says why.
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.json().iter().all(|line| line["status"] == "left"), "{}", said.out);
    assert!(said.out.contains("unreachable: the target refuses connections"), "{}", said.out);
    assert_eq!(spooled(&folder), names);

    down.open(&peer);
    let said = say(command(&folder, &["spool", "flush", "--json"]).env("RUNBELL_LOG", "trace"));
    assert_no_secret(&(said.out.clone() + &said.err), "what it says");
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.json().iter().map(|line| &line["status"]).collect::<Vec<_>>(), ["sent", "sent"]);
    assert!(spooled(&folder).is_empty());
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "error"]);
    let token = format!("Bearer rbt_{CANARY}");
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&token)));
    assert_eq!(requests[1].json()["notifications"][0]["secret_params"]["headers"]["X-Token"], CANARY);
    let said = say(&mut command(&folder, &["spool", "flush", "--table"]));
    assert_eq!((said.code, said.out.as_str()), (Some(0), "nothing is spooled\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_sends_the_spooled_events_of_the_last_one() {
    let (folder, down, peer, other) = (Folder::new(), Down::new(), server().await, server().await);
    let url = down.url();
    run_while_down(&folder, &url, "exit 1");
    // A run that has another server leaves it alone.
    let said = say(&mut command(&folder, &["run", "--server", &other.url(""), "--", "true"]));
    assert!(spooled(&folder).len() == 2 && !said.err.contains("earlier"), "{}", said.err);
    down.open(&peer);
    let said = say(command(&folder, &["run", "--server", &url, "--", "true"]).env("RUNBELL_TOKEN", "rbt_newer"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains(&format!("2 events of earlier runs sent to {url}")), "{}", said.err);
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "error", "running", "completed"]);
    assert!(requests.iter().all(|request| request.header("authorization") == Some("Bearer rbt_newer")));
    assert!(spooled(&folder).is_empty());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let (folder, peer) = (Folder::new(), server().await);
    peer.answer(FakeAnswer::close()).answer(FakeAnswer::status(503)).answer(taken()).answer(FakeAnswer::reset());
    let config = hook(&folder, "http://127.0.0.1:1/x");
    let said = say(&mut command(&folder, &["run", "--server", &peer.url(""), "-c", &config, "--", "true"]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "running", "running", "completed", "completed"]);
    assert!(requests[0].body == requests[1].body && requests[0].body == requests[2].body);
    assert_eq!(requests[3].body, requests[4].body);
}

#[tokio::test]
async fn an_event_that_a_server_refuses_is_reported_and_not_kept() {
    let (folder, peer) = (Folder::new(), server().await);
    let detail = format!("notifications[0].params.url: no\n{CANARY}");
    peer.answer_always(FakeAnswer::status(422).body(json!({ "detail": detail }).to_string()));
    let config = hook(&folder, "http://127.0.0.1:1/x");
    let said =
        say(&mut command(&folder, &["run", "--server", &peer.url(""), "-c", &config, "--", "sh", "-c", "exit 5"]));
    assert_eq!(said.code, Some(5), "{}", said.err);
    for state in ["running", "error"] {
        let expected = format!("not reported ({state}): the server answers 422: notifications[0].params.url: no ***");
        assert!(said.err.lines().any(|line| line.ends_with(&expected)), "{}", said.err);
    }
    assert_eq!(peer.requests().len(), 2);
    assert!(spooled(&folder).is_empty());
}

#[tokio::test]
async fn a_token_can_be_mended() {
    let (folder, peer) = (Folder::new(), server().await);
    peer.answer_with(|request| match request.header("authorization") {
        Some("Bearer rbt_good") => taken(),
        _ => FakeAnswer::status(401).body(r#"{"detail": "no such token"}"#),
    });
    let args = ["run", "--server", &peer.url(""), "--", "true"];
    let said = say(command(&folder, &args).env("RUNBELL_TOKEN", "rbt_old"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("2 events not reported") && said.err.contains("401: no such token"), "{}", said.err);
    // Tried once, not in a loop.
    assert_eq!((peer.take_requests().len(), spooled(&folder).len()), (1, 2));
    let said = say(command(&folder, &["spool", "flush"]).env("RUNBELL_TOKEN", "rbt_good"));
    assert_eq!(said.code, Some(1), "whom the new token is for was not said: {}", said.out);
    let said = say(command(&folder, &["spool", "flush", "--server", &peer.url("/")]).env("RUNBELL_TOKEN", "rbt_good"));
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(spooled(&folder).is_empty());
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_for_long_is_not_waited_for() {
    let (folder, peer) = (Folder::new(), server().await);
    peer.answer_always(FakeAnswer::status(429).header("retry-after", "100"));
    let started = std::time::Instant::now();
    let said = say(&mut command(&folder, &["run", "--server", &peer.url(""), "--", "true"]));
    assert_eq!((said.code, peer.requests().len(), spooled(&folder).len()), (Some(0), 1, 2), "{}", said.err);
    assert!(started.elapsed().as_secs() < 30);
}

#[tokio::test]
async fn an_answer_of_another_program_accepts_no_event() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    peer.answer_always(FakeAnswer::ok().body("<html>Welcome!</html>"));
    let said = say(&mut command(&folder, &["run", "--server", &peer.url(""), "--", "true"]));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("but not as a Runbell server; check the URL"), "{}", said.err);
    assert_eq!(spooled(&folder).len(), 2);
}

#[tokio::test]
async fn with_a_fallback_the_same_news_is_sent_from_here() {
    let peer = FakeHttp::start().await;
    for (what, answer, tries) in [
        ("refused", Some(FakeAnswer::status(422)), 1),
        ("forbidden", Some(FakeAnswer::status(403)), 1),
        ("broken", Some(FakeAnswer::status(500)), 3),
        ("lost", Some(FakeAnswer::close()), 3),
        ("down", None, 0),
    ] {
        let (folder, target, hooked) = (Folder::new(), server().await, FakeHttp::start().await);
        let url = match &answer {
            Some(answer) => {
                target.answer_always(answer.clone());
                target.url("")
            }
            None => peer.refused_url(""),
        };
        let config = hook(&folder, &hooked.url("/hook"));
        let args = [
            "run",
            "--server",
            &url,
            "--fallback",
            "local",
            "--project",
            "p",
            "-c",
            &config,
            "--",
            "sh",
            "-c",
            "exit 4",
        ];
        let said = say(&mut command(&folder, &args));
        assert_eq!((said.code, said.err.as_str()), (Some(4), ""), "{what}");
        let requests = hooked.requests();
        assert_eq!(requests.len(), 2, "{what}");
        for (request, state) in requests.iter().zip([RunState::Running, RunState::Error]) {
            let run = request.json()["runs"][0].to_string();
            let run = RunSnapshot::new(runbell_core::value::read(&run).expect("JSON")).expect("a run");
            let key = DeliveryKey::new(&run, "hook", state, 0).to_string();
            assert_eq!(request.header("webhook-id"), Some(key.as_str()), "{what}");
        }
        assert_eq!(target.requests().len(), 2 * tries, "{what}");
        assert!(spooled(&folder).is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_fallback_that_fails_too_says_so() {
    let (folder, target, hooked) = (Folder::new(), server().await, FakeHttp::start().await);
    target.answer_always(FakeAnswer::status(422));
    hooked.answer_always(FakeAnswer::status(404));
    let config = hook(&folder, &hooked.url("/hook"));
    let args = [
        "run",
        "--server",
        &target.url(""),
        "--fallback",
        "local",
        "-c",
        &config,
        "--notify",
        r#"webhook:{"name": "ref", "secret": "NAMED"}"#,
        "--",
        "true",
    ];
    let said = say(&mut command(&folder, &args));
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in [
        "hook: not delivered (running): rejected",
        "hook: not delivered (completed)",
        "cannot send this from here",
        "NAMED",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert!(spooled(&folder).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_keeps_no_other_back() {
    let (folder, down, peer) = (Folder::new(), Down::new(), server().await);
    run_while_down(&folder, &down.url(), "exit 1");
    down.open(&peer);
    let names = spooled(&folder);
    let good = fs::read_to_string(spool(&folder).join(&names[0])).expect("text");
    // Another server's: its token must not follow.
    fs::write(spool(&folder).join("0-moved.json"), good.replace("127.0.0.1", "127.0.0.2")).expect("written");
    fs::write(spool(&folder).join("0-torn.json"), &good[..good.len() / 2]).expect("written");
    fs::create_dir(spool(&folder).join("0-folder.json")).expect("made");
    std::os::unix::fs::symlink("/dev/zero", spool(&folder).join("0-endless.json")).expect("linked");
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!(said.code, Some(1), "{}", said.err);
    let statuses: Vec<Value> = said.json().iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, ["damaged", "damaged", "damaged", "damaged", "sent", "sent"], "{}", said.out);
    assert_eq!((peer.requests().len(), spooled(&folder).len()), (2, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_event_that_is_refused_is_kept_aside_and_reported_once() {
    let (folder, down, peer) = (Folder::new(), Down::new(), server().await);
    run_while_down(&folder, &down.url(), "exit 1");
    down.open(&peer);
    peer.answer(FakeAnswer::status(409).body(r#"{"detail": "it has ended"}"#));
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!(said.code, Some(1), "{}", said.err);
    let lines = said.json();
    assert_eq!((&lines[0]["status"], &lines[1]["status"]), (&json!("refused"), &json!("sent")));
    assert_eq!(lines[0]["reason"], "the server answers 409: it has ended");
    let names = spooled(&folder);
    assert!(names.len() == 1 && names[0].ends_with(".json.refused"), "{names:?}");
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_process_sends_spooled_events() {
    let (folder, down, peer) = (Folder::new(), Down::new(), server().await);
    let url = down.url();
    run_while_down(&folder, &url, "exit 1");
    down.open(&peer);
    let lock = fs::File::create(spool(&folder).with_file_name("spool.lock")).expect("made");
    lock.lock().expect("locked");
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("another runbell process is sending"), "{}", said.err);
    let said = say(&mut command(&folder, &["run", "--server", &url, "--", "true"]));
    assert!(said.code == Some(0) && !said.err.contains("earlier"), "{}", said.err);
    assert_eq!((states(&peer.requests()), spooled(&folder).len()), (vec![json!("running"), json!("completed")], 2));
}

#[tokio::test]
async fn a_spool_that_cannot_be_made_is_reported_and_changes_nothing() {
    let (folder, peer) = (Folder::new(), server().await);
    peer.answer_always(FakeAnswer::status(401));
    let file = folder.file("file", "");
    for (name, value) in [("XDG_STATE_HOME", file.as_str()), ("HOME", "relative")] {
        let mut command = runbell(&["run", "--server", &peer.url(""), "--", "sh", "-c", "exit 6"]);
        let said = say(command.env(name, value));
        assert_eq!(said.code, Some(6), "{}", said.err);
        assert!(said.err.contains("2 events not reported") && said.err.contains("0 of them spooled"), "{}", said.err);
    }
}

#[tokio::test]
async fn usage_is_checked_before_the_command_starts() {
    let folder = Folder::new();
    let marker = folder.path("marker");
    let touch = marker.to_str().expect("UTF-8");
    for (args, part) in [
        (vec!["--server", "ftp://h"], "--server: has a scheme"),
        (vec!["--server", "localhost"], "--server: has no scheme"),
        (vec!["--server", "http://user:secret@h"], "RUNBELL_TOKEN"),
        (vec!["--fallback", "local"], "--server <URL>"),
        (vec!["--server", "http://h", "--fallback", "remote"], "local"),
        (vec!["--server", "http://h", "--notify", "webhook:method=PUT"], "params.url: is required"),
    ] {
        let args: Vec<&str> = ["run", "--strict"].into_iter().chain(args).chain(["--", "touch", touch]).collect();
        let said = say(&mut command(&folder, &args));
        assert_eq!(said.code, Some(2), "{args:?}: {}", said.err);
        assert!(said.err.contains(part) && !said.err.contains("secret"), "{args:?}: {}", said.err);
    }
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_mail_may_leave_its_server_to_the_server() {
    let (folder, peer) = (Folder::new(), server().await);
    let spec = "mail:email_addresses=team@example.com";
    let said = say(&mut command(&folder, &["run", "--strict", "--notify", spec, "--", "true"]));
    assert!(said.code == Some(2) && said.err.contains("params.server_host: is required"), "{}", said.err);
    let said = say(&mut command(&folder, &["run", "--server", &peer.url(""), "--notify", spec, "--", "true"]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(peer.requests()[1].json()["notifications"][0]["kind"], "mail");
}

#[tokio::test]
async fn the_identity_of_a_run_is_kept_although_a_secret_contains_it() {
    let (folder, peer) = (Folder::new(), server().await);
    let config = hook(&folder, "http://127.0.0.1:1/search-ranking-team/x");
    let url = peer.url("");
    let args = ["run", "--server", &url, "--project", "search-ranking-team", "-c", &config, "--", "true"];
    let said = say(&mut command(&folder, &args));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let request = &peer.requests()[0];
    assert!(request.path.starts_with("/api/v1/projects/search-ranking-team/runs/"), "{}", request.path);
    assert_eq!(request.json()["run"]["metadata"]["project"], "search-ranking-team");
}

#[tokio::test]
async fn a_variable_that_is_empty_names_no_server() {
    let folder = Folder::new();
    let mut args = command(&folder, &["run", "--fallback", "local", "--", "true"]);
    let said = say(args.env("RUNBELL_SERVER", ""));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("Run completed"), "{}", said.err);
    let said = say(&mut command(&folder, &["run", "--strict", "--server", "", "--", "true"]));
    assert!(said.code == Some(2) && said.err.contains("--server: is required"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_holds_up_nothing_but_the_end() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    let (slow, hold) = taken().held();
    peer.answer(slow).answer_always(taken());
    let mut command = command(&folder, &["run", "--server", &peer.url(""), "--", "sh", "-c", "exit 3"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut text = String::new();
    // The command has ended and is shown here, though the server has not even taken its start.
    while !text.contains("Run failed in project default") {
        assert_ne!(err.read_line(&mut text).expect("a line"), 0, "{text}");
    }
    peer.until_requests(1).await;
    assert!(child.try_wait().expect("waits").is_none());
    hold.release();
    err.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
    assert_eq!(states(&peer.requests()), ["running", "error"]);
    assert!(!text.contains("not reported") && spooled(&folder).is_empty(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_sending_the_spool_loses_no_event() {
    let (folder, down, peer) = (Folder::new(), Down::new(), server().await);
    run_while_down(&folder, &down.url(), "exit 1");
    down.open(&peer);
    let (slow, _hold) = taken().held();
    peer.answer(slow);
    let mut child = command(&folder, &["spool", "flush"]).stdout(Stdio::null()).spawn().expect("it starts");
    peer.until_requests(1).await;
    child.kill().expect("it runs");
    child.wait().expect("it is gone");
    let said = say(&mut command(&folder, &["spool", "flush"]));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let requests = peer.requests();
    assert_eq!(states(&requests), ["running", "running", "error"]);
    assert_eq!(requests[0].body, requests[1].body);
    assert!(spooled(&folder).is_empty());
}
