//! One dead, one slow and one healthy target: what the others cost the healthy one.

use std::net::TcpListener;
use std::time::Duration;

use futures_util::future::join;
use serde_json::json;

use crate::bench::{Bench, folder};
use crate::driver::Driver;
use crate::event::event;
use crate::flow::{Pace, Since, steady};
use crate::server::Server;

/// How many events go to the healthy target, one every few milliseconds, and how many to each of the others meanwhile.
const HEALTHY: Pace = Pace { every: Duration::from_millis(2), count: 2_000, since: Since::Posted };
const OTHERS: usize = 2_000;

pub(crate) async fn isolation(bench: &mut Bench) {
    println!("── a healthy target beside a dead and a slow one");
    let Bench { sink, goals, .. } = bench;
    let folder = folder();
    // Takes connections and never answers.
    let slow = TcpListener::bind("127.0.0.1:0").expect("a port");
    let slow = format!("http://{}/", slow.local_addr().expect("an address"));
    let dead = "http://127.0.0.1:9/".to_owned();
    let server = Server::start(&folder.path().join("isolation.db"), json!({}));
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);
    let mut alone = steady(&driver, sink, "alone", HEALTHY).await;
    let others: Vec<_> = (0..OTHERS)
        .flat_map(|number| [event(&format!("slow-{number}"), &slow), event(&format!("dead-{number}"), &dead)])
        .collect();
    let (mut beside, _) = join(steady(&driver, sink, "beside", HEALTHY), driver.post_all(others, 2)).await;
    let mut after = steady(&driver, sink, "after", HEALTHY).await;
    alone.show("alone");
    beside.compare("while they are accepted", &mut alone, goals);
    after.compare("while they are tried again", &mut alone, goals);
    server.stop();
}
