//! The server as a process of its own, and a client of its API.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::tools::{Folder, runbell};

/// Long enough for anything that is not lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A project's name, for tests that need only one.
pub(crate) const PROJECT: &str = "p";

/// A server on a store of its own. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    url: String,
    log: watch::Receiver<String>,
}

/// The store's file.
pub(crate) fn store_file(folder: &Folder) -> PathBuf {
    folder.path("runbell.db")
}

/// The command that [`Serving::start`] starts.
pub(crate) fn serve(folder: &Folder, config: &Json) -> Command {
    serve_store(folder, config, &store_file(folder))
}

/// A server on a store that lies elsewhere. The configuration is written into `folder`.
pub(crate) fn serve_store(folder: &Folder, config: &Json, store: &Path) -> Command {
    let file = folder.file("server.json", &config.to_string());
    let store = format!("sqlite://{}", store.display());
    runbell(&["serve", "--listen", "127.0.0.1:0", "--store", &store, "-c", &file])
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
        Self::of(serve(folder, config)).expect("it listens")
    }

    /// Waits until what the command starts listens.
    ///
    /// # Errors
    /// With what it wrote to standard error, when it ended instead.
    pub(crate) fn of(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, log) = watch::channel(String::new());
        let logging = std::thread::spawn(move || {
            let mut line = String::new();
            while matches!(stderr.read_line(&mut line), Ok(read) if read > 0) {
                sender.send_modify(|log| log.push_str(&line));
                line.clear();
            }
        });
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut said).expect("a line");
        let Some(url) = said.trim_end().strip_prefix("listening on ").map(str::to_owned) else {
            // It says nothing more, and ends; one that wrote something else is ended.
            let _ = (child.kill(), child.wait(), stdout.read_to_string(&mut said), logging.join());
            return Err(format!("{said}{}", *log.borrow()));
        };
        Ok(Serving { child, url, log })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
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
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let waiting = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("it ends");
            (status, self.log.borrow().clone())
        });
        in_time("the server's end", waiting).await.expect("no panic")
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        self.terminate();
        let (status, log) = self.ended().await;
        assert!(status.success(), "{status}: {log}");
    }

    /// Waits until it has logged a text.
    pub(crate) async fn until_logged(&self, text: &str) {
        let mut log = self.log.clone();
        let logged = log.wait_for(|log| log.contains(text));
        drop(in_time(text, logged).await.expect("it did not end"));
    }
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
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// `null` when there is no body.
    pub(crate) body: Json,
}

impl Answered {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Json {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    /// What is said of a refusal.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.body["detail"].as_str().unwrap_or_else(|| panic!("no detail: {self:?}")).to_owned()
    }
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Client { http, base: format!("{url}/api/v1/") }
    }

    /// The same connections, for a server at another address.
    pub(crate) fn at(&self, url: &str) -> Self {
        Client { http: self.http.clone(), base: format!("{url}/api/v1/") }
    }

    /// One request, once.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub(crate) async fn try_send(&self, method: Method, path: &str, body: String) -> reqwest::Result<Answered> {
        let response = self.http.request(method, format!("{}{path}", self.base)).body(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = match text.as_str() {
            "" => Json::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)),
        };
        Ok(Answered { status, body })
    }

    /// One request that is answered.
    pub(crate) async fn send(&self, method: Method, path: &str, body: String) -> Answered {
        self.try_send(method, path, body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.send(Method::GET, path, String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Json) -> Answered {
        self.send(Method::POST, path, body.to_string()).await
    }

    /// Tells of a transition in [`PROJECT`].
    pub(crate) async fn tell(&self, uid: &str, event: &Json) -> Answered {
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

/// A transition of a run, with one webhook that is told of it.
pub(crate) fn event(uid: &str, state: &str, url: &str) -> Json {
    serde_json::json!({ "run": run(uid, state), "notifications": [webhook("hook", url)] })
}

/// A webhook that is told of every state.
pub(crate) fn webhook(name: &str, url: &str) -> Json {
    serde_json::json!({ "kind": "webhook", "name": name, "when": ["running", "completed", "error", "aborted"],
        "secret_params": { "url": url } })
}

/// A run in a state.
pub(crate) fn run(uid: &str, state: &str) -> Json {
    serde_json::json!({ "metadata": { "project": PROJECT, "uid": uid, "name": "train" }, "status": { "state": state } })
}
