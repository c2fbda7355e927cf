//! Comments, checked against the forges' own descriptions of their API: GitHub publishes its as OpenAPI, GitLab's is
//! written down beside this file. Prism refuses every request that does not fit the description.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use runbell::{BuildContext, Notification, Notifier, Payload, Registry, RetryPolicy, RunState, Status};
use runbell_testkit::sample_run;
use serde_json::{Value as Json, json};

use super::{packages, present, program};
use crate::tools::Folder;

const REMEDY: &str =
    "npm install --ignore-scripts --prefix target/test-servers @stoplight/prism-cli@5.14.2 @octokit/openapi@23.0.2";

/// Prism, serving one description.
struct Prism {
    process: Child,
    url: String,
    log: Receiver<String>,
}

impl Prism {
    fn start(description: &str) -> Self {
        // Prism takes no port of the system's choice, so one that was just free has to do.
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut process = Command::new(program("node").expect("it was looked for"))
            .arg(packages().join("node_modules/@stoplight/prism-cli/dist/index.js"))
            .args(["mock", "--errors", "-h", "127.0.0.1", "-p", &port.to_string(), description])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("is listening"));
        assert!(ready, "prism does not start");
        // Read on, for a full pipe would stop it.
        let (log_line, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| log_line.send(line)));
        Prism { process, url: format!("http://127.0.0.1:{port}"), log }
    }

    /// Waits until it logs a request with this method and path.
    fn saw(&self, method: &str, path: &str) {
        let wanted = format!("{method} {path}");
        let mut logged = Vec::new();
        while let Ok(line) = self.log.recv_timeout(Duration::from_secs(20)) {
            if line.to_ascii_lowercase().contains(&wanted) {
                return;
            }
            logged.push(line);
        }
        panic!("no request `{wanted}`: {logged:#?}");
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_installed(name: &str, package: &str) -> bool {
    let node_modules = packages().join("node_modules");
    let found = program("node").is_some()
        && node_modules.join("@stoplight/prism-cli").is_dir()
        && node_modules.join(package).is_dir();
    present(name, found, REMEDY)
}

fn notifier(server: &str, more: Json) -> Notifier {
    let mut notification = Notification::new("git", "ops")
        .when([RunState::Completed])
        .message("@octocat, see #1 & <b>this</b>")
        .param("server", server)
        .param("repo", "octocat/hello-world")
        .param("issue", 42)
        .secret_param("token", "t0123456789");
    for (name, value) in more.as_object().expect("an object") {
        notification = notification.param(name, runbell::Value::from(value.clone()));
    }
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    Notifier::builder(registry)
        .context(BuildContext::server())
        .retry(RetryPolicy::once())
        .notification(notification)
        .build()
        .expect("good params")
}

async fn send(notifier: &Notifier) -> (Status, String) {
    let line = notifier.run_changed(sample_run().document()).await.lines.pop().expect("a line");
    (line.status, line.reason)
}

/// The first line of the comment that would be made, as of an earlier time.
fn older_marker(notifier: &Notifier) -> String {
    let transition = runbell::Transition::current(sample_run(), runbell::Timestamp::UNIX_EPOCH);
    let rendered = notifier.preview(transition).pop().expect("a line").rendered.expect("rendered");
    let Payload::Http(request) = rendered.payload else { panic!("no request") };
    let body: Json = serde_json::from_slice(&request.body).expect("JSON");
    let marker = body["body"].as_str().and_then(|body| body.lines().next()).expect("a marker").to_owned();
    marker.replace(" at=2026", " at=2025")
}

/// GitHub's description, cut down to comments on issues, so that it loads in no time.
fn github(marker: &str) -> String {
    let file = packages().join("node_modules/@octokit/openapi/generated/api.github.com.json");
    let whole: Json = serde_json::from_slice(&std::fs::read(file).expect("the description")).expect("JSON");
    let mut paths = json!({});
    for path in
        ["/repos/{owner}/{repo}/issues/{issue_number}/comments", "/repos/{owner}/{repo}/issues/comments/{comment_id}"]
    {
        paths[path] = whole["paths"][path].clone();
    }
    let mut cut = json!({ "openapi": whole["openapi"], "info": whole["info"], "servers": [{ "url": "/" }], "paths": paths, "components": {} });
    let (mut known, mut found) = (BTreeSet::new(), Vec::new());
    references(&cut["paths"], &mut found);
    while let Some(reference) = found.pop() {
        if known.insert(reference.clone()) {
            let value = whole.pointer(&reference).expect("what is referred to").clone();
            references(&value, &mut found);
            let mut parts = reference.rsplitn(2, '/');
            let (name, group) =
                (parts.next().expect("a name"), parts.next().expect("a group").trim_start_matches("/components/"));
            cut["components"][group][name] = value;
        }
    }
    // The description lists no media type but JSON's own, although GitHub asks for this one.
    every_content(&mut cut, &mut |content| {
        if let Some(json) = content.get("application/json").cloned() {
            content["application/vnd.github.v3+json"] = json;
        }
    });
    // Nor does it say that a token is wanted.
    cut["components"]["securitySchemes"] =
        json!({ "token": { "type": "apiKey", "in": "header", "name": "Authorization" } });
    cut["security"] = json!([{ "token": [] }]);
    cut["components"]["examples"]["issue-comment-items"]["value"][0]["body"] = json!(format!("{marker}\r\nold"));
    cut.to_string()
}

fn references(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Json::as_str) {
                found.push(reference.trim_start_matches('#').to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Json::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn every_content(value: &mut Json, change: &mut impl FnMut(&mut Json)) {
    match value {
        Json::Object(map) => {
            if let Some(content) = map.get_mut("content") {
                change(content);
            }
            map.values_mut().for_each(|value| every_content(value, change));
        }
        Json::Array(list) => list.iter_mut().for_each(|value| every_content(value, change)),
        _ => {}
    }
}

#[tokio::test]
async fn github_takes_comments_and_edits() {
    if !is_installed("github", "@octokit/openapi") {
        return;
    }
    let folder = Folder::new();
    let marker = older_marker(&notifier("http://127.0.0.1:9", json!({})));
    let prism = Prism::start(&folder.file("github.json", &github(&marker)));
    let sent = (Status::Sent, "matched".to_owned());
    assert_eq!(send(&notifier(&prism.url, json!({}))).await, sent, "a new comment");
    assert_eq!(send(&notifier(&prism.url, json!({ "update": true }))).await, sent, "an edited one");
    prism.saw("patch", "/repos/octocat/hello-world/issues/comments/1");
    let other = json!({ "update": true, "update_key": "another" });
    assert_eq!(send(&notifier(&prism.url, other)).await, sent, "one that is looked for and made");
    // The mock is no rubber stamp.
    let refused = send(&notifier(&format!("{}/nowhere", prism.url), json!({}))).await;
    assert!(refused.0 == Status::Error && refused.1.contains("status=404"), "{refused:?}");
}

#[tokio::test]
async fn gitlab_takes_notes_and_edits() {
    if !is_installed("gitlab", "@stoplight/prism-cli") {
        return;
    }
    let folder = Folder::new();
    let marker = older_marker(&notifier("http://127.0.0.1:9", json!({ "gitlab": true })));
    let prism = Prism::start(&folder.file("gitlab.yaml", &include_str!("gitlab.yaml").replace("@MARKER@", &marker)));
    let sent = (Status::Sent, "matched".to_owned());
    for place in [json!({}), json!({ "merge_request": 7, "repo": "group/sub/project" }), json!({ "repo": "19" })] {
        for update in [false, true] {
            let mut more = place.clone();
            more["gitlab"] = json!(true);
            more["update"] = json!(update);
            assert_eq!(send(&notifier(&prism.url, more.clone())).await, sent, "{more}");
        }
        prism.saw("put", "/api/v4/projects/");
    }
    let refused = send(&notifier(&format!("{}/nowhere", prism.url), json!({ "gitlab": true }))).await;
    assert!(refused.0 == Status::Error && refused.1.contains("status=404"), "{refused:?}");
}
