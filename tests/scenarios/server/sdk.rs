//! The API as MLRun's SDK uses it: its bodies, its spellings, its order of calls.

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value as Json, json};

use crate::serving::{Client, Serving, in_time, webhook};
use crate::tools::Folder;

/// A run as the SDK stores it when it starts.
const STARTED: &str = r#"{"kind": "run", "metadata": {"name": "train", "uid": "u", "iteration": 0, "project": "p",
    "labels": {"owner": "me", "kind": "local"}}, "spec": {"parameters": {"rate": NaN}, "notifications": [{"kind": "webhook",
    "name": "own", "when": ["completed"], "message": "done", "condition": "", "secret_params": {"url": "http://user:CANARY@127.0.0.1:1/"}}]},
    "status": {"state": "running", "start_time": "2026-01-31T12:00:00+00:00"}}"#;

async fn patch(client: &Client, body: &str) -> crate::serving::Answered {
    client.send_text("PATCH", "projects/p/runs/u?iter=0", body).await
}

async fn set(client: &Client, uid: &str, list: Json) -> crate::serving::Answered {
    let path = format!("projects/p/runs/{uid}/notifications");
    client.send("PUT", &path, &json!({ "notifications": list })).await
}

async fn read(client: &Client) -> Json {
    client.get("projects/p/runs/u?iter=0&format=full").await.ok()["data"].clone()
}

/// The statuses of all deliveries, the oldest first.
async fn statuses(client: &Client) -> Vec<String> {
    let all = client.deliveries("").await;
    all.iter().rev().map(|one| format!("{} {}", one["notification"], one["status"]).replace('"', "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_run_is_stored_changed_read_and_deleted() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    let run = "projects/p/runs/u?iter=0";
    assert_eq!(client.send_text("POST", run, STARTED).await.ok(), json!({}));
    // What the run itself carries is the SDK's to send: redacted here, and registered nowhere.
    let stored = read(&client).await;
    assert!(!stored.to_string().contains("CANARY") && stored["spec"]["parameters"]["rate"].is_null(), "{stored}");
    assert_eq!(stored["spec"]["notifications"][0]["name"], "own");
    patch(&client, r#"{"status.results": {"loss": NaN, "worst": -Infinity, "count": 123456789012345678901234567890}}"#)
        .await
        .ok();
    patch(&client, r#"{"status.state": "completed", "metadata.labels": {"owner": "me"}, "status.artifact_uris": {}}"#)
        .await
        .ok();
    let text = reqwest::get(format!("{}/api/v1/{run}", serving.url())).await.expect("an answer").text().await;
    let text = text.expect("a body");
    assert!(text.contains("123456789012345678901234567890") && !text.contains("NaN"), "{text}");
    let ended = read(&client).await;
    assert_eq!(
        (&ended["status"]["state"], &ended["metadata"]["labels"]),
        (&json!("completed"), &json!({ "owner": "me" }))
    );
    assert!(ended["status"]["results"]["loss"].is_null() && ended["status"]["start_time"].is_string(), "{ended}");
    assert!(client.deliveries("").await.is_empty() && sink.requests().is_empty());

    for (method, path, body, status, part) in [
        ("POST", run, "{", 400, "JSON"),
        ("POST", run, "[]", 400, "must be a JSON object"),
        ("POST", run, "", 400, "required"),
        ("POST", run, r#"{"metadata": {"uid": "other"}}"#, 400, "metadata.uid"),
        ("PATCH", run, r#"{"status.state.x": 1}"#, 400, "status.state.x"),
        ("PATCH", "projects/p/runs/none", r#"{"status.state": "completed"}"#, 404, "the run"),
        ("GET", "projects/p/runs/u?format=other", "", 400, "format"),
        ("GET", "projects/p/runs/u?iter=x", "", 400, "iter"),
        ("GET", "projects/p/runs?iter=perhaps", "", 400, "iter: must be true or false"),
        ("GET", "projects/p/runs?page-token=x", "", 400, "page-token"),
        ("GET", "projects/p/nothing", "", 404, "no such path"),
        ("DELETE", "projects/p/runs", "", 405, "method"),
    ] {
        let detail = client.send_text(method, path, body).await.refused(status);
        assert!(detail.contains(part), "{method} {path} {body}: {detail}");
    }

    assert_eq!(client.post("projects/p/runs/u/heartbeat", &Json::Null).await.ok(), json!({}));
    client.post("projects/p/runs/none/heartbeat", &Json::Null).await.refused(404);
    client.send_text("DELETE", run, "").await.ok();
    client.get(run).await.refused(404);
    // Once more, as the SDK may.
    client.send_text("DELETE", run, "").await.ok();
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_notifications_follow_the_run() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    set(&client, "u", json!([])).await.refused(404);
    client.send_text("POST", "projects/p/runs/u", STARTED).await.ok();
    let detail = set(&client, "u", json!([{ "kind": "slak", "name": "n", "secret_params": {} }])).await.refused(400);
    assert!(detail.contains("notifications[0].kind"), "{detail}");
    let detail = set(&client, "u", json!([{ "kind": "webhook", "name": "n", "when": ["never"] }])).await.refused(400);
    assert!(detail.contains("notifications[0].when"), "{detail}");
    set(&client, "u", json!([webhook("hook", &sink.url("/CANARY"))])).await.ok();
    let stored = read(&client).await;
    assert_eq!(stored["status"]["notifications"]["hook"]["status"], "pending", "{stored}");
    assert!(!stored.to_string().contains("CANARY"), "{stored}");
    let plain = client.get("projects/p/runs/u?format=standard").await.ok();
    assert!(plain["data"]["status"]["notifications"].is_null(), "{plain}");

    // Asked for: what is owed for the state it is in, once.
    let push = "projects/p/runs/u/push-notifications";
    let task = client.send_text("POST", push, "").await;
    assert_eq!((task.status, &task.json()["kind"]), (202, &json!("BackgroundTask")), "{task:?}");
    let path = format!("projects/p/background-tasks/{}", task.json()["metadata"]["name"].as_str().expect("a name"));
    in_time("the task's success", async { while client.get(&path).await.ok()["status"]["state"] != "succeeded" {} })
        .await;
    let again = client.send_text("POST", push, "").await;
    assert_eq!((again.status, &again.json()["status"]["state"]), (200, &json!("succeeded")), "{again:?}");
    client.get("projects/p/background-tasks/none").await.refused(404);
    client.post("projects/p/runs/none/push-notifications", &Json::Null).await.refused(404);

    // The end, reported twice, is delivered once; a state after the end is refused.
    for _ in 0..2 {
        patch(&client, r#"{"status.state": "completed"}"#).await.ok();
    }
    client.settled().await;
    let late = patch(&client, r#"{"status.state": "running"}"#).await.refused(409);
    assert!(late.contains("the run has ended (completed)"), "{late}");
    client.send_text("POST", "projects/p/runs/u", STARTED).await.refused(409);
    patch(&client, r#"{"status.state": "running", "status.retry_count": 1}"#).await.ok();
    patch(&client, r#"{"status.state": "completed"}"#).await.ok();
    let all = client.settled().await;
    let states: Vec<&str> = all.iter().rev().filter_map(|one| one["state"].as_str()).collect();
    assert_eq!(states, ["running", "completed", "running", "completed"], "{all:#?}");
    let mut keys: Vec<&str> = all.iter().filter_map(|one| one["key"].as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), sink.requests().len()), (4, 4));
    assert_eq!(read(&client).await["status"]["notifications"]["hook"]["status"], "sent");

    let explained = client.get("projects/p/runs/u/explain?iter=0").await.ok();
    let now = &explained["notifications"][0];
    assert_eq!(
        (&explained["state"], &now["verdict"], &now["reason"]),
        (&json!("completed"), &json!("skip"), &json!("already_done"))
    );
    let history = explained["history"].as_array().expect("a list");
    assert_eq!(
        (&history[0]["state"], &history[0]["delivery"]["status"]),
        (&json!("completed"), &json!("sent")),
        "{explained}"
    );
    client.get("projects/p/runs/none/explain").await.refused(404);
    assert!(!explained.to_string().contains("CANARY"), "{explained}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_list_supersedes_unfinished_deliveries() {
    let (folder, broken, sink) = (Folder::new(), FakeHttp::start().await, FakeHttp::start().await);
    broken.answer_always(FakeAnswer::status(503));
    let serving = Serving::start(&folder, &json!({ "retry": { "waits_secs": [3600] } }));
    let client = serving.client();
    client.send_text("POST", "projects/p/runs/u", STARTED).await.ok();
    let first = json!([webhook("first", &broken.url("/"))]);
    set(&client, "u", first.clone()).await.ok();
    patch(&client, r#"{"status.state": "completed"}"#).await.ok();
    client.until("status=retry", |waiting| waiting.len() == 1).await;
    let pending = read(&client).await["status"]["notifications"]["first"].clone();
    assert!(
        pending["status"] == "pending" && pending["reason"].as_str().is_some_and(|why| why.contains("503")),
        "{pending}"
    );
    // The SDK may send a list again that did arrive.
    set(&client, "u", first).await.ok();
    assert_eq!(statuses(&client).await, ["first retry"]);
    set(&client, "u", json!([webhook("second", &sink.url("/"))])).await.ok();
    client.settled().await;
    assert_eq!(statuses(&client).await, ["first superseded", "second sent"]);
    // No delivery was unfinished, so another list sends nothing.
    set(&client, "u", json!([webhook("third", &sink.url("/"))])).await.ok();
    set(&client, "u", json!([])).await.ok();
    assert_eq!(statuses(&client).await, ["first superseded", "second sent"]);
    assert_eq!((sink.requests().len(), broken.requests().len()), (1, 1));
    let listed = client.get("projects/p/runs?with-notifications=True").await.ok();
    assert_eq!(listed["runs"], json!([]), "{listed}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_page_by_page_in_both_spellings() {
    let folder = Folder::new();
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    for index in 0..7 {
        let uid = format!("u{index}");
        client.post(&format!("projects/p/runs/{uid}"), &crate::serving::run(&uid, "running")).await.ok();
        if index % 2 == 0 {
            set(&client, &uid, json!([webhook("hook", "http://127.0.0.1:1/")])).await.ok();
        }
    }
    let child = json!({ "metadata": { "iteration": 1, "name": "train" }, "status": { "state": "running" } });
    client.post("projects/p/runs/u0?iter=1", &child).await.ok();
    let uids = |page: &Json| -> Vec<String> {
        let runs = page["runs"].as_array().expect("a list");
        runs.iter().map(|run| run["metadata"]["uid"].as_str().expect("a uid").to_owned()).collect()
    };
    for (no, yes) in [("no", "yes"), ("False", "True"), ("false", "true")] {
        let query = format!("sort={yes}&iter={no}&with-notifications={no}&page=1&page-size=3");
        let mut page = client.get(&format!("projects/p/runs?{query}")).await.ok();
        let mut all = uids(&page);
        let mut pages = 1;
        while let Some(token) = page["pagination"]["page-token"].as_str() {
            page = client.get(&format!("projects/p/runs?page-token={token}")).await.ok();
            pages += 1;
            all.extend(uids(&page));
        }
        all.sort();
        assert_eq!((pages, all), (3, (0..7).map(|index| format!("u{index}")).collect()), "{query}");
        let registered =
            client.get(&format!("projects/p/runs?iter={no}&with-notifications={yes}&page-size=200")).await.ok();
        assert_eq!(uids(&registered).len(), 4, "{registered}");
        let run = &registered["runs"][0];
        assert!(
            run["spec"]["notifications"][0]["name"] == "hook" && run["status"]["notifications"]["hook"].is_object(),
            "{run}"
        );
    }
    assert_eq!(uids(&client.get("projects/p/runs?iter=yes").await.ok()).len(), 8);
    assert_eq!(uids(&client.get("projects/p/runs?iter=no&uid=u1&uid=u2").await.ok()).len(), 2);
    // The SDK asks for the last week without an offset; a run without a start time started when it was first reported.
    for (since, expected) in [("2020-01-31T12:00:00.123456", 8), ("2999-01-31T12:00:00.123456", 0)] {
        let listed = client.get(&format!("projects/p/runs?start_time_from={since}")).await.ok();
        assert_eq!(uids(&listed).len(), expected, "{since}: {listed}");
    }
    serving.stop().await;
}
