//! The plain load: events over HTTP, each with one delivery to a healthy target.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::{Bench, folder};
use crate::disk::Disk;
use crate::driver::Driver;
use crate::event::event;
use crate::filled;
use crate::goals::Goals;
use crate::server::Server;
use crate::sink::Sink;
use crate::sizes::BARE;
use crate::times::{ms, percentile, thread_cpu};

/// How many connections the events come on.
const CONNECTIONS: usize = 32;

/// How long the deliveries may take after the last event.
const GRACE: Duration = Duration::from_secs(120);

/// One caller's events: blocks of `BLOCK` events and as many syncs of the disk in turn, so that both see the same minute
/// and neither is in the other's way.
const BLOCKS: usize = 25;
const BLOCK: usize = 20;

pub(crate) async fn load(bench: &mut Bench) {
    let Bench { sink, sizes, goals } = bench;
    let (events, finished) = (sizes.events, sizes.finished);
    let folder = folder();
    // Paired: the yardstick before and after, for the machine changes by the minute.
    let before = bare(sink, events).await;
    println!("── {events} events over HTTP, {CONNECTIONS} connections, a signed webhook each");
    let started = Started::on(&folder.path().join("fresh.db")).await;
    one_caller(&started.driver, sink, folder.path(), goals).await;
    let fresh = started.measured(sink, events).await;
    let after = bare(sink, events).await;
    let (rate, cpu_ms) = (f64::midpoint(before.rate, after.rate), f64::midpoint(before.cpu_ms, after.cpu_ms));
    Goals::show("bare reqwest, requests/s", rate);
    Goals::show("bare reqwest, CPU for each request, ms", cpu_ms);
    goals.at_least("delivered/s, of the bare loop's", fresh.delivered / rate, 0.14);
    goals.at_most("server CPU for each delivery, ms", fresh.cpu_ms, 0.13);
    Goals::show("server CPU for each delivery, of the bare loop's", fresh.cpu_ms / cpu_ms);
    goals.at_most("peak memory, MiB", fresh.peak_mib, 64.0);

    println!("── the same with {finished} finished deliveries in the file");
    let file = folder.path().join("filled.db");
    // Made by the server, so that the schema is its own.
    Server::start(&file, json!({})).stop();
    filled::fill(&file, i64::try_from(finished).expect("small"));
    let filled = Started::on(&file).await.measured(sink, events).await;
    goals.at_most("server CPU for each delivery, of the fresh file's", filled.cpu_ms / fresh.cpu_ms, 1.2);
    Goals::show("server CPU for each delivery, of the bare loop's", filled.cpu_ms / cpu_ms);
}

/// One caller on an idle server, and the disk alone in the same window.
async fn one_caller(driver: &Driver, sink: &Sink, folder: &Path, goals: &mut Goals) {
    sink.reset();
    let (mut intake, mut way, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut connection, mut disk) = (driver.connect().await, Disk::new(folder));
    for number in 0..BLOCKS * BLOCK {
        let uid = format!("quiet-{number}");
        let (path, body) = event(&uid, &sink.url(&uid));
        let started = Instant::now();
        connection.post(&path, body).await;
        intake.push(started.elapsed());
        let arrival = sink.arrival(&uid, started + GRACE).await.expect("a delivery");
        way.push(arrival.duration_since(started));
        if (number + 1) % BLOCK == 0 {
            syncs.extend((0..BLOCK).map(|_| disk.fdatasync()));
        }
    }
    let sync = ms(percentile(&mut syncs, 50));
    Goals::show("fdatasync of 4 KiB meanwhile, ms (p50)", sync);
    goals.at_most("intake of one client, ms (p50)", ms(percentile(&mut intake, 50)), 0.9 * (3.0 * sync + 0.1));
    Goals::show("intake of one client, ms (p99)", ms(percentile(&mut intake, 99)));
    goals.at_most("event to sent on an idle server, ms (p50)", ms(percentile(&mut way, 50)), 3.0);
    Goals::show("event to sent on an idle server, ms (p99)", ms(percentile(&mut way, 99)));
}

/// A server, and a client of it.
struct Started {
    server: Server,
    token: String,
    driver: Driver,
}

struct Measured {
    delivered: f64,
    cpu_ms: f64,
    peak_mib: f64,
}

impl Started {
    async fn on(file: &Path) -> Self {
        let server = Server::start(file, json!({ "retry": { "waits_secs": [1] } }));
        let token = server.token().await;
        let driver = Driver::new(server.address, &token);
        Started { server, token, driver }
    }

    /// Measures the events and their deliveries, and stops the server.
    async fn measured(self, sink: &Sink, events: usize) -> Measured {
        let Started { server, token, driver } = self;
        sink.reset();
        let uid = |number: usize| format!("{number:032x}");
        let requests = (0..events).map(|number| event(&uid(number), &sink.url(&uid(number)))).collect();
        let (started, cpu) = (Instant::now(), server.cpu());
        let posted = driver.post_all(requests, CONNECTIONS).await;
        let accepted = started.elapsed();
        let came = sink.until(events, GRACE).await;
        let delivered = started.elapsed();
        assert_eq!(came, events, "all events are delivered");
        server.until_settled(&token).await;
        let spent = server.cpu().saturating_sub(cpu);
        let mut way: Vec<Duration> =
            posted.iter().map(|(uid, started, _)| sink.arrived(uid).duration_since(*started)).collect();
        let mut intake: Vec<Duration> = posted.into_iter().map(|(_, _, took)| took).collect();
        let count = events as f64;
        let measured = Measured {
            delivered: count / delivered.as_secs_f64(),
            cpu_ms: ms(spent) / count,
            peak_mib: server.peak_mib(),
        };
        Goals::show("accepted/s", count / accepted.as_secs_f64());
        Goals::show("delivered/s", measured.delivered);
        Goals::show("server CPU for each delivery, ms", measured.cpu_ms);
        Goals::show("intake with all clients, ms (p50)", ms(percentile(&mut intake, 50)));
        Goals::show("intake with all clients, ms (p99)", ms(percentile(&mut intake, 99)));
        Goals::show("event to sent under load, ms (p50)", ms(percentile(&mut way, 50)));
        Goals::show("event to sent under load, ms (p99)", ms(percentile(&mut way, 99)));
        Goals::show("peak memory, MiB", measured.peak_mib);
        server.stop();
        measured
    }
}

struct Bare {
    rate: f64,
    cpu_ms: f64,
}

/// The bare client: one loop of `BARE` requests at a time on this thread.
async fn bare(sink: &Sink, events: usize) -> Bare {
    sink.reset();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (_, body) = event("bare", &sink.url("bare"));
    let url: reqwest::Url = sink.url("bare").parse().expect("a URL");
    let (started, cpu) = (Instant::now(), thread_cpu());
    let loops = (0..BARE).map(|_| async {
        for _ in 0..events / BARE {
            let request = client.post(url.clone()).header("content-type", "application/json").body(body.clone());
            request.send().await.expect("a response").bytes().await.expect("a body");
        }
    });
    futures_util::future::join_all(loops).await;
    let count = (events / BARE * BARE) as f64;
    let (took, spent) = (started.elapsed(), thread_cpu().saturating_sub(cpu));
    Bare { rate: count / took.as_secs_f64(), cpu_ms: ms(spent) / count }
}
