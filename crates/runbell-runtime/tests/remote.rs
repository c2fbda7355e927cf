//! The event queue: in order, until the server has it, and nothing lost when it is stopped.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail loudly")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use runbell_core::{BuildContext, Notification, Place, Registry, Run, RunView as _, Timestamp, Transition, Value};
use runbell_runtime::remote::{EventQueue, EventQueueOptions, RemoteClient, RemoteEvent, register};
use runbell_testkit::{FakeAnswer, FakeHttp};

const LIMIT: Duration = Duration::from_secs(30);

fn event(uid: &str) -> RemoteEvent {
    let run = Run::new("n", uid).completed().freeze().expect("a run");
    RemoteEvent::new(Transition::current(run, Timestamp::UNIX_EPOCH), None)
}

fn client(peer: &FakeHttp) -> RemoteClient {
    RemoteClient::new(&peer.url(""), None, &BuildContext::here()).expect("a client")
}

fn taken() -> FakeAnswer {
    FakeAnswer::status(200).body(r#"{"version": 1}"#)
}

fn reported(peer: &FakeHttp) -> Vec<String> {
    let uid = |path: &str| path.split('/').nth(6).expect("a uid").to_owned();
    peer.requests().iter().map(|request| uid(&request.path)).collect()
}

#[tokio::test]
async fn events_keep_their_order_and_the_server_is_asked_until_it_has_them() {
    let peer = FakeHttp::start().await;
    peer.answer(FakeAnswer::status(503)).answer(FakeAnswer::close()).answer_always(taken());
    let (ready, first) = tokio::sync::oneshot::channel::<()>();
    let queue = EventQueue::start(client(&peer), EventQueueOptions::default(), async { drop(first.await) });
    for uid in ["a", "b", "c"] {
        queue.enqueue(event(uid));
    }
    assert!(peer.requests().is_empty());
    ready.send(()).expect("it waits");
    queue.drained(LIMIT).await;
    assert_eq!(reported(&peer), ["a", "a", "a", "b", "c"]);
    assert!(queue.stop().events.is_empty());
}

#[tokio::test]
async fn events_that_are_not_reported_come_back_in_order_at_the_stop() {
    let peer = FakeHttp::start().await;
    peer.answer(taken()).answer_always(FakeAnswer::black_hole());
    let queue = EventQueue::start(client(&peer), EventQueueOptions::default(), async {});
    for uid in ["a", "b", "c"] {
        queue.enqueue(event(uid));
    }
    peer.until_requests(2).await;
    let unreported = queue.stop();
    let uids: Vec<&str> = unreported.events.iter().map(|event| event.run().uid()).collect();
    // Whether the event under way arrived is unknown, so it is not among them.
    assert_eq!((uids, unreported.reason), (vec!["b", "c"], None));
}

#[tokio::test]
async fn a_blocked_event_or_a_long_wait_ends_the_pass() {
    for (answer, part) in [
        (FakeAnswer::status(403).body(r#"{"detail": "not this project"}"#), "403: not this project"),
        (FakeAnswer::status(503).header("retry-after", "31"), "503"),
    ] {
        let peer = FakeHttp::start().await;
        peer.answer_always(answer);
        let queue = EventQueue::start(client(&peer), EventQueueOptions::default(), async {});
        queue.enqueue(event("a"));
        queue.enqueue(event("b"));
        queue.drained(LIMIT).await;
        let unreported = queue.stop();
        assert_eq!((unreported.events.len(), reported(&peer).len()), (2, 1));
        assert!(unreported.reason.is_some_and(|reason| reason.contains(part)));
    }
}

#[tokio::test]
async fn a_given_up_event_is_handed_over_once() {
    let peer = FakeHttp::start().await;
    peer.answer_with(|request| match request.path.contains("/a/") {
        true => FakeAnswer::status(422),
        false => FakeAnswer::status(502),
    });
    let given_up: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let kept = Arc::clone(&given_up);
    let options = EventQueueOptions::default().tries(2).on_given_up(move |event, why| {
        kept.lock().unwrap().push((event.run().uid().to_owned(), why.to_owned()));
    });
    let queue = EventQueue::start(client(&peer), options, async {});
    queue.enqueue(event("a"));
    queue.enqueue(event("b"));
    queue.drained(LIMIT).await;
    assert!(queue.stop().events.is_empty());
    assert_eq!(reported(&peer), ["a", "b", "b"]);
    let expected = [("a", "the server answers 422"), ("b", "the server answers 502")];
    assert_eq!(*given_up.lock().unwrap(), expected.map(|(uid, why)| (uid.to_owned(), why.to_owned())));
}

#[test]
fn a_notification_is_registered_with_its_place_and_secrets() {
    let registry =
        Registry::collect([&runbell_webhook::REGISTRATION, &runbell_console::REGISTRATION]).expect("a registry");
    let cx = BuildContext::here();
    let console = register(Notification::new("console", "c"), &registry, &cx).expect("registered");
    assert_eq!(console.place, Place::HereOnly);
    let hook = Notification::new("webhook", "w").param("url", "http://h/secret-path-1").secret_param("secret", "");
    let hook = register(hook, &registry, &cx).expect("registered");
    assert_eq!((hook.place, hook.secrets.mask("secret-path-1", "*").as_ref()), (Place::Anywhere, "*"));
    assert_eq!(hook.notification.params.get("url"), Some(&Value::from("http://h/secret-path-1")));
    assert!(hook.notification.secret_params.is_empty());
    let named = Notification::new("webhook", "w").secret_param("secret", "NAME");
    let named = register(named, &registry, &cx).expect("registered");
    assert_eq!(named.notification.secret_reference(), Some("NAME"));
    assert!(register(Notification::new("pager", "p"), &registry, &cx).is_err());
}
