//! From a transition to jobs: decides about each notification.
//!
//! Pure. `explain`, `preview` and the real dispatch, here and on a server, all use this module, so they cannot disagree.

use std::sync::Arc;

use runbell_core::{
    ConditionOutcome, DeliveryKey, Error, ErrorKind, Job, Lane, Links, Look, Message, Note, NoteCode, Notification,
    REDACTED, Reason, Rendered, Result, RunSnapshot, SecretValues, Subject, Transition, Value, Verdict, text, verdict,
};
use runbell_jinja::{Evaluation, TemplateValue};
use runbell_render::text::compose;

use crate::ready::{Preparer, ReadyNotification, Unusable};
use crate::redact::redact;

/// A notification that may be sent, or the reason why it cannot be.
pub(crate) type Entry = std::result::Result<Arc<ReadyNotification>, Unusable>;

/// The secrets of a notification, also of one that cannot be sent.
#[cfg(feature = "durable")]
pub(crate) fn secrets_of(entry: &Entry) -> &SecretValues {
    entry.as_ref().map_or_else(|unusable| &unusable.secrets, |ready| &ready.secrets)
}

/// A transition with its notifications, free of secrets.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) transition: Transition,
    pub(crate) entries: Vec<Entry>,
    subject: Subject,
    pub(crate) secrets: SecretValues,
    /// The number of lists of notifications that the run had before the present one.
    generation: u64,
    /// Whether the run is a sample, to test a notification.
    is_sample: bool,
}

/// The decision about one notification.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// The job, if the verdict is to send.
    pub(crate) job: Option<Job>,
}

impl Plan {
    /// Collects the run's own notifications and the fixed ones, and redacts the run.
    pub(crate) fn new(
        transition: Transition,
        fixed: &[Arc<ReadyNotification>],
        secrets: &SecretValues,
        preparer: &Preparer,
    ) -> Self {
        let mut entries = own_entries(&transition.run, preparer);
        let own = entries.len();
        for ready in fixed {
            let is_taken = entries[..own].iter().flatten().any(|other| other.name == ready.name);
            entries.push(if is_taken { Err(name_taken(ready)) } else { Ok(Arc::clone(ready)) });
        }
        let mut secrets = secrets.clone();
        entries[..own].iter().flatten().for_each(|ready| secrets.extend(&ready.secrets));
        Self::with_entries(transition, entries, secrets, preparer)
    }

    /// Uses registered notifications only: a notification inside a stored run is not registered by that.
    #[cfg(feature = "durable")]
    pub(crate) fn of_registered(
        transition: Transition,
        entries: Vec<Entry>,
        mut secrets: SecretValues,
        preparer: &Preparer,
        generation: u64,
    ) -> Self {
        entries.iter().for_each(|entry| secrets.extend(secrets_of(entry)));
        Plan { generation, ..Self::with_entries(transition, entries, secrets, preparer) }
    }

    fn with_entries(transition: Transition, entries: Vec<Entry>, secrets: SecretValues, preparer: &Preparer) -> Self {
        let clean = |run: RunSnapshot| {
            let mut document = run.into_document();
            redact(&mut document, &preparer.registry, &secrets);
            RunSnapshot::step(document)
        };
        let run = clean(transition.run);
        let steps: Vec<RunSnapshot> = transition.steps.iter().cloned().map(clean).collect();
        let subject = Subject::run(run.clone(), steps);
        let transition = Transition { run, ..transition };
        Plan { transition, entries, subject, secrets, generation: 0, is_sample: false }
    }

    /// Makes it a test of notifications: all are sent regardless of their states and conditions, and every text says so.
    pub(crate) fn into_sample(mut self) -> Self {
        self.is_sample = true;
        self
    }

    /// Whether texts say that the run is a sample.
    pub(crate) fn is_sample(&self) -> bool {
        self.is_sample
    }

    /// The transition's subject: the run, and the steps of its workflow.
    #[cfg(feature = "durable")]
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Decides whether to send, with the reason and the job.
    pub(crate) fn decide(&self, ready: &ReadyNotification) -> Decision {
        let mut verdict = self.apply_rules(ready);
        if self.is_sample {
            verdict = Reason::Matched.into();
        }
        if verdict.sends()
            && let Some(detail) = self.yields(ready)
        {
            verdict = Verdict { reason: Reason::Yielded, detail: Some(detail), why: None };
        }
        let job = verdict.sends().then(|| self.job(&ready.notification, &ready.name, ready.look));
        Decision { verdict, job }
    }

    /// The job of a notification that is sent.
    pub(crate) fn job(&self, notification: &Arc<Notification>, name: &Arc<str>, look: Look) -> Job {
        let Transition { run, state, at, .. } = &self.transition;
        Job {
            key: DeliveryKey::new(run, name, *state, self.generation),
            lane: Some(Lane::new(run.clone(), Arc::clone(name))),
            subject: self.subject.clone(),
            state: *state,
            at: *at,
            notification: Arc::clone(notification),
            look,
        }
    }

    /// The reason why a notification yields although its own rules allow it.
    fn yields(&self, ready: &ReadyNotification) -> Option<String> {
        if !ready.is_active {
            return Some(format!("there is no display for a {} here", ready.kind));
        }
        let better = self.entries.iter().flatten().find(|other| {
            ready.yields_to.contains(&other.kind) && other.is_active && self.apply_rules(other).sends()
        })?;
        Some(format!("to `{}`, which shows the same", text::one_line(&better.name, 80)))
    }

    /// The verdict of the notification's own rules.
    fn apply_rules(&self, ready: &ReadyNotification) -> Verdict {
        let condition = || {
            let run = self.transition.run.view(TemplateValue::new);
            match ready.condition.evaluate(&run, ready.template()) {
                Evaluation::True => ConditionOutcome::True,
                Evaluation::False => ConditionOutcome::False,
                Evaluation::Ignored(fault) => {
                    ConditionOutcome::Ignored { cause: fault.cause.to_string(), why: fault.to_string() }
                }
            }
        };
        verdict(&self.transition.run, self.transition.state, &ready.notification, condition)
    }
}

/// The note about an ignored condition.
pub(crate) fn note_of(verdict: &Verdict) -> Option<Note> {
    let fault = verdict.shown_detail().filter(|_| verdict.reason == Reason::ConditionIgnored)?;
    let message = format!("is ignored, so the notification is sent ({fault})");
    Some(Note::new(NoteCode::ConditionIgnored, message).at("condition"))
}

/// The message of a job.
pub(crate) fn message(
    job: &Job,
    ready: &ReadyNotification,
    secrets: &SecretValues,
    links: &Links,
    is_sample: bool,
) -> Message {
    let mut composed = match job.subject.first() {
        Some(run) => compose(run, job.state, &job.notification),
        None => job.notification.message.clone(),
    };
    if is_sample {
        composed.insert_str(0, "TEST: ");
        composed.push_str("\nThis is a sample to try the notification out. No run has ended.");
    }
    Message {
        key: job.key,
        notification: Arc::clone(&ready.shown),
        name: Arc::clone(&ready.name),
        state: job.state,
        at: job.at,
        severity: job.notification.severity,
        text: match secrets.mask(&composed, REDACTED) {
            std::borrow::Cow::Borrowed(_) => composed,
            std::borrow::Cow::Owned(masked) => masked,
        },
        own_text: Arc::clone(&ready.own_text),
        html: None,
        runs: Arc::clone(job.subject.runs()),
        links: links.clone(),
    }
}

/// Renders, and turns a sender's panic into an error.
pub(crate) fn render(ready: &ReadyNotification, message: &Message) -> Result<Rendered> {
    let rendering = std::panic::AssertUnwindSafe(|| ready.sender.render(message));
    std::panic::catch_unwind(rendering)
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::Internal, "the sender panicked while rendering")))
}

/// The notifications in `spec.notifications`. A faulty one does not affect the others.
fn own_entries(run: &RunSnapshot, preparer: &Preparer) -> Vec<Entry> {
    let Some(list) = run.notifications() else { return Vec::new() };
    let Some(list) = list.as_list() else {
        let message = format!("must be a list, not {}", list.type_name());
        let error = Error::new(ErrorKind::ParamsInvalid, message).at("spec.notifications");
        return vec![Err(Unusable::new("", "", error))];
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    for item in list {
        let entry = own_entry(item, preparer, &entries);
        entries.push(entry);
    }
    entries
}

fn own_entry(item: &Value, preparer: &Preparer, earlier: &[Entry]) -> Entry {
    let word = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (notification, found) = Notification::parse(item);
    let Some(notification) = notification else {
        return Err(Unusable::unreadable(&word("name"), &word("kind"), found));
    };
    let (name, kind) = (notification.name.clone(), notification.kind.clone());
    let is_taken = earlier.iter().any(|entry| match entry {
        Ok(ready) => *ready.name == *name,
        Err(unusable) => unusable.name == name,
    });
    if is_taken {
        let message = format!("`{}` is used twice; names must be unique in a run", text::one_line(&name, 80));
        return Err(Unusable::new(&name, &kind, Error::new(ErrorKind::ParamsInvalid, message).at("name")));
    }
    let ready = preparer.prepare(notification, Look::Mlrun);
    ready.map(Arc::new).map_err(|error| Unusable::new(&name, &kind, error))
}

fn name_taken(ready: &ReadyNotification) -> Unusable {
    let name = &ready.notification.name;
    let message =
        format!("`{}` is the name of a notification of the run itself; names must be unique", text::one_line(name, 80));
    Unusable::new(name, &ready.notification.kind, Error::new(ErrorKind::ParamsInvalid, message).at("name"))
}
