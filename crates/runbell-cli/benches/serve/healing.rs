//! A refusing port with very many deliveries begins to answer: how fast and in which order they arrive.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::{Bench, folder};
use crate::dead::load_dead_port;
use crate::driver::Driver;
use crate::event::event;
use crate::goals::Goals;
use crate::order::Order;
use crate::refusing::{BlackHole, Refusing};
use crate::server::Server;
use crate::sink::Sink;

/// How much of the plain rate the healed deliveries reach.
const RATE: f64 = 0.5;

/// The share of the deliveries that the rate counts. The rest may wait for retries of their own, minutes later.
const BULK_PERCENT: usize = 99;

/// How many connections measure the plain rate.
const CONNECTIONS: usize = 32;

/// How many deliveries may wait for a retry of their own, or be superseded: those that were attempted before the breaker
/// opened, and the probes.
const ATTEMPTED: f64 = 64.0;

/// How long the server may take to find out that the port answers, and to deliver then.
const PROBE: Duration = Duration::from_secs(240);
const DELIVERY: Duration = Duration::from_secs(120);

/// How long no delivery arrives before the rest is looked for among those that wait or are superseded.
const SILENCE: Duration = Duration::from_secs(3);

pub(crate) async fn healing(bench: &mut Bench) {
    let Bench { sink, sizes, goals } = bench;
    println!("── a port that refused {} deliveries begins to answer", sizes.refused);
    let folder = folder();
    let (refusing, hole) = (Refusing::one(), BlackHole::new());
    let server = Server::start(&folder.path().join("healing.db"), json!({}));
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);
    let plain = plain_rate(&driver, sink, sizes.events, goals).await;

    let loaded = load_dead_port(&driver, sizes, sizes.lanes, &refusing, &hole, goals).await;
    if loaded < sizes.refused + sizes.hole {
        // How many of the rest are the port's is not known.
        return;
    }
    let wanted = sizes.refused;
    let cpu = server.cpu();
    let healed = Sink::recording(refusing.listen());
    let Some(probe) = first_delivery(&healed).await else {
        return goals.at_least("deliveries after the port answers", 0.0, wanted as f64);
    };
    Goals::show("deliveries begin after the port answers, s", probe.as_secs_f64());
    let left = drained(&healed, &server, &token, wanted).await;
    let spent = server.cpu().saturating_sub(cpu);

    let records = healed.records();
    let order = Order::of(&records);
    goals.at_least("healed deliveries a second, of the plain rate", bulk_rate(&healed, wanted) / plain, RATE);
    Goals::show("server CPU for each, ms", spent.as_secs_f64() * 1e3 / order.delivered as f64);
    let missing = wanted.saturating_sub(order.delivered + left.superseded + left.retry);
    goals.at_most("deliveries missing", missing as f64, 0.0);
    goals.at_most("deliveries that wait for a retry of their own", left.retry as f64, ATTEMPTED);
    goals.at_most("superseded", left.superseded as f64, ATTEMPTED);
    goals.at_most("deliveries out of order", order.late as f64, 0.0);
    goals.at_most("deliveries repeated", order.repeated as f64, 0.0);
    let lanes = sizes.lanes.saturating_sub(left.superseded + left.retry);
    goals.at_least("runs whose start and end both arrived", order.both as f64, lanes as f64);
}

/// Deliveries a second of a healthy target, intake included.
async fn plain_rate(driver: &Driver, sink: &Sink, count: usize, goals: &mut Goals) -> f64 {
    sink.reset();
    let started = Instant::now();
    let make = |number| {
        let uid = format!("plain-{number}");
        vec![event(&uid, &sink.url(&uid))]
    };
    driver.closed_loop(CONNECTIONS, count, DELIVERY, make).await;
    let delivered = sink.until(count, DELIVERY).await;
    let rate = delivered as f64 / started.elapsed().as_secs_f64();
    goals.at_least("plain deliveries", delivered as f64, count as f64);
    Goals::show("plain deliveries a second", rate);
    rate
}

/// Waits for the first delivery; returns how long it took, or `None` when it did not come in time.
async fn first_delivery(healed: &Sink) -> Option<Duration> {
    let started = Instant::now();
    let came = healed.until(1, PROBE).await;
    (came > 0).then(|| started.elapsed())
}

/// Deliveries that did not arrive, and may not yet.
#[derive(Debug, Default)]
struct Left {
    superseded: usize,
    retry: usize,
}

/// Waits until all `wanted` deliveries arrived, are superseded, or wait for a retry of their own.
async fn drained(healed: &Sink, server: &Server, token: &str, wanted: usize) -> Left {
    let end = Instant::now() + DELIVERY;
    let mut left = Left::default();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (count, last) = healed.last_record();
        if count >= wanted {
            break;
        }
        if last.is_some_and(|last| last.elapsed() > SILENCE) {
            left.superseded = server.deliveries(token, "superseded").await;
            left.retry = server.deliveries(token, "retry").await;
            if count + left.superseded + left.retry >= wanted {
                break;
            }
        }
    }
    left
}

/// Deliveries a second, from the first to the last of the bulk.
fn bulk_rate(healed: &Sink, wanted: usize) -> f64 {
    let records = healed.records();
    let bulk = wanted * BULK_PERCENT / 100;
    match (records.first(), records.get(bulk.saturating_sub(1))) {
        (Some(first), Some(last)) => bulk as f64 / last.at.duration_since(first.at).as_secs_f64(),
        // Too few arrived for a rate.
        _ => 0.0,
    }
}
