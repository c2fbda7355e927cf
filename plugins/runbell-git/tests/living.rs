//! One living comment: found, edited, made again; never two, never an older state over a newer one.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runbell_core::{
    BuildContext, Message, Payload, Receipt, Registry, Result, RunState, SendContext, Sender, Timestamp, Value,
};
use runbell_testkit::{FakeAnswer, FakeHttp, Request, SAMPLE_TIME, TestContext, message_about, sample_step};
use serde_json::{Value as Json, json};

/// A repository's comments, as GitHub or GitLab keeps them.
#[derive(Default)]
struct Thread {
    comments: BTreeMap<u64, String>,
    /// Comments that are somebody else's.
    foreign: Vec<u64>,
    last: u64,
    /// The comment is deleted after so many requests.
    delete_after: Option<usize>,
    requests: usize,
    /// The server gives smaller pages than it is asked for, and says by a header whether there are more.
    page_size: Option<usize>,
    /// The server gives the first page whatever it is asked for, and says that there are more.
    turns_no_pages: bool,
    /// Whose token is refused.
    refused: Option<&'static str>,
    /// Comments that are listed but cannot be found by their number.
    listed_only: Vec<u64>,
    /// The next comment is made, and the connection lost before the answer.
    lose_next_answer: bool,
}

impl Thread {
    fn add(&mut self, body: &str) -> u64 {
        self.last += 1;
        self.comments.insert(self.last, body.to_owned());
        self.last
    }

    fn answer(&mut self, request: &Request) -> FakeAnswer {
        self.requests += 1;
        if self.delete_after == Some(self.requests) {
            self.comments.retain(|id, _| self.foreign.contains(id));
        }
        if self.refused.is_some_and(|token| request.header("authorization") == Some(token)) {
            return FakeAnswer::status(401);
        }
        let shown = |id: u64, body: &str| json!({ "id": id, "body": body, "user": { "login": "bot" } });
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let said = || request.json()["body"].as_str().expect("a body").to_owned();
        let id = path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok());
        let body = id.and_then(|id| Some((id, self.comments.get(&id)?.clone())));
        match (request.method.as_str(), path.ends_with("s"), body) {
            ("GET", true, _) => {
                let page: usize =
                    query.split('&').find_map(|pair| pair.strip_prefix("page=")).expect("a page").parse().expect("it");
                let (page, size) = (if self.turns_no_pages { 1 } else { page }, self.page_size.unwrap_or(100));
                let all = self.comments.iter().skip((page - 1) * size).take(size);
                let answer = FakeAnswer::ok().body(Json::from_iter(all.map(|(id, body)| shown(*id, body))).to_string());
                match self.turns_no_pages || page * size < self.comments.len() {
                    true if self.turns_no_pages || self.page_size.is_some() => answer
                        .header("Link", r#"<https://api.test/x?page=2>; rel="next", <https://api.test/x>; rel="last""#),
                    _ => answer,
                }
            }
            ("POST", true, _) => {
                let body = said();
                let id = self.add(&body);
                if std::mem::take(&mut self.lose_next_answer) {
                    return FakeAnswer::reset();
                }
                FakeAnswer::status(201).body(shown(id, &body).to_string())
            }
            (_, false, Some((id, _))) if self.listed_only.contains(&id) => FakeAnswer::status(404),
            (_, false, None) => FakeAnswer::status(404).body(r#"{"message": "Not Found"}"#),
            ("GET", false, Some((id, body))) => FakeAnswer::ok().body(shown(id, &body).to_string()),
            ("PATCH" | "PUT", false, Some((id, _))) if self.foreign.contains(&id) => {
                FakeAnswer::status(403).body(r#"{"message": "Must have admin rights to Repository."}"#)
            }
            ("PATCH" | "PUT", false, Some((id, _))) => {
                let body = said();
                self.comments.insert(id, body.clone());
                FakeAnswer::ok().body(shown(id, &body).to_string())
            }
            _ => FakeAnswer::status(405),
        }
    }
}

struct Forge {
    peer: FakeHttp,
    thread: Arc<Mutex<Thread>>,
}

impl Forge {
    async fn start() -> Self {
        let (peer, thread) = (FakeHttp::start().await, Arc::new(Mutex::new(Thread::default())));
        let shared = Arc::clone(&thread);
        peer.answer_with(move |request| shared.lock().expect("not poisoned").answer(request));
        Forge { peer, thread }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Thread) -> T) -> T {
        look(&mut self.thread.lock().expect("not poisoned"))
    }

    fn comments(&self) -> Vec<String> {
        self.with(|thread| thread.comments.values().cloned().collect())
    }

    fn sender(&self, cx: &BuildContext, more: Json) -> Arc<dyn Sender> {
        let mut params =
            json!({ "repo": "o/r", "token": "t0123456789", "issue": 7, "update": true, "server": self.peer.url("") });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
        let Value::Map(params) = Value::from(params) else { panic!("an object") };
        registry.get("git").expect("it").build(&params, cx).expect("built")
    }
}

/// News of one run: its state, so many seconds after the sample's time.
fn news(state: RunState, seconds: i64, text: &str) -> Message {
    let mut message = message_about("living", vec![sample_step("run", "train", state)], text);
    message.at = Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("a time");
    message
}

async fn send(sender: &Arc<dyn Sender>, message: &Message) -> Result<Receipt> {
    let payload = sender.render(message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    sender.send(&payload, &cx).await
}

#[tokio::test]
async fn a_comment_is_made_then_edited() {
    for more in [json!({}), json!({ "gitlab": true, "merge_request": 3, "repo": "g/s/p" })] {
        let forge = Forge::start().await;
        let sender = forge.sender(&TestContext::here().build(), more);
        send(&sender, &news(RunState::Running, 0, "it runs")).await.expect("made");
        send(&sender, &news(RunState::Completed, 60, "it is done")).await.expect("edited");
        let comments = forge.comments();
        assert_eq!(comments.len(), 1);
        assert!(comments[0].starts_with("<!-- runbell run=") && comments[0].contains("it is done"), "{}", comments[0]);
        assert!(comments[0].contains(" at=2026-02-03T04:06:06Z -->\n<h3"), "{}", comments[0]);
        let methods: Vec<String> = forge.peer.requests().into_iter().map(|request| request.method).collect();
        assert!(methods == ["GET", "POST", "GET", "PATCH"] || methods == ["GET", "POST", "GET", "PUT"], "{methods:?}");
    }
}

#[tokio::test]
async fn fifty_at_once_and_a_deletion_leave_one_comment_with_the_last_state() {
    for delete_after in 1..=6 {
        let forge = Forge::start().await;
        let cx = TestContext::here().build();
        let first = forge.sender(&cx, json!({}));
        send(&first, &news(RunState::Running, 0, "state 0")).await.expect("made");
        forge.with(|thread| thread.delete_after = Some(thread.requests + delete_after));
        let mut sends = tokio::task::JoinSet::new();
        // The last state is neither the first nor the last to be said.
        for index in (26..=50).chain(1..=25) {
            let sender = forge.sender(&cx, json!({}));
            let message = news(RunState::Running, index, &format!("state {index} of 50"));
            sends.spawn(async move { send(&sender, &message).await });
        }
        let outcomes = sends.join_all().await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        // Whatever was deleted after the last look comes back with the next news, even if that is old.
        send(&first, &news(RunState::Running, 7, "state 7 of 50")).await.expect("shown");
        let comments = forge.comments();
        assert_eq!(comments.len(), 1, "{delete_after}");
        assert!(comments[0].contains("state 50 of 50"), "{delete_after}: {}", comments[0]);
        let edits = forge.peer.requests().iter().filter(|request| request.method != "GET").count();
        assert!(edits < 10, "{edits} writes for fifty updates");
    }
}

#[tokio::test]
async fn an_older_state_never_overwrites_a_newer_one_of_another_process() {
    let forge = Forge::start().await;
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    send(&sender, &news(RunState::Running, 0, "older")).await.expect("made");
    // What another process wrote meanwhile.
    let theirs =
        forge.comments()[0].replace(" at=2026-02-03T04:05:06Z", " at=2026-02-03T04:06:06Z").replace("older", "newer");
    forge.with(|thread| thread.comments.insert(1, theirs));
    send(&sender, &news(RunState::Running, 30, "in between")).await.expect("left alone");
    assert!(forge.comments()[0].contains("newer"));
    send(&sender, &news(RunState::Error, 90, "newest")).await.expect("edited");
    let comments = forge.comments();
    assert!(comments.len() == 1 && comments[0].contains("newest"));
}

#[tokio::test]
async fn it_is_found_among_many_and_not_mistaken() {
    let forge = Forge::start().await;
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    send(&sender, &news(RunState::Running, 0, "first")).await.expect("made");
    let ours = forge.comments().remove(0);
    // Its number is another one now, so it has to be looked for.
    forge.with(|thread| {
        thread.comments.clear();
        for index in 0..250 {
            thread.add(&format!("> {ours}\n\nquoted {index}"));
        }
        thread.add(&ours);
        thread.add("the last one");
    });
    send(&sender, &news(RunState::Completed, 60, "second")).await.expect("edited");
    let comments = forge.comments();
    assert_eq!(comments.len(), 252);
    assert!(
        comments[250].contains("second") && comments.iter().filter(|comment| comment.contains("second")).count() == 1
    );
    // Another notification's comment is another one.
    let mut other = news(RunState::Completed, 60, "other");
    other.name = "another".into();
    send(&sender, &other).await.expect("made");
    assert_eq!(forge.comments().len(), 253);
}

#[tokio::test]
async fn two_notifiers_of_one_process_make_one_comment() {
    let forge = Forge::start().await;
    let senders = [0, 1].map(|_| forge.sender(&TestContext::here().build(), json!({})));
    let messages = [1, 2].map(|index| news(RunState::Running, index, &format!("state {index}")));
    let (first, second) = tokio::join!(send(&senders[0], &messages[0]), send(&senders[1], &messages[1]));
    assert!(first.is_ok() && second.is_ok());
    let comments = forge.comments();
    assert!(comments.len() == 1 && comments[0].contains("state 2"), "{comments:?}");
}

#[tokio::test]
async fn one_comment_for_all_runs_of_a_key() {
    let forge = Forge::start().await;
    let cx = TestContext::here().build();
    let sender = forge.sender(&cx, json!({ "update_key": "nightly" }));
    for (index, uid) in ["one", "two", "three"].into_iter().enumerate() {
        let run = runbell_core::value::read(&format!(
            r#"{{"metadata": {{"uid": "{uid}", "name": "n", "project": "p"}}, "status": {{"state": "completed"}}}}"#
        ));
        let run = runbell_core::RunSnapshot::new(run.expect("JSON")).expect("a run");
        let mut message = message_about("living", vec![run], uid);
        message.at =
            Timestamp::from_second(SAMPLE_TIME.as_second() + i64::try_from(index).expect("small")).expect("a time");
        send(&sender, &message).await.expect("shown");
    }
    let comments = forge.comments();
    assert!(comments.len() == 1 && comments[0].contains("three"), "{comments:?}");
}

#[tokio::test]
async fn a_comment_that_is_not_ours_to_edit_is_left_alone() {
    let forge = Forge::start().await;
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    send(&sender, &news(RunState::Running, 0, "first")).await.expect("made");
    forge.with(|thread| thread.foreign = vec![1]);
    for (seconds, text) in [(60, "second"), (90, "third")] {
        send(&sender, &news(RunState::Completed, seconds, text)).await.expect("made, then edited");
    }
    let comments = forge.comments();
    assert!(comments.len() == 2 && comments[0].contains("first") && comments[1].contains("third"), "{comments:?}");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_comment() {
    let forge = Forge::start().await;
    forge.with(|thread| thread.lose_next_answer = true);
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    let message = news(RunState::Completed, 0, "once");
    let error = send(&sender, &message).await.expect_err("no answer");
    assert!(error.is_ambiguous(), "{error:?}");
    send(&sender, &message).await.expect("found");
    assert_eq!(forge.comments().len(), 1);
}

#[tokio::test]
async fn looking_leaves_nothing_in_doubt_and_limits_are_obeyed() {
    let peer = FakeHttp::start().await;
    let forge = Forge { peer, thread: Arc::default() };
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    for (answer, ambiguous, said) in [
        (FakeAnswer::reset(), false, "broke off"),
        (FakeAnswer::status(403).header("retry-after", "30"), false, "slow down"),
        (FakeAnswer::status(404), false, "no such repository"),
        (FakeAnswer::ok().body("<html>a login page</html>"), false, "not what its API describes"),
    ] {
        forge.peer.answer(answer);
        let error = send(&sender, &news(RunState::Running, 0, "x")).await.expect_err(said);
        assert!(error.to_string().contains(said) && error.is_ambiguous() == ambiguous, "{error:?}");
    }
    let methods: Vec<String> = forge.peer.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET"; 4]);
}

#[test]
fn the_preview_shows_the_marker() {
    let registry = Registry::default().with(&runbell_git::REGISTRATION).expect("one kind");
    let Value::Map(params) = Value::from(json!({ "repo": "o/r", "token": "t0123456789", "issue": 7 })) else {
        panic!()
    };
    let sender = registry.get("git").expect("it").build(&params, &TestContext::here().build()).expect("built");
    let message = news(RunState::Completed, 0, "x");
    let Payload::Http(request) = sender.render(&message).expect("rendered").payload else { panic!("HTTP") };
    let body = String::from_utf8(request.body.to_vec()).expect("UTF-8");
    assert!(
        body.starts_with(r#"{"body":"<!-- runbell run="#) && body.contains(&format!(" key={} at=2026", message.key))
    );
}

#[tokio::test]
async fn a_copied_marker_keeps_nothing_out() {
    // Somebody copied our comment into theirs, with a time to come.
    let ours = Forge::start().await;
    send(&ours.sender(&TestContext::here().build(), json!({})), &news(RunState::Running, 0, "it runs"))
        .await
        .expect("made");
    let copied = ours.comments()[0].replace(" at=2026-02-03T04:05:06Z", " at=2026-02-03T04:35:06Z");
    for page_size in [None, Some(50)] {
        let forge = Forge::start().await;
        forge.with(|thread| {
            thread.page_size = page_size;
            let copy = thread.add(&copied);
            thread.foreign = vec![copy];
            for index in 0..120 {
                thread.add(&format!("in between {index}"));
            }
        });
        // Each sender stands for another process: the peers have other ports.
        let sender = forge.sender(&TestContext::here().build(), json!({}));
        send(&sender, &news(RunState::Completed, 60, "it is done")).await.expect("made");
        send(&sender, &news(RunState::Completed, 70, "it is tidied up")).await.expect("edited");
        let comments = forge.comments();
        assert_eq!((comments.len(), &comments[0]), (122, &copied));
        assert!(comments[121].contains("it is tidied up"), "{}", comments[121]);
    }
}

#[tokio::test]
async fn ours_is_found_behind_one_that_is_not_ours() {
    let made = Forge::start().await;
    send(&made.sender(&TestContext::here().build(), json!({})), &news(RunState::Running, 0, "it runs"))
        .await
        .expect("made");
    let ours = made.comments().remove(0);
    for page_size in [None, Some(30)] {
        let forge = Forge::start().await;
        forge.with(|thread| {
            thread.page_size = page_size;
            let copy = thread.add(&ours);
            thread.foreign = vec![copy];
            for index in 0..110 {
                thread.add(&format!("in between {index}"));
            }
            thread.add(&ours);
        });
        let sender = forge.sender(&TestContext::here().build(), json!({}));
        send(&sender, &news(RunState::Completed, 60, "it is done")).await.expect("edited");
        let comments = forge.comments();
        assert_eq!((comments.len(), &comments[0]), (112, &ours));
        assert!(comments[111].contains("it is done"), "{}", comments[111]);
    }
}

#[tokio::test]
async fn a_time_far_ahead_does_not_keep_news_out() {
    let forge = Forge::start().await;
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    send(&sender, &news(RunState::Running, 0, "it runs")).await.expect("made");
    let ahead = forge.comments()[0].replace(" at=2026-", " at=2099-");
    forge.with(|thread| thread.comments.insert(1, ahead));
    send(&sender, &news(RunState::Completed, 60, "it is done")).await.expect("edited");
    let comments = forge.comments();
    assert!(comments.len() == 1 && comments[0].contains("it is done"), "{comments:?}");
}

#[tokio::test]
async fn a_server_that_turns_no_pages_is_read_once_more_at_most() {
    let forge = Forge::start().await;
    forge.with(|thread| {
        thread.turns_no_pages = true;
        thread.add("hello");
    });
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    send(&sender, &news(RunState::Running, 0, "it runs")).await.expect("made");
    let methods: Vec<String> = forge.peer.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "GET", "POST"]);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_media_type_is_asked_for_plain_json() {
    for update in [false, true] {
        let forge = Forge::start().await;
        let shared = Arc::clone(&forge.thread);
        forge.peer.answer_with(move |request| match request.header("accept") {
            Some("application/json") => shared.lock().expect("not poisoned").answer(request),
            _ => FakeAnswer::status(406),
        });
        let sender = forge.sender(&TestContext::here().build(), json!({ "update": update }));
        send(&sender, &news(RunState::Completed, 0, "it is done")).await.expect("made");
        assert_eq!(forge.comments().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_write_is_not_repeated_with_another_token() {
    for order in [[0, 1, 0], [1, 0, 0]] {
        let forge = Forge::start().await;
        forge.with(|thread| thread.refused = Some("token t-bad-0123456789"));
        let cx = TestContext::here().build();
        let good = forge.sender(&cx, json!({}));
        let bad = forge.sender(&cx, json!({ "token": "t-bad-0123456789" }));
        for (index, who) in order.into_iter().enumerate() {
            let seconds = if who == 1 { 600 } else { i64::try_from(index).expect("small") };
            let (sender, text) = if who == 1 { (&bad, "not mine to say") } else { (&good, "mine") };
            assert_eq!(send(sender, &news(RunState::Completed, seconds, text)).await.is_ok(), who == 0, "{order:?}");
        }
        let comments = forge.comments();
        assert!(
            comments.len() == 1 && comments[0].contains("mine") && !comments[0].contains("not mine"),
            "{comments:?}"
        );
    }
}

#[tokio::test]
async fn a_run_whose_clock_is_years_ahead_keeps_no_news_out() {
    let forge = Forge::start().await;
    let sender = forge.sender(&TestContext::here().build(), json!({}));
    let mut ahead = news(RunState::Running, 0, "from the future");
    ahead.at = "2099-01-01T00:00:00Z".parse().expect("a time");
    let payload = sender.render(&ahead).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let cx = SendContext::new(ahead.key, 1, Instant::now() + Duration::from_secs(20), SAMPLE_TIME, &written);
    sender.send(&payload, &cx).await.expect("made");
    send(&sender, &news(RunState::Completed, 60, "it is done")).await.expect("edited");
    let comments = forge.comments();
    assert!(comments.len() == 1 && comments[0].contains("it is done"), "{comments:?}");
}

#[tokio::test]
async fn one_that_is_listed_but_not_there_to_edit_is_not_waited_for() {
    let forge = Forge::start().await;
    let first = forge.sender(&TestContext::here().build(), json!({}));
    send(&first, &news(RunState::Running, 0, "it runs")).await.expect("made");
    forge.with(|thread| thread.listed_only = vec![1]);
    send(&first, &news(RunState::Completed, 60, "it is done")).await.expect("made");
    let comments = forge.comments();
    assert!(comments.len() == 2 && comments[1].contains("it is done"), "{comments:?}");
}
