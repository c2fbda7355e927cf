//! A kind that does what a script says, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runbell_core::{
    BuildContext, Clock as _, Error, ErrorKind, Findings, Limits, Message, Notification, Pace, Payload, Receipt,
    Registry, Rendered, Result, RunSnapshot, RunState, RunView as _, Secret, SendContext, Sender, SenderKind,
    SystemClock, Timestamp,
};
use runbell_runtime::{Notifier, NotifierBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// What one attempt comes to.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Ok,
    /// Fails at once; trying again may help.
    Down,
    /// Fails at once, for good.
    Refused,
    /// Asks to wait this many seconds.
    SlowDown(u64),
    /// Never answers; says that bytes had left.
    Hang,
    /// Never answers, and never got as far as writing.
    HangBeforeWriting,
    Panic,
    /// Takes this many seconds, then works.
    Slow(u64),
    /// Takes this many seconds, then fails as `Down` does.
    SlowDownfall(u64),
}

#[derive(Debug, Default)]
struct Log {
    scripts: HashMap<String, VecDeque<Step>>,
    attempts: Vec<(String, Duration)>,
    messages: Vec<Message>,
}

/// What all scripted senders of a test share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Log>>);

/// One test's surroundings.
pub(crate) struct Stage {
    shared: Shared,
    cx: BuildContext,
    started: tokio::time::Instant,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (cx, shared) = (BuildContext::server(), Shared::default());
        cx.shared.set(shared.clone());
        Stage { shared, cx, started: tokio::time::Instant::now() }
    }

    /// What the attempts at a target come to; after the last step all is well.
    pub(crate) fn script(&self, target: &str, steps: impl IntoIterator<Item = Step>) {
        self.shared.0.lock().unwrap().scripts.insert(target.to_owned(), steps.into_iter().collect());
    }

    /// Every notification is named after its target, and sent for every state.
    pub(crate) fn notification(&self, target: &str) -> Notification {
        let all = [RunState::Running, RunState::Completed, RunState::Error, RunState::Aborted];
        Notification::new("scripted", target).param("target", target).when(all)
    }

    pub(crate) fn builder(&self) -> NotifierBuilder {
        let registry = Registry::default().with(&REGISTRATION).expect("one kind");
        Notifier::builder(registry).context(self.cx.clone())
    }

    pub(crate) fn notifier(&self, notifications: impl IntoIterator<Item = Notification>) -> Notifier {
        self.builder().notifications(notifications).build().expect("valid notifications")
    }

    /// Every attempt: target, state, number.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().attempts.iter().map(|(what, _)| what.clone()).collect()
    }

    /// When each attempt was made, in tenths of a second since the test began.
    pub(crate) fn times(&self) -> Vec<u128> {
        self.shared.0.lock().unwrap().attempts.iter().map(|(_, at)| at.as_millis() / 100).collect()
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.shared.0.lock().unwrap().messages.clone()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// A run in a state.
pub(crate) fn run(uid: &str, state: &str) -> serde_json::Value {
    serde_json::json!({ "metadata": { "uid": uid, "name": "n", "project": "p" }, "status": { "state": state } })
}

/// A completed run.
pub(crate) fn done(uid: &str) -> serde_json::Value {
    run(uid, "completed")
}

pub(crate) fn frozen(run: &serde_json::Value) -> RunSnapshot {
    run.freeze().expect("a run")
}

/// Params of the scripted kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ScriptedParams {
    /// Whose script to follow.
    target: String,
    /// Not looked at; secret.
    #[serde(default)]
    #[expect(dead_code, reason = "it is there to be kept secret")]
    token: Option<Secret<String>>,
}

pub(crate) struct Scripted;

#[derive(Debug)]
pub(crate) struct ScriptedSender {
    target: String,
    shared: Shared,
    started: tokio::time::Instant,
}

impl SenderKind for Scripted {
    const KIND: &'static str = "scripted";
    type Params = ScriptedParams;
    type Sender = ScriptedSender;

    fn validate(params: &ScriptedParams, _: &BuildContext) -> Findings {
        assert_ne!(params.target, "panics-at-validate", "this target panics");
        Findings::default()
    }

    fn build(params: ScriptedParams, cx: &BuildContext) -> Result<ScriptedSender> {
        assert_ne!(params.target, "panics-at-build", "this target panics");
        let shared = cx.shared.get_or_init(Shared::default);
        Ok(ScriptedSender { target: params.target, shared: (*shared).clone(), started: tokio::time::Instant::now() })
    }
}

runbell_core::register_sender!(Scripted);

#[async_trait::async_trait]
impl Sender for ScriptedSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        assert_ne!(self.target, "panics-at-render", "this target panics");
        self.shared.0.lock().unwrap().messages.push(message.clone());
        Ok(Rendered::new(Payload::Text { content_type: "text/plain", body: message.text.clone() }))
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Text { body, .. } = payload else { panic!("it renders text") };
        let word = body.split(' ').nth(1).unwrap_or_default().replace("started", "running");
        let step = {
            let mut log = self.shared.0.lock().unwrap();
            log.attempts.push((format!("{} {word} {}", self.target, cx.attempt), self.started.elapsed()));
            log.scripts.get_mut(&self.target).and_then(VecDeque::pop_front).unwrap_or(Step::Ok)
        };
        let down = || Err(Error::new(ErrorKind::Unreachable, "down").retry());
        match step {
            Step::Ok => Ok(Receipt::default()),
            Step::Down => down(),
            Step::Refused => Err(Error::new(ErrorKind::Rejected, "refused").with("status", 400)),
            Step::SlowDown(seconds) => {
                Err(Error::new(ErrorKind::RateLimited, "slow down").retry_after(Duration::from_secs(seconds)))
            }
            Step::Hang => {
                cx.written();
                std::future::pending().await
            }
            Step::HangBeforeWriting => std::future::pending().await,
            Step::Panic => panic!("CANARY in a panic"),
            Step::Slow(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(Receipt::default())
            }
            Step::SlowDownfall(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                down()
            }
        }
    }

    /// A target whose name begins with `paced` takes three sends in ten seconds.
    fn limits(&self) -> Limits {
        let pace = self.target.starts_with("paced").then(|| Pace { count: 3, period: Duration::from_secs(10) });
        Limits { pace, ..Limits::of(self.target.as_str()) }
    }
}
