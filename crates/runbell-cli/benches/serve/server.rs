//! A server process, and its resources as the system counts them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::event::PROJECT;
use crate::times::ran;

/// How long a look at the server may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server that may reach the loopback network; ready when this returns.
    pub(crate) fn start(file: &Path, mut config: Json) -> Self {
        let config_file = file.with_extension("json");
        config["allow_networks"] = json!(["127.0.0.0/8"]);
        std::fs::write(&config_file, config.to_string()).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_runbell"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(format!("sqlite://{}", file.display()))
            .arg("-c")
            .arg(config_file)
            .env("RUNBELL_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").expect(&line).parse().expect("an address");
        Server { child, address }
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .expect("a signal");
        self.child.wait().expect("it ends");
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.address)
    }

    /// Makes the first access token; from then on every caller needs one.
    pub(crate) async fn token(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let body = json!({ "name": "bench", "admin": true }).to_string();
        let answer = client.post(self.url("tokens")).body(body).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        let made: Json = serde_json::from_str(&text).expect(&text);
        made["token"].as_str().expect("a token").to_owned()
    }

    /// Waits until no delivery waits to be recorded.
    pub(crate) async fn until_settled(&self, token: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let waiting = self.waiting(token).await;
            if waiting == 0.0 {
                return;
            }
            assert!(Instant::now() < end, "{waiting} deliveries wait");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many deliveries are not finished.
    pub(crate) async fn waiting(&self, token: &str) -> f64 {
        let text = self.get("metrics", token).await;
        let (sum, series) = sum_of(&text, "runbell_deliveries_waiting{");
        assert!(series == 3, "{text}");
        sum
    }

    /// How many attempts were made since the start.
    pub(crate) async fn attempts(&self, token: &str) -> f64 {
        sum_of(&self.get("metrics", token).await, "runbell_attempts_total{").0
    }

    /// How many deliveries of the project have a status; counts up to 1,000.
    pub(crate) async fn deliveries(&self, token: &str, status: &str) -> usize {
        let text = self.get(&format!("projects/{PROJECT}/deliveries?status={status}&page-size=1000"), token).await;
        let page: Json = serde_json::from_str(&text).expect(&text);
        page["deliveries"].as_array().expect(&text).len()
    }

    async fn get(&self, path: &str, token: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let response = client.get(self.url(path)).bearer_auth(token).send().await.expect("a response");
        response.text().await.expect("a body")
    }

    /// The CPU time that it has used, kernel included.
    pub(crate) fn cpu(&self) -> Duration {
        // Nanoseconds of the threads that run, finer than the ticks of `stat`, which know of ended threads too.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let running: Duration = tasks.flatten().filter_map(|task| ran(task.path().join("schedstat"))).sum();
        running.max(self.ticks())
    }

    fn ticks(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        // The name, the second field, may hold spaces; user and system time are the 14th and 15th.
        let (_, behind_name) = stat.rsplit_once(") ").expect("a name");
        let ticks: u64 =
            behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        self.status("VmHWM:")
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    }
}

/// The sum of a figure over its labels, and how many lines it has.
fn sum_of(metrics: &str, prefix: &str) -> (f64, usize) {
    let lines = metrics.lines().filter(|line| line.starts_with(prefix));
    let values =
        lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number"));
    values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1))
}
