//! A message as HTML: one template for mail, git and notebook.
//!
//! Styles are inline, because mail programs and notebooks drop all others; sites such as GitHub drop inline styles too,
//! and nothing depends on them: states have a symbol and a word, columns have borders. No colour is set for text or
//! background, so that dark surroundings stay dark, and there are no images.
//!
//! **Invariant:** every value of a run, and the author's message, is escaped by [`Flavour`] when it is put into the
//! template. The result is one line: none of its lines begins with data.

mod escape;
mod facts;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, Template, Value, context};
use runbell_core::text::{Unit, cut, ending};
use runbell_core::{Error, ErrorKind, Message, Note, Result, RunSnapshot};

pub use escape::Flavour;
pub(crate) use facts::{Detail, Facts};

/// The longest first line of a text that is shown whole, in characters.
const HEADLINE: usize = 1_000;

/// The longest text beside its first line that is shown whole, in characters.
const TEXT: usize = 8_000;

/// How much of values is shown, in the order in which it is tried until everything fits.
pub(crate) const DETAILS: [Detail; 3] = [
    Detail { value: 2_000, cell: 20_000, error: 8_000 },
    Detail { value: 300, cell: 2_000, error: 1_500 },
    Detail { value: 80, cell: 240, error: 240 },
];

/// The longest name that is not broken into lines, in bytes.
const SHORT_NAME: usize = 28;

/// The least a run takes, so that no more of them are rendered than can ever fit.
const SMALLEST_ROW: usize = 64;

/// A message as HTML, and notes on the cuts that made it fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html {
    /// The HTML: a fragment without `<html>` around it.
    pub html: String,
    /// One note for each cut, for report and preview.
    pub notes: Vec<Note>,
}

/// Renders `message` in at most `limit` UTF-16 units, which is how browsers and most web services count characters.
///
/// Parts that do not fit are left out with a count: long values first, then runs; the run itself and the failed ones are
/// kept the longest. HTML given with the message is returned as it is, of any length.
///
/// # Errors
/// [`ErrorKind::Render`] when not even the headline fits.
pub fn render(message: &Message, flavour: Flavour, limit: usize) -> Result<Html> {
    if let Some(given) = message.html.as_deref().filter(|given| !given.is_empty()) {
        return Ok(Html { html: given.to_owned(), notes: Vec::new() });
    }
    Page::new(message, flavour)?.fit(limit)
}

/// The first line of a message as MLRun heads it, `[{severity}] {name}: {text}`, and the rest.
pub(crate) fn headline(message: &Message) -> (String, &str) {
    let (first, rest) = message.text.split_once('\n').unwrap_or((&message.text, ""));
    let colon = if message.name.is_empty() { "" } else { ": " };
    (format!("[{}] {}{colon}{}", message.severity, message.name, first.trim_end_matches('\r')), rest)
}

/// The symbol of a state. Symbols that every font has, for they stand in for colour.
pub(crate) fn symbol(state: &str) -> &'static str {
    match state {
        "completed" => "✅",
        "error" => "❌",
        "aborted" => "🛑",
        "running" => "▶️",
        "skipped" => "⏭️",
        _ => "❔",
    }
}

/// The colour of a state's bar: of middling lightness, to be seen on white and on black.
fn colour(state: &str) -> &'static str {
    match state {
        "completed" => "#2da44e",
        "error" => "#cf222e",
        "aborted" => "#bf8700",
        "running" => "#218bff",
        _ => "#8c959f",
    }
}

struct Page<'m> {
    message: &'m Message,
    frame: Template<'static, 'static>,
    row: Template<'static, 'static>,
    /// Several runs stand below each other, one run on its own is laid out by its fields.
    many: bool,
    iterations: bool,
}

impl<'m> Page<'m> {
    fn new(message: &'m Message, flavour: Flavour) -> Result<Self> {
        let runs = &message.runs;
        let iteration = |run: &RunSnapshot| run.document().at(&["metadata", "iteration"]).cloned();
        let first = runs.first().and_then(iteration);
        Ok(Page {
            message,
            frame: environment(flavour).get_template(MESSAGE).map_err(faulty)?,
            row: environment(flavour).get_template(RUN).map_err(faulty)?,
            many: runs.len() > 1,
            iterations: runs.iter().any(|run| iteration(run) != first),
        })
    }

    fn fit(&self, limit: usize) -> Result<Html> {
        let mut notes = Vec::new();
        // With a table, empty though it is.
        let frame =
            Unit::Utf16.length(&self.page(if self.message.runs.is_empty() { "" } else { " " }, "", &mut notes)?);
        let room = limit.checked_sub(frame).ok_or_else(|| {
            Error::new(ErrorKind::Render, "not even the headline fits the target's limit").with("limit", limit)
        })?;
        let runs = &self.message.runs;
        let (last, earlier) = DETAILS.split_last().unwrap_or((&DETAILS[0], &[]));
        for detail in earlier {
            if let Some((rows, used, cut)) = self.all_rows(*detail, room)? {
                let more = if cut { self.cut_note() } else { "" };
                // The note needs room too; where it has none, less detail leaves some.
                if used + self.note_units(more) <= room {
                    notes.extend((!more.is_empty()).then(|| Note::cut("long values were cut")));
                    return Ok(Html { html: self.page(&rows, more, &mut Vec::new())?, notes });
                }
            }
        }
        let (rows, shown, failed_left) = self.some_rows(*last, room)?;
        let left = runs.len() - shown;
        let failed = if failed_left > 0 { format!(", {failed_left} of them failed") } else { String::new() };
        let more = match left {
            0 => self.cut_note().to_owned(),
            left => format!("{left} more of {} runs are not shown{failed}; long values are cut.", runs.len()),
        };
        notes.push(match left {
            0 => Note::cut("long values were cut"),
            left => Note::left_out(format!("{left} of {} runs were left out{failed}, and long values cut", runs.len())),
        });
        Ok(Html { html: self.page(&rows, &more, &mut Vec::new())?, notes })
    }

    fn cut_note(&self) -> &'static str {
        "Long values are cut."
    }

    /// How many units a closing note takes, generously.
    fn note_units(&self, note: &str) -> usize {
        if note.is_empty() { 0 } else { 400 + 6 * Unit::Utf16.length(note) + Unit::Utf16.length(&self.link()) }
    }

    /// Every run, how much that takes, and whether anything was cut; `None` when it is more than `room`.
    fn all_rows(&self, detail: Detail, room: usize) -> Result<Option<(String, usize, bool)>> {
        if self.message.runs.len() > room / SMALLEST_ROW {
            return Ok(None);
        }
        let (mut rows, mut cut) = (String::with_capacity(self.message.runs.len() * 512), false);
        let mut counted = 0;
        for run in self.message.runs.iter() {
            cut |= self.row(run, detail, &mut rows)?;
            // No text has more units than bytes, so most need not be counted; others are counted again whenever
            // they have grown by a tenth of the room.
            if rows.len() > room && rows.len() - counted > room / 10 {
                counted = rows.len();
                if Unit::Utf16.length(&rows) > room {
                    return Ok(None);
                }
            }
        }
        let used = if rows.len() <= room { rows.len() } else { Unit::Utf16.length(&rows) };
        Ok((used <= room).then_some((rows, used, cut)))
    }

    /// As many runs as fit, in their order: the first, those that failed, then the others. Returns them, how many they
    /// are, and how many failed ones are not among them.
    fn some_rows(&self, detail: Detail, room: usize) -> Result<(String, usize, usize)> {
        let runs = &self.message.runs;
        let mut room = room
            .saturating_sub(self.note_units("999999999 more of 999999999 runs are not shown, 999999999 failed; cut"));
        let failed = |index: &usize| runs[*index].state_word() == "error";
        let others = (1..runs.len()).filter(|index| !failed(index));
        let order = (0..runs.len().min(1)).chain((1..runs.len()).filter(failed)).chain(others);
        let mut kept: Vec<(usize, String)> = Vec::new();
        for index in order.take(room / SMALLEST_ROW) {
            let mut row = String::new();
            self.row(&runs[index], detail, &mut row)?;
            let Some(left) = room.checked_sub(Unit::Utf16.length(&row)) else { break };
            room = left;
            kept.push((index, row));
        }
        kept.sort_by_key(|(index, _)| *index);
        let failed_left =
            (0..runs.len()).filter(failed).count() - kept.iter().filter(|(index, _)| failed(index)).count();
        let shown = kept.len();
        Ok((kept.into_iter().map(|(_, row)| row).collect(), shown, failed_left))
    }

    /// Appends one run. Says whether something in it was cut.
    fn row(&self, run: &RunSnapshot, detail: Detail, out: &mut String) -> Result<bool> {
        let facts = Facts::new(run, &self.message.links, detail);
        let time = joined("\n", [&facts.start, &facts.end, &facts.duration]);
        let short = facts.name.len() <= SHORT_NAME && facts.kind.len() <= SHORT_NAME;
        let what = joined(" · ", [&facts.state, &facts.kind, ""]);
        let row = Value::from_object(Row {
            time: time.into(),
            what: what.into(),
            symbol: symbol(&facts.state).into(),
            state: facts.state.into(),
            name: facts.name.into(),
            short_uid: short_uid(&facts.uid).into(),
            uid: facts.uid.into(),
            iteration: facts.iteration.into(),
            kind: facts.kind.into(),
            start: facts.start.into(),
            end: facts.end.into(),
            duration: facts.duration.into(),
            parameters: facts.parameters.into(),
            results: facts.results.into(),
            error: facts.error.into(),
            link: safe_link(&facts.link),
            many: self.many,
            iterations: self.iterations,
            short,
        });
        out.push_str(&self.row.render(row).map_err(faulty)?);
        Ok(facts.cut)
    }

    /// Everything around the runs.
    fn page(&self, rows: &str, more: &str, notes: &mut Vec<Note>) -> Result<String> {
        let (headline, rest) = headline(self.message);
        let state = self.message.state.as_str();
        let (shown, text) = (cut(&headline, HEADLINE, Unit::Characters), cut(rest, TEXT, Unit::Characters));
        if matches!(shown, Cow::Owned(_)) || matches!(text, Cow::Owned(_)) {
            notes.push(Note::cut("the text was cut"));
        }
        let page = context! {
            symbol => symbol(state),
            // The Markdown flavour would escape its `#`.
            colour => Value::from_safe_string(colour(state).to_owned()),
            headline => &*shown,
            text => &*text,
            many => self.many,
            rows => Value::from_safe_string(rows.to_owned()),
            more,
            link => safe_link(&self.link()),
        };
        self.frame.render(page).map_err(faulty)
    }

    /// The page of the run itself.
    fn link(&self) -> String {
        self.message
            .runs
            .first()
            .and_then(|run| self.message.links.run(run))
            .filter(|link| link.len() < 4_000)
            .unwrap_or_default()
    }
}

/// The end of a uid, as MLRun shortens it.
fn short_uid(uid: &str) -> String {
    match ending(uid, 8) {
        end if end.len() < uid.len() => format!("…{end}"),
        _ => uid.to_owned(),
    }
}

/// The parts that are not empty.
fn joined(separator: &str, parts: [&str; 3]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len() + separator.len()).sum());
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(part);
    }
    out
}

/// A link as an attribute may hold it. Run data in it is percent-encoded, so only the operator's part needs escaping;
/// breaking it as other text would make it lead nowhere.
fn safe_link(link: &str) -> Value {
    if !(link.starts_with("https://") || link.starts_with("http://")) {
        return Value::from("");
    }
    let mut escaped = String::with_capacity(link.len());
    // Writing into a string cannot fail.
    let _ = Flavour::Html.escape(link, &mut escaped);
    Value::from_safe_string(escaped)
}

/// A run as the template sees it.
#[derive(Debug)]
struct Row {
    /// Start, end and duration, a line each; in a column of its own.
    time: Value,
    /// State and kind, below the name.
    what: Value,
    state: Value,
    name: Value,
    uid: Value,
    short_uid: Value,
    iteration: Value,
    kind: Value,
    start: Value,
    end: Value,
    duration: Value,
    parameters: Value,
    results: Value,
    error: Value,
    symbol: Value,
    link: Value,
    many: bool,
    iterations: bool,
    /// The name is short, so that the cell need not break: times read better whole.
    short: bool,
}

impl Object for Row {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "time" => self.time.clone(),
            "what" => self.what.clone(),
            "state" => self.state.clone(),
            "name" => self.name.clone(),
            "uid" => self.uid.clone(),
            "short_uid" => self.short_uid.clone(),
            "iteration" => self.iteration.clone(),
            "kind" => self.kind.clone(),
            "start" => self.start.clone(),
            "end" => self.end.clone(),
            "duration" => self.duration.clone(),
            "parameters" => self.parameters.clone(),
            "results" => self.results.clone(),
            "error" => self.error.clone(),
            "symbol" => self.symbol.clone(),
            "link" => self.link.clone(),
            "many" => self.many.into(),
            "iterations" => self.iterations.into(),
            "short" => self.short.into(),
            _ => return None,
        })
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
}

const MESSAGE: &str = "message.html";
const RUN: &str = "run.html";

/// The template without its line breaks, which are for its readers.
fn on_one_line(template: &str) -> String {
    template.lines().map(str::trim_start).collect()
}

fn environment(flavour: Flavour) -> &'static Environment<'static> {
    static HTML: LazyLock<Environment<'static>> = LazyLock::new(|| build(Flavour::Html));
    static MARKDOWN: LazyLock<Environment<'static>> = LazyLock::new(|| build(Flavour::Markdown));
    match flavour {
        Flavour::Html => &HTML,
        Flavour::Markdown => &MARKDOWN,
    }
}

fn build(flavour: Flavour) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(move |out, state, value| flavour.format(out, state, value));
    for (name, source) in [(MESSAGE, include_str!("message.html")), (RUN, include_str!("run.html"))] {
        // The templates are ours, and every test renders them; a broken one would be found missing below.
        let _ = environment.add_template_owned(name, on_one_line(source));
    }
    environment
}

/// The engine's own text may quote values.
fn faulty(_quotes: minijinja::Error) -> Error {
    Error::new(ErrorKind::Internal, "the template for HTML is faulty")
}
