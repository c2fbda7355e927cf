//! The payload: blocks as MLRun composes them, and a text for programs that show no blocks.

use runbell_core::text::{Unit, beginning};
use runbell_core::value::write_json_string;
use runbell_core::{Message, Note};

use crate::escape::{Cutter, cut, inert, token, units};
use crate::fit::{Plan, plan};
use crate::label::{Row, in_token};
use crate::limits::{BLOCK_COST, BLOCKS, FIELDS, HEADER, SECTION, TEXT_COST, TOTAL};

/// The longest name of a notification that is shown.
const NAME: usize = 300;

/// The longest link behind "and 12 more runs".
const MORE_LINK: usize = 1_000;

/// The JSON to post. Each cut adds to `notes`.
pub(crate) fn payload(message: &Message, notes: &mut Vec<Note>) -> String {
    let title = Title::new(message);
    let (header, rest) = title.split();
    let mut out = Blocks::default();
    out.begin("header");
    out.text("plain_text", header, Data::Plain);
    out.end();
    if rest < title.text.len() {
        let (text, data, was_cut) = title.mrkdwn(rest);
        out.section(&text, data);
        if was_cut {
            notes.push(Note::cut(format!("message cut to {SECTION} characters")));
        }
    }
    if !message.name.is_empty() {
        let (name, was_cut) = cut(&message.name, NAME);
        out.section(&name, Data::Verbatim);
        if was_cut {
            notes.push(Note::cut(format!("name cut to {NAME} characters")));
        }
    }
    if !message.runs.is_empty() {
        runs(message, &mut out, notes);
    }
    let (fallback, _) = cut(header, SECTION);
    let mut payload = String::with_capacity(out.json.len() + fallback.len() + 32);
    payload.push_str(r#"{"text":"#);
    write_json_string(&fallback, &mut payload);
    payload.push_str(r#","blocks":["#);
    payload.push_str(&out.json);
    payload.push_str("]}");
    payload
}

fn runs(message: &Message, out: &mut Blocks, notes: &mut Vec<Note>) {
    let rows: Vec<Row<'_>> = message.runs.iter().map(|run| Row::new(run, &message.links)).collect();
    let link = message.runs.first().and_then(|run| message.links.run(run)).map(|url| in_token(&url));
    let link = link.filter(|link| units(link) <= MORE_LINK);
    let more_cost = BLOCK_COST + TEXT_COST + 60 + link.as_deref().map_or(0, units);
    let Plan { shown, result } = plan(&rows, BLOCKS - out.count, TOTAL.saturating_sub(out.cost), more_cost);

    let mut fields = vec![("*Runs*".to_owned(), Data::None), ("*Results*".to_owned(), Data::None)];
    for row in shown.iter().map(|index| &rows[*index]) {
        fields.push((row.label.clone(), Data::Verbatim));
        fields.push((row.result(result), Data::Verbatim));
    }
    for fields in fields.chunks(FIELDS) {
        out.begin("fields");
        for (text, data) in fields {
            out.text("mrkdwn", text, *data);
        }
        out.end();
    }

    let count = |holds: &dyn Fn(&Row<'_>) -> bool| shown.iter().filter(|index| holds(&rows[**index])).count();
    let left_out = rows.len() - shown.len();
    let failed = rows.iter().filter(|row| row.failed).count() - count(&|row| row.failed);
    if left_out > 0 {
        let mut text = format!("and {left_out} more {}", if left_out == 1 { "run" } else { "runs" });
        if failed > 0 {
            text.push_str(&format!(", {failed} of them failed"));
        }
        if let Some(link) = link {
            text = format!("<{link}|{text}>");
        }
        out.begin("context");
        out.text("mrkdwn", &text, Data::Verbatim);
        out.end();
    }
    let (results, names) = (count(&|row| row.result_units > result), count(&|row| row.name_cut));
    let links = count(&|row| row.link_dropped);
    notes.extend((left_out > 0).then(|| Note::left_out(format!("{left_out} of {} runs left out", rows.len()))));
    notes.extend((results > 0).then(|| Note::cut(format!("{results} results cut to {result} characters"))));
    notes.extend((names > 0).then(|| Note::cut(format!("{names} names of runs cut"))));
    notes.extend((links > 0).then(|| Note::left_out(format!("{links} links left out, too long"))));
}

/// The contents of a text object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Nothing that Slack interprets.
    Plain,
    /// No run data: Slack may find links and names in it.
    None,
    /// Run data: Slack must not.
    Verbatim,
}

/// Blocks as they are written.
#[derive(Default)]
struct Blocks {
    json: String,
    count: usize,
    cost: usize,
    texts: usize,
    closing: &'static str,
}

impl Blocks {
    /// Begins a block: `header`, `section`, `fields` (a section of them) or `context`.
    fn begin(&mut self, block: &'static str) {
        let (opening, closing) = match block {
            "header" => (r#"{"type":"header","text":"#, "}"),
            "fields" => (r#"{"type":"section","fields":["#, "]}"),
            "context" => (r#"{"type":"context","elements":["#, "]}"),
            _ => (r#"{"type":"section","text":"#, "}"),
        };
        if self.count > 0 {
            self.json.push(',');
        }
        self.json.push_str(opening);
        self.closing = closing;
        self.count += 1;
        self.cost += BLOCK_COST;
        self.texts = 0;
    }

    fn text(&mut self, form: &str, text: &str, data: Data) {
        if self.texts > 0 {
            self.json.push(',');
        }
        self.texts += 1;
        self.json.push_str(r#"{"type":""#);
        self.json.push_str(form);
        self.json.push_str(r#"","text":"#);
        write_json_string(text, &mut self.json);
        self.json.push_str(if data == Data::Verbatim { r#","verbatim":true}"# } else { "}" });
        self.cost += units(text) + TEXT_COST;
    }

    fn end(&mut self) {
        self.json.push_str(self.closing);
    }

    fn section(&mut self, text: &str, data: Data) {
        self.begin("section");
        self.text("mrkdwn", text, data);
        self.end();
    }
}

/// `[severity] text`, and the place of the author's own words in it.
struct Title {
    text: String,
    own: std::ops::Range<usize>,
}

impl Title {
    fn new(message: &Message) -> Self {
        let (before, own, after) = own_part(&message.text, &message.own_text);
        let mut text = format!("[{}] {}", message.severity, inert(before));
        let start = text.len();
        text.push_str(own);
        let own = start..text.len();
        text.push_str(&inert(after));
        Title { text, own }
    }

    /// The header, and the offset at which the rest begins. The header ends at the first `", "`, which is left out, else
    /// after 150 characters, but never inside a token of the author's; a text that fits is not split. MLRun's rule, but
    /// that it cuts at any comma.
    fn split(&self) -> (&str, usize) {
        let fits = beginning(&self.text, HEADER, Unit::Utf16).len();
        if fits == self.text.len() {
            return (&self.text, fits);
        }
        let commas = self.text[..fits].match_indices(", ").map(|(at, _)| at);
        match commas.filter(|at| units(&self.text[..*at]) < HEADER - 1).find(|at| self.token_around(*at).is_none()) {
            Some(comma) => (&self.text[..comma], comma + 2),
            None => {
                let end = self.token_around(fits).unwrap_or(fits);
                (&self.text[..end], end)
            }
        }
    }

    /// The offset of the author's token that a cut at `at` would split.
    fn token_around(&self, at: usize) -> Option<usize> {
        let before = self.own.contains(&at).then(|| &self.text[self.own.start..at])?;
        ['<', '&'].into_iter().find_map(|first| {
            let start = self.own.start + before.rfind(first)?;
            token(&self.text[start..self.own.end]).filter(|length| start + length > at).map(|_| start)
        })
    }

    /// The text from `from` on as mrkdwn: the author's own words as they are, the rest escaped.
    fn mrkdwn(&self, from: usize) -> (String, Data, bool) {
        let (start, end) = (self.own.start.max(from), self.own.end.max(from));
        let (before, own, after) = (&self.text[from..start], &self.text[start..end], &self.text[end..]);
        let mut cutter = Cutter::new(SECTION);
        cutter.data(before);
        cutter.markup(own);
        cutter.data(after);
        let (text, was_cut) = cutter.finish();
        let data = if before.is_empty() && after.is_empty() { Data::None } else { Data::Verbatim };
        (text, data, was_cut)
    }
}

/// Finds the author's words in the composed text: after the last `": "` or at the beginning, and with nothing but the
/// lines on retries behind them. The text before is made of run data, which could hold the same words, but cannot
/// come last. If they are not found, the whole text counts as run data.
fn own_part<'t>(text: &'t str, own: &str) -> (&'t str, &'t str, &'t str) {
    if own.is_empty() {
        return (text, "", "");
    }
    let found = text.rmatch_indices(own).map(|(start, _)| (start, start + own.len())).find(|(start, end)| {
        let (before, after) = (&text[..*start], &text[*end..]);
        (before.is_empty() || before.ends_with(": "))
            && (after.is_empty() || after.starts_with("\nRetries attempted: "))
    });
    match found {
        Some((start, end)) => (&text[..start], &text[start..end], &text[end..]),
        None => (text, "", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Title, own_part, units};

    #[test]
    fn a_header_ends_between_characters_as_readers_see_them() {
        for (before, next, header) in
            [("x", "y", HEADER), ("x", "e\u{301}", HEADER - 1), ("", "👍\u{1f3fd}", HEADER - 1)]
        {
            let start = format!("{}{before}", "x".repeat(HEADER - 1 - before.len()));
            let title = Title { text: format!("{start}{next} and more"), own: 0..0 };
            let (shown, rest) = title.split();
            assert_eq!((units(shown), rest), (header, shown.len()), "{next:?}");
        }
    }

    #[test]
    fn the_authors_part_is_found_for_every_name_of_a_project() {
        for (text, own, expected) in [
            ("Run completed in project p: hi", "hi", ("Run completed in project p: ", "hi", "")),
            ("Run completed in project hi: hi", "hi", ("Run completed in project hi: ", "hi", "")),
            (
                "Run failed in project p: e\nRetries attempted: 1",
                "e",
                ("Run failed in project p: ", "e", "\nRetries attempted: 1"),
            ),
            (
                "Run failed in project x: <!here>\nRetries attempted: 1: <!here>",
                "<!here>",
                ("Run failed in project x: <!here>\nRetries attempted: 1: ", "<!here>", ""),
            ),
            ("hi", "hi", ("", "hi", "")),
            ("oh, hi", "hi", ("oh, hi", "", "")),
            ("a: b", "", ("a: b", "", "")),
        ] {
            assert_eq!(own_part(text, own), expected, "{text:?}");
        }
    }
}
