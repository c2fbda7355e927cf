//! The server as a process of its own, against a bare client and the disk, in the same minutes.
//!
//! Server, sink and driver share the machine's cores, so the server's own CPU time is what decides.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "this is a program for a terminal")]

mod driver;
mod filled;
mod isolation;
mod server;
mod sink;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driver::{Driver, event};
use server::Server;
use sink::Sink;

/// How many events there are, and over how many connections they come.
const EVENTS: usize = 20_000;
const CONNECTIONS: usize = 32;

/// How many finished deliveries a file holds that has seen much.
const FINISHED: i64 = 1_000_000;

/// Prints figures beside their goals, and remembers whether all were met.
pub(crate) struct Goals {
    met: bool,
}

impl Goals {
    pub(crate) fn show(what: &str, value: f64) {
        println!("{what:56} {value:>9.3}");
    }

    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.line(what, value, value <= limit, &format!("at most {limit:.3}"));
    }

    fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.line(what, value, value >= limit, &format!("at least {limit:.3}"));
    }

    fn line(&mut self, what: &str, value: f64, good: bool, wanted: &str) {
        self.met &= good;
        println!("{what:56} {value:>9.3}  {wanted:18} {}", if good { "met" } else { "MISSED" });
    }
}

fn main() -> ExitCode {
    let only: Option<String> = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut goals = Goals { met: true };
    runtime.block_on(async {
        let sink = Sink::start();
        if wanted("load") {
            load(&sink, &mut goals).await;
        }
        if wanted("isolation") {
            isolation::isolation(&sink, &mut goals).await;
        }
        if wanted("idle") {
            idle(&mut goals);
        }
    });
    if goals.met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn load(sink: &Sink, goals: &mut Goals) {
    let folder = tempfile::tempdir_in(here()).expect("a folder");
    let sync = fdatasync(folder.path());
    Goals::show("fdatasync of 4 KiB, ms (median)", sync.as_secs_f64() * 1e3);
    // Paired: the yardstick before and after, for the machine changes by the minute.
    let before = bare(sink).await;
    println!("── {EVENTS} events over HTTP, {CONNECTIONS} connections, a signed webhook each");
    let fresh = measured(&folder.path().join("fresh.db"), sink, Some((sync, goals))).await;
    let after = bare(sink).await;
    let rate = f64::midpoint(before, after);
    Goals::show("bare reqwest, requests/s", rate);
    goals.at_least("delivered/s, of the bare loop's", fresh.delivered / rate, 0.12);
    goals.at_most("server CPU per delivery, ms", fresh.cpu_ms, 0.15);
    goals.at_most("peak memory, MiB", fresh.peak_mib, 64.0);

    println!("── the same with {FINISHED} finished deliveries in the file");
    let file = folder.path().join("filled.db");
    // Made by the server, so that the schema is its own.
    Server::start(&file, "{}").stop();
    filled::fill(&file, FINISHED);
    let filled = measured(&file, sink, None).await;
    goals.at_most("server CPU per delivery, of the fresh file's", filled.cpu_ms / fresh.cpu_ms, 1.2);
}

struct Measured {
    delivered: f64,
    cpu_ms: f64,
    peak_mib: f64,
}

async fn measured(file: &Path, sink: &Sink, quiet: Option<(Duration, &mut Goals)>) -> Measured {
    let server = Server::start(file, r#"{"retry": {"waits_secs": [1]}}"#);
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);
    if let Some((sync, goals)) = quiet {
        // One caller on an idle server.
        sink.reset();
        let (mut intake, mut way) = (Vec::new(), Vec::new());
        let mut connection = driver.connect().await;
        for number in 0..500 {
            let uid = format!("quiet-{number}");
            let (path, body) = event(&uid, &sink.url(&uid));
            let started = Instant::now();
            connection.post(&path, body).await;
            intake.push(started.elapsed());
            way.push(sink.arrival(&uid).await.duration_since(started));
        }
        let limit = 3.0 * ms(sync) + 0.1;
        goals.at_most("intake of one client, ms (p50)", ms(percentile(&mut intake, 50)), limit);
        Goals::show("intake of one client, ms (p99)", ms(percentile(&mut intake, 99)));
        goals.at_most("told to sent on an idle server, ms (p50)", ms(percentile(&mut way, 50)), 3.0);
        Goals::show("told to sent on an idle server, ms (p99)", ms(percentile(&mut way, 99)));
    }
    sink.reset();
    let events: Vec<_> =
        (0..EVENTS).map(|number| event(&format!("{number:032x}"), &sink.url(&format!("{number:032x}")))).collect();
    let (started, cpu) = (Instant::now(), server.cpu());
    let mut told = driver.post_all(events, CONNECTIONS).await;
    let accepted = started.elapsed();
    sink.until(EVENTS).await;
    let delivered = started.elapsed();
    server.until_settled(&token).await;
    let spent = server.cpu() - cpu;
    let mut way: Vec<Duration> =
        told.iter().map(|(uid, started, _)| sink.arrived(uid).duration_since(*started)).collect();
    let mut intake: Vec<Duration> = told.drain(..).map(|(_, _, took)| took).collect();
    let count = EVENTS as f64;
    let measured = Measured {
        delivered: count / delivered.as_secs_f64(),
        cpu_ms: spent.as_secs_f64() * 1e3 / count,
        peak_mib: server.peak_mib(),
    };
    Goals::show("accepted/s", count / accepted.as_secs_f64());
    Goals::show("delivered/s", measured.delivered);
    Goals::show("server CPU per delivery, ms", measured.cpu_ms);
    Goals::show("intake with all clients, ms (p50)", ms(percentile(&mut intake, 50)));
    Goals::show("intake with all clients, ms (p99)", ms(percentile(&mut intake, 99)));
    Goals::show("told to sent under load, ms (p50)", ms(percentile(&mut way, 50)));
    Goals::show("told to sent under load, ms (p99)", ms(percentile(&mut way, 99)));
    Goals::show("peak memory, MiB", measured.peak_mib);
    server.stop();
    measured
}

/// The bare client: one loop of 64 requests at a time on one thread.
async fn bare(sink: &Sink) -> f64 {
    sink.reset();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (_, body) = event("bare", &sink.url("bare"));
    let url: reqwest::Url = sink.url("bare").parse().expect("a URL");
    let started = Instant::now();
    let loops = (0..64).map(|_| async {
        for _ in 0..EVENTS / 64 {
            let answer = client.post(url.clone()).header("content-type", "application/json").body(body.clone());
            answer.send().await.expect("an answer").bytes().await.expect("a body");
        }
    });
    futures_util::future::join_all(loops).await;
    (EVENTS / 64 * 64) as f64 / started.elapsed().as_secs_f64()
}

fn idle(goals: &mut Goals) {
    println!("── an idle server");
    let folder = tempfile::tempdir_in(here()).expect("a folder");
    let file = folder.path().join("idle.db");
    Server::start(&file, "{}").stop();
    let mut starts = Vec::new();
    for _ in 0..10 {
        let started = Instant::now();
        let server = Server::start(&file, "{}");
        starts.push(started.elapsed());
        server.stop();
    }
    goals.at_most("ready on a store that exists, ms (median)", ms(percentile(&mut starts, 50)), 100.0);
    let server = Server::start(&file, "{}");
    std::thread::sleep(Duration::from_secs(2));
    let cpu = server.cpu();
    std::thread::sleep(Duration::from_secs(60));
    let spent = server.cpu() - cpu;
    goals.at_most("of a core over 60 s, %", spent.as_secs_f64() / 60.0 * 100.0, 0.1);
    goals.at_most("memory, MiB", server.resident_mib(), 30.0);
    server.stop();
}

/// On the disk that a store would be on; /tmp may be memory.
fn here() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn fdatasync(folder: &Path) -> Duration {
    let mut file = std::fs::File::create(folder.join("sync")).expect("a file");
    let mut took: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 4096]).expect("written");
            file.sync_data().expect("synced");
            started.elapsed()
        })
        .collect();
    percentile(&mut took, 50)
}

pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
