//! Very many dead destinations with a few deliveries each: what they cost healthy events and a server at rest.

use serde_json::json;

use crate::bench::{Bench, folder};
use crate::dead::{load, pace, rest, still_waiting};
use crate::driver::Driver;
use crate::event::event;
use crate::flow::steady;
use crate::refusing::Refusing;
use crate::server::Server;

pub(crate) async fn dead_many(bench: &mut Bench) {
    let Bench { sink, sizes, goals } = bench;
    let (destinations, each) = (sizes.destinations, sizes.each);
    println!("── {each} deliveries wait for each of {destinations} dead destinations");
    let folder = folder();
    let refusing = Refusing::everywhere();
    let server = Server::start(&folder.path().join("dead-many.db"), json!({}));
    let token = server.token().await;
    let driver = Driver::new(server.address, &token);

    let mut alone = steady(&driver, sink, "alone", pace(sizes.alone)).await;
    alone.show("alone");
    // In turn over the destinations.
    let make = |number| {
        let uid = format!("dead-{number}");
        vec![event(&uid, &refusing.url_at(number % destinations, &uid))]
    };
    let loaded = load(&driver, destinations * each, destinations * each, goals, make).await;
    let mut beside = steady(&driver, sink, "beside", pace(sizes.window)).await;
    beside.compare("beside them", &mut alone, goals);
    rest(&server, &token, sizes.rest, 5.0, goals).await;
    still_waiting(&server, &token, loaded, goals).await;
}
