//! Targets that hang and targets that are not there are nobody's trouble but their own.

use std::time::Duration;

use runbell_testkit::{Answer, FakeHttp};
use serde_json::{Value as Json, json};

use crate::serving::{Client, Serving, event};
use crate::tools::Folder;

/// How many runs each target is told of.
const RUNS: usize = 150;

/// How many attempts may be under way at one destination.
const PERMITS: usize = 64;

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

/// Tells of runs that ended, in turn for each target, and returns the healthy ones' deliveries once all are sent.
async fn told(client: &Client, round: &str, healthy: &str, others: &[(&str, &str)]) -> Vec<Json> {
    let event = |uid: &str, name: &str, url: &str| {
        let mut event = event(uid, "completed", url);
        event["notifications"][0]["name"] = json!(name);
        // Longer than any test waits.
        event["notifications"][0]["params"] = json!({ "timeout_secs": 60 });
        event
    };
    for index in 0..RUNS {
        for (name, url) in others {
            let uid = format!("{round}-{name}-{index}");
            client.tell(&uid, &event(&uid, name, url)).await.ok();
        }
        let uid = format!("{round}-healthy-{index}");
        client.tell(&uid, &event(&uid, round, healthy)).await.ok();
    }
    let all_sent = |all: &[Json]| all.len() == RUNS && all.iter().all(|one| one["status"] == "sent");
    client.until(&format!("notification={round}"), all_sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_and_one_that_is_gone_do_not_delay_the_others() {
    let (folder, healthy, slow) = (Folder::new(), FakeHttp::start().await, FakeHttp::start().await);
    let (held, hold) = Answer::ok().held();
    slow.answer_always(held);
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": [0.1, 3600] } }));
    let client = serving.client();
    let alone = p99(&accepted_to_sent(&told(&client, "alone", &healthy.url("/"), &[]).await));
    let others = [("slow", &*slow.url("/")), ("dead", &*slow.refused_url("/"))];
    let beside = p99(&accepted_to_sent(&told(&client, "beside", &healthy.url("/"), &others).await));

    // All of that while the slow one holds as many attempts as it may, and none of its own or the dead one's is done.
    assert_eq!(slow.requests().len(), PERMITS);
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
