//! Very many deliveries that wait for one refusing port and one black hole: what they cost healthy events, the intake, and
//! a server at rest.

use serde_json::json;

use crate::bench::{Bench, folder};
use crate::dead::{load_dead_port, pace, rest, still_waiting};
use crate::driver::Driver;
use crate::flow::{Burst, burst, steady};
use crate::goals::Goals;
use crate::refusing::{BlackHole, Refusing};
use crate::server::Server;

/// How much of its rate alone the intake keeps.
const INTAKE: f64 = 0.9;

pub(crate) async fn dead_port(bench: &mut Bench) {
    println!(
        "── {} deliveries wait for a refusing port and {} for a black hole",
        bench.sizes.refused, bench.sizes.hole
    );
    let folder = folder();
    let (refusing, hole) = (Refusing::one(), BlackHole::new());
    let server = Server::start(&folder.path().join("dead-port.db"), json!({}));
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);

    let before = burst(bench, &server, &driver, "alone-before").await;
    let mut alone = steady(&driver, &bench.sink, "alone", pace(bench.sizes.alone)).await;
    let after = burst(bench, &server, &driver, "alone-after").await;
    alone.show("alone");
    let rate = f64::midpoint(before.rate, after.rate);
    Goals::show("intake alone, events/s", rate);
    Goals::show("server CPU for each event alone, ms", f64::midpoint(before.cpu_ms, after.cpu_ms));

    let loaded = load_dead_port(&driver, &bench.sizes, 0, &refusing, &hole, &mut bench.goals).await;
    let first = burst(bench, &server, &driver, "beside-first").await;
    let mut beside = steady(&driver, &bench.sink, "beside", pace(bench.sizes.window)).await;
    let last = burst(bench, &server, &driver, "beside-last").await;
    beside.compare("beside them", &mut alone, &mut bench.goals);
    for (what, burst) in [("at first", first), ("at last", last)] {
        compare(what, &burst, rate, &mut bench.goals);
    }
    rest(&server, &token, bench.sizes.rest, 1.0, &mut bench.goals).await;
    still_waiting(&server, &token, loaded, &mut bench.goals).await;
}

fn compare(what: &str, burst: &Burst, alone: f64, goals: &mut Goals) {
    goals.at_least(&format!("intake beside them {what}, of alone"), burst.rate / alone, INTAKE);
    Goals::show(&format!("server CPU for each event {what}, ms"), burst.cpu_ms);
}
