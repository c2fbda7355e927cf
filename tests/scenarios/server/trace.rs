//! What the system is asked to do, and in which order: an event's commit is on disk before its answer is sent.

use std::collections::HashMap;

use serde_json::json;

use crate::servers::{present, program};
use crate::serving::{Serving, event, in_time, serve, under};
use crate::tools::Folder;

const CALLS: &str = "trace=fdatasync,fsync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg";

/// The server under strace, which writes what it sees into `trace`. The server stays this process's own child.
fn traced(folder: &Folder) -> Option<Result<Serving, String>> {
    let found = program("strace");
    if !present("strace", found.is_some(), "apt-get install strace") {
        return None;
    }
    let mut command = std::process::Command::new(found.expect("it was found"));
    command.args(["-D", "-f", "-y", "-s", "256", "-e", CALLS, "-e", "signal=none", "-o"]).arg(folder.path("trace"));
    Some(Serving::try_of(&mut under(command, &serve(folder, &[]))))
}

/// A system call in a trace.
#[derive(Debug)]
struct Call<'a> {
    name: &'a str,
    /// The rest of the line it began on, and of that it ended on: arguments, then the result.
    text: String,
    /// The lines it began and ended on.
    began: usize,
    ended: usize,
}

/// Every call that ended, in the order they ended. A line is `PID name(arguments) = result`, or two halves of it.
fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut open: HashMap<&str, Call<'_>> = HashMap::new();
    let mut all = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let (Some(mut call), Some((_, rest))) = (open.remove(thread), resumed.split_once("resumed>")) else {
                continue;
            };
            call.text.push_str(rest);
            call.ended = number;
            all.push(call);
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else { continue };
        let call = Call { name, text: rest.to_owned(), began: number, ended: number };
        match rest.contains("<unfinished ...>") {
            true => drop(open.insert(thread, call)),
            false => all.push(call),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_events_commit_is_on_disk_before_its_answer_is_sent() {
    let folder = Folder::new();
    let Some(serving) = traced(&folder) else { return };
    let serving = serving.expect("it listens");
    let client = serving.client();
    // They notify of no state reported here, so only their intakes are written.
    let uids: Vec<String> = (0..5).map(|index| format!("traced-{index}")).collect();
    for uid in &uids {
        let mut event = event(uid, "running", "http://127.0.0.1:1/");
        event["notifications"][0]["when"] = json!(["completed"]);
        assert_eq!(client.report(uid, &event).await.ok()["deliveries"], json!([]));
    }
    // Whatever the store makes of it, reading commits nothing.
    client.get("healthz").await.ok();
    let pid = serving.pid().as_raw_nonzero().to_string();
    serving.stop().await;
    // The tracer writes a little longer than the server lives.
    let ended = format!("{pid} +++ exited with 0 +++");
    let whole = async {
        loop {
            let trace = std::fs::read_to_string(folder.path("trace")).expect("a trace");
            if trace.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == ended) {
                return trace;
            }
            tokio::task::yield_now().await;
        }
    };
    let trace = in_time("the whole trace", whole).await;
    let calls = calls(&trace);
    let is_answer = |call: &Call<'_>| {
        ["write", "writev", "sendto", "sendmsg"].contains(&call.name) && call.text.contains("HTTP/1.1 200")
    };
    let is_sync = |call: &Call<'_>| {
        let on_log = call.text.split('>').next().is_some_and(|file| file.ends_with("runbell.db-wal"));
        ["fdatasync", "fsync"].contains(&call.name) && on_log && call.text.trim_end().ends_with("= 0")
    };
    for uid in &uids {
        let asked = calls.iter().find(|call| {
            ["read", "recvfrom", "recvmsg"].contains(&call.name) && call.text.contains(&format!("runs/{uid}/events"))
        });
        let asked = asked.unwrap_or_else(|| panic!("{uid} was never read:\n{trace}")).ended;
        let answers = calls.iter().filter(|call| is_answer(call) && call.began > asked).map(|call| call.began);
        let answered = answers.min().unwrap_or_else(|| panic!("{uid} was never answered:\n{trace}"));
        let synced = calls.iter().any(|call| is_sync(call) && asked < call.began && call.ended < answered);
        let between: Vec<&str> = trace.lines().skip(asked).take(answered - asked + 1).collect();
        assert!(synced, "no sync between {uid} and its answer:\n{}", between.join("\n"));
    }
}
