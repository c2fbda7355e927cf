//! Alarms: deliveries that notify the operator of deliveries that failed for good.
//!
//! Pure. The store makes them in the transaction that records the failure, so that none is lost and none is made twice.

use std::fmt::Write as _;
use std::sync::Arc;

use runbell_core::{DeliveryKey, Job, Look, Notification, Result, RunState, SecretValues, Subject, Timestamp, text};
use runbell_store::FollowUp;

use super::conceal::Vault;

/// The project that alarms belong to. Users' projects cannot have this name, and its own failures raise no alarm.
pub(super) const PROJECT: &str = "_runbell";

/// The longest name in an alarm's text.
const NAME: usize = 80;

/// A delivery that may fail for good.
pub(super) struct Subjected<'a> {
    pub(super) id: i64,
    pub(super) fence: i64,
    pub(super) attempt: u32,
    pub(super) project: &'a str,
    pub(super) uid: Option<&'a str>,
    pub(super) notification: &'a str,
    pub(super) kind: &'a str,
    pub(super) state: RunState,
}

/// The jobs that notify the operator if this delivery fails for `reason`.
///
/// # Errors
/// When a secret of `on_failure` cannot be sealed.
pub(super) fn jobs(
    on_failure: &[Notification],
    vault: &Vault,
    delivery: &Subjected<'_>,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<FollowUp>> {
    if delivery.project == PROJECT {
        return Ok(Vec::new());
    }
    let text = text_of(delivery, reason);
    let job = |alarm: &Notification| {
        let mut notification = alarm.clone();
        notification.message = match alarm.message.as_str() {
            "" => text.clone(),
            own => format!("{own}: {text}"),
        };
        notification.when = vec![RunState::Error];
        let (registered, secret) = vault.conceal(PROJECT, &notification, &SecretValues::default())?;
        let (id, fence) = (delivery.id.to_string(), delivery.fence.to_string());
        let job = Job {
            key: DeliveryKey::of(&["alarm", &id, &fence, &notification.name]),
            lane: None,
            subject: Subject::none(),
            state: RunState::Error,
            at: now,
            notification: Arc::new(notification),
            look: Look::Own,
        };
        Ok(FollowUp { job, project: PROJECT.to_owned(), notification: registered, secret })
    };
    on_failure.iter().map(job).collect()
}

fn text_of(delivery: &Subjected<'_>, reason: &str) -> String {
    let name = |name: &str| text::one_line(name, NAME);
    let mut text = format!("notification `{}` ({})", name(delivery.notification), name(delivery.kind));
    // Writing to a text does not fail.
    if let Some(uid) = delivery.uid {
        let _ = write!(text, " of run {}", name(uid));
    }
    let _ = write!(text, " in project {} was not delivered for state {}", name(delivery.project), delivery.state);
    let _ = write!(text, ", delivery {}, attempt {}: {reason}", delivery.id, delivery.attempt);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_names_the_failed_delivery_and_its_reason() {
        let mut delivery = Subjected {
            id: 7,
            fence: 3,
            attempt: 3,
            project: "p",
            uid: Some("u\n1"),
            notification: "hook",
            kind: "webhook",
            state: RunState::Completed,
        };
        assert_eq!(
            text_of(&delivery, "unreachable: down"),
            "notification `hook` (webhook) of run u 1 in project p was not delivered for state completed, delivery 7, attempt 3: \
             unreachable: down"
        );
        delivery.uid = None;
        assert!(text_of(&delivery, "x").starts_with("notification `hook` (webhook) in project p was not"));
    }
}
