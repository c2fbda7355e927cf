//! The client against real connections: what is written, what an answer is, what a failure is called.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runbell_core::{
    BuildContext, DeliveryKey, Egress, Error, ErrorKind, HttpRequest, IpNet, Result, Retry, SendContext, Timestamp,
};
use runbell_http::{Answer, Client, HttpOptions, TargetUrl};
use runbell_testkit::{FakeAnswer as Says, FakeHttp};

fn context() -> BuildContext {
    BuildContext { env: Arc::new(HashMap::new()), ..BuildContext::here() }
}

fn with_env(vars: &[(&str, &str)]) -> BuildContext {
    let env: HashMap<String, String> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    BuildContext { env: Arc::new(env), ..BuildContext::here() }
}

fn request(url: &str) -> HttpRequest {
    TargetUrl::new(url).request("POST", "{}")
}

/// Sends once; also returns whether bytes may have left.
async fn send(cx: &BuildContext, request: &HttpRequest) -> (Result<Answer>, bool) {
    let client = Client::new(cx, &HttpOptions::default()).expect("a client");
    let written = AtomicBool::new(false);
    let attempt = SendContext::new(
        DeliveryKey::of(&["x"]),
        1,
        Instant::now() + Duration::from_secs(10),
        Timestamp::UNIX_EPOCH,
        &written,
    );
    let outcome = client.send(request, &attempt).await;
    (outcome, written.load(Ordering::Relaxed))
}

fn failure((outcome, written): (Result<Answer>, bool)) -> (Error, bool) {
    (outcome.expect_err("no answer"), written)
}

#[tokio::test]
async fn connections_are_used_again() {
    let peer = FakeHttp::start().await;
    peer.answer_always(Says::ok().body("x".repeat(10_000)));
    let cx = context();
    for _ in 0..5 {
        let (answer, written) = send(&cx, &request(&peer.url("/CANARY"))).await;
        let answer = answer.expect("an answer");
        assert!(written && answer.is_success() && answer.body().len() == 10_000);
        assert!(!format!("{answer:?}").contains("xxx"));
    }
    assert_eq!((peer.requests().len(), peer.connections()), (5, 1));
}

#[tokio::test]
async fn bodies_are_read_within_limits() {
    let peer = FakeHttp::start().await;
    let cx = context();
    for (says, status, most) in [
        (Says::endless_body(200), 200, 16 << 10),
        (Says::endless_body(400), 400, 64 << 10),
        (Says::half_body(202).body("half"), 202, 4),
        (Says::half_body(500).body("half"), 500, 4),
        (Says::status(500).body("x".repeat(100_000)), 500, 64 << 10),
    ] {
        peer.answer(says);
        let begun = Instant::now();
        let (answer, _) = send(&cx, &request(&peer.url("/"))).await;
        let answer = answer.expect("the status decides");
        assert_eq!(answer.status(), status);
        assert!(answer.body().len() <= most, "{}", answer.body().len());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_whole_body_can_be_asked_for() {
    let peer = FakeHttp::start().await;
    let client = Client::new(&context(), &HttpOptions::default()).expect("a client");
    let written = AtomicBool::new(false);
    let key = DeliveryKey::of(&["x"]);
    let attempt = SendContext::new(key, 1, Instant::now(), Timestamp::UNIX_EPOCH, &written);
    peer.answer(Says::ok().body("x".repeat(200_000)));
    let answer = client.fetch(&request(&peer.url("/")), 1 << 20, &attempt).await.expect("an answer");
    assert_eq!(answer.body().len(), 200_000);
    for says in [Says::ok().body("x".repeat(200_000)), Says::half_body(200).body("half")] {
        peer.answer(says);
        let error = client.fetch(&request(&peer.url("/")), 1 << 10, &attempt).await.expect_err("no whole body");
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unreachable, Retry::Backoff));
    }
}

#[tokio::test]
async fn a_body_can_be_taken_piece_by_piece() {
    let peer = FakeHttp::start().await;
    let client = Client::new(&context(), &HttpOptions::default()).expect("a client");
    let written = AtomicBool::new(false);
    let key = DeliveryKey::of(&["x"]);
    let attempt = SendContext::new(key, 1, Instant::now(), Timestamp::UNIX_EPOCH, &written);
    let (request, long) = (request(&peer.url("/")), Duration::from_secs(60));
    peer.answer(Says::ok().body("x".repeat(200_000)));
    let mut taken = 0;
    let count = |piece: &[u8]| {
        taken += piece.len();
        Ok(())
    };
    let answer = client.stream(&request, long, &attempt, count).await.expect("an answer");
    assert_eq!((answer.status(), answer.body().len(), taken), (200, 0, 200_000));
    peer.answer(Says::status(403).body("why"));
    let answer = client.stream(&request, long, &attempt, |_| panic!("no success")).await.expect("an answer");
    assert_eq!((answer.status(), answer.body()), (403, &b"why"[..]));
    for (says, silence, expected) in [
        (Says::half_body(200).body("half"), long, ErrorKind::Unreachable),
        (Says::black_hole(), Duration::from_millis(50), ErrorKind::Timeout),
    ] {
        peer.answer(says);
        let error = client.stream(&request, silence, &attempt, |_| Ok(())).await.expect_err("no whole body");
        assert_eq!(error.kind(), expected);
    }
    peer.answer(Says::endless_body(200));
    let full = |_: &[u8]| Err(Error::new(ErrorKind::Internal, "the disk is full"));
    let error = client.stream(&request, long, &attempt, full).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn failures_say_whether_the_request_may_have_arrived() {
    let peer = FakeHttp::start().await;
    let cx = context();
    let (error, written) = failure(send(&cx, &request(&peer.refused_url("/CANARY"))).await);
    assert_eq!(error.to_string(), "the target refuses connections");
    assert!(!written && !error.is_ambiguous() && error.retry_advice() == Retry::Backoff);

    let (error, written) = failure(send(&cx, &request("http://name.invalid/CANARY")).await);
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout), "{error}");
    assert!(!written && !error.is_ambiguous() && !error.to_string().contains("CANARY"), "{error}");
    // The host of a hook is what a person misspells; its path is the secret.
    assert!(
        error.kind() == ErrorKind::Timeout || error.to_string().contains("`name.invalid` cannot be resolved"),
        "{error}"
    );

    for says in [Says::close(), Says::half_head(), Says::garbage()] {
        peer.answer(says);
        let (error, written) = failure(send(&cx, &request(&peer.url("/CANARY"))).await);
        assert_eq!(error.to_string(), "the connection broke off before the target answered");
        assert!(written && error.is_ambiguous() && error.retry_advice() == Retry::Backoff);
    }
}

#[tokio::test]
async fn unsendable_payloads_are_reported_without_quoting_them() {
    let cx = context();
    for (change, said) in [
        (
            &(|request: &mut HttpRequest| request.method = "CAN ARY".to_owned()) as &dyn Fn(&mut HttpRequest),
            "the request's method is not valid",
        ),
        (
            &|request| request.set_header("X\n", runbell_core::HeaderValue::Plain("x".to_owned())),
            "a header's name is not valid",
        ),
        (
            &|request| request.set_header("X", runbell_core::HeaderValue::Plain("CANARY\n".to_owned())),
            "a header's value is not valid [header=X]",
        ),
        (
            &|request| request.set_header("X", runbell_core::HeaderValue::PerAttempt),
            "a header was not filled in for the attempt [header=X]",
        ),
        (&|request| request.url = runbell_core::Secret::new("CANARY".to_owned()), "the request's URL is not valid"),
        (
            &|request| request.url = runbell_core::Secret::new("ftp://CANARY/".to_owned()),
            "the request cannot be sent over HTTP as it is",
        ),
    ] {
        let mut request = request("http://127.0.0.1:9/");
        change(&mut request);
        let (error, written) = failure(send(&cx, &request).await);
        assert_eq!((error.to_string().as_str(), written, error.retry_advice()), (said, false, Retry::Never));
    }
}

#[tokio::test]
async fn a_guard_decides_by_the_address_that_is_connected_to() {
    let peer = FakeHttp::start().await;
    let cx = context();
    cx.shared.set(Egress::guarded([]));
    let said = "the target's address is loopback, which is not allowed here; `allow_networks` can list its network";
    // A name that resolves to loopback and is on no list of names stands for a rebound one.
    let host = std::fs::read_to_string("/etc/hosts").unwrap_or_default().lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        (words.next()? == "127.0.0.1").then(|| words.find(|name| !name.contains("localhost")))?.map(str::to_owned)
    });
    let port = peer.address().port();
    let mut urls =
        vec![peer.url("/"), format!("http://localhost:{port}/"), format!("http://[::ffff:127.0.0.1]:{port}/")];
    urls.extend(host.map(|host| format!("http://{host}:{port}/")));
    for url in urls {
        let (error, written) = failure(send(&cx, &request(&url)).await);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::ParamsInvalid, said));
        assert!(!written && error.retry_advice() == Retry::Never);
    }
    assert_eq!(peer.connections(), 0);
    cx.shared.set(Egress::guarded(["127.0.0.0/8".parse::<IpNet>().expect("a network")]));
    assert!(send(&cx, &request(&peer.url("/"))).await.0.is_ok());
    // The resolver drops `::1` and keeps what is listed.
    assert!(send(&cx, &request(&format!("http://localhost:{port}/"))).await.0.is_ok());
}

#[tokio::test]
async fn proxies_come_from_the_environment_handed_in() {
    let (peer, proxy) = (FakeHttp::start().await, FakeHttp::start().await);
    let address = proxy.url("");
    let cx = with_env(&[("HTTP_PROXY", &address), ("NO_PROXY", "127.0.0.1")]);
    assert!(send(&cx, &request("http://target.invalid/x?y")).await.0.is_ok());
    assert_eq!(proxy.take_requests()[0].path, "http://target.invalid/x?y");
    assert!(send(&cx, &request(&peer.url("/"))).await.0.is_ok());
    assert_eq!((proxy.take_requests().len(), peer.take_requests().len()), (0, 1));

    // Behind a guard the environment has no say; a proxy set on purpose has.
    cx.shared.set(Egress::guarded(["127.0.0.0/8".parse::<IpNet>().expect("a network")]));
    assert!(send(&cx, &request("http://target.invalid/")).await.0.is_err());
    assert_eq!(proxy.take_requests().len(), 0);
    cx.shared.set(Egress::guarded([]).with_proxy(&address));
    assert!(send(&cx, &request("http://target.invalid/")).await.0.is_ok());
    assert_eq!(proxy.take_requests().len(), 1);
    let (error, _) = failure(send(&cx, &request("http://169.254.169.254/")).await);
    assert_eq!(error.kind(), ErrorKind::ParamsInvalid);

    let broken = with_env(&[("ALL_PROXY", "socks5://CANARY")]);
    let error = Client::new(&broken, &HttpOptions::default()).expect_err("no proxy");
    assert_eq!(error.to_string(), "ALL_PROXY must hold an http or https URL");
}
