//! Targets that hang and targets that refuse connections do not affect other targets.

use std::time::Duration;

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value as Json, json};

use crate::serving::{Client, Serving, event, in_time};
use crate::tools::Folder;

/// How many runs are reported for each target.
const RUNS: usize = 150;

/// How many attempts may be under way at a destination that was not reached the last time.
const UNPROVED: usize = 8;

/// Longer than any test waits.
const LONG: u32 = 60;

/// The times from intake to success of deliveries that were sent, shortest first, as the server has them. For figures; a
/// claim about them needs more runs than a test has time for.
fn accepted_to_sent(deliveries: &[Json]) -> Vec<Duration> {
    let time = |text: &Json| text.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let took = |one: &Json| Some(time(&one["finished_at"])?.duration_since(time(&one["created_at"])?).unsigned_abs());
    let mut all: Vec<Duration> = deliveries.iter().filter(|one| one["status"] == "sent").filter_map(took).collect();
    all.sort_unstable();
    all
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// Reports runs that ended, in turn for each target, and returns the healthy ones' deliveries once all are sent.
async fn deliver(client: &Client, runs: usize, round: &str, healthy: &str, others: &[(&str, &str)]) -> Vec<Json> {
    let event = |uid: &str, name: &str, url: &str| {
        let mut event = event(uid, "completed", url);
        event["notifications"][0]["name"] = json!(name);
        event["notifications"][0]["params"] = json!({ "timeout_secs": LONG });
        event
    };
    for index in 0..runs {
        for (name, url) in others {
            let uid = format!("{round}-{name}-{index}");
            client.report(&uid, &event(&uid, name, url)).await.ok();
        }
        let uid = format!("{round}-healthy-{index}");
        client.report(&uid, &event(&uid, round, healthy)).await.ok();
    }
    let all_sent = |all: &[Json]| all.len() == runs && all.iter().all(|one| one["status"] == "sent");
    client.until(&format!("notification={round}"), all_sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_and_one_that_is_gone_do_not_delay_the_others() {
    let (folder, healthy, slow) = (Folder::new(), FakeHttp::start().await, FakeHttp::start().await);
    let (held, hold) = FakeAnswer::ok().held();
    slow.answer_always(held);
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": [0.1, 3600] } }));
    let client = serving.client();
    let alone = p99(&accepted_to_sent(&deliver(&client, RUNS, "alone", &healthy.url("/"), &[]).await));
    let others = [("slow", &*slow.url("/")), ("dead", &*slow.refused_url("/"))];
    let beside = p99(&accepted_to_sent(&deliver(&client, RUNS, "beside", &healthy.url("/"), &others).await));

    // All of that while the slow one holds as many attempts as it may, and none of its own or the dead one's is done.
    in_time("the slow one's attempts", slow.until_requests(UNPROVED)).await;
    assert_eq!(slow.requests().len(), UNPROVED);
    for name in ["slow", "dead"] {
        let waiting = client.deliveries(&format!("notification={name}")).await;
        assert_eq!(waiting.len(), RUNS, "{name}");
        let done = waiting.iter().find(|one| !["pending", "leased", "retry"].map(Json::from).contains(&one["status"]));
        assert!(done.is_none(), "{name}: {done:?}");
    }
    assert_eq!(healthy.requests().len(), 2 * RUNS);
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!(
        "accepted to sent, p99: {alone:?} alone, {beside:?} beside one that hangs and one that is gone ({ratio:.1})"
    );

    // What waited for the slow one is made as it finds room.
    hold.release();
    client.until("notification=slow", |all| all.iter().all(|one| one["status"] == "sent")).await;
    assert_eq!(slow.requests().len(), RUNS);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_hang_leave_room_for_the_others() {
    // All of their deliveries at once would be more than the server's limit of attempts.
    let (count, runs) = (40, UNPROVED);
    let (folder, healthy) = (Folder::new(), FakeHttp::start().await);
    let (held, hold) = FakeAnswer::ok().held();
    let mut hanging = Vec::new();
    for index in 0..count {
        let peer = FakeHttp::start().await;
        peer.answer_always(held.clone());
        hanging.push((format!("hanging-{index}"), peer.url("/"), peer));
    }
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    let others: Vec<(&str, &str)> = hanging.iter().map(|(name, url, _)| (&**name, &**url)).collect();
    deliver(&client, runs, "healthy", &healthy.url("/"), &others).await;
    assert_eq!(healthy.requests().len(), runs);

    // Meanwhile each of them holds an attempt at least, and nothing of theirs is done.
    for (name, _, peer) in &hanging {
        in_time(name, peer.until_requests(1)).await;
        assert!(peer.requests().len() <= UNPROVED, "{name}: {}", peer.requests().len());
        let all = client.deliveries(&format!("notification={name}")).await;
        let is_open = |one: &Json| ["pending", "leased", "retry"].map(Json::from).contains(&one["status"]);
        assert!(all.len() == runs && all.iter().all(is_open), "{name}: {all:?}");
    }

    hold.release();
    let all = client.settled().await;
    assert_eq!(all.len(), runs * (count + 1));
    assert!(all.iter().all(|one| one["status"] == "sent" && one["attempt_count"] == 1), "{all:?}");
    assert!(hanging.iter().all(|(_, _, peer)| peer.requests().len() == runs));
}
