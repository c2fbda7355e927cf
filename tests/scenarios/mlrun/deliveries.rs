//! What goes out for a whole run, compared with what MLRun sent; and the preview with what really went out.

use std::collections::HashMap;
use std::sync::Arc;

use runbell::{
    BuildContext, Notifier, Payload, Registry, RetryPolicy, RunSnapshot, Status, SystemClock, Transition, Value,
};
use runbell_testkit::{FakeAnswer, FakeHttp, Recorder, Request};

use super::{Case, Difference, cases, same};

/// Where the observed targets were; replaced by the fake target's address.
const SINK: &str = "http://sink.invalid";

struct Delivered {
    case: Case,
    /// The run as it was handed in, addressed to the fake target.
    run: Value,
    requests: Vec<Request>,
    previews: Vec<Payload>,
    statuses: Vec<(String, Status, String)>,
    printed: String,
}

/// Drives the whole-run cases of a file. `keep` chooses the cases.
async fn deliver_all(file: &str) -> Vec<Delivered> {
    let mut delivered = Vec::new();
    for case in cases(file) {
        if case.text(&["mode"]) == "push_run" {
            delivered.push(deliver(case).await);
        }
    }
    assert!(delivered.len() > 10, "the file holds whole runs");
    delivered
}

async fn deliver(case: Case) -> Delivered {
    use runbell::Clock as _;
    let peer = FakeHttp::start().await;
    let status = case.at(&["sink_status"]).and_then(Value::as_i64).unwrap_or(200);
    peer.answer_always(FakeAnswer::status(u16::try_from(status).expect("a status")).body("{\"id\": 77, \"ok\": true}"));
    let readdress = |value: &Value| {
        runbell::value::read(&value.to_json().replace(SINK, peer.url("").trim_end_matches('/'))).expect("JSON")
    };
    // NaN has no JSON; whole-run cases hold none.
    let run = readdress(case.at(&["input", "run"]).expect("a run"));
    let env: HashMap<String, String> = case
        .at(&["input", "env"])
        .and_then(Value::as_map)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), readdress(value).as_str().expect("a text").to_owned()))
        .collect();
    let recorder = Recorder::default();
    let cx = BuildContext { env: Arc::new(env), output: recorder.output(), ..BuildContext::here() };
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    let notifier = Notifier::builder(registry)
        .context(cx)
        .ui_url(case.text(&["input", "ui_url"]))
        .retry(RetryPolicy::once())
        .build()
        .expect("no notifications of its own");
    let steps = case.at(&["input", "workflow_steps"]).and_then(Value::as_list).unwrap_or_default();
    let transition = || {
        let snapshot = RunSnapshot::new(run.clone()).expect("a run");
        Transition::current(snapshot, SystemClock.now())
            .with_steps(steps.iter().cloned().map(RunSnapshot::step).collect())
    };
    let previews = notifier
        .preview(transition())
        .into_iter()
        .filter(|line| line.sends)
        .filter_map(|line| Some(line.rendered.ok()?.payload))
        .collect();
    let report = notifier.dispatch(transition()).await;
    let mut requests = peer.requests();
    requests.sort_by(|left, right| left.path.cmp(&right.path));
    let statuses = report.lines.into_iter().map(|line| (line.notification, line.status, line.reason)).collect();
    let printed = recorder.text();
    Delivered { case, run, requests, previews, statuses, printed }
}

impl Delivered {
    fn check_statuses(&self) {
        let expected = self.case.at(&["expected", "notifications"]).and_then(Value::as_list).expect("notifications");
        for wanted in expected {
            let name = wanted.get("name").and_then(Value::as_str).expect("a name");
            let Some((_, status, reason)) = self.statuses.iter().find(|(other, ..)| other == name) else {
                panic!("{}: {name} has no line: {:?}", self.case.id, self.statuses)
            };
            let sent = match wanted.get("status").and_then(Value::as_str) {
                Some("sent") if self.difference_in_status().is_none() => Status::Sent,
                Some("sent" | "error") => Status::Error,
                _ if self.unrecorded(name) == Some(Difference::StatusAlwaysRecorded) => Status::Sent,
                _ => Status::Skipped,
            };
            assert_eq!(*status, sent, "{}: {name}: {reason}", self.case.id);
        }
    }

    /// MLRun sends and says "pending".
    fn unrecorded(&self, name: &str) -> Option<Difference> {
        let list = self.run.at(&["spec", "notifications"]).and_then(Value::as_list)?;
        let notification = list.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))?;
        let when = notification.get("when").and_then(Value::as_list)?;
        let running = self.run.at(&["status", "state"]).and_then(Value::as_str) == Some("running");
        let listed = when.iter().any(|state| state.as_str() == Some("running"));
        (running && listed && when.len() > 1).then_some(Difference::StatusAlwaysRecorded)
    }

    /// MLRun says "sent" where nothing was sent.
    fn difference_in_status(&self) -> Option<Difference> {
        let status = self.case.at(&["sink_status"]).and_then(Value::as_i64).unwrap_or(200);
        if (300..400).contains(&status) {
            Some(Difference::RedirectsFail)
        } else if self.kinds().any(|kind| kind == "slack") && self.requests.is_empty() {
            Some(Difference::NothingConfiguredIsAnError)
        } else {
            None
        }
    }

    fn kinds(&self) -> impl Iterator<Item = &str> {
        let list = self.run.at(&["spec", "notifications"]).and_then(Value::as_list).unwrap_or_default();
        list.iter().filter_map(|one| one.get("kind").and_then(Value::as_str))
    }

    /// MLRun fails on a workflow without results and sends nothing; Runbell sends every notification.
    fn sends_a_workflow_without_results(&self) -> bool {
        let workflow = self.run.at(&["metadata", "labels", "workflow"]).is_some();
        let results = self.run.at(&["status", "results"]).is_some_and(|results| *results != Value::Null);
        if workflow && !results {
            assert!(self.expected_requests().is_empty(), "{}", self.case.id);
            let reason = Difference::WorkflowWithoutResults;
            assert!(self.statuses.iter().all(|(_, status, _)| *status == Status::Sent), "{}: {reason:?}", self.case.id);
            return true;
        }
        false
    }

    /// Every request is what its preview said, but for what belongs to one attempt or to HTTP itself.
    fn check_previews(&self) {
        const OF_HTTP: [&str; 5] = ["host", "user-agent", "accept", "content-length", "accept-encoding"];
        assert_eq!(self.previews.len(), self.requests.len(), "{}", self.case.id);
        for request in &self.requests {
            let found = self.previews.iter().any(|payload| {
                let Payload::Http(preview) = payload else { panic!("{}: no request", self.case.id) };
                let wire: Vec<_> = request
                    .headers
                    .iter()
                    .filter(|(name, _)| !OF_HTTP.contains(&name.to_lowercase().as_str()))
                    .map(|(name, value)| (name.to_lowercase(), value.clone()))
                    .collect();
                let shown = serde_json::to_value(runbell::Preview { payload, reveal: true }).expect("JSON");
                let headers: Vec<_> = shown["http"]["headers"]
                    .as_object()
                    .expect("headers")
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.as_str().expect("a text").to_owned()))
                    .collect();
                let (mut wire, mut headers) = (wire, headers);
                wire.sort();
                headers.sort();
                preview.method == request.method
                    && preview.url.reveal().ends_with(&request.path)
                    && wire == headers
                    && preview.body == request.body
                    && shown["http"]["body"].as_str().map(str::as_bytes) == Some(&request.body[..])
            });
            assert!(found, "{}: no preview is {request:?}", self.case.id);
        }
    }

    fn body(&self, index: usize) -> Value {
        runbell::value::read(&self.requests[index].text()).expect("a JSON body")
    }

    fn expected_requests(&self) -> &[Value] {
        self.case.at(&["expected", "requests"]).and_then(Value::as_list).expect("requests")
    }
}

#[tokio::test]
async fn slack_runs() {
    for delivered in deliver_all(include_str!("../../../plugins/runbell-slack/tests/vectors/slack.json")).await {
        if delivered.sends_a_workflow_without_results() {
            continue;
        }
        delivered.check_statuses();
        delivered.check_previews();
        let id = &delivered.case.id;
        assert_eq!(delivered.requests.len(), delivered.expected_requests().len(), "{id}");
        for (index, expected) in delivered.expected_requests().iter().enumerate() {
            assert_eq!(Some(delivered.requests[index].path.as_str()), expected.get("raw_path").and_then(Value::as_str));
            let mut ours = delivered.body(index);
            let Value::Map(body) = &mut ours else { panic!("{id}: no object") };
            let fallback = body.shift_remove("text").expect("a fallback text");
            assert!(fallback.is_truthy(), "{id}");
            let mut wanted = expected.get("json").expect("a body").clone();
            plain_slack(&mut ours);
            plain_slack(&mut wanted);
            assert!(same(&ours, &wanted), "{id}:\n{}\n{}", ours.to_json(), wanted.to_json());
        }
    }
}

/// Undoes what is different on purpose: escapes, `verbatim`, links without a target, empty texts.
fn plain_slack(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.shift_remove("verbatim");
            map.values_mut().for_each(plain_slack);
            if let Some(Value::String(text)) = map.get_mut("text") {
                *text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
                if let Some((before, rest)) = text.split_once("<|*")
                    && let Some((name, after)) = rest.split_once("*>")
                {
                    *text = format!("{before}{name}{after}");
                }
                *text = text.trim().to_owned();
            }
        }
        Value::List(list) => list.iter_mut().for_each(plain_slack),
        _ => {}
    }
}

#[tokio::test]
async fn webhook_runs() {
    let mut redacted = 0;
    for delivered in deliver_all(include_str!("../../../plugins/runbell-webhook/tests/vectors/webhook.json")).await {
        if delivered.sends_a_workflow_without_results() {
            continue;
        }
        delivered.check_statuses();
        delivered.check_previews();
        let id = &delivered.case.id;
        assert_eq!(delivered.requests.len(), delivered.expected_requests().len(), "{id}");
        for (index, expected) in delivered.expected_requests().iter().enumerate() {
            let request = &delivered.requests[index];
            assert_eq!(Some(request.path.as_str()), expected.get("raw_path").and_then(Value::as_str), "{id}");
            assert_eq!(Some(request.method.as_str()), expected.get("method").and_then(Value::as_str), "{id}");
            for (name, value) in expected.get("headers").and_then(Value::as_map).expect("headers") {
                assert_eq!(request.header(name), value.as_str(), "{id}: {name}");
            }
            let mut ours = delivered.body(index);
            let wanted = expected.get("json").expect("a body");
            if has_own_body(&delivered.run) {
                // Bodies are compared in the webhook's own tests; here it counts that they are the author's.
                assert!(ours.get("severity").is_none() || wanted.get("severity").is_some(), "{id}");
                continue;
            }
            let Value::Map(body) = &mut ours else { panic!("{id}: no object") };
            let name = body.shift_remove("name").expect("the name, which MLRun's documentation promises");
            assert!(delivered.statuses.iter().any(|(other, ..)| Some(other.as_str()) == name.as_str()), "{id}");
            let runs = body.shift_remove("runs").expect("runs");
            let mut handed_in = delivered.run.clone();
            redacted += usize::from(redact(&mut handed_in));
            assert!(same(&runs, &Value::List(vec![handed_in])), "{id}: {}", runs.to_json());
            let mut wanted = wanted.clone();
            let Value::Map(wanted_body) = &mut wanted else { panic!("{id}: no object") };
            let theirs = wanted_body.shift_remove("runs").expect("runs");
            assert!(same(&ours, &wanted), "{id}:\n{}\n{}", ours.to_json(), wanted.to_json());
            check_as_handed_in(&delivered, &theirs);
        }
    }
    assert!(redacted > 5, "secrets were in the way: {:?}", Difference::SecretsAreRedacted);
}

fn has_own_body(run: &Value) -> bool {
    let list = run.at(&["spec", "notifications"]).and_then(Value::as_list).unwrap_or_default();
    list.iter().any(|one| one.at(&["params", "override_body"]).is_some_and(Value::is_truthy))
}

/// Replaces what must not go out; says whether there was anything.
fn redact(run: &mut Value) -> bool {
    let Value::Map(run) = run else { return false };
    let Some(Value::Map(spec)) = run.get_mut("spec") else { return false };
    let Some(Value::List(list)) = spec.get_mut("notifications") else { return false };
    for notification in list {
        let Value::Map(notification) = notification else { continue };
        if let Some(Value::Map(secrets)) = notification.get_mut("secret_params") {
            secrets.values_mut().for_each(|value| *value = "REDACTED".into());
        }
        let Some(Value::Map(params)) = notification.get_mut("params") else { continue };
        for name in ["url", "webhook", "signing_secret"] {
            if let Some(value) = params.get_mut(name) {
                *value = "REDACTED".into();
            }
        }
        if let Some(Value::Map(headers)) = params.get_mut("headers") {
            headers.values_mut().for_each(|value| *value = "REDACTED".into());
        }
    }
    true
}

/// MLRun adds and drops fields of the run; what it kept is what we send.
fn check_as_handed_in(delivered: &Delivered, theirs: &Value) {
    let their_run = theirs.as_list().and_then(<[Value]>::first).expect("a run");
    for part in ["metadata", "status"] {
        for (key, value) in delivered.run.get(part).and_then(Value::as_map).into_iter().flatten() {
            if let Some(theirs) = their_run.at(&[part, key]) {
                let id = &delivered.case.id;
                assert!(same(value, theirs), "{id}: {part}.{key} ({:?})", Difference::AsHandedIn);
            }
        }
    }
}

#[tokio::test]
async fn console_runs() {
    for delivered in deliver_all(include_str!("../../../plugins/runbell-console/tests/vectors/console.json")).await {
        if delivered.sends_a_workflow_without_results() {
            continue;
        }
        delivered.check_statuses();
        let (id, expected) = (&delivered.case.id, delivered.case.text(&["expected", "stdout"]));
        // The facts: the headline word for word, and of each row state, name, end of the uid, and what it came to.
        let headline = expected.split("\nstatus ").next().expect("a headline");
        assert!(delivered.printed.starts_with(headline.trim_end()), "{id}:\n{}\n{headline}", delivered.printed);
        let run = RunSnapshot::new(delivered.run.clone()).expect("a run");
        let tail: String = run.uid().chars().skip(run.uid().chars().count().saturating_sub(6)).collect();
        for fact in [run.state_word(), run.name(), &format!("..{tail}")] {
            assert!(delivered.printed.contains(fact), "{id}: {fact}:\n{}", delivered.printed);
        }
    }
}
