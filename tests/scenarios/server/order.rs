//! Targets that are down for a while, and for good.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value as Json, json};

use crate::serving::{PROJECT, Serving, event, run, webhook};
use crate::tools::Folder;

/// A target that is down until it is set up. The messages it accepted are kept, in order.
struct Target {
    peer: FakeHttp,
    up: Arc<AtomicBool>,
    taken: Taken,
}

/// Paths and ids.
type Taken = Arc<Mutex<Vec<(String, String)>>>;

impl Target {
    /// Down, in that it answers with this status.
    async fn down(status: u16) -> Self {
        let (peer, up, taken) = (FakeHttp::start().await, Arc::new(AtomicBool::new(false)), Taken::default());
        let (is_up, taking) = (Arc::clone(&up), Arc::clone(&taken));
        peer.answer_with(move |request| {
            if !is_up.load(Ordering::SeqCst) {
                let answer = FakeAnswer::status(status).body("closed for today");
                // News of a start may wait longer than any test.
                let is_start = request.text().contains(r#""state":"running""#);
                return if is_start { answer.header("retry-after", "3600") } else { answer };
            }
            let id = request.header("webhook-id").unwrap_or_default().to_owned();
            taking.lock().expect("no panic").push((request.path.clone(), id));
            FakeAnswer::ok()
        });
        Target { peer, up, taken }
    }

    fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    /// The ids that were taken at a path, in order.
    fn ids(&self, path: &str) -> Vec<String> {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().filter(|(known, _)| known == path).map(|(_, id)| id.clone()).collect()
    }
}

fn text<'a>(delivery: &'a Json, field: &str) -> &'a str {
    delivery[field].as_str().unwrap_or_else(|| panic!("no {field}: {delivery}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_comes_back_gets_the_last_state_once_and_no_older_one_after_it() {
    // A 429 proves that the target is up, so its deliveries do not wait for a probe.
    let (folder, target) = (Folder::new(), Target::down(429).await);
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": vec![0.05; 1_000] } }));
    let client = serving.client();
    let uids: Vec<String> = (0..20).map(|index| format!("u{index}")).collect();
    let (stale, lucky) = uids.split_at(10);
    for uid in &uids {
        let url = target.peer.url(&format!("/{uid}"));
        client.report(uid, &event(uid, "running", &url)).await.ok();
    }
    // The older news would be tried again in an hour, but for the newer.
    let waiting = client.until("status=retry", |waiting| waiting.len() == uids.len()).await;
    let replay = format!("projects/{PROJECT}/deliveries/{}/replay", waiting[0]["id"]);
    assert!(client.post(&replay, &Json::Null).await.refused(409).contains("is retry"));

    // Down until the older news has had its last try; the newer has come after it, and is retried in its turn.
    for uid in stale {
        assert_eq!(
            client.report(uid, &json!({ "run": run(uid, "completed") })).await.ok()["verdicts"][0]["reason"],
            "matched"
        );
    }
    client.until("status=superseded", |old| old.len() == stale.len()).await;
    client.until("state=completed", |new| new.iter().all(|one| one["attempt_count"].as_i64() > Some(0))).await;
    target.set_up(true);
    // Up: the older news is hurried, and goes first.
    for uid in lucky {
        client.report(uid, &json!({ "run": run(uid, "completed") })).await.ok();
    }
    let old = came_in_order(&target, &client.settled().await, &uids);
    assert_eq!(old.iter().map(String::as_str).collect::<Vec<_>>(), stale, "whose older news is superseded");
    serving.stop().await;
}

/// Checks that each run's last state came once, and after the older one, or that was given up. Returns the runs of which it
/// was.
fn came_in_order(target: &Target, deliveries: &[Json], uids: &[String]) -> Vec<String> {
    let keys: BTreeMap<(&str, &str), &Json> =
        deliveries.iter().map(|delivery| ((text(delivery, "uid"), text(delivery, "state")), delivery)).collect();
    assert_eq!((keys.len(), deliveries.len()), (2 * uids.len(), 2 * uids.len()), "{keys:#?}");
    let mut superseded = Vec::new();
    for uid in uids {
        let (older, newer) = (keys[&(uid.as_str(), "running")], keys[&(uid.as_str(), "completed")]);
        let came = target.ids(&format!("/{uid}"));
        assert_eq!(text(newer, "status"), "sent", "{uid}");
        if text(older, "status") == "superseded" {
            assert_eq!(came, [text(newer, "key")], "{uid}");
            superseded.push(uid.clone());
        } else {
            assert_eq!(
                (text(older, "status"), came),
                ("sent", vec![text(older, "key").to_owned(), text(newer, "key").to_owned()]),
                "{uid}"
            );
        }
    }
    superseded
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_down_gets_its_messages_once_it_is_up() {
    let (folder, target) = (Folder::new(), Target::down(503).await);
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": vec![0.05; 1_000] } }));
    let client = serving.client();
    let uids: Vec<String> = (0..10).map(|index| format!("u{index}")).collect();
    for state in ["running", "completed"] {
        for uid in &uids {
            let url = target.peer.url(&format!("/{uid}"));
            client.report(uid, &event(uid, state, &url)).await.ok();
        }
        // It is left alone after five failures, and what waits for it uses up no attempts.
        crate::serving::in_time("five attempts", target.peer.until_requests(5)).await;
        let all = client.until("", |all| all.iter().all(|one| one["status"] != "leased")).await;
        let attempts: i64 = all.iter().filter_map(|one| one["attempt_count"].as_i64()).sum();
        assert!((5..=5 + uids.len() as i64).contains(&attempts), "{attempts} attempts: {all:#?}");
    }
    let seen = target.peer.requests().len();
    target.set_up(true);
    crate::serving::in_time("a probe", target.peer.until_requests(seen + 1)).await;
    came_in_order(&target, &client.settled().await, &uids);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_fails_for_good_notifies_the_operator_and_can_be_replayed() {
    let (folder, target, operator) = (Folder::new(), Target::down(503).await, FakeHttp::start().await);
    let on_failure = json!([{ "kind": "webhook", "name": "ops", "params": { "url": operator.url("/alarm") } }]);
    let config = json!({ "retry": { "waits_secs": [0.02, 0.02] }, "on_failure": on_failure });
    let serving = Serving::start(&folder, &config);
    let client = serving.client();
    let accepted = client.report("doomed", &event("doomed", "completed", &target.peer.url("/hook"))).await.ok();
    let id = accepted["deliveries"][0].as_i64().expect("a delivery");
    let failed = client.until("status=failed", |failed| failed.len() == 1).await.remove(0);
    assert_eq!((&failed["attempt_count"], &failed["id"]), (&json!(3), &json!(id)), "{failed}");
    assert!(text(&failed, "reason").contains("503"), "{failed}");
    let shown = client.get(&format!("projects/{PROJECT}/deliveries/{id}")).await.ok();
    let outcomes: Vec<&str> =
        shown["data"]["attempts"].as_array().expect("a list").iter().map(|one| text(one, "outcome")).collect();
    assert_eq!(outcomes, ["retry", "retry", "failed"], "{shown}");
    let read = client.get(&format!("projects/{PROJECT}/runs/doomed")).await.ok();
    let status = &read["data"]["status"]["notifications"]["hook"];
    assert!(status["status"] == "error" && text(status, "reason").contains("503"), "{read}");

    // The alarm says what it is about, and leads to the delivery.
    crate::serving::in_time("the alarm", operator.until_requests(1)).await;
    let alarm = operator.requests()[0].text();
    for part in ["doomed", "`hook`", "webhook", "completed", "503", &format!("delivery {id}")] {
        assert!(alarm.contains(part), "no {part}: {alarm}");
    }
    assert!(operator.requests()[0].path == "/alarm" && !alarm.contains(&target.peer.url("/hook")), "{alarm}");

    let replay = format!("projects/{PROJECT}/deliveries/{id}/replay");
    target.set_up(true);
    let again = client.post(&replay, &Json::Null).await.ok();
    assert_eq!(again["data"]["key"], failed["key"], "{again}");
    client.until("status=sent", |sent| sent.len() == 1).await;
    assert_eq!(target.ids("/hook"), [text(&failed, "key")]);
    let copy = client.post(&replay, &json!({ "new_key": true })).await.ok()["data"].clone();
    assert!(copy["id"] != failed["id"] && copy["key"] != failed["key"], "{copy}");
    client.until("status=sent", |sent| sent.len() == 2).await;
    assert_eq!(target.ids("/hook"), [text(&failed, "key"), text(&copy, "key")]);
    let read = client.get(&format!("projects/{PROJECT}/runs/doomed")).await.ok();
    assert_eq!(read["data"]["status"]["notifications"]["hook"]["status"], "sent", "{read}");

    // None of this notified the operator again: the next alarm is of the next failure. An alarm that fails makes no alarm.
    target.set_up(false);
    operator.answer_always(FakeAnswer::status(400));
    client.report("other", &event("other", "completed", &target.peer.url("/hook"))).await.ok();
    let alarms = "projects/_runbell/deliveries?status=failed";
    crate::serving::in_time("a failed alarm", async {
        while client.get(alarms).await.ok()["deliveries"].as_array().is_none_or(Vec::is_empty) {}
    })
    .await;
    let alarms = operator.requests();
    assert_eq!(alarms.iter().filter(|alarm| alarm.text().contains("doomed")).count(), 1);
    assert_eq!((alarms.len(), alarms[1].text().contains("other")), (2, true), "{alarms:#?}");
    let all = client.get("projects/_runbell/deliveries").await.ok();
    assert_eq!(all["deliveries"].as_array().map(Vec::len), Some(2), "{all}");

    // All that failed, at once; and what is refused.
    target.set_up(true);
    let settled = client.settled().await;
    let failed = settled.iter().filter(|one| one["status"] == "failed").count();
    let replayed = client.post(&format!("projects/{PROJECT}/deliveries/replay"), &json!({ "uid": "other" })).await.ok();
    assert_eq!((failed, &replayed["replayed"]), (1, &json!(1)), "{settled:#?}");
    client.until("status=sent", |sent| sent.len() == 3).await;
    client.post(&format!("projects/{PROJECT}/deliveries/999/replay"), &Json::Null).await.refused(404);
    let wrong = client.post(&format!("projects/{PROJECT}/deliveries/replay"), &json!({ "status": "retry" })).await;
    assert!(wrong.refused(400).starts_with("status: must be failed, sent or superseded"));
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_not_tried_again() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    peer.answer(FakeAnswer::status(403).body("not you"));
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": [0, 0, 0] } }));
    let client = serving.client();
    client
        .report("u", &json!({ "run": run("u", "error"), "notifications": [webhook("n", &peer.url("/"))] }))
        .await
        .ok();
    let all = client.settled().await;
    assert_eq!((all.len(), &all[0]["status"], &all[0]["attempt_count"]), (1, &json!("failed"), &json!(1)), "{all:#?}");
    assert!(text(&all[0], "reason").contains("403"), "{all:#?}");
    assert_eq!(peer.requests().len(), 1);
    serving.stop().await;
}
