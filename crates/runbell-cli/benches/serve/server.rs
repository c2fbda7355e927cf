//! A server process, and what the system says of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

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
    /// Ready when this returns.
    pub(crate) fn start(file: &Path, config: &str) -> Self {
        let config_file = file.with_extension("json");
        std::fs::write(&config_file, config).expect("written");
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

    /// Makes the first access token; from then on everybody needs one.
    pub(crate) async fn token(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let body = json!({ "name": "bench", "admin": true }).to_string();
        let answer = client.post(self.url("tokens")).body(body).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        let made: Json = serde_json::from_str(&text).expect(&text);
        made["token"].as_str().expect("a token").to_owned()
    }

    /// Until nothing waits to be recorded.
    pub(crate) async fn until_settled(&self, token: &str) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = client.get(self.url("metrics")).bearer_auth(token).send().await.expect("an answer").text().await;
            let text = text.expect("a body");
            let waiting = text.lines().filter(|line| line.starts_with("runbell_deliveries_waiting{"));
            if waiting.clone().count() == 3 && waiting.clone().all(|line| line.ends_with(" 0")) {
                return;
            }
            assert!(Instant::now() < deadline, "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The CPU time it has used.
    pub(crate) fn cpu(&self) -> Duration {
        // Nanoseconds that its threads ran; finer than the ticks of `stat`.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let mut total = 0;
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(total)
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
