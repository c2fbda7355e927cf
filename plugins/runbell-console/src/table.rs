//! Runs as a table: state, name, kind of a workflow's step, the uid's end, and results or error.

use comfy_table::{ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle, Width};
use runbell_core::{Note, RunSnapshot, RunState, Value};
use runbell_render::python::{dict_to_str, str_of};

use runbell_core::text::{ending, inert_line, inert_lines, one_line};

/// The character of the line below the header.
pub(crate) const RULE: char = '─';

/// A terminal narrower than this gets no columns.
const NARROWEST_TABLE: u16 = 60;

/// How many lines a cell may take on a terminal: enough for a trace, and a screen shows the rest.
const MOST_LINES: usize = 24;

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill(RULE))
    .content_lines(ContentLineStyle::none());

struct Row {
    state: String,
    name: String,
    kind: String,
    uid: String,
    /// Lines, and within them pieces that are better not broken.
    results: Vec<Vec<String>>,
}

/// Appends the table to `body`; `width` is the terminal's.
pub(crate) fn write(runs: &[RunSnapshot], width: Option<u16>, body: &mut String, notes: &mut Vec<Note>) {
    let rows: Vec<Row> = runs.iter().map(row_of).collect();
    let text = match width {
        Some(width) if width < NARROWEST_TABLE => stacked(&rows, width, notes),
        _ => columns(&rows, width, notes),
    };
    body.push_str(&text);
    body.push('\n');
}

/// A field as Python's `str` prints it; empty when it is absent.
fn text_of(run: &RunSnapshot, path: &[&str]) -> String {
    match run.document().at(path) {
        None | Some(Value::Null) => String::new(),
        Some(value) => str_of(value),
    }
}

fn row_of(run: &RunSnapshot) -> Row {
    let uid = text_of(run, &["metadata", "uid"]);
    Row {
        state: inert_line(&text_of(run, &["status", "state"])),
        name: inert_line(&text_of(run, &["metadata", "name"])),
        kind: inert_line(run.step_kind()),
        uid: format!("..{}", inert_line(ending(&uid, 6))),
        results: results_of(run),
    }
}

/// The error of a failed run, else the results as `key=value`, the pairs joined by `,`.
fn results_of(run: &RunSnapshot) -> Vec<Vec<String>> {
    if run.state() == RunState::Error {
        let error = inert_lines(&text_of(run, &["status", "error"]));
        return error.lines().map(|line| line.split_inclusive(' ').map(str::to_owned).collect()).collect();
    }
    inert_lines(&dict_to_str(run.status("results"), ",")).lines().map(pairs).collect()
}

/// Cuts after the commas between results; those inside a value have a space after them.
fn pairs(line: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for part in line.split_inclusive(',') {
        match out.last_mut() {
            Some(last) if part.starts_with(' ') => last.push_str(part),
            _ => out.push(part.to_owned()),
        }
    }
    out
}

/// Fills lines of `width` characters. A piece longer than that is broken between words, a longer word anywhere.
fn wrap(lines: &[Vec<String>], width: usize) -> Vec<String> {
    let mut out = Vec::new();
    for pieces in lines {
        let (mut line, mut length) = (String::new(), 0);
        let words = pieces.iter().flat_map(|piece| {
            let is_long = piece.chars().count() > width;
            piece.split_inclusive(move |character| is_long && character == ' ')
        });
        for word in words {
            let needed = word.trim_end().chars().count();
            if length > 0 && length + needed > width {
                out.push(std::mem::take(&mut line));
                length = 0;
            }
            for character in word.chars() {
                if length >= width && character != ' ' {
                    out.push(std::mem::take(&mut line));
                    length = 0;
                }
                line.push(character);
                length += 1;
            }
        }
        out.push(line);
    }
    out.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    out
}

/// The lines of a cell on a terminal. Of too many the middle goes: an error's cause stands first or last.
fn fitted(row: &Row, width: usize, notes: &mut Vec<Note>) -> Vec<String> {
    let mut lines = wrap(&row.results, width);
    if lines.len() > MOST_LINES {
        let left_out = lines.len() - (MOST_LINES - 1);
        let middle = MOST_LINES / 2;
        lines.splice(middle..middle + left_out, [format!("… {left_out} lines left out …")]);
        let field = if row.state == RunState::Error.as_str() { "error" } else { "results" };
        let name = one_line(&row.name, 40);
        let message = format!("{left_out} lines of the {field} of `{name}` left out to fit the terminal");
        notes.push(Note::left_out(message));
    }
    lines
}

fn columns(rows: &[Row], width: Option<u16>, notes: &mut Vec<Note>) -> String {
    let with_kind = rows.iter().any(|row| !row.kind.is_empty());
    let head = |row: &Row| -> Vec<String> {
        let kind = with_kind.then(|| row.kind.clone());
        [row.state.clone(), row.name.clone()].into_iter().chain(kind).chain([row.uid.clone()]).collect()
    };
    let mut table = Table::new();
    table.force_no_tty().load_style(STYLE);
    let kind = with_kind.then_some("kind");
    table.set_header(["status", "name"].into_iter().chain(kind).chain(["uid", "results"]));
    // Names may take a third; results get the rest.
    let name_width = width.map(|width| width / 3);
    let results_width = width.map(|width| {
        let widest = |of: fn(&Row) -> &str, least: usize| {
            rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least) + 2
        };
        let name = widest(|row| &row.name, 4).min(usize::from(width / 3));
        let kind = if with_kind { widest(|row| &row.kind, 4) } else { 0 };
        let others = widest(|row| &row.state, 6) + name + kind + widest(|row| &row.uid, 3);
        usize::from(width).saturating_sub(others).max(16)
    });
    for row in rows {
        let results = match results_width {
            Some(width) => fitted(row, width, notes).join("\n"),
            None => row.results.iter().map(|pieces| pieces.concat()).collect::<Vec<_>>().join("\n"),
        };
        table.add_row(head(row).into_iter().chain([results]));
    }
    let last = table.column_count() - 1;
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        if width.is_some() && index != last && index != 1 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if let (Some(width), 1) = (name_width, index) {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(width)));
        }
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.trim_fmt()
}

/// One run after the other, for terminals too narrow for columns.
fn stacked(rows: &[Row], width: u16, notes: &mut Vec<Note>) -> String {
    let width = usize::from(width.max(1));
    let mut lines = vec![RULE.to_string().repeat(width)];
    for row in rows {
        let cells = [&row.state, &row.name, &row.kind, &row.uid].map(String::as_str);
        lines.push(cells.into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("  "));
        lines.extend(fitted(row, width.saturating_sub(2).max(16), notes).into_iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
