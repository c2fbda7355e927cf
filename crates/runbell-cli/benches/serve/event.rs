//! Requests: events of runs, each with one webhook.

use hyper::body::Bytes;
use serde_json::{Value as Json, json};

/// The project of the runs, except of those that a black hole swallows.
pub(crate) const PROJECT: &str = "benchmark";

/// The path and body of a request.
pub(crate) type Request = (String, Bytes);

/// An event: a run that ended, with one signed webhook.
pub(crate) fn event(uid: &str, url: &str) -> Request {
    event_of(PROJECT, uid, url)
}

/// The same in another project.
pub(crate) fn event_of(project: &str, uid: &str, url: &str) -> Request {
    let hook = json!({ "kind": "webhook", "name": "hook", "message": "nightly", "secret_params": secret(url) });
    request(project, uid, json!({ "run": run(project, uid, "completed"), "notifications": [hook] }))
}

/// The two events of one run, the start and the end, with one signed webhook for both. Its body says only the state.
pub(crate) fn lane(uid: &str, url: &str) -> [Request; 2] {
    let hook = json!({ "kind": "webhook", "name": "hook", "when": ["running", "completed"],
        "params": { "override_body": { "state": "{{ state }}" } }, "secret_params": secret(url) });
    [
        request(PROJECT, uid, json!({ "run": run(PROJECT, uid, "running"), "notifications": [hook] })),
        // The registered list stays in force.
        request(PROJECT, uid, json!({ "run": run(PROJECT, uid, "completed") })),
    ]
}

fn request(project: &str, uid: &str, body: Json) -> Request {
    (format!("/api/v1/projects/{project}/runs/{uid}/events"), Bytes::from(body.to_string()))
}

fn secret(url: &str) -> Json {
    json!({ "url": url, "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" })
}

fn run(project: &str, uid: &str, state: &str) -> Json {
    json!({
        "metadata": { "project": project, "uid": uid, "name": "train-model", "iteration": 0,
            "labels": { "host": "worker-7f9c5d", "owner": "dana", "kind": "job" } },
        "spec": { "parameters": { "epochs": 10, "batch": 64 } },
        "status": { "state": state, "results": { "accuracy": 0.937, "drift": 0.25, "rows": 17 },
            "start_time": "2026-03-01T10:00:00.123456+00:00", "end_time": "2026-03-01T11:00:00.654321+00:00",
            "status_text": "finished on a preemptible node after one checkpoint restore" },
    })
}
