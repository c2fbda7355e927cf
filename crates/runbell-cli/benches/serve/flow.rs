//! Healthy events, as one client posts them at a steady rate, and in bursts.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout_at};

use crate::bench::Bench;
use crate::driver::Driver;
use crate::event::event;
use crate::goals::Goals;
use crate::server::Server;
use crate::sink::Sink;
use crate::times::{ms, percentile};

/// How many connections a burst has.
const CONNECTIONS: usize = 32;

/// How long deliveries may take after the last event of a flow or a burst.
const GRACE: Duration = Duration::from_secs(30);

/// The times from an event to its arrival at the sink.
pub(crate) struct Flow {
    times: Vec<Duration>,
    /// Events without an arrival. Their times count until the end of the wait.
    missing: usize,
}

impl Flow {
    pub(crate) fn percentile(&mut self, percent: usize) -> f64 {
        ms(percentile(&mut self.times, percent))
    }

    /// Prints the times of a flow that is the yardstick of others.
    pub(crate) fn show(&mut self, what: &str) {
        Goals::show(&format!("event to sent {what}, ms (p50)"), self.percentile(50));
        Goals::show(&format!("event to sent {what}, ms (p99)"), self.percentile(99));
    }

    /// Prints the times of a flow beside others: the p99 is at most twice the yardstick's, and nothing is missing.
    pub(crate) fn compare(&mut self, what: &str, alone: &mut Flow, goals: &mut Goals) {
        Goals::show(&format!("event to sent {what}, ms (p50)"), self.percentile(50));
        goals.at_most(&format!("event to sent {what}, ms (p99)"), self.percentile(99), 2.0 * alone.percentile(99));
        Goals::show(&format!("event to sent {what}, ms (max)"), self.percentile(100));
        goals.at_most(
            &format!("events without an arrival, alone and {what}"),
            (alone.missing + self.missing) as f64,
            0.0,
        );
    }
}

/// The beginning of an event's time, for a client that waited for a late response and has fallen behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// The request. The wait of the events behind a late response does not count.
    Posted,
    /// The time at which the event should have been posted.
    Due,
}

/// One client's events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) every: Duration,
    pub(crate) count: usize,
    pub(crate) since: Since,
}

/// Posts events at a steady pace on one connection, each after the response to the one before.
pub(crate) async fn steady(driver: &Driver, sink: &Sink, name: &str, pace: Pace) -> Flow {
    let Pace { every, count, since } = pace;
    let start = Instant::now();
    let due = |number: usize| start + every * u32::try_from(number).expect("small");
    let end = due(count) + GRACE;
    let mut posted = Vec::new();
    let mut connection = driver.connect().await;
    for number in 0..count {
        let uid = format!("{name}-{number}");
        let (path, body) = event(&uid, &sink.url(&uid));
        let is_late = since == Since::Due && Instant::now() > due(number);
        sleep_until(due(number).into()).await;
        let at = if is_late { due(number) } else { Instant::now() };
        let post = async {
            if connection.try_post(&path, body).await.is_err() {
                connection = driver.connect().await;
            }
        };
        // After the end nothing is posted any more, so an unread response does no harm.
        if at < end {
            let _ = timeout_at(end.into(), post).await;
        }
        posted.push((uid, at));
    }
    let mut flow = Flow { times: Vec::with_capacity(count), missing: 0 };
    for (uid, at) in posted {
        let arrived = sink.arrival(&uid, end).await;
        flow.missing += usize::from(arrived.is_none());
        flow.times.push(arrived.unwrap_or(end).saturating_duration_since(at));
    }
    flow
}

/// The outcome of a burst.
pub(crate) struct Burst {
    /// Events accepted a second.
    pub(crate) rate: f64,
    /// CPU time of the server for each event, delivery included, in ms.
    pub(crate) cpu_ms: f64,
}

/// Measures the intake: posts healthy events for a while as fast as the responses come, then waits for the deliveries.
pub(crate) async fn burst(bench: &mut Bench, server: &Server, driver: &Driver, name: &str) -> Burst {
    let Bench { sink, sizes, goals } = bench;
    sink.reset();
    let cpu = server.cpu();
    let make = |number| {
        let uid = format!("{name}-{number}");
        vec![event(&uid, &sink.url(&uid))]
    };
    let answers = driver.closed_loop(CONNECTIONS, usize::MAX, sizes.burst, make).await;
    let missing = answers.accepted.saturating_sub(sink.until(answers.accepted, GRACE).await);
    let spent = server.cpu().saturating_sub(cpu);
    if answers.failed + missing > 0 {
        goals.at_most(&format!("events refused or not delivered, {name}"), (answers.failed + missing) as f64, 0.0);
    }
    Burst { rate: answers.rate(), cpu_ms: ms(spent) / answers.accepted.max(1) as f64 }
}
