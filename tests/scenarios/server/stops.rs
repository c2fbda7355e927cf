//! Events reported twice, and servers that stop in good order.

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::serving::{PROJECT, Serving, event, in_time, store_file};
use crate::tools::{Folder, say};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reported_again_is_delivered_once_also_after_a_lost_answer() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    let accepted = client.report("twice", &event("twice", "completed", &sink.url("/"))).await.ok();
    let again = client.report("twice", &event("twice", "completed", &sink.url("/"))).await.ok();
    assert_eq!(accepted["deliveries"].as_array().map(Vec::len), Some(1), "{accepted}");
    let done = json!([{ "notification": "hook", "reason": "already_done" }]);
    assert_eq!((&again["deliveries"], &again["verdicts"]), (&json!([]), &done), "{again}");

    let host = serving.url().trim_start_matches("http://").to_owned();
    let uids: Vec<String> = (0..30).map(|index| format!("lost-{index}")).collect();
    for uid in &uids {
        let body = event(uid, "completed", &sink.url("/")).to_string();
        let length = body.len();
        let head = format!(
            "POST /api/v1/projects/{PROJECT}/runs/{uid}/events HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut connection = TcpStream::connect(&host).await.expect("connected");
        connection.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
        // Gone without waiting for the answer.
        drop(connection);
    }
    for uid in &uids {
        client.report(uid, &event(uid, "completed", &sink.url("/"))).await.ok();
    }
    let all = client.settled().await;
    assert!(all.len() == uids.len() + 1 && all.iter().all(|one| one["status"] == "sent"), "{all:#?}");
    assert_eq!(sink.requests().len(), all.len());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_open_attempts_and_the_next_start_delivers_the_rest() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let (slow, hold) = FakeAnswer::ok().held();
    // It takes `slow` slowly, and refuses `later` until the server has been restarted.
    let answer = move |down: bool| {
        let slow = slow.clone();
        move |request: &runbell_testkit::Request| match request.path.as_str() {
            "/slow" => slow.clone(),
            _ if down => FakeAnswer::status(429),
            _ => FakeAnswer::ok(),
        }
    };
    sink.answer_with(answer(true));
    let config = json!({ "retry": { "waits_secs": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] } });
    let serving = Serving::start(&folder, &config);
    let client = serving.client();
    client.report("later", &event("later", "completed", &sink.url("/later"))).await.ok();
    let retried = client.until("uid=later", |all| all[0]["status"] == "retry").await.remove(0);
    client.report("slow", &event("slow", "completed", &sink.url("/slow"))).await.ok();
    let is_slow = |sink: &FakeHttp| sink.requests().iter().filter(|request| request.path == "/slow").count();
    client.until("uid=slow", |all| all[0]["status"] == "leased").await;
    in_time("the slow attempt", async {
        let mut count = 0;
        while is_slow(&sink) == 0 {
            count += 1;
            sink.until_requests(count).await;
        }
    })
    .await;

    serving.terminate();
    serving.until_logged("stopping").await;
    // No answer comes any more, but the attempt that is under way is waited for.
    in_time("refused connections", async { while client.try_send("GET", "healthz", "").await.is_ok() {} }).await;
    hold.release();
    let (status, log) = serving.ended().await;
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&log));
    assert_eq!(is_slow(&sink), 1);

    sink.answer_with(answer(false));
    let serving = Serving::start(&folder, &config);
    let client = serving.client();
    let slow = client.deliveries("uid=slow").await.remove(0);
    assert_eq!((&slow["status"], &slow["attempt_count"]), (&json!("sent"), &json!(1)), "{slow}");
    let all = client.settled().await;
    let later = all.iter().find(|one| one["uid"] == "later").expect("it is there");
    assert_eq!((&later["status"], &later["key"]), (&json!("sent"), &retried["key"]), "{later}");
    assert!(later["attempt_count"].as_i64() > retried["attempt_count"].as_i64(), "{later}");
    let ids: Vec<String> = sink
        .requests()
        .iter()
        .filter(|request| request.path == "/later")
        .filter_map(|request| request.header("webhook-id").map(str::to_owned))
        .collect();
    assert!(ids.len() > 1 && ids.iter().all(|id| json!(id) == later["key"]), "{ids:?}");
    assert_eq!(is_slow(&sink), 1);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_one_servers_and_of_one_version() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let serving = Serving::start(&folder, &json!({}));
    let refused = |part: &str| {
        let said = say(&mut crate::serving::serve(&folder, &[]));
        let one_line = said.err.trim_end().lines().count() == 1;
        assert!(said.code == Some(2) && said.out.is_empty() && one_line && said.err.contains(part), "{said:?}");
    };
    refused("runbell.db: another process holds it");
    let client = serving.client();
    client.report("u", &event("u", "completed", &sink.url("/"))).await.ok();
    assert_eq!(client.settled().await[0]["status"], "sent");
    serving.stop().await;

    let newer = |version: i64| {
        let store = rusqlite::Connection::open(store_file(&folder)).expect("opened");
        let known: i64 = store.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        store.pragma_update(None, "user_version", version).expect("changed");
        known
    };
    let known = newer(99);
    refused("the store has the schema of a newer version (its schema is 99,");
    newer(known);
    let serving = Serving::start(&folder, &json!({}));
    assert_eq!(serving.client().deliveries("").await.len(), 1);
    serving.stop().await;
}
