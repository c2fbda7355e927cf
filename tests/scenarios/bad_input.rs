//! Bad input: one message that names the field, what is wrong and what would be right; nothing is run.

use serde_json::json;

use crate::serving::{configured, refused, serve};
use crate::tools::{Folder, runbell, say, say_with};

#[test]
fn faults_of_the_configuration_stop_everything_before_it_starts() {
    let folder = Folder::new();
    let file = |name: &str, text: &str| folder.file(name, text);
    let big = format!(
        "[{{\"kind\": \"webhook\", \"name\": \"n\", \"secret_params\": {{\"url\": \"http://h/{}\"}}}}]",
        "a".repeat(930_000)
    );
    let cases: Vec<(Vec<String>, Vec<&str>)> = vec![
        (spec("pager"), vec!["`pager` is not linked", "linked: console, git, mail, notebook, slack, webhook"]),
        (spec("mial"), vec!["did you mean `mail`?"]),
        (spec("webhok:url=http://h/"), vec!["did you mean `webhook`?"]),
        (spec("webhook"), vec!["params.url: is required"]),
        (spec("webhook:url=h"), vec!["secret_params.url", "http"]),
        (spec("webhook:url=http://h/,timeout_secs=soon"), vec!["params.timeout_secs: must be an integer, not a text"]),
        (spec("webhook:url=http://h/,timeout_secs=100"), vec!["params.timeout_secs", "60"]),
        (spec("webhook:url=http://h/,method=BREW"), vec!["params.method", "POST"]),
        (spec("console:when=complete"), vec!["when[0]: `complete` is not one of", "did you mean `completed`?"]),
        (spec("console:severity=loud"), vec!["severity: `loud` is not one of info, debug, verbose, warning, error"]),
        (conf(file("a.yaml", "- kind: console\n  name: [\n")), vec!["a.yaml: is not valid YAML: line "]),
        (conf(file("a.toml", "[[notifications]]\nkind = \n")), vec!["a.toml: is not valid TOML: line 2"]),
        (conf(file("a.json", "[{\"kind\": }]")), vec!["a.json: is not valid JSON: line 1, column 11"]),
        (conf(file("b.json", "{\"kind\": \"console\"}")), vec!["must be a list of notifications"]),
        (
            conf(file("c.json", "[{\"name\": \"n\"}, {\"kind\": \"console\", \"name\": \"n\"}]")),
            vec!["[1].name", "names must be unique"],
        ),
        (
            conf(file("d.json", "[{\"secret_params\": {\"secret\": \"S\", \"webhook\": \"x\"}}]")),
            vec!["secret_params", "must stand alone"],
        ),
        (conf(file("e.json", &big)), vec!["secret_params", "921600"]),
        (
            conf(file("f.json", "[{\"kind\": \"console\", \"name\": \"${RUNBELL_TEST_UNSET}\"}]")),
            vec!["[0].name", "RUNBELL_TEST_UNSET"],
        ),
        (conf("/nonexistent.yaml".to_owned()), vec!["/nonexistent.yaml: cannot be read"]),
        (vec!["--label".to_owned(), "team".to_owned()], vec!["--label", "name=value"]),
    ];
    for (args, parts) in cases {
        let mut strict = runbell(&["run", "--strict"]);
        let mut runs = vec![(say(strict.args(&args).args(["--", "sh", "-c", "echo ran"])), (Some(2), ""))];
        // A label is no notification, and a wrong one is a wrong command line.
        if args[0] != "--label" {
            let said = say(runbell(&["run"]).args(&args).args(["--", "sh", "-c", "echo ran; exit 7"]));
            assert!(said.err.contains("warning: ") && said.err.contains("Run failed"), "{args:?}: {}", said.err);
            runs.push((said, (Some(7), "ran\n")));
        }
        for (said, (code, out)) in runs {
            assert_eq!((said.code, said.out.as_str()), (code, out), "{args:?}: {}", said.err);
            for part in &parts {
                assert!(said.err.contains(part), "{args:?}: {part:?} is not in {}", said.err);
            }
            assert!(!said.err.contains("panicked"), "{}", said.err);
        }
    }
}

#[tokio::test]
async fn one_notification_at_fault_leaves_the_others_alone() {
    let (folder, peer) = (Folder::new(), runbell_testkit::FakeHttp::start().await);
    let file = json!([
        { "kind": "webhook", "name": "good", "when": ["error"], "params": { "url": peer.url("/good") } },
        { "kind": "webhook", "name": "bad", "params": { "url": "${RUNBELL_TEST_UNSET}" } },
        { "kind": "pager", "name": "unknown" },
        { "kind": "slack", "name": "no-hook" },
    ]);
    let config = configured(&folder, &file);
    let spec = format!("webhook:url={}", peer.url("/spec"));
    let mut command =
        runbell(&["run", "-c", &config, "--notify", "pager", "--notify", &spec, "--", "sh", "-c", "exit 3"]);
    // As in a fork's pipeline: the secret is there, and empty. No file of authorities either, and nothing asked for it.
    command.env("SLACK_WEBHOOK", "").env("RUNBELL_SERVER", "").env("RUNBELL_UI_URL", "");
    let said = tokio::task::spawn_blocking(move || say(&mut command)).await.expect("no panic");
    assert_eq!(said.code, Some(3), "{}", said.err);
    let mut paths: Vec<String> = peer.requests().iter().map(|request| request.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, ["/good", "/spec"], "{}", said.err);
    for part in ["[1].params.url", "RUNBELL_TEST_UNSET", "`pager` is not linked", "no-hook", "webhook"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[test]
fn a_variable_without_a_value_is_unset() {
    let mut command = runbell(&["run", "--", "true"]);
    command.env("RUNBELL_CONFIG", "").env("RUNBELL_CA_FILE", "").env("RUNBELL_LOG", "").env("RUNBELL_TOKEN", "");
    let said = say(&mut command);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("Run completed") && !said.err.contains("warning"), "{}", said.err);
    let mut command = runbell(&["run", "--notify", "webhook:url=${SLACK_WEBHOOK}", "--", "true"]);
    let said = say(command.env("SLACK_WEBHOOK", ""));
    assert!(said.code == Some(0) && said.err.contains("`SLACK_WEBHOOK` is not set, or empty"), "{}", said.err);
    let mut command = runbell(&["run", "--notify", "webhook:url=http://127.0.0.1:9/", "--", "true"]);
    let said = say(command.env("RUNBELL_CA_FILE", "/nope"));
    assert!(
        said.code == Some(0) && said.err.contains("RUNBELL_CA_FILE: the file it names does not exist"),
        "{}",
        said.err
    );
}

#[test]
fn faults_of_a_servers_file_name_their_path() {
    let folder = Folder::new();
    for (config, fault) in [
        (json!({ "mail": { "server_port": "x" } }), "mail.server_port: must be a port from 1 to 65535"),
        (json!({ "mail": { "use_tls": "maybe" } }), "mail.use_tls: must be a boolean, not a text"),
        (json!({ "mail": { "colour": 1 } }), "mail.colour: is not known"),
        (
            json!({ "on_failure": [{ "kind": "console", "name": "n", "when": 5 }] }),
            "on_failure[0].when: must be a list",
        ),
        (json!({ "on_failure": [{ "kind": "pager", "name": "n" }] }), "on_failure[0].kind: `pager` is not linked"),
    ] {
        let said = refused(&mut serve(&folder, &["-c", &configured(&folder, &config)]));
        assert!(said.code == Some(2) && said.err.contains(fault), "{fault:?} is not in {}", said.err);
    }
}

fn spec(spec: &str) -> Vec<String> {
    vec!["--notify".to_owned(), spec.to_owned()]
}

fn conf(path: String) -> Vec<String> {
    vec!["-c".to_owned(), path]
}

#[test]
fn an_unknown_param_is_a_warning_with_the_nearest_name() {
    let said = say(&mut runbell(&["run", "--notify", "console:colour=red,name=c", "--", "true"]));
    assert_eq!(said.code, Some(0));
    assert!(
        said.err.contains("warning: notification `c`: params.colour: is not known and has no effect"),
        "{}",
        said.err
    );
}

#[test]
fn usage_faults_end_with_two() {
    for args in [
        vec![],
        vec!["run"],
        vec!["run", "--"],
        vec!["fly"],
        vec!["run", "--tail", "0", "--", "true"],
        vec!["push", "--json", "--table"],
    ] {
        let said = say(&mut runbell(&args));
        assert_eq!(said.code, Some(2), "{args:?}: {}", said.err);
        assert!(!said.err.is_empty(), "{args:?}");
    }
}

#[test]
fn documents_that_are_none() {
    for (input, part) in [
        ("{\"metadata\": ", "line 1, column 14"),
        ("{\n\"a\": 1\n}", "metadata: is missing"),
        ("5", "an integer"),
        ("[{\"spec\": {}}]", "[0]: metadata: is missing"),
        (&"[".repeat(100_000), "nested too deeply"),
    ] {
        for verb in ["push", "explain", "preview", "check"] {
            let said = say_with(&mut runbell(&[verb, "--json"]), input);
            assert_eq!(said.code, Some(2), "{verb}: {}", said.err);
            assert!(
                said.out.contains(part) || said.err.contains(part),
                "{verb}: {part} not in {} {}",
                said.out,
                said.err
            );
            assert!(!said.err.contains("panicked"), "{}", said.err);
        }
    }
    let said = say_with(&mut runbell(&["push", "/nonexistent.json"]), "");
    assert!(said.code == Some(2) && said.err.contains("/nonexistent.json: cannot be read"), "{}", said.err);
}
