//! A server that has nothing to do.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::{Bench, folder};
use crate::server::Server;
use crate::times::{ms, percentile};

pub(crate) async fn idle(bench: &mut Bench) {
    println!("── an idle server");
    let goals = &mut bench.goals;
    let folder = folder();
    let file = folder.path().join("idle.db");
    Server::start(&file, json!({})).stop();
    let mut starts = Vec::new();
    for _ in 0..10 {
        let started = Instant::now();
        let server = Server::start(&file, json!({}));
        starts.push(started.elapsed());
        server.stop();
    }
    goals.at_most("ready on a store that exists, ms (median)", ms(percentile(&mut starts, 50)), 100.0);
    let server = Server::start(&file, json!({}));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = server.cpu();
    tokio::time::sleep(bench.sizes.rest).await;
    let spent = server.cpu().saturating_sub(cpu);
    let length = bench.sizes.rest.as_secs();
    goals.at_most(&format!("of a core over {length} s, %"), spent.as_secs_f64() / length as f64 * 100.0, 0.1);
    goals.at_most("memory, MiB", server.resident_mib(), 30.0);
    server.stop();
}
