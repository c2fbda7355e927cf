//! A job: one notification about one piece of news. A value with all that a delivery needs.

use std::sync::Arc;

use jiff::Timestamp;

use crate::key::DeliveryKey;
use crate::notification::Notification;
use crate::run::RunSnapshot;
use crate::state::RunState;

/// One notification to send, about a run, an alarm or a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The delivery key: the same for the same news.
    pub key: DeliveryKey,
    /// The order to keep; `None` for news without older or newer news.
    pub lane: Option<Lane>,
    /// The subject of the report.
    pub subject: Subject,
    /// The state that notifies.
    pub state: RunState,
    /// When the subject entered the state. The mail `Date`.
    pub at: Timestamp,
    /// The notification.
    pub notification: Arc<Notification>,
    /// The look of the message: MLRun's or Runbell's.
    pub look: Look,
}

/// A lane: the deliveries of one run and one notification are sent one after the other, oldest first.
#[derive(Debug, Clone)]
pub struct Lane {
    run: RunSnapshot,
    notification: Arc<str>,
}

impl Lane {
    /// The lane of a run and a notification's name.
    pub fn new(run: RunSnapshot, notification: impl Into<Arc<str>>) -> Self {
        Lane { run, notification: notification.into() }
    }

    /// The project.
    pub fn project(&self) -> &str {
        self.run.project()
    }

    /// The run's uid.
    pub fn uid(&self) -> &str {
        self.run.uid()
    }

    /// 0 for the run itself, more for the child runs of a hyper-parameter run.
    pub fn iteration(&self) -> i64 {
        self.run.iteration()
    }

    /// The notification's name.
    pub fn notification(&self) -> &str {
        &self.notification
    }
}

impl PartialEq for Lane {
    fn eq(&self, other: &Self) -> bool {
        let parts = |lane: &Self| {
            (lane.project().to_owned(), lane.uid().to_owned(), lane.iteration(), Arc::clone(&lane.notification))
        };
        parts(self) == parts(other)
    }
}

impl Eq for Lane {}

/// The subject of a job: frozen, and free of secrets.
///
/// The run followed by the steps of a workflow, several runs, or no run at all (an alarm).
#[derive(Debug, Clone)]
pub struct Subject(Arc<[RunSnapshot]>);

impl Subject {
    /// A run and the steps of its workflow; no steps for a plain run.
    pub fn run(run: RunSnapshot, steps: impl IntoIterator<Item = RunSnapshot>) -> Self {
        Subject(std::iter::once(run).chain(steps).collect())
    }

    /// No run: the text is the notification's own message.
    pub fn none() -> Self {
        Subject(Arc::new([]))
    }

    /// The run, followed by the steps of its workflow.
    pub fn runs(&self) -> &Arc<[RunSnapshot]> {
        &self.0
    }

    /// The run itself; `None` for a job without one.
    pub fn first(&self) -> Option<&RunSnapshot> {
        self.0.first()
    }

    /// The steps of a workflow.
    pub fn steps(&self) -> &[RunSnapshot] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(RunSnapshot::document).eq(other.0.iter().map(RunSnapshot::document))
    }
}

/// The look of the message: MLRun's or Runbell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Look {
    /// MLRun's: for notifications from MLRun's API, or from a run's `spec.notifications`.
    #[default]
    Mlrun,
    /// Runbell's own.
    Own,
}

impl Look {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Look::Mlrun => "mlrun",
            Look::Own => "own",
        }
    }

    /// The look of a word; `None` for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        [Look::Mlrun, Look::Own].into_iter().find(|look| look.as_str() == word)
    }
}
