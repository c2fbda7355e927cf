//! A dispatcher that is killed again and again: what it promised arrives all the same, and repetitions can be told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runbell_testkit::FakeHttp;
use serde_json::json;

use crate::tools::Folder;

/// How many events there are, and how many processes are killed over them.
const EVENTS: usize = 600;
const KILLS: usize = 24;

/// Long enough for anything that is not lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn uid(index: usize) -> String {
    format!("u{index}")
}

/// A dispatcher that is told of these events; nobody waits for it to read them.
fn start(file: &Path, told: &[usize], peer: &FakeHttp) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_durable-dispatcher"))
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let lines: Vec<String> = told
        .iter()
        .map(|index| json!({ "uid": uid(*index), "url": peer.url(&format!("/{}", uid(*index))) }).to_string())
        .collect();
    let mut stdin = child.stdin.take().expect("piped");
    // Ends with an error when the reader is killed, which is the point.
    std::thread::spawn(move || lines.iter().all(|line| writeln!(stdin, "{line}").is_ok()));
    child
}

/// The ids that came for each run, and how many requests there were.
fn arrived(peer: &FakeHttp) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let requests = peer.requests();
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in &requests {
        let id = request.header("webhook-id").expect("an id").to_owned();
        ids.entry(request.path.trim_start_matches('/').to_owned()).or_default().insert(id);
    }
    (ids, requests.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_arrives_whoever_is_killed() {
    let (folder, peer) = (Folder::new(), FakeHttp::start().await);
    let file = folder.path("runbell.db");
    let mut promised: BTreeSet<String> = BTreeSet::new();
    let mut interrupted = 0;
    for round in 0..=KILLS {
        let untold: Vec<usize> = (0..EVENTS).filter(|index| !promised.contains(&uid(*index))).collect();
        let mut child = start(&file, &untold, &peer);
        let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Killed after some answers, earlier and later; the last one takes in all that is left.
        let most = if round == KILLS { untold.len() } else { (round * 7) % 40 };
        for answer in answers.by_ref().take(most.min(untold.len())) {
            promised.insert(answer.expect("a line"));
        }
        if round == KILLS {
            let waiting = async {
                loop {
                    // Counted with what is looked at, or the last one could slip in between.
                    let (ids, requests) = arrived(&peer);
                    if ids.len() == EVENTS {
                        break;
                    }
                    peer.until_requests(requests + 1).await;
                }
            };
            let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
            child.kill().expect("killed");
            child.wait().expect("gone");
            let (ids, _) = arrived(&peer);
            let lost: Vec<String> = (0..EVENTS).map(uid).filter(|uid| !ids.contains_key(uid)).collect();
            assert!(in_time && lost.is_empty(), "promised and lost: {lost:?}");
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        // What was answered before it died was promised too.
        promised.extend(answers.map_while(Result::ok));
        interrupted += usize::from(promised.len() < EVENTS);
    }
    let (ids, requests) = arrived(&peer);
    assert_eq!(promised.len(), EVENTS);
    assert!(ids.values().all(|ids| ids.len() == 1), "a repetition has another id: {ids:?}");
    println!(
        "{EVENTS} events, {KILLS} kills ({interrupted} with events open): 0 lost, {} came twice",
        requests - EVENTS
    );
}
