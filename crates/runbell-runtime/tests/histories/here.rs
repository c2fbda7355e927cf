//! Plays a history in this process: a `Notifier` with a scripted kind, under a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::{
    BuildContext, Error, ErrorKind, Limits, Message, Payload, Receipt, Registry, Rendered, Result, SendContext, Sender,
    SenderKind, Value,
};
use runbell_runtime::{Notifier, ReportLine, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::history::{AnswerKind, History, lane_of};
use crate::line::{End, Line};

/// Plays the history. Returns a line for each notification of each change, in order.
pub(crate) fn play(history: &History) -> Vec<Line> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(dispatch(history))
}

async fn dispatch(history: &History) -> Vec<Line> {
    let (cx, began) = (BuildContext::server(), Instant::now());
    let script = Script { history: history.clone(), began, attempts: Arc::default() };
    cx.shared.set(script.clone());
    let registry = Registry::default().with(&REGISTRATION).expect("one kind");
    let notifier = Notifier::builder(registry).context(cx).retry(history.policy()).build().expect("valid");
    let mut dispatches = Vec::new();
    for change in 0..history.changes.len() {
        sleep_until(began + Duration::from_millis(history.time_of(change))).await;
        let mut document = history.document(change, "u");
        document["spec"] = serde_json::json!({ "notifications": history.notifications(change) });
        // The order of calls is the order of news, whichever task is polled first.
        dispatches.push(tokio::spawn(notifier.run_changed(&document)));
    }
    let mut lines = Vec::new();
    for (change, dispatch) in dispatches.into_iter().enumerate() {
        let report = dispatch.await.expect("no panic");
        lines.extend(report.lines.iter().map(|line| script.line(change, line)));
    }
    lines.sort();
    lines
}

/// The state that all senders of a history share.
#[derive(Clone)]
struct Script {
    history: History,
    began: Instant,
    attempts: Arc<Mutex<Vec<Attempt>>>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    change: usize,
    lane: usize,
    at: u64,
}

impl Script {
    fn line(&self, change: usize, line: &ReportLine) -> Line {
        let lane = lane_of(&line.notification);
        let log = self.attempts.lock().expect("not poisoned");
        let mine = log.iter().filter(|attempt| (attempt.change, attempt.lane) == (change, lane));
        let attempts: Vec<u64> = mine.map(|attempt| attempt.at).collect();
        assert_eq!(line.attempts as usize, attempts.len(), "the report counts the attempts: {line:?}");
        let end = match (line.status, line.reason.as_str()) {
            (Status::Sent, _) => End::Sent,
            (Status::Error, _) => End::Failed,
            (Status::Skipped, "superseded") => End::Superseded,
            (Status::Skipped, "state_not_in_when") => End::Skipped,
            (Status::Skipped, other) => panic!("unexpected reason {other}"),
        };
        Line { change, lane, attempts, end }
    }
}

/// Params of the scripted kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ScriptedParams {
    /// Makes one list differ from another.
    #[expect(dead_code, reason = "it makes lists differ, and nothing reads it")]
    version: u8,
}

/// A kind whose attempts end with the answers of the history.
pub(crate) struct Scripted;

pub(crate) struct ScriptedSender(Option<Arc<Script>>);

impl std::fmt::Debug for ScriptedSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedSender").finish_non_exhaustive()
    }
}

impl SenderKind for Scripted {
    const KIND: &'static str = "scripted";
    type Params = ScriptedParams;
    type Sender = ScriptedSender;

    fn build(_: ScriptedParams, cx: &BuildContext) -> Result<ScriptedSender> {
        // The server's dispatcher builds senders too, and sends nothing: its worker is a part of the test.
        Ok(ScriptedSender(cx.shared.get::<Script>()))
    }
}

runbell_core::register_sender!(Scripted);

#[async_trait]
impl Sender for ScriptedSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let change = change_of(message.runs.first().expect("a run").document());
        let body = format!("{change} {}", message.name);
        Ok(Rendered::new(Payload::Text { content_type: "text/plain", body }))
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let script = self.0.as_ref().expect("a script");
        let Payload::Text { body, .. } = payload else { panic!("it renders text") };
        let (change, name) = body.split_once(' ').expect("two words");
        let (change, lane) = (change.parse().expect("a number"), lane_of(name));
        let at = u64::try_from(script.began.elapsed().as_millis()).expect("a short time");
        script.attempts.lock().expect("not poisoned").push(Attempt { change, lane, at });
        let answer = script.history.answer(change, lane, cx.attempt as usize);
        if answer.takes > 0 {
            sleep(Duration::from_secs(answer.takes)).await;
        }
        match answer.result {
            AnswerKind::Success => Ok(Receipt::default()),
            AnswerKind::Down => Err(Error::new(ErrorKind::Unreachable, "down").retry()),
            AnswerKind::Unclear => Err(Error::new(ErrorKind::Timeout, "no answer").retry().ambiguous()),
            AnswerKind::Refused => Err(Error::new(ErrorKind::Rejected, "refused")),
            AnswerKind::SlowDown(seconds) => {
                Err(Error::new(ErrorKind::RateLimited, "slow down").retry_after(Duration::from_secs(seconds)))
            }
        }
    }

    fn limits(&self) -> Limits {
        Limits::of("scripted")
    }
}

/// The change that a run's document comes from.
pub(crate) fn change_of(document: &Value) -> usize {
    let change = document.at(&["status", "results", "change"]).and_then(Value::as_i64);
    usize::try_from(change.expect("the number of a change")).expect("a small number")
}
