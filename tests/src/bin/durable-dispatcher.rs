//! A dispatcher on a store's file, to be killed. Takes in what each line of standard input tells, an object with `uid` and
//! `url`, all at the same time; prints the uid once the event is promised; goes on delivering when the input has ended.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "telling is what it is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use runbell_core::{BuildContext, Clock as _, RetryPolicy, SystemClock, Value};
use runbell_runtime::{Dispatcher, DispatcherOptions, Event};
use runbell_store::SqliteStore;
use runbell_store::seal::KeyRing;
use serde_json::{Value as Json, json};

fn main() -> anyhow::Result<()> {
    let file = PathBuf::from(std::env::args_os().nth(1).context("which file?")?);
    let runtime = tokio::runtime::Runtime::new()?;
    let _inside = runtime.enter();
    let store = Arc::new(SqliteStore::open(&file, SystemClock.now())?);
    let registry = runbell::registry()?;
    let keys = KeyRing::new([("only".to_owned(), [9; 32])])?;
    let retry = RetryPolicy { waits: vec![Duration::from_millis(50); 9], ..RetryPolicy::server() };
    let options = DispatcherOptions { retry, ..DispatcherOptions::default() };
    let dispatcher = Dispatcher::start(store, registry, BuildContext::server(), keys, options);
    for line in std::io::stdin().lines() {
        let told: Json = serde_json::from_str(&line?)?;
        let Some(uid) = told["uid"].as_str().map(str::to_owned) else { bail!("no uid in {told}") };
        let dispatcher = dispatcher.clone();
        runtime.spawn(async move {
            let event = Event {
                project: "p".to_owned(),
                uid: uid.clone(),
                run: Value::from(json!({
                    "metadata": { "project": "p", "uid": uid, "name": "train" }, "status": { "state": "completed" },
                })),
                notifications: Some(Value::from(json!([
                    { "kind": "webhook", "name": "hook", "when": ["completed"], "secret_params": { "url": told["url"] } },
                ]))),
                state: None,
                at: None,
            };
            match dispatcher.take_in(event).await {
                Ok(_) => println!("{uid}"),
                Err(error) => eprintln!("{uid} was not taken in: {error:?}"),
            }
        });
    }
    loop {
        std::thread::park();
    }
}
