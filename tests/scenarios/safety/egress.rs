//! Where a server may be made to send to.

use runbell_testkit::smtp::FakeSmtp;
use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value, json};

use crate::serving::{Serving, serve, serve_on};
use crate::tools::Folder;

/// Hosts as they stand in URLs, and what a guard calls them; `None` is allowed.
const HOSTS: &[(&str, Option<&str>)] = &[
    ("127.0.0.1", Some("loopback")),
    ("127.1", Some("loopback")),
    ("127.255.255.254", Some("loopback")),
    ("2130706433", Some("loopback")),
    ("0x7f000001", Some("loopback")),
    ("0x7f.1", Some("loopback")),
    ("0177.0.0.1", Some("loopback")),
    ("127.0.0.1.", Some("loopback")),
    ("0.0.0.0", Some("unspecified")),
    ("0", Some("unspecified")),
    ("0.1.2.3", Some("reserved")),
    ("10.0.0.1", Some("private")),
    ("10.255.255.255", Some("private")),
    ("172.16.0.1", Some("private")),
    ("172.31.255.255", Some("private")),
    ("192.168.0.1", Some("private")),
    ("100.64.0.1", Some("carrier-grade NAT")),
    ("100.127.255.255", Some("carrier-grade NAT")),
    ("169.254.0.1", Some("link-local")),
    ("169.254.169.254", Some("a cloud's metadata service")),
    ("0xa9fea9fe", Some("a cloud's metadata service")),
    ("100.100.100.200", Some("a cloud's metadata service")),
    ("192.0.0.8", Some("reserved")),
    ("192.0.2.1", Some("for documentation")),
    ("198.18.0.1", Some("for benchmarks")),
    ("198.19.255.255", Some("for benchmarks")),
    ("224.0.0.1", Some("multicast")),
    ("239.255.255.255", Some("multicast")),
    ("240.0.0.1", Some("reserved")),
    ("255.255.255.255", Some("broadcast")),
    ("[::1]", Some("loopback")),
    ("[::]", Some("unspecified")),
    ("[fe80::1]", Some("link-local")),
    ("[fc00::1]", Some("private")),
    ("[fdff::1]", Some("private")),
    ("[fd00:ec2::254]", Some("a cloud's metadata service")),
    ("[::ffff:127.0.0.1]", Some("loopback")),
    ("[::ffff:7f00:1]", Some("loopback")),
    ("[::127.0.0.1]", Some("loopback")),
    ("[64:ff9b::7f00:1]", Some("loopback")),
    ("[64:ff9b::a9fe:a9fe]", Some("a cloud's metadata service")),
    ("[2002:7f00:1::]", Some("loopback")),
    ("[2002:a00:1::]", Some("private")),
    ("[ff02::1]", Some("multicast")),
    ("localhost", Some("loopback")),
    ("LOCALHOST.", Some("loopback")),
    ("foo.localhost", Some("loopback")),
    ("localhost.localdomain", Some("loopback")),
    ("ip6-localhost", Some("loopback")),
    ("metadata.google.internal", Some("a cloud's metadata service")),
    ("Metadata.Google.Internal.", Some("a cloud's metadata service")),
    ("instance-data", Some("a cloud's metadata service")),
    ("1.1.1.1", None),
    ("9.255.255.255", None),
    ("11.0.0.1", None),
    ("172.15.255.255", None),
    ("172.32.0.1", None),
    ("100.63.255.255", None),
    ("100.128.0.1", None),
    ("192.0.1.1", None),
    ("192.169.0.1", None),
    ("198.20.0.1", None),
    ("[2606:4700:4700::1111]", None),
    ("[::ffff:8.8.8.8]", None),
    ("[64:ff9b::808:808]", None),
    ("hooks.example", None),
    ("localhost.example", None),
    ("metadata.example", None),
];

/// A notification of each kind to a host, and the field that names it. None of them is ever due here.
fn notifications(host: &str) -> [(Value, &'static str); 5] {
    let made = |kind: &str, more: Value| {
        let mut one = json!({ "kind": kind, "name": "n", "when": ["aborted"] });
        one.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        one
    };
    let url = format!("http://{host}/path");
    [
        (made("webhook", json!({ "params": { "url": url } })), "params.url"),
        (
            made("webhook", json!({ "secret_params": { "url": format!("https://u:p@{host}:8443/") } })),
            "secret_params.url",
        ),
        (made("slack", json!({ "secret_params": { "webhook": url } })), "secret_params.webhook"),
        (
            made(
                "git",
                json!({ "params": { "server": format!("http://{host}"), "repo": "o/r", "issue": 1 }, "secret_params": { "token": "t" } }),
            ),
            "params.server",
        ),
        (
            made(
                "mail",
                json!({ "params": { "server_host": host, "sender_address": "a@b.co", "email_addresses": "c@d.co" } }),
            ),
            "params.server_host",
        ),
    ]
}

/// A server that is not for its own machine alone, so that it may not reach it.
async fn public(folder: &Folder, more: &[&str]) -> Serving {
    let server = Serving::of(&mut serve(folder, &[]));
    let made =
        server.client.send("POST", "tokens", &json!({ "name": "admin", "admin": true })).await.expect(201).json();
    server.stop().await;
    let mut command = serve_on(folder, "0.0.0.0:0", more);
    Serving::of(command.env("RUNBELL_LOG", "info")).with_token(made["token"].as_str().expect("a token"))
}

async fn register(server: &Serving, notifications: &Value) -> crate::serving::Answered {
    let event = json!({ "run": {}, "state": "running", "notifications": notifications });
    server.client.send("POST", "projects/p/runs/table/events", &event).await
}

#[tokio::test]
async fn every_kind_is_refused_addresses_that_only_the_server_can_reach() {
    let folder = Folder::new();
    let server = public(&folder, &[]).await;
    for (host, what) in HOSTS {
        for (notification, field) in notifications(host) {
            let list = json!([{ "kind": "webhook", "name": "good", "when": ["aborted"], "params": { "url": "https://h.example/" } }, notification]);
            let reply = register(&server, &list).await;
            match what {
                None => assert_eq!(reply.status, 200, "{host} {field}: {}", reply.text()),
                Some(what) => {
                    let said = format!(
                        "notifications[1].{field}: the target's address is {what}, which is not allowed here; `allow_networks` can \
                         list its network"
                    );
                    assert_eq!((reply.status, reply.detail()), (400, said), "{host}");
                }
            }
        }
    }
    // What is no host at all, though some programs take it for one.
    for host in ["[fe80::1%25eth0]", "[::1%lo]", "[::1", "127.0.0.1%2f", "0x7f.0x1.0x1.0x1.0x1", "256.0.0.1", "::1%lo"]
    {
        for (notification, field) in notifications(host) {
            let reply = register(&server, &json!([notification])).await;
            assert!(
                reply.status == 400 && reply.detail().starts_with(&format!("notifications[0].{field}: ")),
                "{host}: {}",
                reply.text()
            );
        }
    }
    let run = server.client.get("projects/p/runs/table/explain").await;
    assert!(
        run.status == 404
            || run.json()["history"].as_array().expect("a list").iter().all(|one| one["delivery"].is_null())
    );
}

/// A name of this machine, or of another in its network, that is on no list of names.
fn name_of_a_neighbour() -> Option<String> {
    std::fs::read_to_string("/etc/hosts").ok()?.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: std::net::Ipv4Addr = words.next()?.parse().ok()?;
        let is_ours = address.is_loopback() || address.is_private();
        words.find(|name| is_ours && !name.contains("localhost") && !name.contains('_')).map(str::to_owned)
    })
}

#[tokio::test]
async fn a_name_is_checked_when_it_is_resolved_for_an_attempt() {
    let (folder, peer, smtp) = (Folder::new(), FakeHttp::start().await, FakeSmtp::start().await);
    let Some(name) = name_of_a_neighbour() else { return };
    let server = public(&folder, &[]).await;
    let port = peer.address().port();
    let when = json!(["completed"]);
    let list = json!([
        { "kind": "webhook", "name": "webhook", "when": when, "params": { "url": format!("http://{name}:{port}/") } },
        { "kind": "slack", "name": "slack", "when": when, "params": { "webhook": format!("http://{name}:{port}/") } },
        { "kind": "git", "name": "git", "when": when, "params": { "server": format!("http://{name}:{port}"), "repo": "o/r", "issue": 1, "token": "t" } },
        { "kind": "mail", "name": "mail", "when": when, "params": { "server_host": name, "server_port": smtp.port(), "sender_address": "a@b.co",
            "email_addresses": "c@d.co", "use_tls": false, "start_tls": false } },
    ]);
    let event = json!({ "run": {}, "state": "completed", "notifications": list });
    server.client.send("POST", "projects/p/runs/u/events", &event).await.expect(200);
    let done = server
        .client
        .until_so("projects/p/deliveries?status=failed", |said| {
            said["deliveries"].as_array().expect("a list").len() == 4
        })
        .await;
    for one in done["deliveries"].as_array().expect("a list") {
        let reason = one["reason"].as_str().expect("a reason");
        assert!(reason.contains("the target's address is ") && reason.contains("which is not allowed here"), "{one}");
        assert_eq!(one["attempt_count"], 1, "{one}");
    }
    peer.settle().await;
    assert_eq!((peer.connections(), smtp.connections()), (0, 0));
}

#[tokio::test]
async fn networks_are_allowed_exactly_as_listed() {
    let (folder, peer, proxy) = (Folder::new(), FakeHttp::start().await, FakeHttp::start().await);
    let config = folder
        .file("server.json", &json!({ "allow_networks": ["127.0.0.1/32", "10.1.0.0/16", "fd12::1"] }).to_string());
    let server = Serving::of(&mut serve(&folder, &[]));
    let made =
        server.client.send("POST", "tokens", &json!({ "name": "admin", "admin": true })).await.expect(201).json();
    server.stop().await;
    let mut command = serve_on(&folder, "0.0.0.0:0", &["-c", &config]);
    // The environment's proxies would lead where the guard does not.
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(variable, proxy.url(""));
    }
    let server = Serving::of(&mut command).with_token(made["token"].as_str().expect("a token"));
    for (host, allowed) in [
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("localhost", true),
        ("[::1]", false),
        ("[::ffff:127.0.0.1]", true),
        ("10.1.255.255", true),
        ("10.2.0.1", false),
        ("[fd12::1]", true),
        ("[fd12::2]", false),
        ("169.254.169.254", false),
    ] {
        for (notification, field) in notifications(host) {
            let reply = register(&server, &json!([notification])).await;
            assert_eq!(reply.status, if allowed { 200 } else { 400 }, "{host} {field}: {}", reply.text());
        }
    }
    // A redirect is a failure, wherever it leads, and never followed.
    peer.answer(FakeAnswer::redirect(302, "http://169.254.169.254/latest/"))
        .answer(FakeAnswer::redirect(307, peer.url("/elsewhere")));
    for uid in ["one", "two", "three"] {
        let list =
            json!([{ "kind": "webhook", "name": "n", "when": ["completed"], "params": { "url": peer.url("/hook") } }]);
        let event = json!({ "run": {}, "state": "completed", "notifications": list });
        server.client.send("POST", &format!("projects/p/runs/{uid}/events"), &event).await.expect(200);
        let path = format!("projects/p/deliveries?uid={uid}");
        let listed = server
            .client
            .until_so(&path, |said| ["sent", "failed"].map(Value::from).contains(&said["deliveries"][0]["status"]))
            .await;
        let (status, reason) = (&listed["deliveries"][0]["status"], &listed["deliveries"][0]["reason"]);
        match uid {
            "three" => assert_eq!(status, "sent"),
            _ => assert!(status == "failed" && reason.as_str().expect("a reason").contains("redirects"), "{listed}"),
        }
    }
    let paths: Vec<String> = peer.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/hook", "/hook", "/hook"]);
    proxy.settle().await;
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_configured_is_used_for_everything() {
    let (folder, peer, proxy) = (Folder::new(), FakeHttp::start().await, FakeHttp::start().await);
    let config = folder.file("server.json", &json!({ "proxy": proxy.url("") }).to_string());
    let server = public(&folder, &["-c", &config]).await;
    let list = json!([{ "kind": "webhook", "name": "n", "when": ["completed"], "params": { "url": "http://hooks.example/x?y" } }]);
    let event = json!({ "run": {}, "state": "completed", "notifications": list });
    server.client.send("POST", "projects/p/runs/u/events", &event).await.expect(200);
    server
        .client
        .until_so("projects/p/deliveries?status=sent", |said| {
            !said["deliveries"].as_array().expect("a list").is_empty()
        })
        .await;
    assert_eq!(proxy.requests()[0].path, "http://hooks.example/x?y");
    // It is no way around what is refused.
    let reply = register(
        &server,
        &json!([{ "kind": "webhook", "name": "n", "when": ["aborted"], "params": { "url": peer.url("/") } }]),
    )
    .await;
    assert!(reply.status == 400 && reply.detail().contains("loopback"), "{}", reply.text());
    peer.settle().await;
    assert_eq!(peer.connections(), 0);
}
