//! What MLRun 1.12.1 posts in the same situations, environment included.
//!
//! Only cases of mode `direct` without alerts belong here; whole pushes are the runtime's.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use runbell_core::value::read;
use runbell_core::{
    BuildContext, DeliveryKey, Env, HeaderValue, HttpRequest, Links, Map, Message, Payload, Registry, RunState,
    Timestamp, Value,
};
use runbell_testkit::TestContext;
use scraper::Html;

/// Variables, and the files that some of them name.
#[derive(Debug, Default)]
struct Table {
    vars: HashMap<String, String>,
    files: HashMap<String, String>,
}

impl Env for Table {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned().or_else(|| self.files.contains_key(name).then(|| name.to_owned()))
    }

    fn read_file(&self, path: &str) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn table(value: Option<&Value>) -> HashMap<String, String> {
    let pairs = value.and_then(Value::as_map).into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}

/// The request we would make, or the fault.
fn request(input: &Value) -> Result<HttpRequest, String> {
    let env = Table { vars: table(input.get("env")), files: table(input.get("env_files")) };
    let cx = BuildContext { env: Arc::new(env), ..TestContext::here().build() };
    let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
    let kind = registry.get("git").expect("it");
    let mut params: Map = input.get("params").and_then(Value::as_map).expect("params").clone();
    kind.complete(&mut params, &cx);
    kind.check(&params, &cx).into_result().map_err(|error| error.to_string())?;
    let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = Message {
        key: DeliveryKey::of(&["vector"]),
        notification: Value::Null.into(),
        name: text("name").into(),
        state: RunState::Completed,
        at: Timestamp::UNIX_EPOCH,
        severity: text("severity").parse().expect("a severity"),
        text: text("message").to_owned(),
        own_text: "".into(),
        html: None,
        runs: Vec::new().into(),
        links: Links::default(),
    };
    let sender = kind.build(&params, &cx).map_err(|error| error.to_string())?;
    match sender.render(&message).expect("rendered").payload {
        Payload::Http(request) => Ok(request),
        _ => panic!("HTTP"),
    }
}

/// Where we differ on purpose, and what holds instead.
fn difference(input: &Value) -> Option<&'static str> {
    let param = |name: &str| input.at(&["params", name]).filter(|value| value.is_truthy());
    let env = |name: &str| input.at(&["env", name]).is_some();
    if param("issue").is_some() && env("CI_MERGE_REQUEST_IID") {
        return Some("explicit params beat the environment");
    }
    if param("server").and_then(Value::as_str).is_some_and(|server| server != server.to_lowercase()) {
        return Some("servers are compared without case");
    }
    let token = ["token", "GIT_TOKEN", "GITHUB_TOKEN"].into_iter().any(|name| param(name).is_some() || env(name));
    let issue = param("issue").is_some()
        || param("merge_request").is_some()
        || input.at(&["env_files", "GITHUB_EVENT_PATH"]).is_some();
    let gitlab = param("gitlab").is_some() || env("CI_PROJECT_ID");
    (!token || (!issue && !gitlab)).then_some("a missing issue or token is a fault")
}

#[test]
fn direct_cases() {
    let file = read(include_str!("vectors/git.json")).expect("JSON");
    let (mut equal, mut refused, mut differing) = (0, 0, Vec::new());
    for case in file.get("cases").and_then(Value::as_list).expect("cases") {
        let (id, input) =
            (case.get("id").and_then(Value::as_str).expect("an id"), case.get("input").expect("an input"));
        if case.get("mode").and_then(Value::as_str) != Some("direct") || input.get("alert").is_some() {
            continue;
        }
        let expected = case.at(&["expected", "requests"]).and_then(Value::as_list).and_then(|all| all.first());
        let ours = request(input);
        let wire = |field: &str| expected.and_then(|request| request.get(field)).and_then(Value::as_str);
        if let Some(why) = difference(input) {
            match why {
                "explicit params beat the environment" => {
                    assert!(ours.expect("made").url.reveal().ends_with("/issues/3/notes"), "{id}");
                }
                "servers are compared without case" => {
                    assert!(ours.expect("made").url.reveal().contains("/api/v4/"), "{id}");
                }
                _ => {
                    let fault = ours.expect_err(id);
                    assert!(fault.contains("token: ") || fault.contains("issue: "), "{id}: {fault}");
                }
            }
            differing.push(why);
            continue;
        }
        let Some(url) = wire("url") else {
            let fault = ours.expect_err(id);
            assert!(fault.contains("issue: ") || fault.contains("repo: "), "{id}: {fault}");
            refused += 1;
            continue;
        };
        let ours = ours.unwrap_or_else(|fault| panic!("{id}: {fault}"));
        assert_eq!((ours.method.as_str(), ours.url.reveal().as_str()), ("POST", url), "{id}");
        for (name, value) in
            expected.and_then(|request| request.get("headers")).and_then(Value::as_map).expect("headers")
        {
            // What the client adds is the HTTP crate's.
            let Some(header) = ours.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)) else {
                assert_eq!((name.as_str(), value.as_str()), ("accept", Some("*/*")), "{id}");
                continue;
            };
            let shown = match &header.value {
                HeaderValue::Plain(text) => text,
                HeaderValue::Secret(text) => text.reveal(),
                HeaderValue::PerAttempt => panic!("{id}: {name}"),
            };
            assert_eq!(Some(shown.as_str()), value.as_str(), "{id}: {name}");
        }
        let body = read(std::str::from_utf8(&ours.body).expect("UTF-8")).expect("JSON");
        let body = body.get("body").and_then(Value::as_str).expect("a body");
        let (marker, html) = body.split_once('\n').expect("two lines");
        assert!(marker.starts_with("<!-- runbell run="), "{id}");
        let text: String = Html::parse_fragment(html).root_element().text().collect();
        let theirs = expected.and_then(|request| request.at(&["json", "body"])).and_then(Value::as_str);
        assert_eq!(
            Some(text.trim_start_matches(|c: char| !c.is_ascii())),
            theirs.map(|t| format!(" {t}")).as_deref(),
            "{id}"
        );
        equal += 1;
    }
    differing.sort_unstable();
    differing.dedup();
    assert!(equal >= 12 && refused == 3 && differing.len() == 3, "{equal} {refused} {differing:?}");
}
