//! Decides whether a notification is sent for a transition. Pure; every reason is on a closed list.

use std::fmt::{self, Display};

use crate::notification::Notification;
use crate::run::RunSnapshot;
use crate::state::RunState;
use crate::value::Value;

/// The reason why a notification is sent or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Skip: a child run of a hyper-parameter run.
    ChildIteration,
    /// Skip: it was sent, or failed for good, for this state.
    AlreadyDone,
    /// Skip: only running, completed, error and aborted notify.
    StateNeverNotifies,
    /// Skip: `when` does not list the state.
    StateNotInWhen,
    /// Skip: the condition is false.
    ConditionFalse,
    /// Skip: console and notebook belong to the process of the runner.
    HereOnlyKind,
    /// Skip: another kind shows the same, as a notebook does for the console; or there is no display for it here.
    Yielded,
    /// Skip: newer news of the same run overtook it.
    Superseded,
    /// Send: no rule skips it.
    Matched,
    /// Send: the condition is broken, so it is ignored.
    ConditionIgnored,
}

impl Reason {
    /// The word in reports: `condition_false`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ChildIteration => "child_iteration",
            Reason::AlreadyDone => "already_done",
            Reason::StateNeverNotifies => "state_never_notifies",
            Reason::StateNotInWhen => "state_not_in_when",
            Reason::ConditionFalse => "condition_false",
            Reason::HereOnlyKind => "here_only_kind",
            Reason::Yielded => "yielded",
            Reason::Superseded => "superseded",
            Reason::Matched => "matched",
            Reason::ConditionIgnored => "condition_ignored",
        }
    }

    /// Whether this is a reason to send.
    pub fn sends(self) -> bool {
        matches!(self, Reason::Matched | Reason::ConditionIgnored)
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The decision to send or skip, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that decided.
    pub reason: Reason,
    /// Details, if there are any: for an ignored condition `syntax`, `error` or `fuel`.
    pub detail: Option<String>,
    /// The detail in words: why the condition is ignored.
    pub why: Option<String>,
}

impl Verdict {
    /// Whether to send.
    pub fn sends(&self) -> bool {
        self.reason.sends()
    }

    /// The detail as people read it; see [`shown_detail`].
    pub fn shown_detail(&self) -> Option<String> {
        shown_detail(self.detail.as_deref(), self.why.as_deref())
    }
}

/// The detail of a verdict as people read it: `syntax: an expression is expected`.
///
/// Takes the two fields apart, because the record of a verdict in a store has them too.
pub fn shown_detail(detail: Option<&str>, why: Option<&str>) -> Option<String> {
    match (detail, why) {
        (Some(cause), Some(why)) => Some(format!("{cause}: {why}")),
        (detail, _) => detail.map(str::to_owned),
    }
}

impl From<Reason> for Verdict {
    fn from(reason: Reason) -> Self {
        Verdict { reason, detail: None, why: None }
    }
}

/// The result of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionOutcome {
    /// Send.
    True,
    /// Skip.
    False,
    /// It is broken and ignored.
    Ignored {
        /// `syntax`, `error` or `fuel`.
        cause: String,
        /// The same in words.
        why: String,
    },
}

/// Decides by the first rule that applies. The condition is evaluated last, and only if needed.
///
/// The rules and their order are those of MLRun's `should_notify`, with two differences: the condition applies in every
/// state, and a notification can be sent once for each state.
pub fn verdict(
    run: &RunSnapshot,
    state: RunState,
    notification: &Notification,
    condition: impl FnOnce() -> ConditionOutcome,
) -> Verdict {
    if run.iteration() > 0 {
        return Reason::ChildIteration.into();
    }
    if already_done(run, state, &notification.name) {
        return Reason::AlreadyDone.into();
    }
    if !state.notifies() {
        return Reason::StateNeverNotifies.into();
    }
    if !notification.when.contains(&state) {
        return Reason::StateNotInWhen.into();
    }
    if notification.condition.is_empty() {
        return Reason::Matched.into();
    }
    match condition() {
        ConditionOutcome::True => Reason::Matched.into(),
        ConditionOutcome::False => Reason::ConditionFalse.into(),
        ConditionOutcome::Ignored { cause, why } => {
            Verdict { reason: Reason::ConditionIgnored, detail: Some(cause), why: Some(why) }
        }
    }
}

/// Whether `status.notifications[name]` says sent or error, for this state or for no state in particular.
fn already_done(run: &RunSnapshot, state: RunState, name: &str) -> bool {
    let Some(recorded) = run.status("notifications").and_then(|all| all.get(name)) else { return false };
    let done = matches!(recorded.get("status").and_then(Value::as_str), Some("sent" | "error"));
    let other_state = recorded.get("state").and_then(Value::as_str).is_some_and(|word| word != state.as_str());
    done && !other_state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn decide(run: &str, notification: Notification, condition: ConditionOutcome) -> Verdict {
        let run = RunSnapshot::new(read(run).expect("json")).expect("a run");
        verdict(&run, run.state(), &notification, || condition)
    }

    #[test]
    fn a_detail_has_its_words_behind_it() {
        let detail = |detail, why| Verdict { detail, why, ..Reason::Matched.into() }.shown_detail();
        let (cause, why) = (|| Some("syntax".to_owned()), || Some("an expression is expected".to_owned()));
        assert_eq!(detail(cause(), why()).as_deref(), Some("syntax: an expression is expected"));
        assert_eq!((detail(cause(), None), detail(None, None)), (cause(), None));
    }

    #[test]
    fn the_first_rule_that_holds_wins() {
        let all = || Notification::new("console", "n").when(RunState::ALL.iter().copied()).condition("x");
        let run = |iteration: u8, state: &str, recorded: &str| {
            format!(
                r#"{{"metadata": {{"iteration": {iteration}}}, "status": {{"state": "{state}", "notifications": {recorded}}}}}"#
            )
        };
        let sent = r#"{"n": {"status": "sent"}}"#;
        use ConditionOutcome::{False, Ignored, True};
        for (run, notification, condition, reason) in [
            (run(1, "created", sent), all(), False, Reason::ChildIteration),
            (run(0, "created", sent), all(), False, Reason::AlreadyDone),
            (
                run(0, "completed", r#"{"n": {"status": "error", "state": "completed"}}"#),
                all(),
                True,
                Reason::AlreadyDone,
            ),
            (run(0, "completed", r#"{"n": {"status": "sent", "state": "running"}}"#), all(), True, Reason::Matched),
            (run(0, "completed", r#"{"n": {"status": "pending"}}"#), all(), True, Reason::Matched),
            (run(0, "completed", r#"{"m": {"status": "sent"}}"#), all(), True, Reason::Matched),
            (run(0, "pendingRetry", "null"), all(), False, Reason::StateNeverNotifies),
            (run(0, "made up", "null"), all(), False, Reason::StateNeverNotifies),
            (run(0, "error", "null"), Notification::new("console", "n"), False, Reason::StateNotInWhen),
            (run(0, "running", "null"), all(), False, Reason::ConditionFalse),
            (run(0, "running", "null"), all(), True, Reason::Matched),
            (
                run(0, "aborted", "null"),
                all(),
                Ignored { cause: "fuel".to_owned(), why: String::new() },
                Reason::ConditionIgnored,
            ),
            (run(0, "completed", "null"), Notification::new("console", "n"), False, Reason::Matched),
        ] {
            assert_eq!(decide(&run, notification, condition).reason, reason, "{run}");
        }
    }
}
