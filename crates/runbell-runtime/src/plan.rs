//! From a transition to what has to be done: which notifications, decided how, about what text.
//!
//! `explain`, `preview` and the real dispatch all go through here, so they cannot disagree.

use std::sync::Arc;

use runbell_core::{
    ConditionOutcome, DeliveryKey, Error, ErrorKind, Links, Message, Notification, Reason, Rendered, Result,
    RunSnapshot, SecretValues, Transition, Value, Verdict, text, verdict,
};
use runbell_jinja::{Outcome, TemplateValue};
use runbell_render::text::compose;

use crate::prepared::{Prepared, Unprepared, Workshop};
use crate::redact::redact;

/// A notification that may be sent, or why it cannot be.
pub(crate) type Entry = std::result::Result<Arc<Prepared>, Unprepared>;

/// What a notification keeps secret, also one that cannot be sent.
#[cfg(feature = "durable")]
pub(crate) fn secrets_of(entry: &Entry) -> &SecretValues {
    entry.as_ref().map_or_else(|unprepared| &unprepared.secrets, |prepared| &prepared.secrets)
}

/// A transition with the notifications it concerns, free of secrets.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) transition: Transition,
    pub(crate) entries: Vec<Entry>,
    runs: Arc<[RunSnapshot]>,
    secrets: SecretValues,
    /// The run is a sample, sent to try a notification out.
    is_sample: bool,
}

impl Plan {
    /// Collects the run's own notifications and the fixed ones, and redacts the run.
    pub(crate) fn new(
        transition: Transition,
        fixed: &[Arc<Prepared>],
        secrets: &SecretValues,
        shop: &Workshop,
    ) -> Self {
        let mut entries = own_entries(&transition.run, shop);
        let own = entries.len();
        for prepared in fixed {
            let taken = entries[..own].iter().flatten().any(|other| other.name == prepared.name);
            entries.push(if taken { Err(name_taken(prepared)) } else { Ok(Arc::clone(prepared)) });
        }
        let mut secrets = secrets.clone();
        entries[..own].iter().flatten().for_each(|prepared| secrets.extend(&prepared.secrets));
        Self::with_entries(transition, entries, secrets, shop)
    }

    /// Only what is registered counts: notifications inside a run that is stored were never promised.
    #[cfg(feature = "durable")]
    pub(crate) fn of_registered(
        transition: Transition,
        entries: Vec<Entry>,
        mut secrets: SecretValues,
        shop: &Workshop,
    ) -> Self {
        entries.iter().for_each(|entry| secrets.extend(secrets_of(entry)));
        Self::with_entries(transition, entries, secrets, shop)
    }

    fn with_entries(transition: Transition, entries: Vec<Entry>, secrets: SecretValues, shop: &Workshop) -> Self {
        let clean = |run: RunSnapshot| {
            let mut document = run.into_document();
            redact(&mut document, &shop.registry, &secrets);
            RunSnapshot::step(document)
        };
        let run = clean(transition.run);
        let runs: Arc<[RunSnapshot]> = if transition.steps.is_empty() {
            Arc::new([run.clone()])
        } else {
            std::iter::once(run.clone()).chain(transition.steps.iter().cloned().map(clean)).collect()
        };
        Plan { transition: Transition { run, ..transition }, entries, runs, secrets, is_sample: false }
    }

    /// Makes it a plan to try notifications out: all are sent, whatever they wait for, and every text says so.
    pub(crate) fn into_sample(mut self) -> Self {
        self.is_sample = true;
        self
    }

    /// Whether to send, and why; with a note when the condition is broken.
    pub(crate) fn decide(&self, prepared: &Prepared) -> (Verdict, Option<String>) {
        let (mut verdict, note) = self.apply_rules(prepared);
        if self.is_sample {
            verdict = Reason::Matched.into();
        }
        if verdict.sends()
            && let Some(detail) = self.yields(prepared)
        {
            verdict = Verdict { reason: Reason::Yielded, detail: Some(detail) };
        }
        (verdict, note)
    }

    /// Why a notification steps back although its own rules hold.
    fn yields(&self, prepared: &Prepared) -> Option<String> {
        if !prepared.is_active {
            return Some(format!("there is nothing here that shows a {}", prepared.kind));
        }
        let better = self.entries.iter().flatten().find(|other| {
            prepared.yields_to.contains(&other.kind) && other.is_active && self.apply_rules(other).0.sends()
        })?;
        Some(format!("to `{}`, which shows the same", text::one_line(&better.name, 80)))
    }

    /// What the notification's own rules say.
    fn apply_rules(&self, prepared: &Prepared) -> (Verdict, Option<String>) {
        let mut note = None;
        let condition = || {
            let run = self.transition.run.view(TemplateValue::new);
            match prepared.condition.evaluate(&run, prepared.template()) {
                Outcome::True => ConditionOutcome::True,
                Outcome::False => ConditionOutcome::False,
                Outcome::Ignored(fault) => {
                    note = Some(format!("condition ignored ({}): {fault}", fault.cause));
                    ConditionOutcome::Ignored(fault.cause.to_string())
                }
            }
        };
        let verdict = verdict(&self.transition.run, self.transition.state, &prepared.notification, condition);
        (verdict, note)
    }

    /// The message for one notification.
    pub(crate) fn message(&self, prepared: &Prepared, links: &Links) -> Message {
        let Transition { run, state, at, .. } = &self.transition;
        let mut composed = compose(run, *state, &prepared.notification);
        if self.is_sample {
            composed.insert_str(0, "TEST: ");
            composed.push_str("\nThis is a sample to try the notification out. No run has ended.");
        }
        Message {
            key: DeliveryKey::new(run, &prepared.name, *state, 0),
            notification: Arc::clone(&prepared.shown),
            name: Arc::clone(&prepared.name),
            state: *state,
            at: *at,
            severity: prepared.notification.severity,
            text: match self.secrets.mask(&composed, runbell_core::REDACTED) {
                std::borrow::Cow::Borrowed(_) => composed,
                std::borrow::Cow::Owned(masked) => masked,
            },
            own_text: Arc::clone(&prepared.own_text),
            html: None,
            runs: Arc::clone(&self.runs),
            links: links.clone(),
        }
    }
}

/// Renders, and turns a sender's panic into an error.
pub(crate) fn render(prepared: &Prepared, message: &Message) -> Result<Rendered> {
    let rendering = std::panic::AssertUnwindSafe(|| prepared.sender.render(message));
    std::panic::catch_unwind(rendering)
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::Internal, "the sender panicked while rendering")))
}

/// The notifications in `spec.notifications`. One bad one leaves the others alone.
fn own_entries(run: &RunSnapshot, shop: &Workshop) -> Vec<Entry> {
    let Some(list) = run.notifications() else { return Vec::new() };
    let Some(list) = list.as_list() else {
        let message = format!("spec.notifications: must be a list, not {}", list.type_name());
        return vec![Err(Unprepared::new("", "", Error::new(ErrorKind::ParamsInvalid, message)))];
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    for item in list {
        let entry = own_entry(item, shop, &entries);
        entries.push(entry);
    }
    entries
}

fn own_entry(item: &Value, shop: &Workshop, earlier: &[Entry]) -> Entry {
    let word = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (notification, found) = Notification::parse(item);
    let Some(notification) = notification else {
        return Err(Unprepared::from_findings(&word("name"), &word("kind"), &found));
    };
    let (name, kind) = (notification.name.clone(), notification.kind.clone());
    let taken = earlier.iter().any(|entry| match entry {
        Ok(prepared) => *prepared.name == *name,
        Err(unprepared) => unprepared.name == name,
    });
    if taken {
        let message = format!("name: `{}` is taken; names must be unique in a run", text::one_line(&name, 80));
        return Err(Unprepared::new(&name, &kind, Error::new(ErrorKind::ParamsInvalid, message)));
    }
    shop.prepare(notification).map(Arc::new).map_err(|error| Unprepared::new(&name, &kind, error))
}

fn name_taken(prepared: &Prepared) -> Unprepared {
    let name = &prepared.notification.name;
    let message = format!(
        "name: `{}` is the name of a notification of the run itself; names must be unique",
        text::one_line(name, 80)
    );
    Unprepared::new(name, &prepared.notification.kind, Error::new(ErrorKind::ParamsInvalid, message))
}
