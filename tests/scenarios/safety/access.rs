//! Who may ask a server, how much, and over which connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use runbell_testkit::smtp::TestCa;
use serde_json::{Value, json};

use crate::serving::{Answered, PATIENCE, Serving, answer, refused, serve, serve_on, store_file};
use crate::tools::Folder;

/// Sends bytes as they are, and reads until the server closes the connection.
fn raw(server: &Serving, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a GET with these headers.
fn status(server: &Serving, path: &str, headers: &str) -> u16 {
    let answer = raw(server, &format!("GET /api/v1/{path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n"));
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

async fn token(server: &Serving, body: Value) -> String {
    let made = server.client.send("POST", "tokens", &body).await.expect(201).json();
    made["token"].as_str().expect("a token").to_owned()
}

#[test]
fn without_tokens_a_server_listens_on_loopback_only() {
    let folder = Folder::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let said = refused(&mut serve_on(&folder, address, &[]));
        // Where there is no such family of addresses it says so instead.
        let expected = said.err.contains("without access tokens a server listens on loopback only")
            && said.err.contains("runbell tokens create ");
        assert!(said.code == Some(2) && (expected || address.starts_with('[')), "{}", said.err);
        assert_eq!(said.err.trim_end().lines().count(), 1, "{}", said.err);
    }
    drop(Serving::of(&mut serve_on(&folder, "localhost:0", &[])));
}

#[test]
fn without_tokens_only_this_machine_is_answered() {
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    let own = format!("host: {}\r\n", server.address());
    for good in [
        own.clone(),
        "host: localhost\r\n".to_owned(),
        "host: LOCALHOST:1\r\n".to_owned(),
        "host: [::1]:8080\r\n".to_owned(),
        format!("{own}origin: http://{}\r\n", server.address()),
        format!("{own}origin: http://localhost:3000\r\n"),
    ] {
        assert_eq!(status(&server, "projects/p/runs", &good), 200, "{good}");
    }
    for bad in [
        "host: evil.example\r\n".to_owned(),
        "host: 127.0.0.1.evil.example\r\n".to_owned(),
        "host: localhost.evil.example:80\r\n".to_owned(),
        "host: 10.0.0.1\r\n".to_owned(),
        "host: 0.0.0.0\r\n".to_owned(),
        "host:\r\n".to_owned(),
        String::new(),
        format!("{own}origin: https://evil.example\r\n"),
        format!("{own}origin: null\r\n"),
        format!("{own}origin: http://localhost.evil.example\r\n"),
        format!("{own}origin: http://127.0.0.1@evil.example\r\n"),
        format!("{own}origin: http://localhost\r\norigin: http://evil.example\r\n"),
        // What a page of another site causes without an Origin.
        format!("{own}sec-fetch-site: cross-site\r\n"),
    ] {
        for path in ["projects/p/runs", "tokens", "backup", "openapi.json", "metrics"] {
            let said = status(&server, path, &bad);
            assert!(said == 403 || (said == 400 && !bad.contains("host: ")), "{said} {path} {bad}");
        }
    }
}

#[test]
fn two_hosts_are_one_too_many() {
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    let own = format!("host: {}\r\n", server.address());
    for hosts in [format!("{own}host: evil.example\r\n"), format!("host: evil.example\r\n{own}"), format!("{own}{own}")]
    {
        assert_eq!(status(&server, "backup", &hosts), 400, "{hosts}");
    }
}

#[tokio::test]
async fn every_error_has_a_detail_and_no_caller_makes_labels() {
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    for (path, expected) in [("projects/%FF/runs", 400), ("projects/p/runs?iter=x", 400), ("nowhere", 404)] {
        let said = server.client.get(path).await.expect(expected);
        assert!(!said.detail().is_empty(), "{path}: {}", said.text());
    }
    for index in 0..50 {
        server.client.request(&format!("ODD{index}"), "x").send().await.expect("an answer");
    }
    let metrics = server.client.get("metrics").await.expect(200).text();
    assert!(metrics.contains("method=\"other\"") && !metrics.contains("ODD"), "{metrics}");
}

#[tokio::test]
async fn after_the_first_token_everybody_needs_one() {
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    let first = server.client.send("POST", "tokens", &json!({ "name": "ci", "projects": ["p"] })).await.expect(400);
    assert!(first.detail().starts_with("admin: must be true"), "{}", first.detail());
    let admin = token(&server, json!({ "name": "ops", "admin": true })).await;
    for path in ["projects/p/runs", "tokens", "backup", "kinds", "metrics", "projects/p/deliveries/1"] {
        let said = server.client.get(path).await.expect(401);
        assert!(said.headers.contains_key("www-authenticate"), "{path}");
    }
    for path in ["healthz", "readyz", "client-spec", "openapi.json"] {
        server.client.get(path).await.expect(200);
    }
    let get = |path: &str| server.client.request("GET", path);
    let answered = async |request: reqwest::RequestBuilder| answer(request).await.status;
    assert_eq!(answered(get("tokens").bearer_auth(&admin)).await, 200);
    assert_eq!(answered(get("tokens").basic_auth("anybody", Some(&admin))).await, 200);
    assert_eq!(answered(get("tokens").basic_auth(&admin, Some("x"))).await, 401);
    for wrong in ["", "rbt_", "rbt_00000000_00", &admin[..admin.len() - 1], &format!("{admin}0"), &admin.to_uppercase()]
    {
        assert_eq!(answered(get("tokens").bearer_auth(wrong)).await, 401, "{wrong}");
    }
    assert_eq!(answered(get(&format!("tokens?access_token={admin}&token={admin}"))).await, 401);
    // With a token it does not matter where a page comes from: a browser does not add it by itself.
    assert_eq!(answered(get("tokens").bearer_auth(&admin).header("origin", "https://ui.example")).await, 200);

    let server = server.with_token(&admin);
    let (one, any) = (
        token(&server, json!({ "name": "ci", "projects": ["p"] })).await,
        token(&server, json!({ "name": "all", "projects": ["*"] })).await,
    );
    let server_of = |token: &str| Asking { server: &server, token: token.to_owned() };
    let (one_asks, any_asks) = (server_of(&one), server_of(&any));
    assert_eq!(one_asks.status("GET", "projects/p/runs", &json!({})).await, 200);
    assert_eq!(any_asks.status("GET", "projects/p/runs", &json!({})).await, 200);
    assert_eq!(any_asks.status("GET", "projects/q/runs", &json!({})).await, 200);
    for (method, path) in [
        ("GET", "projects/q/runs"),
        ("GET", "projects/q"),
        ("PUT", "projects/q"),
        ("GET", "projects/q/runs/u"),
        ("POST", "projects/q/runs/u"),
        ("PATCH", "projects/q/runs/u"),
        ("DELETE", "projects/q/runs/u"),
        ("POST", "projects/q/runs/u/events"),
        ("POST", "projects/q/runs/u/heartbeat"),
        ("GET", "projects/q/runs/u/explain"),
        ("PUT", "projects/q/runs/u/notifications"),
        ("POST", "projects/q/runs/u/push-notifications"),
        ("GET", "projects/q/background-tasks/t"),
        ("GET", "projects/q/deliveries"),
        ("GET", "projects/q/deliveries/1"),
        ("POST", "projects/q/deliveries/1/replay"),
        ("POST", "projects/q/deliveries/1/cancel"),
        ("POST", "projects/q/deliveries/replay"),
        ("POST", "projects/q/secrets"),
        ("GET", "projects/q/secret-keys"),
        ("DELETE", "projects/q/secrets"),
        ("GET", "projects/*/runs"),
        ("GET", "projects/P/runs"),
        ("GET", "projects/p%20/runs"),
        ("GET", "projects/q%2F..%2Fp/runs"),
    ] {
        let said = one_asks.status(method, path, &json!({})).await;
        assert!(said == 403 || (said == 400 && path.contains("%2F")), "{said} {method} {path}");
    }
    assert_eq!(one_asks.status("POST", "projects", &json!({ "metadata": { "name": "q" } })).await, 403);
    assert_eq!(one_asks.status("POST", "projects", &json!({ "metadata": { "name": "p" } })).await, 201);
    for (method, path) in [("GET", "tokens"), ("POST", "tokens"), ("DELETE", "tokens/x"), ("GET", "backup")] {
        for asking in [&one_asks, &any_asks] {
            assert_eq!(
                asking.status(method, path, &json!({ "name": "x", "admin": true })).await,
                403,
                "{method} {path}"
            );
        }
    }
    // The server's own projects are its administrators' alone.
    for asking in [&one_asks, &any_asks] {
        assert_eq!(asking.status("GET", "projects/_runbell/runs", &json!({})).await, 400);
        assert_eq!(asking.status("POST", "projects/_runbell/runs/u/events", &json!({ "run": {} })).await, 400);
    }
    server.client.get("projects/_runbell/deliveries").await.expect(200);
    server.client.send("POST", "projects", &json!({ "metadata": { "name": "_mine" } })).await.expect(400);

    // Revoked is revoked at once, and a server that had a token asks for one for ever.
    let listed = server.client.get("tokens").await.expect(200).json();
    let listed = listed["tokens"].as_array().expect("a list").clone();
    assert!(listed.len() == 3 && !json!(listed).to_string().contains(&one[13..]), "{listed:?}");
    let id = |name: &str| {
        listed.iter().find(|one| one["name"] == name).expect("listed")["id"].as_str().expect("an id").to_owned()
    };
    server.client.send("DELETE", &format!("tokens/{}", id("ci")), &json!({})).await.expect(204);
    assert_eq!(one_asks.status("GET", "projects/p/runs", &json!({})).await, 401);
    server.client.send("DELETE", "tokens/nosuch", &json!({})).await.expect(404);
    server.client.send("DELETE", &format!("tokens/{}", id("ops")), &json!({})).await.expect(204);
    server.client.get("tokens").await.expect(401);
    assert_eq!(any_asks.status("GET", "projects/p/runs", &json!({})).await, 200);
    server.stop().await;
    let server = Serving::of(&mut serve(&folder, &[]));
    server.client.get("tokens").await.expect(401);
    server.with_token(&any).client.get("projects/p/runs").await.expect(200);
}

/// A caller with a token of its own.
struct Asking<'s> {
    server: &'s Serving,
    token: String,
}

impl Asking<'_> {
    async fn status(&self, method: &str, path: &str, body: &Value) -> u16 {
        let request = self.server.client.bare(method, path).bearer_auth(&self.token).body(body.to_string());
        answer(request).await.status
    }
}

#[tokio::test]
async fn requests_are_limited() {
    let folder = Folder::new();
    let config =
        folder.file("server.json", &json!({ "limits": { "body_bytes": 100_000, "page_size": 3 } }).to_string());
    let server = Serving::of(&mut serve(&folder, &["-c", &config]));
    let run = |more: &str| json!({ "run": { "metadata": { "name": more } }, "state": "running" });
    for uid in ["a", "b", "c", "d", "e"] {
        server.client.send("POST", &format!("projects/p/runs/{uid}/events"), &run(uid)).await.expect(200);
    }
    let large = server.client.send("POST", "projects/p/runs/f/events", &run(&"x".repeat(100_000))).await.expect(413);
    assert_eq!(large.detail(), "the body is larger than 100000 bytes");
    // Nothing of it is stored, also without a Content-Length.
    let chunk = "x".repeat(4_000);
    let chunks = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(30);
    let head = format!(
        "POST /api/v1/projects/p/runs/f/events HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address()
    );
    assert!(raw(&server, &format!("{head}{chunks}0\r\n\r\n")).starts_with("HTTP/1.1 413 "));
    server.client.get("projects/p/runs/f").await.expect(404);

    let page = |reply: Answered| reply.json()["runs"].as_array().expect("a list").len();
    assert_eq!(page(server.client.get("projects/p/runs?page-size=1000000").await.expect(200)), 3);
    assert_eq!(page(server.client.get("projects/p/runs").await.expect(200)), 3);
    assert_eq!(page(server.client.get("projects/p/runs?page-size=2").await.expect(200)), 2);
    for query in [
        "page-size=0",
        "page-size=-1",
        "page-size=x",
        "page=0",
        "page=100",
        "page=99999999999999999999",
        "page-token=x",
        "iter=x",
        "start_time_from=x",
    ] {
        let said = server.client.get(&format!("projects/p/runs?{query}")).await.expect(400).detail();
        assert!(said.starts_with(query.split('=').next().expect("a key")), "{query}: {said}");
    }
    let next = server.client.get("projects/p/runs?page-size=2").await.json()["pagination"]["page-token"]
        .as_str()
        .expect("more")
        .to_owned();
    assert_eq!(page(server.client.get(&format!("projects/p/runs?page-token={next}")).await.expect(200)), 2);

    let hooks = |count: usize| {
        let hook = |number| json!({ "kind": "webhook", "name": format!("n{number}"), "params": { "url": "https://h.example/" } });
        json!((0..count).map(hook).collect::<Vec<_>>())
    };
    let many = server
        .client
        .send("PUT", "projects/p/runs/a/notifications", &json!({ "notifications": hooks(101) }))
        .await
        .expect(400);
    assert!(many.detail().starts_with("notifications: has 101 members; a run may have 100"), "{}", many.detail());
    server
        .client
        .send("PUT", "projects/p/runs/a/notifications", &json!({ "notifications": hooks(100) }))
        .await
        .expect(200);

    let long = "x".repeat(254);
    for (method, path, body) in [
        ("POST", format!("projects/{long}/runs/u/events"), run("n")),
        ("POST", format!("projects/p/runs/{long}/events"), run("n")),
        ("GET", format!("projects/p/background-tasks/{long}"), json!(null)),
        ("PUT", format!("projects/{long}"), json!({})),
        ("POST", "projects".to_owned(), json!({ "metadata": { "name": long } })),
        ("POST", "projects/p/secrets".to_owned(), json!({ "secrets": { &long: "x" } })),
        ("POST", "tokens".to_owned(), json!({ "name": long, "admin": true })),
        ("POST", "tokens".to_owned(), json!({ "name": "x", "admin": true, "projects": [long] })),
        ("POST", "projects/p%00/runs/u/events".to_owned(), run("n")),
        ("POST", "projects/p%0A/runs/u/events".to_owned(), run("n")),
        ("POST", "projects/p%2Fq/runs/u/events".to_owned(), run("n")),
    ] {
        let said = server.client.send(method, &path, &body).await;
        assert_eq!(said.status, 400, "{method} {path:.60}: {}", said.text());
        assert!(said.detail().len() < 300, "{}", said.detail());
    }

    // Every answer has the request's id: the caller's, or one of its own.
    let said = answer(server.client.request("GET", "healthz").header("x-request-id", "mine-1")).await;
    assert_eq!(said.headers["x-request-id"], "mine-1");
    let own = |reply: Answered| reply.headers["x-request-id"].to_str().expect("text").to_owned();
    let ids = [
        own(server.client.get("healthz").await),
        own(server.client.get("nowhere").await.expect(404)),
        own(server.client.get("projects/p/runs/none").await.expect(404)),
    ];
    assert!(ids.iter().all(|id| id.len() == 36) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_caller_that_sends_a_head_too_slowly_is_disconnected() {
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    // It never comes to an end, and the server does not wait for it.
    let head = format!("GET /api/v1/healthz HTTP/1.1\r\nhost: {}\r\nx-slow: ", server.address());
    let answer = raw(&server, &head);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.client.get("healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_and_key_make_it_https() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let (cert, key) = ca.certificate("localhost");
    let (_, other) = ca.certificate("localhost");
    let (cert, key, other) =
        (folder.file("cert.pem", &cert), folder.file("key.pem", &key), folder.file("other.pem", &other));
    let server = Serving::of(&mut serve(&folder, &["--tls-cert", &cert, "--tls-key", &key]));
    let port = server.address().rsplit_once(':').expect("a port").1.to_owned();
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    let trusted = reqwest::Certificate::from_pem(ca.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().expect("a client");
    let said = answer(client.get(format!("https://localhost:{port}/api/v1/kinds"))).await.expect(200);
    assert!(said.json()["kinds"].as_array().expect("a list").len() > 3);
    // The certificate has another name, or an unknown issuer; and plain HTTP is not answered.
    assert!(client.get(format!("https://127.0.0.1:{port}/api/v1/kinds")).send().await.is_err());
    assert!(reqwest::get(format!("https://localhost:{port}/api/v1/kinds")).await.is_err());
    let plain = client.get(format!("http://localhost:{port}/api/v1/kinds")).send().await;
    assert!(plain.is_err(), "{plain:?}");
    server.stop().await;

    let (missing, text) = (folder.path("missing").display().to_string(), folder.file("text", "no PEM"));
    for (cert, key, part) in [
        (&missing, &key, "cannot be used"),
        (&cert, &missing, "cannot be used"),
        (&text, &key, "cannot be used"),
        (&cert, &text, "cannot be used"),
        (&key, &cert, "cannot be used"),
        (&cert, &other, "cannot be used"),
    ] {
        let said = refused(&mut serve(&folder, &["--tls-cert", cert, "--tls-key", key]));
        assert!(
            said.code == Some(2) && said.err.contains("tls: ") && said.err.contains(part),
            "{cert} {key}: {}",
            said.err
        );
        assert_eq!(said.err.trim_end().lines().count(), 1, "{}", said.err);
    }
    let said = refused(&mut serve(&folder, &["--tls-cert", &cert]));
    assert!(said.code == Some(2) && said.err.contains("--tls-key"), "{}", said.err);
    assert!(store_file(&folder).exists());
}
