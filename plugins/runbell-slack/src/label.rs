//! One run in two columns: its state and name, and its results or error.

use std::borrow::Cow;

use runbell_core::{Links, Map, RunSnapshot, Value};
use runbell_render::python;

use crate::escape::{Cutter, cut, enough, escaped_units, units};
use crate::limits::FIELD;

/// The longest name that is shown.
const NAME: usize = 200;

/// The longest link that is kept; a longer one is left out whole.
const LINK: usize = 1_200;

/// A run's two texts, not yet cut to the room there is.
pub(crate) struct Row<'r> {
    /// The left text, ready.
    pub(crate) label: String,
    /// The right text, raw.
    result: Cow<'r, str>,
    /// Whether the right text is an error, which is bold.
    pub(crate) failed: bool,
    /// The length of the right text when nothing is cut but to the limit of a field.
    pub(crate) result_units: usize,
    /// Whether the name was cut.
    pub(crate) name_cut: bool,
    /// Whether the link was left out.
    pub(crate) link_dropped: bool,
}

impl<'r> Row<'r> {
    pub(crate) fn new(run: &'r RunSnapshot, links: &Links) -> Self {
        let state = run.state_word();
        let step_kind = run.step_kind();
        let name = if run.name().is_empty() { run.uid() } else { run.name() };
        let mut row = Row {
            label: format!("{}  ", emoji(state)),
            result: Cow::Borrowed(""),
            failed: state == "error",
            result_units: 0,
            name_cut: false,
            link_dropped: false,
        };
        // A step that runs nothing, such as a build, has no page; nor has one that was skipped.
        let has_page = state != "skipped" && matches!(step_kind, "" | "run");
        let link = if has_page { link(run, links) } else { Link::None };
        row.link_dropped = matches!(link, Link::TooLong);
        let (shown, name_cut) = match link {
            Link::To(url) => {
                let (name, name_cut) = cut(&inside_link(enough(name, NAME)), NAME);
                (format!("<{url}|*{name}*>"), name_cut)
            }
            Link::TooLong | Link::None => cut(name, NAME),
        };
        row.label.push_str(&shown);
        row.name_cut = name_cut;
        if !step_kind.is_empty() {
            row.label.push_str(&format!(" *({})*", cut(step_kind, NAME).0));
        }
        row.result = result(run, state);
        row.result_units = escaped_units(&row.result, FIELD) + if row.failed { 2 } else { 0 };
        row
    }

    /// The right text in at most `limit` units. Never empty: Slack refuses empty texts.
    pub(crate) fn result(&self, limit: usize) -> String {
        let mut cutter = Cutter::new(if self.failed { limit - 2 } else { limit });
        cutter.data(&self.result);
        let text = cutter.finish().0;
        match (text.is_empty(), self.failed) {
            (true, _) => " ".to_owned(),
            (false, true) => format!("*{text}*"),
            (false, false) => text,
        }
    }
}

fn emoji(state: &str) -> &'static str {
    match state {
        "completed" => ":smiley:",
        "running" => ":man-running:",
        "error" => ":x:",
        "skipped" => ":zzz:",
        _ => ":question:",
    }
}

/// The error of a failed run, else the results, else the state.
fn result<'r>(run: &'r RunSnapshot, state: &'r str) -> Cow<'r, str> {
    if state == "error" {
        return match run.status("error").filter(|error| error.is_truthy()) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(python::str_of(other)),
            None => Cow::Borrowed("error"),
        };
    }
    let results = results(run);
    if results.is_empty() { Cow::Borrowed(state) } else { Cow::Owned(results) }
}

/// As [`python::dict_to_str`] with `", "`, but no longer than can matter: a workflow may have thousands of steps with
/// a megabyte each.
fn results(run: &RunSnapshot) -> String {
    let mut out = String::new();
    for (key, value) in run.status("results").and_then(Value::as_map).into_iter().flatten() {
        if out.len() > 4 * FIELD {
            break;
        }
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(enough(key, FIELD));
        out.push('=');
        match value {
            Value::String(text) => out.push_str(enough(text, FIELD)),
            other => python::write_str(other, &mut out),
        }
    }
    out
}

/// The link to a run's page.
enum Link {
    /// There is no page.
    None,
    /// There is one, but its URL would take too much of the room.
    TooLong,
    /// Its URL, fit for a token.
    To(String),
}

/// A run that has a page wherever there is a UI.
fn some_run() -> RunSnapshot {
    let metadata = Map::from([("uid".to_owned(), Value::from("u"))]);
    RunSnapshot::step(Map::from([("metadata".to_owned(), Value::from(metadata))]).into())
}

fn link(run: &RunSnapshot, links: &Links) -> Link {
    // Looked at first, for the URL of a run named by a megabyte is not worth making.
    if run.name().len() + run.project().len() + run.uid().len() > LINK {
        return if links.run(&some_run()).is_some() { Link::TooLong } else { Link::None };
    }
    match links.run(run).map(|url| in_token(&url)) {
        None => Link::None,
        Some(url) if units(&url) > LINK => Link::TooLong,
        Some(url) => Link::To(url),
    }
}

/// A URL as it may stand in a token. Run data in it is percent-encoded already, the base is the operator's.
pub(crate) fn in_token(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '|' => out.push_str("%7C"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            c if c.is_control() || c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// A name as it may stand in a token: on one line, and without the character that ends the URL.
fn inside_link(name: &str) -> Cow<'_, str> {
    if !name.contains(['|', '\n', '\r']) {
        return Cow::Borrowed(name);
    }
    name.replace('|', "¦").replace(['\n', '\r'], " ").into()
}
