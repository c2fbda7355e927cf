//! The API keeps what its description says: requests made from the description, right ones and wrong ones, get no 5xx, and
//! nothing that is not described.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::servers::{packages, present, program};
use crate::serving::{Serving, serve};
use crate::tools::{Folder, Said, say};

const REMEDY: &str =
    "python3 -m venv target/test-servers/venv && target/test-servers/venv/bin/pip install schemathesis==4.32.5";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method";

fn schemathesis() -> Option<PathBuf> {
    let installed = Some(packages().join("venv/bin/schemathesis")).filter(|file| file.is_file());
    let found = installed.or_else(|| program("schemathesis"));
    present("schemathesis", found.is_some(), REMEDY).then_some(found).flatten()
}

/// Sends what the description allows and what it does not, always the same.
fn examine(tool: PathBuf, server: &Serving, folder: &Folder, more: &[&str]) -> Said {
    let mut command = Command::new(tool);
    command.arg("run").arg(format!("{}/api/v1/openapi.json", server.url())).args(["--checks", CHECKS]);
    command.args(["--max-examples", "25", "--generation-deterministic", "--no-shrink"]);
    command.args(["--continue-on-failure", "--no-color", "--output-sanitize", "false"]).args(more);
    // What it keeps for its next run is of no use here.
    command.current_dir(folder.path("")).env("NO_PROXY", "127.0.0.1");
    say(&mut command)
}

fn assert_kept(said: &Said) {
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    // It did examine something.
    let operations = said.out.lines().find_map(|line| line.trim().strip_prefix("Tested: ")).expect("a summary");
    assert!(operations.parse::<usize>().expect("a number") > 20, "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_made_from_the_description_get_the_described_answers() {
    let Some(tool) = schemathesis() else { return };
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    // The first token would end it, for then everybody needs one.
    let said = examine(tool, &server, &folder, &["--exclude-path-regex", "/tokens"]);
    assert_kept(&said);
    server.client.get("readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_where_tokens_are_asked_for() {
    let Some(tool) = schemathesis() else { return };
    let folder = Folder::new();
    let server = Serving::of(&mut serve(&folder, &[]));
    let made =
        server.client.send("POST", "tokens", &json!({ "name": "admin", "admin": true })).await.expect(201).json();
    let header = format!("Authorization: Bearer {}", made["token"].as_str().expect("a token"));
    // It must not revoke the token it has.
    let said = examine(tool, &server, &folder, &["-H", &header, "--exclude-path", "/api/v1/tokens/{id}"]);
    assert_kept(&said);
    server.client.get("readyz").await.expect(200);
}
