//! A guard that reports the end of a run, also when it is dropped.

use runbell_core::{Run, RunState};

use crate::notifier::Notifier;

/// A run under way. Call the method for its end; a guard dropped without it reports the run as aborted.
#[derive(Debug)]
#[must_use = "a dropped guard reports that the run was aborted"]
pub struct RunGuard {
    notifier: Notifier,
    run: Option<Run>,
}

impl Notifier {
    /// Begins a run: reports that it is running; the guard reports its end.
    pub fn start(&self, mut run: Run) -> RunGuard {
        run.status.state = RunState::Running;
        run.status.start_time.get_or_insert_with(|| self.now().to_string());
        enqueue(self, &run);
        RunGuard { notifier: self.clone(), run: Some(run) }
    }
}

impl RunGuard {
    /// The run, to add results while it runs.
    pub fn run(&mut self) -> Option<&mut Run> {
        self.run.as_mut()
    }

    /// Reports that the run completed.
    pub fn completed(mut self) {
        self.end(Run::completed);
    }

    /// Reports that the run failed, with the reason.
    pub fn failed(mut self, error: impl Into<String>) {
        self.end(|run| run.failed(error));
    }

    /// Reports that the run was aborted.
    pub fn aborted(mut self) {
        self.end(Run::aborted);
    }

    fn end(&mut self, end: impl FnOnce(Run) -> Run) {
        let Some(run) = self.run.take() else { return };
        let mut run = end(run);
        run.status.end_time = Some(self.notifier.now().to_string());
        enqueue(&self.notifier, &run);
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.end(Run::aborted);
    }
}

/// A guard cannot fail its job, so a full queue is logged.
fn enqueue(notifier: &Notifier, run: &Run) {
    if let Err(error) = notifier.enqueue(run) {
        tracing::error!(state = run.status.state.as_str(), reason = error.reason(), "not reported");
    }
}
