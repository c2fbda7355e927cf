//! The server as a process of its own, and a client of its API.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::tools::{Folder, Said, runbell, say};

/// Long enough for anything that is not lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A free port of this machine alone.
const LOOPBACK: &str = "127.0.0.1:0";

/// A project's name, for tests that need only one.
pub(crate) const PROJECT: &str = "p";

/// A server on a store of its own. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    url: String,
    log: watch::Receiver<Vec<u8>>,
    logging: Option<JoinHandle<()>>,
    /// Who asks it.
    pub(crate) client: Client,
}

/// The store's file, in a folder of its own.
pub(crate) fn store_file(folder: &Folder) -> PathBuf {
    folder.path("store").join("runbell.db")
}

/// Writes a configuration, and returns its file.
pub(crate) fn configured(folder: &Folder, config: &Json) -> String {
    folder.file("server.json", &config.to_string())
}

/// `runbell serve` on a free port of loopback, with the store in a folder.
pub(crate) fn serve(folder: &Folder, more: &[&str]) -> Command {
    serve_on(folder, LOOPBACK, more)
}

/// The same on an address.
pub(crate) fn serve_on(folder: &Folder, address: &str, more: &[&str]) -> Command {
    std::fs::create_dir_all(folder.path("store")).expect("a folder");
    serving(address, store_file(folder).as_ref(), more)
}

/// The same on a store that lies elsewhere: a file, or the URL of one.
pub(crate) fn serve_store(store: impl AsRef<OsStr>, more: &[&str]) -> Command {
    serving(LOOPBACK, store.as_ref(), more)
}

fn serving(address: &str, store: &OsStr, more: &[&str]) -> Command {
    let mut command = runbell(&["serve", "--listen", address, "--store"]);
    command.arg(store).args(more);
    command
}

/// The same command as the last arguments of another one, which runs it.
pub(crate) fn under(mut outer: Command, served: &Command) -> Command {
    outer.env_clear().envs(served.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    outer.arg(served.get_program()).args(served.get_args());
    outer
}

impl Serving {
    /// Starts a server on the store in `folder`, which may be there from an earlier one, and waits until it listens.
    pub(crate) fn start(folder: &Folder, config: &Json) -> Self {
        Self::of(&mut serve(folder, &["-c", &configured(folder, config)]))
    }

    /// Waits until what the command starts listens.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::try_of(command).expect("it listens")
    }

    /// The same.
    ///
    /// # Errors
    /// With what it wrote, when it ended instead.
    pub(crate) fn try_of(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = child.stderr.take().expect("a pipe");
        let (sender, log) = watch::channel(Vec::new());
        let logging = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Some(read) = stderr.read(&mut part).ok().filter(|read| *read > 0) {
                sender.send_modify(|log| log.extend_from_slice(&part[..read]));
            }
        });
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut said).expect("a line");
        let Some(url) = said.trim_end().strip_prefix("listening on ").map(str::to_owned) else {
            // It says nothing more, and ends; one that wrote something else is ended.
            let _ = (child.kill(), child.wait(), stdout.read_to_string(&mut said), logging.join());
            return Err(format!("{said}{}", String::from_utf8_lossy(&log.borrow())));
        };
        let client = Client::new(&url);
        Ok(Serving { child, url, log, logging: Some(logging), client })
    }

    /// The same for callers who show a token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.client.token = Some(token.to_owned());
        self
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens, as `127.0.0.1:8080`, though it may listen on every address.
    pub(crate) fn address(&self) -> String {
        reachable(self.url.split_once("://").expect("a URL").1)
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it as a power cut would end it.
    pub(crate) fn kill9(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Asks it to stop; see [`ended`](Self::ended).
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("signalled");
    }

    /// Waits for its end. What it wrote to standard error comes with it.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Vec<u8>) {
        let waiting = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("it ends");
            self.logging.take().expect("it was started").join().expect("no panic");
            (status, self.log.borrow().clone())
        });
        in_time("the server's end", waiting).await.expect("no panic")
    }

    /// Stops it in good order, and returns what it logged.
    pub(crate) async fn stop(self) -> Vec<u8> {
        self.terminate();
        let (status, log) = self.ended().await;
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&log));
        log
    }

    /// Waits until it has logged a text.
    pub(crate) async fn until_logged(&self, text: &str) {
        let mut log = self.log.clone();
        let logged = log.wait_for(|log| String::from_utf8_lossy(log).contains(text));
        drop(in_time(text, logged).await.expect("it did not end"));
    }
}

/// What a server says that does not start.
pub(crate) fn refused(command: &mut Command) -> Said {
    let said = say(command);
    assert_eq!(said.out, "", "{}", said.err);
    said
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Turns a hang into a failure.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// A client of a server's API. It sends bodies without Content-Type, as MLRun's SDK does.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// What it shows, if anything.
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answered {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The body; `null` when there is none.
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        match self.bytes.as_slice() {
            b"" => Json::Null,
            bytes => {
                serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
            }
        }
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Json {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }

    /// The same, if it has the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// What it says of an error.
    #[track_caller]
    pub(crate) fn detail(&self) -> String {
        let body = self.json();
        body["detail"].as_str().unwrap_or_else(|| panic!("no detail: {} {body}", self.status)).to_owned()
    }

    /// What is said of a refusal.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        self.expect(status).detail()
    }
}

/// The whole answer to a request.
pub(crate) async fn answer(request: RequestBuilder) -> Answered {
    try_answer(request).await.expect("an answer")
}

/// The same.
///
/// # Errors
/// When there is no whole answer.
async fn try_answer(request: RequestBuilder) -> reqwest::Result<Answered> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answered { status, headers, bytes: response.bytes().await?.to_vec() })
}

/// An address that a caller on this machine can use, of one that may be every address.
fn reachable(url: &str) -> String {
    url.replace("0.0.0.0", "127.0.0.1")
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Client { http, base: String::new(), token: None }.at(url)
    }

    /// The same connections, for a server at another address.
    pub(crate) fn at(&self, url: &str) -> Self {
        Client { base: format!("{}/api/v1/", reachable(url)), ..self.clone() }
    }

    /// A request to a path below the API's.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.bare(method, path);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The same, without a token.
    pub(crate) fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// One request, once.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub(crate) async fn try_send(&self, method: &str, path: &str, body: &str) -> reqwest::Result<Answered> {
        try_answer(self.request(method, path).body(body.to_owned())).await
    }

    /// One request that is answered, with any body.
    pub(crate) async fn send_text(&self, method: &str, path: &str, body: &str) -> Answered {
        self.try_send(method, path, body).await.expect("an answer")
    }

    /// The same with JSON.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Json) -> Answered {
        self.send_text(method, path, &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        answer(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Json) -> Answered {
        self.send("POST", path, body).await
    }

    /// Asks again and again until the answer is what is waited for.
    pub(crate) async fn until_so(&self, path: &str, is_it: impl Fn(&Json) -> bool) -> Json {
        let last = Arc::new(Mutex::new(Json::Null));
        let asking = async {
            loop {
                let said = self.get(path).await.expect(200).json();
                if is_it(&said) {
                    return said;
                }
                *last.lock().expect("no panic") = said;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(said) => said,
            Err(_) => panic!("in vain, {path}: {:#}", last.lock().expect("no panic")),
        }
    }

    /// Reports a transition in [`PROJECT`].
    pub(crate) async fn report(&self, uid: &str, event: &Json) -> Answered {
        self.post(&format!("projects/{PROJECT}/runs/{uid}/events"), event).await
    }

    /// All deliveries in [`PROJECT`] that a query means, from every page.
    pub(crate) async fn deliveries(&self, query: &str) -> Vec<Json> {
        let mut all = Vec::new();
        let mut query = query.to_owned();
        loop {
            let page = self.get(&format!("projects/{PROJECT}/deliveries?page-size=1000&{query}")).await.ok();
            all.extend(page["deliveries"].as_array().expect("a list").iter().cloned());
            match page["pagination"]["page-token"].as_str() {
                Some(token) => query = format!("page-token={token}"),
                None => return all,
            }
        }
    }

    /// Asks for deliveries until they are as wanted.
    pub(crate) async fn until(&self, query: &str, wanted: impl Fn(&[Json]) -> bool) -> Vec<Json> {
        let last = Arc::new(Mutex::new(Vec::new()));
        let asking = async {
            loop {
                let found = self.deliveries(query).await;
                if wanted(&found) {
                    return found;
                }
                *last.lock().expect("no panic") = found;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(found) => found,
            Err(_) => panic!("in vain, deliveries?{query}: {:#?}", last.lock().expect("no panic")),
        }
    }

    /// Waits until nothing is left to deliver in [`PROJECT`], and returns all deliveries.
    pub(crate) async fn settled(&self) -> Vec<Json> {
        for status in ["pending", "leased", "retry"] {
            self.until(&format!("status={status}"), <[Json]>::is_empty).await;
        }
        // What moved between the three questions is asked for again.
        self.until("", |all| all.iter().all(is_finished)).await
    }
}

/// Whether a delivery is finished.
fn is_finished(delivery: &Json) -> bool {
    ["sent", "failed", "superseded"].map(Json::from).contains(&delivery["status"])
}

/// A transition of a run, with one webhook that is notified of it.
pub(crate) fn event(uid: &str, state: &str, url: &str) -> Json {
    serde_json::json!({ "run": run(uid, state), "notifications": [webhook("hook", url)] })
}

/// A webhook that is notified of every state.
pub(crate) fn webhook(name: &str, url: &str) -> Json {
    serde_json::json!({ "kind": "webhook", "name": name, "when": ["running", "completed", "error", "aborted"],
        "secret_params": { "url": url } })
}

/// A run in a state.
pub(crate) fn run(uid: &str, state: &str) -> Json {
    serde_json::json!({ "metadata": { "project": PROJECT, "uid": uid, "name": "train" }, "status": { "state": state } })
}
