//! The message for a sender: all data of one delivery, without secrets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::key::DeliveryKey;
use crate::run::RunSnapshot;
use crate::state::{RunState, Severity};
use crate::text::percent_encoded;
use crate::value::Value;

/// One message, ready to be rendered by any kind.
#[derive(Debug, Clone)]
pub struct Message {
    /// The delivery key: the same for the same news.
    pub key: DeliveryKey,
    /// The notification as templates see it, secrets masked.
    pub notification: Arc<Value>,
    /// The notification's name; may be empty.
    pub name: Arc<str>,
    /// The state that notified.
    pub state: RunState,
    /// The time at which the run entered the state.
    pub at: Timestamp,
    /// The severity.
    pub severity: Severity,
    /// The composed text: "Run completed in project p: …".
    pub text: String,
    /// The author's own part of the text; may be empty.
    pub own_text: Arc<str>,
    /// HTML that replaces the composed HTML.
    pub html: Option<Arc<str>>,
    /// The run, then a workflow's steps. Secrets are redacted.
    pub runs: Arc<[RunSnapshot]>,
    /// Links to the runs.
    pub links: Links,
}

/// Links into a user interface.
#[derive(Debug, Clone, Default)]
pub struct Links {
    ui_url: Option<Arc<str>>,
}

impl Links {
    /// Links below `ui_url`; none when it is empty.
    pub fn new(ui_url: &str) -> Self {
        let trimmed = ui_url.trim().trim_end_matches('/');
        Links { ui_url: (!trimmed.is_empty()).then(|| trimmed.into()) }
    }

    /// The page of a run, in the layout of MLRun's UI; `None` without a UI.
    ///
    /// A workflow step that never became a run has no uid; MLRun writes `None` in its place, and so does this.
    pub fn run(&self, run: &RunSnapshot) -> Option<String> {
        let ui = self.ui_url.as_deref()?;
        let mut url = String::with_capacity(ui.len() + run.project().len() + run.name().len() + run.uid().len() + 64);
        url.push_str(ui);
        url.push_str("/projects/");
        url.push_str(&percent_encoded(run.project()));
        url.push_str("/jobs/monitor-jobs/");
        url.push_str(&percent_encoded(run.name()));
        url.push('/');
        url.push_str(&percent_encoded(if run.uid().is_empty() { "None" } else { run.uid() }));
        url.push_str("/overview");
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Run, RunView as _};

    #[test]
    fn run_data_cannot_leave_its_place_in_a_link() {
        let links = Links::new("https://ui.example/mlrun/");
        let run = Run::new("a b|<!here>", "u1").project("p/../q").freeze().expect("a run");
        assert_eq!(
            links.run(&run).as_deref(),
            Some("https://ui.example/mlrun/projects/p%2F..%2Fq/jobs/monitor-jobs/a%20b%7C%3C%21here%3E/u1/overview")
        );
        assert_eq!(Links::new("").run(&run), None);
    }
}
