//! A canary in every secret field is in no output, whatever happens.

use runbell_testkit::smtp::{FakeSmtp, SmtpFault, Step};
use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::json;

use crate::tools::{Folder, Said, runbell, say, say_with};

pub(crate) const CANARY: &str = "CANARY0123456789";

/// The canary as it is, and in the forms in which texts carry it.
pub(crate) fn forms() -> Vec<String> {
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = CANARY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Base64 of the canary at the three places it can start at.
    let base64 = ["Q0FOQVJZMDEyMzQ1Njc4", "NBTkFSWTAxMjM0NTY3OD", "DQU5BUlkwMTIzNDU2Nzg5"];
    [CANARY.to_owned(), hex.to_uppercase(), hex, percent].into_iter().chain(base64.map(str::to_owned)).collect()
}

fn assert_clean(said: &Said, what: &str) {
    for form in forms() {
        for (name, text) in [("standard output", &said.out), ("standard error", &said.err)] {
            assert!(!text.contains(&form), "{what}: {form} on {name}:\n{text}");
        }
    }
}

#[tokio::test]
async fn no_output_holds_a_secret() {
    let peer = FakeHttp::start().await;
    // It repeats the login it refuses.
    let smtp = FakeSmtp::start().await;
    smtp.fault(Step::Auth, SmtpFault::Say("535 5.7.8 {} is wrong".to_owned()), usize::MAX);
    let folder = Folder::new();
    let hostile = format!("echo {CANARY} >&2; exit 1");
    // The last three are tried again, so they are only pushed.
    for (what, answer) in [
        ("success", FakeAnswer::ok()),
        ("redirect", FakeAnswer::redirect(301, format!("http://{CANARY}.invalid/"))),
        ("refused", FakeAnswer::status(403).body(CANARY)),
        ("gone", FakeAnswer::status(404).echoing()),
        ("throttled", FakeAnswer::status(429).header("retry-after", "100")),
        ("broken", FakeAnswer::status(500).header("retry-after", "100").echoing()),
        ("closed", FakeAnswer::close()),
        ("garbage", FakeAnswer::garbage()),
        ("unreachable", FakeAnswer::ok()),
    ] {
        peer.answer_always(answer);
        let base = peer.url("");
        let base = base.trim_end_matches('/').to_owned();
        let host = if what == "unreachable" { "127.0.0.1:1" } else { base.trim_start_matches("http://") };
        let document = json!({
            "metadata": { "uid": "u", "name": "n", "project": "p" },
            "spec": { "notifications": [
                { "kind": "slack", "name": "s", "when": ["error"], "secret_params": { "webhook": format!("{base}/{CANARY}") } },
                { "kind": "webhook", "name": "w", "when": ["error"], "params": { "url": format!("{base}/{CANARY}?{CANARY}"),
                    "headers": { "X-Token": CANARY } }, "message": format!("see {CANARY}") },
                { "kind": "webhook", "name": "signed", "when": ["error"], "secret_params": {
                    "url": format!("http://user:{CANARY}@{host}/"), "headers": { "Authorization": format!("Bearer {CANARY}") } } },
                { "kind": "git", "name": "g", "when": ["error"], "params": { "server": format!("http://{host}"), "repo": "o/r", "issue": 1 },
                    "secret_params": { "token": CANARY }, "message": format!("see {CANARY}") },
                { "kind": "git", "name": "living", "when": ["error"], "params": { "server": format!("http://{host}"), "repo": "o/r",
                    "issue": 1, "update": true, "GIT_TOKEN": CANARY } },
                { "kind": "mail", "name": "m", "when": ["error"], "params": { "server_host": "127.0.0.1", "server_port": smtp.port(),
                    "sender_address": "a@b.co", "email_addresses": "c@d.co", "username": "u", "use_tls": false, "start_tls": false },
                    "secret_params": { "password": CANARY } },
                { "kind": "webhook", "name": "wrong", "when": ["error"], "params": { "url": CANARY, "method": 5 },
                    "secret_params": { "headers": [CANARY], "signing_secret": CANARY } },
            ] },
            "status": { "state": "error", "error": format!("failed with {CANARY}") },
        });
        let config = folder.file("n.json", &document["spec"]["notifications"].to_string());
        let good = folder.file(
            "good.json",
            &json!(document["spec"]["notifications"].as_array().expect("a list")[..6].to_vec()).to_string(),
        );
        let text = document.to_string();
        for verb in ["push", "explain", "preview", "check"] {
            for format in ["--json", "--table"] {
                if verb == "push" && format == "--table" {
                    continue;
                }
                let mut command = runbell(&[verb, format]);
                command.env("RUNBELL_LOG", "trace");
                let input = text.clone();
                let said = tokio::task::spawn_blocking(move || say_with(&mut command, &input)).await.expect("no panic");
                assert!(!said.out.is_empty(), "{what} {verb}: {}", said.err);
                assert_clean(&said, &format!("{what} {verb} {format}"));
            }
        }
        let mut wrong = runbell(&["run", "-c", &config, "--", "true"]);
        assert_clean(&say(wrong.env("RUNBELL_LOG", "trace")), what);
        if ["closed", "garbage", "unreachable"].contains(&what) {
            continue;
        }
        let mut command = runbell(&["run", "--tail", "3", "-c", &good, "--", "sh", "-c", &hostile]);
        command.env("RUNBELL_LOG", "trace");
        let said = tokio::task::spawn_blocking(move || say(&mut command)).await.expect("no panic");
        // The command's own output is its own.
        let ours = Said { err: said.err.replacen(&format!("{CANARY}\n"), "", 1), ..said };
        assert_clean(&ours, what);
    }
}

#[test]
fn a_tail_holds_no_part_of_a_secret() {
    let folder = Folder::new();
    let config = folder.file(
        "n.json",
        &json!([{ "kind": "console", "name": "c", "when": ["error"] },
                { "kind": "webhook", "name": "w", "when": ["running"], "secret_params": {
                    "url": format!("http://user:pw-{CANARY}@127.0.0.1:1/x?tok=q-{CANARY}"),
                    "headers": { "Authorization": format!("Bearer {CANARY}") } } }])
        .to_string(),
    );
    // As tools print them; the last one stands where a line is cut.
    let script = format!(
        "printf '401 for {CANARY}\\npw-{CANARY} q-{CANARY}\\n%4090s{CANARY}\\n' x >/dev/null; \
         printf '401 for {CANARY}\\npw-{CANARY} q-{CANARY}\\n%4090s{CANARY}\\n' x >&2; exit 1"
    );
    let said = say(&mut runbell(&["run", "--tail", "5", "-c", &config, "--", "sh", "-c", &script]));
    let notified = said.err.split("Run failed").nth(1).expect("a notification");
    assert!(notified.contains("401 for ***"), "{notified}");
    assert!(!notified.contains("CANARY"), "{notified}");
}
