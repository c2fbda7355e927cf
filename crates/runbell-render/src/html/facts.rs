//! The facts of a run that are shown, in HTML as in plain text.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use runbell_core::text::{Unit, cut};
use runbell_core::{Links, RunSnapshot, Value};

use crate::python;

/// How deep nested parameters and results are laid out line by line; below that they are written as Python does.
const DEPTH: usize = 6;

/// How many of a run's values are shown of something with thousands of them.
const LINES: usize = 200;

/// How much of the values is shown, in characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detail {
    /// Of one parameter or result.
    pub(crate) value: usize,
    /// Of all parameters, and of all results.
    pub(crate) cell: usize,
    /// Of an error.
    pub(crate) error: usize,
}

/// The facts of a run. Texts are raw: the writer escapes them.
#[derive(Debug, Default)]
pub(crate) struct Facts<'r> {
    pub(crate) state: Cow<'r, str>,
    pub(crate) name: Cow<'r, str>,
    pub(crate) uid: Cow<'r, str>,
    pub(crate) iteration: String,
    pub(crate) kind: Cow<'r, str>,
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) duration: String,
    /// `key=value` lines, nested ones indented.
    pub(crate) parameters: String,
    pub(crate) results: String,
    pub(crate) error: Cow<'r, str>,
    pub(crate) link: String,
    /// Whether some value is not shown whole.
    pub(crate) cut: bool,
}

impl<'r> Facts<'r> {
    pub(crate) fn new(run: &'r RunSnapshot, links: &Links, detail: Detail) -> Self {
        let document = run.document();
        let mut facts = Facts::default();
        facts.state = facts.cut_to(text_at(document, &["status", "state"]), detail.value);
        facts.name = facts.cut_to(text_at(document, &["metadata", "name"]), detail.value);
        facts.uid = facts.cut_to(text_at(document, &["metadata", "uid"]), detail.value);
        // As in MLRun: a step's kind, else the document's own, which a function record has.
        let kind = match text_at(document, &["step_kind"]) {
            kind if kind.is_empty() => text_at(document, &["kind"]),
            kind => kind,
        };
        facts.kind = facts.cut_to(kind, detail.value);
        if let Some(iteration) = document.at(&["metadata", "iteration"]) {
            facts.iteration = cut(&python::str_of(iteration), 40, Unit::Characters).into_owned();
        }
        let start = Moment::new(&text_at(document, &["status", "start_time"]));
        let end = Moment::new(&text_at(document, &["status", "end_time"]));
        facts.duration = match (&start, &end) {
            (Some(start), Some(end)) => start.until(end).map(duration).unwrap_or_default(),
            _ => String::new(),
        };
        facts.start = start.map(|moment| moment.shown).unwrap_or_default();
        facts.end = end.map(|moment| moment.shown).unwrap_or_default();
        facts.parameters = facts.lines(document.at(&["spec", "parameters"]), detail);
        facts.results = facts.lines(run.status("results"), detail);
        if facts.state == "error" {
            facts.error = match run.status("error").filter(|error| error.is_truthy()) {
                Some(Value::String(text)) => facts.cut_to(Cow::Borrowed(text), detail.error),
                Some(other) => facts.cut_to(Cow::Owned(python::str_of(other)), detail.error),
                None => Cow::Borrowed(""),
            };
        }
        // A step that never became a run has no page, nor has one that builds or deploys.
        let has_page = !facts.uid.is_empty() && facts.state != "skipped" && matches!(run.step_kind(), "" | "run");
        if has_page && run.name().len() + run.project().len() + run.uid().len() < LONGEST_LINK {
            facts.link = links.run(run).unwrap_or_default();
        }
        facts
    }

    fn cut_to(&mut self, text: Cow<'r, str>, limit: usize) -> Cow<'r, str> {
        let shown = match &text {
            Cow::Borrowed(text) => cut(text, limit, Unit::Characters),
            Cow::Owned(owned) => match cut(owned, limit, Unit::Characters) {
                Cow::Borrowed(_) => return text,
                Cow::Owned(cut) => Cow::Owned(cut),
            },
        };
        self.cut |= matches!(shown, Cow::Owned(_));
        shown
    }

    fn lines(&mut self, values: Option<&Value>, detail: Detail) -> String {
        if !values.is_some_and(Value::is_truthy) {
            return String::new();
        }
        let mut lines = Lines { out: String::with_capacity(128), count: 0, left_out: 0, detail, cut: false };
        for (key, value) in values.and_then(Value::as_map).into_iter().flatten() {
            lines.pair(0, key, value);
        }
        if lines.left_out > 0 {
            lines.out.push_str(&format!("\n… {} more", lines.left_out));
        }
        self.cut |= lines.cut || lines.left_out > 0;
        lines.out
    }
}

/// Names longer than this, together, make no link: browsers and mail programs would refuse it.
const LONGEST_LINK: usize = 1_500;

fn text_at<'v>(document: &'v Value, path: &[&str]) -> Cow<'v, str> {
    match document.at(path) {
        Some(Value::String(text)) => Cow::Borrowed(text),
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(other) => Cow::Owned(python::str_of(other)),
    }
}

/// Lays out parameters or results.
struct Lines {
    out: String,
    count: usize,
    left_out: usize,
    detail: Detail,
    cut: bool,
}

impl Lines {
    fn pair(&mut self, depth: usize, key: &str, value: &Value) {
        if self.count >= LINES || self.out.len() >= self.detail.cell {
            self.left_out += usize::from(depth == 0);
            // The members of a value that is left out are left out too.
            self.cut = true;
            return;
        }
        self.count += 1;
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        for _ in 0..depth {
            self.out.push_str("  ");
        }
        self.text(key, depth, self.detail.value / 2);
        match value {
            Value::Map(map) if depth < DEPTH && !map.is_empty() => {
                map.iter().for_each(|(key, item)| self.pair(depth + 1, key, item))
            }
            Value::List(list) if depth < DEPTH && !list.is_empty() => {
                for (index, item) in list.iter().enumerate() {
                    if self.count >= LINES {
                        self.cut = true;
                        break;
                    }
                    let mut key = itoa::Buffer::new();
                    self.pair(depth + 1, &["[", key.format(index), "]"].concat(), item);
                }
            }
            Value::String(text) => {
                self.out.push('=');
                self.text(text, depth, self.detail.value);
            }
            other => {
                self.out.push('=');
                let before = self.out.len();
                python::write_str(other, &mut self.out);
                if self.out.len() - before > self.detail.value {
                    let written = self.out.split_off(before);
                    self.text(&written, depth, self.detail.value);
                }
            }
        }
    }

    /// Appends a text whose further lines are indented, so that they cannot be taken for pairs.
    fn text(&mut self, text: &str, depth: usize, limit: usize) {
        let shown = cut(text, limit, Unit::Characters);
        self.cut |= matches!(shown, Cow::Owned(_));
        if !shown.contains('\n') {
            return self.out.push_str(&shown);
        }
        for (index, line) in shown.lines().enumerate() {
            if index > 0 {
                self.out.push('\n');
                self.out.push_str(&"  ".repeat(depth + 2));
            }
            self.out.push_str(line);
        }
    }
}

/// A point in time as a run gives it, with or without an offset from UTC.
struct Moment {
    shown: String,
    at: Option<(DateTime, Option<Offset>)>,
}

impl Moment {
    /// `None` for an empty text. A text that is no time is shown as it is.
    fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let parsed = Pieces::parse(text).ok().map(|pieces| {
            let at = pieces.date().to_datetime(pieces.time().unwrap_or_default());
            let offset = pieces.offset().map(|offset| match offset {
                PiecesOffset::Numeric(offset) => offset.offset(),
                _ => Offset::UTC,
            });
            (at, offset)
        });
        let shown = match parsed {
            None => cut(text, 40, Unit::Characters).into_owned(),
            Some((at, offset)) => {
                let mut shown = to_the_second(text, at);
                match offset {
                    None => {}
                    Some(Offset::UTC) => shown.push_str(" UTC"),
                    Some(offset) => shown.push_str(&format!(" {offset}")),
                }
                shown
            }
        };
        Some(Moment { shown, at: parsed })
    }

    /// The time until `end`; `None` when either is no time, only one has an offset, or `end` is earlier.
    fn until(&self, end: &Moment) -> Option<Duration> {
        let instant = |moment: &Moment| -> Option<(Timestamp, bool)> {
            let (at, offset) = moment.at?;
            let zone = TimeZone::fixed(offset.unwrap_or(Offset::UTC));
            Some((zone.to_timestamp(at).ok()?, offset.is_some()))
        };
        let ((from, from_offset), (to, to_offset)) = (instant(self)?, instant(end)?);
        (from_offset == to_offset).then(|| Duration::try_from(to.duration_since(from)).ok())?
    }
}

/// `2026-02-03 04:05:06`, mostly by taking it out of the text it was read from, which is much faster.
fn to_the_second(text: &str, at: DateTime) -> String {
    let usual = text.len() >= 19 && text.is_ascii() && matches!(text.as_bytes()[10], b'T' | b' ');
    if usual && text.as_bytes()[16] == b':' {
        let mut shown = String::with_capacity(24);
        shown.push_str(&text[..10]);
        shown.push(' ');
        shown.push_str(&text[11..19]);
        return shown;
    }
    let (date, time) = (at.date(), at.time());
    format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// A duration for people: `850 ms`, `12.3 s`, `7 min 0 s`, `3 h 5 min`, `2 d 4 h`.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        for (text, shown) in [
            ("2026-02-03T04:05:06.162557+00:00", Some("2026-02-03 04:05:06 UTC")),
            ("2026-02-03T04:05:06Z", Some("2026-02-03 04:05:06 UTC")),
            ("2026-02-03 04:05:06", Some("2026-02-03 04:05:06")),
            ("2026-02-03T04:05:06+02:00", Some("2026-02-03 04:05:06 +02")),
            ("2026-02-03", Some("2026-02-03 00:00:00")),
            ("yesterday", Some("yesterday")),
            ("  ", None),
        ] {
            assert_eq!(Moment::new(text).map(|moment| moment.shown).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn durations_for_people() {
        for (start, end, expected) in [
            ("2026-02-03T04:00:00Z", "2026-02-03T04:00:00.85Z", Some("850 ms")),
            ("2026-02-03T04:00:00.25+00:00", "2026-02-03T04:00:12.5Z", Some("12.2 s")),
            ("2026-02-03T04:00:00Z", "2026-02-03T04:07:00Z", Some("7 min 0 s")),
            ("2026-02-03T04:00:00Z", "2026-02-03T08:05:00+01:00", Some("3 h 5 min")),
            ("2026-02-01 00:00:00", "2026-02-03T04:00:00", Some("2 d 4 h")),
            ("2026-02-03T04:00:00Z", "2026-02-03T03:00:00Z", None),
            ("2026-02-03T04:00:00Z", "2026-02-03T05:00:00", None),
            ("yesterday", "2026-02-03T05:00:00", None),
        ] {
            let (start, end) = (Moment::new(start).expect("a time"), Moment::new(end).expect("a time"));
            assert_eq!(start.until(&end).map(duration).as_deref(), expected);
        }
    }
}
