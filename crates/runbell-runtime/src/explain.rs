//! `explain`: the reason why a notification would be sent or not.

use runbell_core::Verdict;
use serde::Serialize;

use crate::decide::{Entry, Plan};
use crate::ready::ReadyNotification;

/// The reason why a notification would be sent or not.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The run.
    pub uid: String,
    /// The notification's name.
    pub notification: String,
    /// `send`, `skip`, or `error` when its configuration is invalid.
    pub verdict: &'static str,
    /// The rule that decided; for an error, its kind.
    pub reason: String,
    /// Details, if there are any: for an ignored condition its cause (`syntax`, `error`, `fuel`) and the fault.
    pub detail: Option<String>,
    /// Whether the configuration is at fault.
    #[serde(skip)]
    pub is_fault: bool,
}

impl Explanation {
    /// Explains the decision about a notification that can be sent, or the reason why it cannot be.
    pub(crate) fn new(plan: &Plan, entry: &Entry, decide: impl FnOnce(&ReadyNotification) -> Verdict) -> Self {
        let uid = plan.transition.run.uid().to_owned();
        match entry {
            Ok(ready) => {
                let verdict = decide(ready);
                Explanation {
                    uid,
                    notification: ready.notification.name.clone(),
                    verdict: if verdict.sends() { "send" } else { "skip" },
                    reason: verdict.reason.as_str().to_owned(),
                    detail: verdict.shown_detail(),
                    is_fault: false,
                }
            }
            Err(unusable) => Explanation {
                uid,
                notification: unusable.name.clone(),
                verdict: "error",
                reason: unusable.error.kind().as_str().to_owned(),
                detail: Some(unusable.error.to_string()),
                is_fault: true,
            },
        }
    }
}
