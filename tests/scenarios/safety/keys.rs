//! The keys that a server seals secrets with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runbell_testkit::FakeHttp;
use serde_json::json;

use crate::serving::{Serving, refused, serve, store_file};
use crate::tools::Folder;

const VARIABLE: &str = "RUNBELL_SECRET_KEYS";

fn key_file(folder: &Folder) -> PathBuf {
    store_file(folder).with_extension("db.key")
}

/// Registers a hook that asks for a header, which is a secret.
async fn register(server: &Serving, peer: &FakeHttp) {
    let list = json!([{ "kind": "webhook", "name": "hook", "when": ["running", "completed", "error"],
        "secret_params": { "url": peer.url("/hook"), "headers": { "X-Token": "sesame-sesame" } } }]);
    let event = json!({ "run": {}, "state": "running", "notifications": list });
    server.client.send("POST", "projects/p/runs/u/events", &event).await.expect(200);
}

/// Reports that the run entered another state, and waits for the delivery's end.
async fn report(server: &Serving, state: &str) -> String {
    server.client.send("POST", "projects/p/runs/u/events", &json!({ "run": {}, "state": state })).await.expect(200);
    let path = format!("projects/p/deliveries?state={state}");
    let finished = |said: &serde_json::Value| {
        said["deliveries"].as_array().expect("a list").iter().any(|one| !one["finished_at"].is_null())
    };
    let said = server.client.until_so(&path, finished).await;
    format!("{} {}", said["deliveries"][0]["status"], said["deliveries"][0]["reason"])
}

#[tokio::test]
async fn the_key_file_is_its_owners_alone() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    let server = Serving::of(&mut serve(&folder, &[]));
    let file = key_file(&folder);
    let mode = |file: &PathBuf| fs::metadata(file).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let before = fs::read(&file).expect("readable");
    register(&server, &peer).await;
    server.stop().await;
    for others in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file, Permissions::from_mode(others)).expect("changed");
        let said = refused(&mut serve(&folder, &[]));
        assert!(said.code == Some(2) && said.err.contains("can be read by others; run: chmod 600"), "{}", said.err);
        assert_eq!(said.err.trim_end().lines().count(), 1, "{}", said.err);
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("changed");
    // A new key would not open what the old one sealed.
    fs::rename(&file, folder.path("aside")).expect("moved");
    let said = refused(&mut serve(&folder, &[]));
    assert!(
        said.code == Some(2) && said.err.contains("is missing") && said.err.contains("put it back"),
        "{}",
        said.err
    );
    assert!(!file.exists());
    fs::write(&file, "k1 no key\n").expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("changed");
    let said = refused(&mut serve(&folder, &[]));
    assert!(
        said.code == Some(2) && said.err.contains("key 1: must be") && !said.err.contains("no key\n"),
        "{}",
        said.err
    );
    fs::rename(folder.path("aside"), &file).expect("moved");
    let server = Serving::of(&mut serve(&folder, &[]));
    assert_eq!(fs::read(&file).expect("readable"), before);
    assert_eq!(report(&server, "completed").await, r#""sent" null"#);
    assert_eq!(peer.requests().last().expect("sent").header("x-token"), Some("sesame-sesame"));
}

#[tokio::test]
async fn a_key_is_replaced_while_secrets_stay() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    let key = |id: &str, byte: u8| format!("{id} {}", STANDARD.encode([byte; 32]));
    let (old, new, foreign) = (key("old", 1), key("new", 2), key("foreign", 3));
    let start = |keys: &str| {
        let mut command = serve(&folder, &[]);
        Serving::of(command.env(VARIABLE, keys).env("RUNBELL_LOG", "info"))
    };
    let server = start(&old);
    register(&server, &peer).await;
    server.client.send("POST", "projects/p/secrets", &json!({ "secrets": { "K": "v" } })).await.expect(201);
    server.stop().await;
    // Keys that are given need no file.
    assert!(!key_file(&folder).exists());

    let server = start(&format!("{new},{old}"));
    server.until_logged("secrets were sealed again with the current key").await;
    assert!(report(&server, "completed").await.starts_with("\"sent\""));
    server.stop().await;

    // The new key alone opens everything now.
    let server = start(&new);
    server.client.send("PATCH", "projects/p/runs/u", &json!({ "status.retry_count": 1 })).await.expect(200);
    let event = json!({ "run": { "status": { "retry_count": 2 } }, "state": "error" });
    server.client.send("POST", "projects/p/runs/u/events", &event).await.expect(200);
    let sent = |said: &serde_json::Value| said["deliveries"][0]["status"] == "sent";
    server.client.until_so("projects/p/deliveries?state=error", sent).await;
    server.stop().await;
    assert!(peer.requests().iter().all(|request| request.header("x-token") == Some("sesame-sesame")));
    let count = peer.requests().len();

    // With a key that is none of theirs they stay closed, and that is said.
    let server = start(&foreign);
    server.until_logged("some secrets cannot be opened: their keys are missing").await;
    let said = server
        .client
        .send("POST", "projects/p/deliveries/replay", &json!({ "status": "sent" }))
        .await
        .expect(200)
        .json();
    assert!(said["replayed"].as_u64() >= Some(2), "{said}");
    let failed = |said: &serde_json::Value| {
        said["deliveries"].as_array().expect("a list").iter().all(|one| one["status"] == "failed")
    };
    let all = server.client.until_so("projects/p/deliveries", failed).await;
    assert!(all["deliveries"][0]["reason"].as_str().expect("a reason").starts_with("secret_not_found: "), "{all}");
    assert_eq!(peer.requests().len(), count);
}
