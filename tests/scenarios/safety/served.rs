//! A server of a test's own, and its caller.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::tools::{Folder, Said, runbell, say};

/// Long enough for anything that is not lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `runbell serve` on a free port of loopback, with a store in a folder below.
pub(crate) fn serve(folder: &Folder, more: &[&str]) -> Command {
    serve_on(folder, "127.0.0.1:0", more)
}

/// The same on an address.
pub(crate) fn serve_on(folder: &Folder, address: &str, more: &[&str]) -> Command {
    std::fs::create_dir_all(folder.path("store")).expect("a folder");
    let mut command = runbell(&["serve", "--listen", address, "--store"]);
    command.arg(store(folder)).args(more);
    command
}

/// The store's file.
pub(crate) fn store(folder: &Folder) -> PathBuf {
    folder.path("store").join("runbell.db")
}

/// What a server says that does not start.
pub(crate) fn refused(command: &mut Command) -> Said {
    let said = say(command);
    assert_eq!(said.out, "", "{}", said.err);
    said
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    log: Arc<(Mutex<Vec<u8>>, Condvar)>,
    logging: Option<JoinHandle<()>>,
    /// Where it listens.
    pub(crate) url: String,
    /// What callers show, if anything.
    pub(crate) token: Option<String>,
    client: reqwest::Client,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// What it says of an error.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"]
            .as_str()
            .unwrap_or_else(|| panic!("no detail: {} {}", self.status, self.text()))
            .to_owned()
    }

    /// The same, if it has the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Server {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut err = child.stderr.take().expect("a pipe");
        let log = Arc::<(Mutex<Vec<u8>>, Condvar)>::default();
        let kept = Arc::clone(&log);
        let logging = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Some(read) = err.read(&mut part).ok().filter(|read| *read > 0) {
                kept.0.lock().expect("no panic").extend_from_slice(&part[..read]);
                kept.1.notify_all();
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            let _ = child.kill();
            logging.join().expect("no panic");
            panic!("{line}{}", String::from_utf8_lossy(&log.0.lock().expect("no panic")));
        };
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Server { child, log, logging: Some(logging), url: url.to_owned(), token: None, client }
    }

    /// The same for callers who show a token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Where it listens, as `127.0.0.1:8080`, though it may listen on every address.
    pub(crate) fn address(&self) -> String {
        let address = self.url.split_once("://").expect("a URL").1;
        address.replace("0.0.0.0", "127.0.0.1")
    }

    /// A request to a path below the API's.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.bare(method, path);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The same, without a token.
    pub(crate) fn bare(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}/api/v1/{path}", self.url.replace("0.0.0.0", "127.0.0.1")))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.request("GET", path)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        reply(self.request(method, path).body(body.to_string())).await
    }

    /// Asks again and again until the answer is what is waited for.
    pub(crate) async fn until(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..3_000 {
            let said = self.get(path).await.expect(200).json();
            if is_it(&said) {
                return said;
            }
        }
        panic!("{path} does not become what is waited for: {}", self.get(path).await.text());
    }

    /// Waits until it has logged a text.
    pub(crate) fn until_logged(&self, text: &str) {
        let log = self.log.0.lock().expect("no panic");
        let is_missing = |log: &mut Vec<u8>| !String::from_utf8_lossy(log).contains(text);
        let (log, waited) = self.log.1.wait_timeout_while(log, PATIENCE, is_missing).expect("no panic");
        assert!(!waited.timed_out(), "no {text}: {}", String::from_utf8_lossy(&log));
    }

    /// Asks it to stop, and returns what it logged.
    pub(crate) fn stop(mut self) -> Vec<u8> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        self.logging.take().expect("it was started").join().expect("no panic");
        let log = self.log.0.lock().expect("no panic").clone();
        assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&log));
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Reply { status, headers, bytes: response.bytes().await.expect("a whole answer").to_vec() }
}

/// Every file of a folder, whatever is in it.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
    found
}
