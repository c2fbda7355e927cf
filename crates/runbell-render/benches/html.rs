//! The HTML of 1,000 runs, on one thread: time and memory.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and fails by panicking")]

use std::time::{Duration, Instant};

use runbell_core::value::read;
use runbell_core::{DeliveryKey, Links, Message, RunSnapshot, RunState, Severity, Timestamp, Value};
use runbell_render::html::{self, Flavour};

const RUNS: usize = 1_000;
const AT_MOST: Duration = Duration::from_millis(5);
const MEMORY_AT_MOST: f64 = 10.0;

fn run(index: usize) -> RunSnapshot {
    let text = format!(
        r#"{{"metadata": {{"name": "step-{index}", "project": "demo", "uid": "1f0c9a3e5b7d42d6a8e0c4b2{index:08x}", "iteration": 0}},
        "spec": {{"parameters": {{"epochs": 20, "rate": 1e-07, "layers": [64, 32]}}}},
        "status": {{"state": "completed", "start_time": "2026-02-03T03:58:06.250000+00:00",
        "end_time": "2026-02-03T04:05:06+00:00", "results": {{"accuracy": 0.9342, "loss": 0.21, "best": "epoch <17>"}}}}}}"#
    );
    RunSnapshot::new(read(&text).expect("JSON")).expect("a run")
}

/// The most memory this process has used, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or(f64::NAN) / 1024.0
}

fn main() {
    let message = Message {
        key: DeliveryKey::of(&["bench"]),
        notification: Value::Null.into(),
        name: "ops".into(),
        state: RunState::Completed,
        at: Timestamp::UNIX_EPOCH,
        severity: Severity::Info,
        text: "workflow completed in project demo".to_owned(),
        own_text: "".into(),
        html: None,
        runs: (0..RUNS).map(run).collect(),
        links: Links::new("https://ui.example"),
    };
    let before = peak();
    let rendered = html::render(&message, Flavour::Html, usize::MAX).expect("rendered");
    let memory = peak() - before;
    let mut times: Vec<Duration> = (0..31)
        .map(|_| {
            let started = Instant::now();
            let again = html::render(&message, Flavour::Html, usize::MAX).expect("rendered");
            assert_eq!(again.html.len(), rendered.html.len());
            started.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    // The floor: the same bytes, copied once.
    let started = Instant::now();
    let copied = std::hint::black_box(rendered.html.clone());
    let copy = started.elapsed();
    println!("── HTML of {RUNS} runs ({} KiB)", copied.len() / 1024);
    let verdict = |good: bool| if good { "met" } else { "MISSED" };
    println!(
        "{:44} {:>8.2}  at most 5        {}",
        "ms (median)",
        median.as_secs_f64() * 1e3,
        verdict(median <= AT_MOST)
    );
    println!("{:44} {:>8.0}", "times the copying of its bytes", median.as_secs_f64() / copy.as_secs_f64().max(1e-9));
    println!("{:44} {memory:>8.2}  at most 10       {}", "MiB more at the peak", verdict(memory <= MEMORY_AT_MOST));
    if median > AT_MOST || memory > MEMORY_AT_MOST {
        std::process::exit(1);
    }
}
