//! A run entering a state.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::run::RunSnapshot;
use crate::state::RunState;

/// A run entering a state: the subject of notifications.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The run at that time.
    pub run: RunSnapshot,
    /// The state it entered.
    pub state: RunState,
    /// The time.
    pub at: Timestamp,
    /// The steps of a workflow; empty for a plain run.
    pub steps: Arc<[RunSnapshot]>,
}

impl Transition {
    /// The transition of a run into its current state.
    ///
    /// The time is the run's own where it can be read, else `now`: `status.end_time`, else `last_update`; for a start
    /// `start_time`. When a run is retried its `start_time` stays that of the first try, so the start of a retry takes
    /// `last_update`.
    pub fn current(run: RunSnapshot, now: Timestamp) -> Self {
        let state = run.state();
        let fields: &[&str] = match state {
            RunState::Running if run.retry_count() > 0 => &["last_update"],
            RunState::Running => &["start_time"],
            _ => &["end_time", "last_update"],
        };
        let reported = fields.iter().find_map(|field| time_of(run.status(field)?.as_str()?));
        Transition { state, at: reported.unwrap_or(now), run, steps: Arc::new([]) }
    }

    /// Adds the steps of a workflow.
    #[must_use]
    pub fn with_steps(mut self, steps: Vec<RunSnapshot>) -> Self {
        self.steps = steps.into();
        self
    }
}

/// The time that a text names; one without an offset is in UTC, as Python programs mean it. `None` when it is no time.
pub fn time_of(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    #[test]
    fn the_time_is_that_of_the_state() {
        let now: Timestamp = "2026-02-03T10:00:00Z".parse().expect("a time");
        let status = r#""start_time": "2026-02-03T01:00:00Z", "last_update": "2026-02-03T02:00:00Z""#;
        for (more, expected) in [
            (r#""state": "running""#, "2026-02-03T01:00:00Z"),
            // The start of a retry; `start_time` is that of the first try.
            (r#""state": "running", "retry_count": 1"#, "2026-02-03T02:00:00Z"),
            (r#""state": "completed""#, "2026-02-03T02:00:00Z"),
            (r#""state": "error", "end_time": "2026-02-03T03:00:00Z""#, "2026-02-03T03:00:00Z"),
            (r#""state": "error", "end_time": "soon""#, "2026-02-03T02:00:00Z"),
        ] {
            let run = format!(r#"{{"metadata": {{"uid": "u", "project": "p"}}, "status": {{{status}, {more}}}}}"#);
            let run = RunSnapshot::new(value::read(&run).expect("JSON")).expect("a run");
            assert_eq!(Transition::current(run, now).at.to_string(), expected, "{more}");
        }
    }

    #[test]
    fn times_without_an_offset_are_in_utc() {
        for text in [
            "2026-02-03T10:00:00Z",
            "2026-02-03 11:00:00.000000+01:00",
            "2026-02-03T10:00:00",
            "2026-02-03 10:00:00.000000",
        ] {
            assert_eq!(time_of(text).map(|at| at.to_string()).as_deref(), Some("2026-02-03T10:00:00Z"), "{text}");
        }
        for text in ["", "soon", "2026-02-30T10:00:00", "2026-02-03T10:00:00+"] {
            assert_eq!(time_of(text), None, "{text}");
        }
    }
}
