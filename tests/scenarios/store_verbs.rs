//! The verbs on a store, over a server's API and on the file itself.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Instant;

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value, json};

use crate::serving::{PATIENCE, Serving, run, serve_store};
use crate::tools::{Folder, Said, runbell, say, say_with};

/// A server on a store, with a configuration.
fn start(folder: &Folder, store: &str, config: &str) -> Serving {
    let config = folder.file("server.yaml", config);
    Serving::of(serve_store(store, &["-c", &config]).env("RUNBELL_LOG", "warn"))
}

/// Reports a run of the project `p`.
async fn report(server: &Serving, uid: &str, state: &str, notifications: &Value) {
    let event = json!({ "run": run(uid, state), "notifications": notifications });
    assert_eq!(server.client.report(uid, &event).await.status, 200);
}

/// A verb, asking a server.
fn over(server: &Serving, token: &str, args: &[&str]) -> Command {
    let mut command = runbell(args);
    command.env("RUNBELL_SERVER", server.url()).env("RUNBELL_TOKEN", token);
    command
}

/// A verb, on the file.
fn on(store: &str, args: &[&str]) -> Command {
    let mut command = runbell(args);
    command.args(["--store", store]);
    command
}

fn done(said: &Said) {
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// It was not done for this reason, which is one line.
fn refused(said: &Said, code: i32, why: &str) {
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{said:?}");
    assert!(said.err.contains(why) && said.err.lines().count() == 1, "{why}: {}", said.err);
}

/// Asks until the deliveries are as many.
fn until(count: usize, mut list: impl FnMut() -> Command) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let said = say(&mut list());
        done(&said);
        let found = said.json();
        if found.len() == count {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not {count}: {found:?}");
    }
}

fn store_in(folder: &Folder, name: &str) -> String {
    format!("sqlite://{}", folder.path(name).display())
}

fn webhook(name: &str, url: &str) -> Value {
    json!({ "kind": "webhook", "name": name, "when": ["completed", "error"], "secret_params": { "url": url } })
}

#[test]
fn the_first_token_is_made_on_the_file_and_then_asked_for() {
    let folder = Folder::new();
    let store = store_in(&folder, "runbell.db");
    refused(&say(&mut on(&store, &["tokens", "list"])), 2, "is not there");
    refused(&say(&mut on(&store, &["tokens", "create", "ci", "-p", "ml"])), 2, "admin: must be true for the first");
    let made = say(&mut on(&store, &["tokens", "create", "me", "--admin", "--table"]));
    done(&made);
    let admin = made.out.trim_end();
    assert!(admin.starts_with("rbt_") && made.out.lines().count() == 1, "{}", made.out);
    assert!(made.err.contains("shown only once") && !made.err.contains("rbt_"), "{}", made.err);
    assert!(!folder.path("runbell.db.key").exists(), "no key was needed");

    let server = start(&folder, &store, "{}");
    let mut said = vec![
        say(&mut over(&server, "", &["tokens", "list"])),
        say(&mut over(&server, "rbt_0_CANARY", &["tokens", "list"])),
        say(&mut on(&store, &["tokens", "list"])),
    ];
    refused(&said[0], 2, "requires an access token; put it into RUNBELL_TOKEN");
    refused(&said[1], 2, "does not take the token in RUNBELL_TOKEN");
    refused(&said[2], 2, "another process holds it; stop that one, or talk to it over its API");

    let made = say(&mut over(&server, admin, &["tokens", "create", "ci", "-p", "ml", "-p", "nlp"]));
    done(&made);
    let made = made.json().remove(0);
    let (ci, id) = (made["token"].as_str().expect("a token"), made["id"].as_str().expect("an id"));
    said.extend([
        say(&mut over(&server, ci, &["deliveries", "list", "-p", "ml"])),
        say(&mut over(&server, ci, &["deliveries", "list", "-p", "other"])),
        say(&mut over(&server, ci, &["tokens", "list"])),
        say(&mut over(&server, ci, &["backup", folder.path("b.db").to_str().expect("UTF-8")])),
        say(&mut over(&server, admin, &["tokens", "list"])),
        say(&mut over(&server, admin, &["tokens", "revoke", "unknown", id])),
        say(&mut over(&server, ci, &["deliveries", "list", "-p", "ml"])),
        say(&mut over(&server, admin, &["tokens", "list", "--table"])),
    ]);
    done(&said[3]);
    refused(&said[4], 2, "the token is not for project `other`");
    refused(&said[5], 2, "the token is not an administrator's");
    refused(&said[6], 2, "the token is not an administrator's");
    let listed = said[7].json();
    assert_eq!((listed.len(), &listed[1]["projects"], &listed[1]["id"]), (2, &json!(["ml", "nlp"]), &json!(id)));
    refused(&said[8], 1, "unknown: the token is not there");
    refused(&said[9], 2, "does not take the token in RUNBELL_TOKEN");
    assert!(said[10].out.contains("REVOKED") && said[10].out.contains("ml, nlp"), "{}", said[10].out);
    let secrets = [admin, ci].map(|token| token.rsplit('_').next().expect("a part"));
    for said in &said {
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains("CANARY") && !secrets.iter().any(|secret| all.contains(secret)), "{all}");
    }
    assert!(!folder.path("b.db").exists());
}

#[test]
fn usage_faults_take_one_line() {
    let folder = Folder::new();
    let store = store_in(&folder, "runbell.db");
    refused(&say(&mut runbell(&["deliveries", "list"])), 2, "--server URL");
    refused(&say(&mut runbell(&["tokens", "list", "--server", "http://u:CANARY@h"])), 2, "RUNBELL_TOKEN");
    refused(&say(&mut runbell(&["tokens", "list", "--server", "http://127.0.0.1:1"])), 2, "refuses connections");
    let both = say(&mut on(&store, &["tokens", "list", "--server", "http://h"]));
    assert!(both.code == Some(2) && both.err.contains("cannot be used with"), "{both:?}");
    // What is given on the command line wins over the environment.
    refused(&say(on(&store, &["tokens", "list"]).env("RUNBELL_SERVER", "http://h")), 2, "is not there");
    refused(&say(&mut on(&store, &["deliveries", "replay", "1", "--kind", "slack"])), 2, "--kind goes with --all");
    refused(&say(&mut runbell(&["tokens", "list", "--store", "postgres://CANARY"])), 2, "a store is sqlite://FILE");
    for args in [&["deliveries", "replay"][..], &["deliveries", "replay", "1", "--all"], &["tokens", "create", "x"]] {
        assert_eq!(say(&mut on(&store, args)).code, Some(2), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path(".")).expect("listed").count(), 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_made_again_and_given_up() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    peer.answer_with(|request| match request.path.as_str() {
        "/busy" => FakeAnswer::status(503),
        _ => FakeAnswer::status(404),
    });
    let store = store_in(&folder, "runbell.db");
    let server = start(&folder, &store, "{ retry: { waits_secs: [3600] }, limits: { page_size: 2 } }");
    report(
        &server,
        "u1",
        "completed",
        &json!([webhook("bad", &peer.url("/bad")), webhook("busy", &peer.url("/busy"))]),
    )
    .await;
    report(&server, "u2", "error", &json!([webhook("bad", &peer.url("/CANARY"))])).await;
    let ask = |args: &[&str]| {
        let mut all = vec!["deliveries"];
        all.extend(args);
        all.extend(["-p", "p"]);
        over(&server, "", &all)
    };
    let failed = until(2, || ask(&["list", "--status", "failed"]));
    let busy = until(1, || ask(&["list", "--status", "retry"])).remove(0);
    assert_eq!(
        (&failed[0]["uid"], &failed[1]["uid"], &busy["notification"]),
        (&json!("u2"), &json!("u1"), &json!("busy"))
    );
    for (filter, count) in [
        (&["--uid", "u1"][..], 2),
        (&["--notification", "bad", "--state", "error"], 1),
        (&["--kind", "webhook"], 3),
        (&["--kind", "slack"], 0),
        (&["--limit", "3"], 3),
    ] {
        let said = say(&mut ask(&[&["list"], filter].concat()));
        assert_eq!((said.json().len(), said.err.as_str()), (count, ""), "{filter:?}");
    }
    let cut = say(&mut ask(&["list", "--limit", "2"]));
    assert!(cut.json().len() == 2 && cut.err.contains("there are more than 2"), "{cut:?}");
    let table = say(&mut ask(&["list", "--table"]));
    assert!(table.out.contains("NOTIFICATION") && table.out.lines().count() == 5, "{}", table.out);

    let id = |delivery: &Value| delivery["id"].to_string();
    let (old, young, busy) = (id(&failed[1]), id(&failed[0]), id(&busy));
    let shown = say(&mut ask(&["show", &old])).json().remove(0);
    assert_eq!((&shown["status"], &shown["attempts"][0]["outcome"]), (&json!("failed"), &json!("failed")));
    let table = say(&mut ask(&["show", &old, "--table"]));
    assert!(table.out.contains("ATTEMPT") && !table.out.contains("CANARY"), "{}", table.out);
    refused(&say(&mut ask(&["show", "999"])), 1, "999: the delivery is not there");
    refused(&say(&mut ask(&["replay", &busy])), 1, "the delivery is retry; only a finished one can be replayed");
    refused(&say(&mut ask(&["cancel", &old])), 1, "the delivery is failed; only a waiting one can be cancelled");
    let cancelled = say(&mut ask(&["cancel", &busy]));
    assert_eq!((cancelled.code, &cancelled.json()[0]["status"]), (Some(0), &json!("superseded")));

    peer.answer_always(FakeAnswer::ok());
    // One that cannot be replayed does not affect the others.
    let replayed = say(&mut ask(&["replay", "999", &old]));
    assert_eq!((replayed.code, replayed.json().len()), (Some(1), 1), "{replayed:?}");
    until(1, || ask(&["list", "--status", "sent", "--uid", "u1"]));
    let none = say(&mut ask(&["replay", "--all", "--kind", "slack"]));
    assert_eq!(none.json(), [json!({ "replayed": 0 })]);
    let open = say(&mut ask(&["replay", "--all", "--status", "retry"]));
    refused(&open, 2, "status: must be failed, sent or superseded");

    // The rest on the file: what is made due there is sent by the next start.
    refused(&say(&mut on(&store, &["deliveries", "list"])), 2, "another process holds it");
    drop(server);
    let all = say(&mut on(&store, &["deliveries", "replay", "--all", "-p", "p", "--notification", "bad"]));
    assert_eq!(all.json(), [json!({ "replayed": 1 })], "{all:?}");
    let again = say(&mut on(&store, &["deliveries", "replay", &busy, "--new-key", "-p", "p"]));
    assert_ne!(again.json()[0]["key"], cancelled.json()[0]["key"], "{again:?}");
    let due = say(&mut on(&store, &["deliveries", "list", "-p", "p", "--status", "pending"])).json();
    assert_eq!((due.len(), id(&due[1])), (2, young));
    let server = start(&folder, &store, "{}");
    until(3, || over(&server, "", &["deliveries", "list", "-p", "p", "--status", "sent"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_in_and_only_names_come_out() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    let store = store_in(&folder, "runbell.db");
    let hook = json!({ "url": peer.url("/CANARY-hook") }).to_string();
    let file = folder.file("value", &format!("{hook}\n"));
    let set = |more: &[&str]| on(&store, &[&["secrets", "set", "-p", "p"], more].concat());
    let mut said = vec![
        say_with(&mut set(&["STDIN"]), "CANARY-stdin"),
        say(&mut set(&["HOOK", "--from-file", &file])),
        say(set(&["ENV", "--from-env", "VALUE"]).env("VALUE", "CANARY-env")),
    ];
    said.iter().for_each(done);
    let bad = [
        (say(&mut set(&["X", "CANARY-value"])), "takes a name alone"),
        (say(&mut set(&["X=CANARY-value"])), "takes a name alone"),
        (say(&mut set(&["X"])), "the value is empty"),
        (say(&mut set(&["X", "--from-env", "NONE"])), "`NONE` is not set"),
        (say_with(&mut set(&["mlrun.X"]), "CANARY-internal"), "are internal"),
    ];
    for (said, why) in &bad {
        refused(said, 2, why);
    }
    said.extend(bad.into_iter().map(|(said, _)| said));
    let list = say(&mut on(&store, &["secrets", "list", "-p", "p"]));
    assert_eq!(list.json(), ["ENV", "HOOK", "STDIN"].map(|name| json!({ "name": name })));
    assert_eq!(say(&mut on(&store, &["secrets", "list", "-p", "other"])).out, "");

    // Another key would make secrets that the server cannot open.
    let wrong = say_with(set(&["X"]).env("RUNBELL_SECRET_KEYS", format!("k9 {}=", "A".repeat(43))), "CANARY-x");
    refused(&wrong, 2, "these keys do not open the store's secrets");
    let key = folder.path("runbell.db.key");
    std::fs::rename(&key, folder.path("away")).expect("moved");
    refused(&say_with(&mut set(&["X"]), "CANARY-x"), 2, "is missing, and the store holds secrets");
    // Who seals nothing needs no key.
    done(&say(&mut on(&store, &["secrets", "list", "-p", "p", "--table"])));
    let away = folder.path("away");
    done(&say_with(&mut set(&["X", "--key-file", away.to_str().expect("UTF-8")]), "CANARY-x"));
    assert!(!key.exists(), "none was made beside the store");
    std::fs::rename(&away, &key).expect("moved back");

    let server = start(&folder, &store, "{}");
    let ask = |more: &[&str]| over(&server, "", &[more, &["-p", "p"]].concat());
    report(
        &server,
        "u1",
        "completed",
        &json!([{ "kind": "webhook", "name": "w", "secret_params": { "secret": "HOOK" } }]),
    )
    .await;
    peer.until_requests(1).await;
    assert_eq!(peer.requests()[0].path, "/CANARY-hook");
    said.extend([
        say_with(&mut ask(&["secrets", "set", "OVER"]), "CANARY-over\r\n"),
        say(&mut ask(&["secrets", "delete", "STDIN", "unknown"])),
        say(&mut ask(&["secrets", "delete", ""])),
        say(&mut ask(&["secrets", "list"])),
        list,
        wrong,
    ]);
    let [over, one, none, left] = &said[8..12] else { panic!("four") };
    done(over);
    refused(one, 1, "unknown: there is no such secret");
    refused(none, 1, "there is no such secret");
    assert_eq!(left.json(), ["ENV", "HOOK", "OVER", "X"].map(|name| json!({ "name": name })));
    for said in &said {
        assert!(!said.out.contains("CANARY") && !said.err.contains("CANARY"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_all_that_a_new_server_needs() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    peer.answer_always(FakeAnswer::status(503));
    let store = store_in(&folder, "runbell.db");
    let config = format!("retry: {{ waits_secs: [{}], jitter: 0 }}", ["1"; 30].join(", "));
    let server = start(&folder, &store, &config);
    report(&server, "u1", "error", &json!([webhook("w", &peer.url("/CANARY"))])).await;
    peer.until_requests(1).await;
    let file = |name: &str| folder.path(name).to_str().expect("UTF-8").to_owned();
    let made = say(&mut over(&server, "", &["backup", &file("over.db")]));
    done(&made);
    let length = std::fs::metadata(file("over.db")).expect("there").len();
    assert_eq!(made.json(), [json!({ "file": file("over.db"), "bytes": length })]);
    refused(&say(&mut over(&server, "", &["backup", &file("over.db")])), 2, "exists already");
    refused(&say(&mut on(&store, &["backup", &file("on.db")])), 2, "another process holds it");
    drop(server);
    done(&say(&mut on(&store, &["backup", &file("on.db"), "--table"])));

    peer.answer_always(FakeAnswer::ok());
    for name in ["over.db", "on.db"] {
        assert_eq!(std::fs::metadata(file(name)).expect("there").permissions().mode() & 0o777, 0o600);
        let copy = store_in(&folder, name);
        std::fs::copy(file("runbell.db.key"), file(&format!("{name}.key"))).expect("copied");
        let server = start(&folder, &copy, &config);
        let sent = until(1, || over(&server, "", &["deliveries", "list", "-p", "p", "--status", "sent"]));
        assert_eq!(sent[0]["uid"], "u1");
    }

    // An incomplete database leaves no file behind.
    for (answer, why) in [
        (FakeAnswer::ok(), "sent an incomplete database"),
        (FakeAnswer::half_body(200).body("SQLite format 3\0"), "broke off"),
        (FakeAnswer::status(404).body("<html>CANARY"), "but not as a Runbell server; check the URL"),
        (FakeAnswer::redirect(302, "http://h/CANARY"), "give the final URL"),
    ] {
        peer.answer(answer);
        let url = peer.url("");
        let out = file("bad.db");
        let said = tokio::task::spawn_blocking(move || say(&mut runbell(&["backup", &out, "--server", &url])));
        let said = said.await.expect("no panic");
        refused(&said, 2, why);
        assert!(!said.err.contains("CANARY"), "{}", said.err);
    }
    let left = std::fs::read_dir(folder.path(".")).expect("listed");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    assert!(!left.iter().any(|name| name.starts_with(".runbell") || name == "bad.db"), "{left:?}");
}
