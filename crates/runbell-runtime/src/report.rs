//! The report: a line with the outcome of each notification.

use runbell_core::{Error, ErrorKind, Note, RunState};
use serde::Serialize;

/// The outcomes of the notifications of one or more transitions, in the order they were configured.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Report {
    /// One line per (run, notification).
    pub lines: Vec<ReportLine>,
}

impl Report {
    /// Whether no delivery failed.
    pub fn is_ok(&self) -> bool {
        self.lines.iter().all(|line| line.status != Status::Error)
    }

    /// The lines of failed deliveries.
    pub fn failures(&self) -> impl Iterator<Item = &ReportLine> {
        self.lines.iter().filter(|line| line.status == Status::Error)
    }

    /// Whether a configuration is at fault rather than a target.
    pub fn has_configuration_faults(&self) -> bool {
        self.failures().any(|line| line.error.is_some_and(ErrorKind::is_configuration))
    }
}

/// The outcome of one notification of one transition.
#[derive(Debug, Clone, Serialize)]
pub struct ReportLine {
    /// The run.
    pub uid: String,
    /// The notification's name.
    pub notification: String,
    /// Its kind.
    pub kind: String,
    /// The state the run entered.
    pub state: RunState,
    /// Sent, skipped or failed.
    pub status: Status,
    /// The verdict's reason, or the error's: kind, message, context.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// Notes, such as cuts and failed templates or conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// The error's kind, to match on.
    #[serde(skip)]
    pub error: Option<ErrorKind>,
    /// Whether a failed message may have arrived all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
}

/// The three outcomes of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The target took it.
    Sent,
    /// It should have been sent, but was not.
    Error,
    /// A rule said not to send.
    Skipped,
}

impl Status {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Sent => "sent",
            Status::Error => "error",
            Status::Skipped => "skipped",
        }
    }
}

impl ReportLine {
    /// A line about a run in a state, without an outcome yet.
    pub(crate) fn about(uid: &str, state: RunState) -> Self {
        ReportLine {
            uid: uid.to_owned(),
            notification: String::new(),
            kind: String::new(),
            state,
            status: Status::Skipped,
            reason: String::new(),
            attempts: 0,
            notes: Vec::new(),
            error: None,
            ambiguous: false,
        }
    }

    /// The line for a document that is no run, with the reason.
    pub fn not_a_run(error: &Error) -> Self {
        let mut line = ReportLine::about("", RunState::Unknown);
        line.failed(error);
        line
    }

    pub(crate) fn failed(&mut self, error: &Error) {
        self.status = Status::Error;
        self.reason = error.reason();
        self.error = Some(error.kind());
        self.ambiguous = error.is_ambiguous();
    }
}
