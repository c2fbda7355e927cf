//! The order of the deliveries of each run, as a sink recorded them.

use std::collections::HashMap;

use crate::sink::Record;

/// What a sink got, by run.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Different deliveries.
    pub(crate) delivered: usize,
    /// Deliveries that came again.
    pub(crate) repeated: usize,
    /// Deliveries of a start that came behind the end of the same run.
    pub(crate) late: usize,
    /// Runs of which start and end came.
    pub(crate) both: usize,
}

#[derive(Default)]
struct Seen {
    start: bool,
    end: bool,
}

impl Order {
    /// Each record is a start when its body says `running`, and an end otherwise; its path is the run.
    pub(crate) fn of(records: &[Record]) -> Self {
        let (mut order, mut runs) = (Order::default(), HashMap::<&str, Seen>::new());
        for record in records {
            let seen = runs.entry(&record.path).or_default();
            let is_start = &record.body[..] == br#"{"state":"running"}"#;
            order.late += usize::from(is_start && seen.end);
            let now = if is_start { &mut seen.start } else { &mut seen.end };
            order.repeated += usize::from(*now);
            order.delivered += usize::from(!*now);
            *now = true;
        }
        order.both = runs.values().filter(|seen| seen.start && seen.end).count();
        order
    }
}
