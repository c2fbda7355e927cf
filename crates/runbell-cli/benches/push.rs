//! `runbell push` as a process of its own, against a bare client in the same minutes: JSON Lines in, report lines out.
//!
//! The sink has a thread of its own, in this process; command, sink and bare client share the machine's cores.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "this is a program for a terminal")]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// How many documents a timed round has, how many of them are under way at once, and how many rounds there are.
const DOCUMENTS: usize = 40_000;
const CONCURRENCY: usize = 64;
const PAIRS: usize = 5;

/// How many documents memory is measured with, unless `RUNBELL_BENCH_DOCUMENTS` says fewer.
const MANY: usize = 1_000_000;

fn main() -> ExitCode {
    let many = std::env::var("RUNBELL_BENCH_DOCUMENTS").ok().map_or(MANY, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let url = format!("http://{}/hook", sink());
    let (input, own) = (folder.path().join("runs.jsonl"), folder.path().join("own.jsonl"));
    let hook = format!(r#"{{"kind":"webhook","name":"hook","secret_params":{{"url":"{url}"}}}}"#);
    std::fs::write(folder.path().join("hook.json"), format!("[{hook}]")).expect("written");
    write_documents(&input, "[]");
    write_documents(&own, &format!("[{hook}]"));
    let push = |input: &Path, with_hook| pushed(folder.path(), input, with_hook);

    let requests = previewed(folder.path(), &input);
    println!("document: {} bytes, body: {} bytes", document(0, "[]").len(), requests[0].0.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut rounds = Vec::new();
    // The first round warms the sink and the files.
    for round in 0..=PAIRS {
        let bare = runtime.block_on(bare(&client, &url, &requests));
        let (ours, owned) = (push(&input, true), push(&own, false));
        if round > 0 {
            rounds.push([bare, ours, owned]);
        }
    }
    for (index, name) in
        ["bare reqwest, requests/s", "push, documents/s", "push, a notification in each document"].iter().enumerate()
    {
        println!("{name:56} {:>9.0}", median(rounds.iter().map(|round| round[index])));
    }
    let ratio = median(rounds.iter().map(|round| round[1] / round[0]));
    let is_fast = line("push / bare reqwest", ratio, ratio >= 0.45, "at least 0.45");
    let peak = peak_mib(folder.path(), many);
    let is_small = line(&format!("peak MiB with {many} documents"), peak, peak <= 64.0, "at most 64");
    if is_fast && is_small { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(what: &str, value: f64, is_good: bool, wanted: &str) -> bool {
    println!("{what:56} {value:>9.3}  {wanted:18} {}", if is_good { "met" } else { "MISSED" });
    is_good
}

/// A document as a runner writes it, with a line break behind it.
fn document(number: usize, notifications: &str) -> String {
    let mut text = format!(
        r#"{{"kind":"run","metadata":{{"name":"train-model","uid":"{number:032x}","iteration":0,"project":"benchmark","labels":{{"v3io_user":"dana","kind":"job","owner":"dana","mlrun/client_version":"1.12.1","mlrun/client_python_version":"3.11.7","host":"worker-7f9c5d"}},"annotations":{{}}}},"spec":{{"function":"benchmark/train@f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f6","log_level":"info","parameters":{{"epochs":10,"batch":64,"learning_rate":0.0003,"optimizer":"adamw","layers":[512,256,128]}},"handler":"train","inputs":{{"dataset":"store://datasets/benchmark/prepared:latest"}},"outputs":[],"output_path":"s3://artifacts/benchmark/{number:032x}","hyperparams":{{}},"hyper_param_options":{{}},"state_thresholds":{{"pending_scheduled":"1h","pending_not_scheduled":"-1","image_pull_backoff":"1h","executing":"24h"}},"notifications":{notifications}}},"status":{{"state":"completed","start_time":"2026-03-01T10:00:00.123456+00:00","last_update":"2026-03-01T11:00:00.654321+00:00","end_time":"2026-03-01T11:00:00.654321+00:00","status_text":"finished on a preemptible node after one checkpoint restore","results":{{"accuracy":0.937,"drift":0.25,"rows":{number},"best_iteration":7,"confusion":[[812,44],[31,913]]}},"artifacts":[],"artifact_uris":{{"model":"store://models/benchmark/train-model#0:latest"}}}}}}"#
    );
    text.push('\n');
    text
}

fn write_documents(file: &Path, notifications: &str) {
    let mut text = String::new();
    (0..DOCUMENTS).for_each(|number| text.push_str(&document(number, notifications)));
    std::fs::write(file, text).expect("written");
}

/// The command, with the hook of this folder when it is wanted.
fn runbell(folder: &Path, verb: &str, with_hook: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runbell"));
    command.env_clear().args([verb, "--json"]);
    if with_hook {
        command.arg("-c").arg(folder.join("hook.json"));
    }
    command
}

/// Bodies and keys, as the command sends them.
fn previewed(folder: &Path, input: &Path) -> Vec<(Bytes, String)> {
    let output = runbell(folder, "preview", true).arg(input).stderr(Stdio::inherit()).output().expect("it starts");
    let request = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let http = &line["payload"]["http"];
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        (Bytes::from(text(&http["body"])), text(&http["headers"]["webhook-id"]))
    };
    String::from_utf8(output.stdout).expect("text").lines().map(request).collect()
}

/// Documents a second, from the start of the process to its end.
fn pushed(folder: &Path, input: &Path, with_hook: bool) -> f64 {
    let report = folder.join("report.jsonl");
    let mut command = runbell(folder, "push", with_hook);
    command.arg(input).stdin(Stdio::null()).stdout(File::create(&report).expect("a file"));
    let started = Instant::now();
    let status = command.status().expect("it starts");
    let elapsed = started.elapsed();
    assert!(status.success(), "{status}");
    let lines = BufReader::new(File::open(&report).expect("a report")).lines();
    let sent = lines.filter(|line| line.as_ref().expect("text").contains(r#""status":"sent""#)).count();
    assert_eq!(sent, DOCUMENTS);
    DOCUMENTS as f64 / elapsed.as_secs_f64()
}

async fn bare(client: &reqwest::Client, url: &str, requests: &[(Bytes, String)]) -> f64 {
    let (url, json): (reqwest::Url, _) = (url.parse().expect("a URL"), HeaderValue::from_static("application/json"));
    let (url, json) = (&url, &json);
    let started = Instant::now();
    let loops = requests.chunks(requests.len().div_ceil(CONCURRENCY)).map(|chunk| async move {
        for (body, key) in chunk {
            let request = client.post(url.clone()).header(CONTENT_TYPE, json.clone()).header("webhook-id", key);
            let answer = request.body(body.clone()).send().await.expect("an answer");
            assert!(answer.status().is_success());
            answer.bytes().await.expect("a body");
        }
    });
    join_all(loops).await;
    requests.len() as f64 / started.elapsed().as_secs_f64()
}

/// The peak memory of a process that is given `count` documents through a pipe. It is read while the pipe is still open
/// and every line is there, so this also shows that output keeps step with input.
fn peak_mib(folder: &Path, count: usize) -> f64 {
    let mut command = runbell(folder, "push", true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writing = std::thread::spawn(move || {
        let mut text = String::new();
        for number in 0..count {
            text.write_str(&document(number, "[]")).expect("written");
            if text.len() > 1 << 20 || number + 1 == count {
                stdin.write_all(text.as_bytes()).expect("it reads");
                text.clear();
            }
        }
        stdin
    });
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().take(count);
    assert_eq!(lines.filter(|line| line.as_ref().expect("text").contains(r#""status":"sent""#)).count(), count);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux");
    drop(writing.join().expect("no panic"));
    assert!(child.wait().expect("it ends").success());
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers 200 to everything, on a thread of its own.
fn sink() -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            sender.send(listener.local_addr().expect("an address")).expect("the bench waits");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("no delay");
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(|request: Request<Incoming>| async move {
                        request.into_body().collect().await.map(drop).unwrap_or_default();
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    }),
                ));
            }
        });
    });
    address.recv().expect("an address")
}
