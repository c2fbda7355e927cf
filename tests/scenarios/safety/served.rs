//! A server of a test's own, and its caller.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::tools::{Folder, Said, runbell, say};

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
    log: Option<JoinHandle<Vec<u8>>>,
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
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            err.read_to_end(&mut log).expect("read");
            log
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            let _ = child.kill();
            panic!("{line}{}", String::from_utf8_lossy(&log.join().expect("no panic")));
        };
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Server { child, log: Some(log), url: url.to_owned(), token: None, client }
    }

    /// The same for callers who show a token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// A request to a path below the API's.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("{}/api/v1/{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
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

    /// Asks it to stop, and returns what it logged.
    pub(crate) fn stop(mut self) -> Vec<u8> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let log = self.log.take().expect("it was started").join().expect("no panic");
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
