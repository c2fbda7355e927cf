//! Deliveries that wait for dead destinations, and what the server does meanwhile.

use std::time::Duration;

use crate::driver::Driver;
use crate::event::{Request, event, event_of, lane};
use crate::flow::{Pace, Since};
use crate::goals::Goals;
use crate::refusing::{BlackHole, Refusing};
use crate::server::Server;
use crate::sizes::Sizes;

/// The project of the deliveries to the black hole, so that lists can select them.
const HOLE_PROJECT: &str = "black-hole";

/// How many connections load deliveries, and how long they may take.
const CONNECTIONS: usize = 32;
const LIMIT: Duration = Duration::from_secs(150);

/// The pause before the CPU at rest is measured: what was just recorded gets to the disk.
const PAUSE: Duration = Duration::from_secs(3);

/// The time between two events of a healthy flow beside dead destinations.
const EVERY: Duration = Duration::from_millis(10);

/// A healthy flow of this length.
pub(crate) fn pace(length: Duration) -> Pace {
    let count = usize::try_from(length.as_millis() / EVERY.as_millis()).expect("small");
    Pace { every: EVERY, count, since: Since::Due }
}

/// Loads the events that `make` returns for 0, 1, … below `count`, `deliveries` in all; returns how many were accepted.
pub(crate) async fn load(
    driver: &Driver,
    count: usize,
    deliveries: usize,
    goals: &mut Goals,
    make: impl Fn(usize) -> Vec<Request>,
) -> usize {
    let answers = driver.closed_loop(CONNECTIONS, count, LIMIT, make).await;
    Goals::show("deliveries loaded a second", answers.rate());
    goals.at_least("deliveries loaded", answers.accepted as f64, deliveries as f64);
    answers.accepted
}

/// Loads what waits for a refusing port and a black hole, mixed evenly. `lanes` runs have two deliveries, one for the start
/// and one for the end, both for the refusing port. Returns how many deliveries were accepted.
pub(crate) async fn load_dead_port(
    driver: &Driver,
    sizes: &Sizes,
    lanes: usize,
    refusing: &Refusing,
    hole: &BlackHole,
    goals: &mut Goals,
) -> usize {
    let runs = sizes.refused - lanes;
    let total = runs + sizes.hole;
    let make = |number| {
        if is_among(number, sizes.hole, total) {
            let uid = format!("hole-{number}");
            return vec![event_of(HOLE_PROJECT, &uid, &hole.url(&uid))];
        }
        let uid = format!("refused-{number}");
        let url = refusing.url(&uid);
        // The number among the runs of the refusing port.
        let index = number - number * sizes.hole / total;
        match is_among(index, lanes, runs) {
            true => lane(&uid, &url).into(),
            false => vec![event(&uid, &url)],
        }
    };
    load(driver, total, sizes.refused + sizes.hole, goals, make).await
}

/// Whether `number` is one of `chosen` numbers that are spread evenly below `total`.
fn is_among(number: usize, chosen: usize, total: usize) -> bool {
    number * chosen / total != (number + 1) * chosen / total
}

/// Measures the CPU of a server that gets no events, while deliveries wait: at most `percent` of a core.
pub(crate) async fn rest(server: &Server, token: &str, length: Duration, percent: f64, goals: &mut Goals) {
    let attempts = server.attempts(token).await;
    tokio::time::sleep(PAUSE).await;
    let cpu = server.cpu();
    tokio::time::sleep(length).await;
    let spent = server.cpu().saturating_sub(cpu);
    goals.at_most(
        &format!("of a core at rest, over {} s, %", length.as_secs()),
        spent.as_secs_f64() / length.as_secs_f64() * 100.0,
        percent,
    );
    Goals::show("attempts meanwhile", server.attempts(token).await - attempts);
}

/// Checks that no delivery gave up, and prints the memory.
pub(crate) async fn still_waiting(server: &Server, token: &str, loaded: usize, goals: &mut Goals) {
    goals.at_least("deliveries that still wait", server.waiting(token).await, loaded as f64);
    Goals::show("peak memory, MiB", server.peak_mib());
}
