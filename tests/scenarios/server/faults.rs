//! Disks that take nothing more: what is refused is not kept, and all goes on when there is room again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use runbell_testkit::FakeHttp;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value as Json, json};

use crate::servers::program;
use crate::serving::{Client, PROJECT, Serving, event, in_time, serve_store, under};
use crate::tools::Folder;

/// An event that takes room.
fn large(uid: &str, url: &str) -> Json {
    let mut event = event(uid, "completed", url);
    event["run"]["spec"] = json!({ "parameters": { "filler": "x".repeat(40_000) } });
    event
}

/// Reports events until one is refused for lack of room, and returns its uid.
async fn until_full(client: &Client, url: &str) -> String {
    let reporting = async {
        for index in 0.. {
            let uid = format!("full-{index}");
            let answered = client.report(&uid, &large(&uid, url)).await;
            if answered.status != 200 {
                assert!(answered.refused(503).starts_with("the store is not available: "));
                return uid;
            }
        }
        unreachable!("there are as many events as it takes")
    };
    in_time("a full disk", reporting).await
}

/// What must hold while nothing can be written, and after. `make_room` ends it.
async fn goes_on_when_there_is_room_again(serving: &Serving, sink: &FakeHttp, make_room: impl FnOnce()) {
    let client = serving.client();
    let refused = until_full(&client, &sink.url("/")).await;
    // What is left may be enough for the small write that this is.
    let not_ready = async {
        loop {
            let ready = client.get("readyz").await;
            if ready.status != 200 {
                return ready.refused(503);
            }
        }
    };
    in_time("not ready", not_ready).await;
    client.get("healthz").await.ok();
    client.report(&refused, &large(&refused, &sink.url("/"))).await.refused(503);
    client
        .post(&format!("projects/{PROJECT}/runs/{refused}"), &json!({ "status": { "state": "running" } }))
        .await
        .refused(503);
    // Reading goes on.
    client.get(&format!("projects/{PROJECT}/runs/before")).await.ok();
    client.get(&format!("projects/{PROJECT}/runs/{refused}")).await.refused(404);

    make_room();
    let ready = async { while client.get("readyz").await.status != 200 {} };
    in_time("ready again", ready).await;
    client.get(&format!("projects/{PROJECT}/runs/{refused}")).await.refused(404);
    assert!(client.deliveries(&format!("uid={refused}")).await.is_empty());
    let accepted = client.report(&refused, &large(&refused, &sink.url("/"))).await.ok();
    assert_eq!(accepted["deliveries"].as_array().map(Vec::len), Some(1), "{accepted}");
    let all = client.settled().await;
    let sent = all.iter().filter(|one| one["status"] == "sent").count();
    assert_eq!(sent, all.len(), "{all:#?}");
    let came = |uid: &str| {
        let key = all.iter().find(|one| one["uid"] == uid).map(|one| one["key"].as_str().expect("a key").to_owned());
        sink.requests().iter().filter(|request| request.header("webhook-id") == key.as_deref()).count()
    };
    assert_eq!((came("before"), came(&refused)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_write_nothing_more_refuses_and_recovers() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let serving = Serving::start(&folder, &json!({}));
    let client = serving.client();
    client.report("before", &event("before", "completed", &sink.url("/"))).await.ok();
    client.settled().await;
    // No file may be written at all, as on a file system that has become read-only.
    let limit = |current| {
        let maximum = rustix::process::getrlimit(Resource::Fsize).maximum;
        prlimit(Some(serving.pid()), Resource::Fsize, Rlimit { current, maximum }).expect("one's own child")
    };
    let before = limit(Some(0));
    goes_on_when_there_is_room_again(&serving, &sink, || {
        limit(before.current);
    })
    .await;
    serving.stop().await;
}

/// The server on a small file system of its own, in a mount namespace of its own. `None` where the system does not allow one.
fn on_a_small_disk(folder: &Folder) -> Option<(Serving, PathBuf)> {
    let small = folder.path("small");
    std::fs::create_dir(&small).expect("a folder");
    let mount = format!("mount -t tmpfs -o size=6m,mode=700 tmpfs '{}'", small.display());
    let unshare = program("unshare");
    let unshared = |script: String| {
        let mut command = Command::new(unshare.as_deref().unwrap_or(Path::new("unshare")));
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
        command
    };
    let possible = unshare.is_some() && unshared(mount.clone()).output().is_ok_and(|output| output.status.success());
    if !possible {
        let required = std::env::var("RUNBELL_TEST_REQUIRE").unwrap_or_default();
        // Not among `all`: it is a right, and nothing to install.
        let required = required.split(',').any(|word| word.trim() == "tmpfs");
        assert!(!required, "tmpfs is required and cannot be mounted; allow user namespaces");
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: a full disk: no tmpfs can be mounted here; allow user namespaces. A server that may not write is tested.\n"
        );
        return None;
    }
    let served = serve_store(small.join("runbell.db"), &[]);
    let mut command = under(unshared(format!("{mount} && exec \"$@\"")), &served);
    let serving = Serving::of(&mut command);
    // The namespace is seen through the process in it.
    let inside = PathBuf::from(format!("/proc/{}/root{}", serving.pid().as_raw_nonzero(), small.display()));
    Some((serving, inside))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_refused_and_recovered_from() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let Some((serving, disk)) = on_a_small_disk(&folder) else { return };
    let client = serving.client();
    client.report("before", &event("before", "completed", &sink.url("/"))).await.ok();
    client.settled().await;
    let ballast = disk.join("ballast");
    let fill = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).expect("opened");
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    };
    fill();
    goes_on_when_there_is_room_again(&serving, &sink, || std::fs::remove_file(&ballast).expect("removed")).await;
    serving.stop().await;
}
