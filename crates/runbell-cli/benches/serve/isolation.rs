//! One dead, one slow and one healthy target: what the others cost the healthy one.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::driver::{Driver, event};
use crate::server::Server;
use crate::sink::Sink;
use crate::{Goals, here, ms, percentile};

/// How many events go to the healthy target, one every few milliseconds, and how many to each of the others meanwhile.
const HEALTHY: usize = 2_000;
const OTHERS: usize = 2_000;
const EVERY: Duration = Duration::from_millis(2);

pub(crate) async fn isolation(sink: &Sink, goals: &mut Goals) {
    println!("── a healthy target beside a dead and a slow one");
    let folder = tempfile::tempdir_in(here()).expect("a folder");
    // Takes connections and never answers.
    let slow = TcpListener::bind("127.0.0.1:0").expect("a port");
    let slow = format!("http://{}/", slow.local_addr().expect("an address"));
    let dead = "http://127.0.0.1:9/".to_owned();
    let server = Server::start(&folder.path().join("isolation.db"), "{}");
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);
    let mut alone = healthy(&driver, sink, "alone").await;
    let others: Vec<_> = (0..OTHERS)
        .flat_map(|number| [event(&format!("slow-{number}"), &slow), event(&format!("dead-{number}"), &dead)])
        .collect();
    let (mut beside, _) =
        futures_util::future::join(healthy(&driver, sink, "beside"), driver.post_all(others, 2)).await;
    let mut after = healthy(&driver, sink, "after").await;
    let p99 = ms(percentile(&mut alone, 99));
    Goals::show("told to sent alone, ms (p50)", ms(percentile(&mut alone, 50)));
    Goals::show("told to sent alone, ms (p99)", p99);
    for (what, times) in [("while they are told", &mut beside), ("while they are tried again", &mut after)] {
        Goals::show(&format!("told to sent {what}, ms (p50)"), ms(percentile(times, 50)));
        goals.at_most(&format!("told to sent {what}, ms (p99)"), ms(percentile(times, 99)), 2.0 * p99);
    }
    server.stop();
}

async fn healthy(driver: &Driver, sink: &Sink, name: &str) -> Vec<Duration> {
    let mut connection = driver.connect().await;
    let mut told = Vec::new();
    let start = tokio::time::Instant::now();
    for number in 0..HEALTHY {
        tokio::time::sleep_until(start + EVERY * u32::try_from(number).expect("small")).await;
        let uid = format!("{name}-{number}");
        let (path, body) = event(&uid, &sink.url(&uid));
        let at = Instant::now();
        connection.post(&path, body).await;
        told.push((uid, at));
    }
    let mut way = Vec::new();
    for (uid, at) in told {
        way.push(sink.arrival(&uid).await.duration_since(at));
    }
    way
}
