//! What a person or a program reads: tables on a terminal, JSON elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd;

use comfy_table::{Attribute, Cell, ContentArrangement, ContentLineStyle, LineStyle, Row, Table, TableStyle};
use runbell::text::{is_inert, one_line};
use serde::Serialize;

/// The longest cell of a table, in characters.
const CELL: usize = 2_000;

/// Columns and one rule under the head: nothing that would be in the way when a line is copied.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

/// Prints to standard output. A reader that went away is not our failure, and what is under way goes on without it.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Prints one JSON value on a line of its own.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(print(&line)?)
}

/// Says what is wrong, on standard error.
pub(crate) fn complain(message: &str) {
    let text: String = message.chars().map(|c| if is_inert(c) || c == '\n' { c } else { ' ' }).collect();
    // Nobody is left to tell when this fails.
    let _ = writeln!(std::io::stderr(), "runbell: {text}");
}

/// A table for a terminal.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    let title = |title: &&str| match colour() {
        true => Cell::new(title).add_attribute(Attribute::Bold),
        false => Cell::new(title),
    };
    table.set_header(head.iter().map(title));
    // A terminal that does not know its width gets what no terminal gets: every column as wide as it needs.
    match width_of(std::io::stdout()) {
        Some(width) if std::io::stdout().is_terminal() => drop(table.set_width(width)),
        _ => drop(table.force_no_tty()),
    }
    for row in rows {
        table.add_row(Row::from(row.iter().map(|cell| one_line_each(cell)).collect::<Vec<_>>()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Ok(print(&format!("{}\n", table.trim_fmt()))?)
}

/// A cell keeps its own line breaks and nothing else that moves the cursor.
fn one_line_each(cell: &str) -> String {
    cell.lines().map(|line| one_line(line, CELL)).collect::<Vec<_>>().join("\n")
}

/// Whether to colour what goes to standard error: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The width of the terminal on standard error.
pub(crate) fn width() -> Option<u16> {
    width_of(std::io::stderr())
}

fn width_of(stream: impl AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
