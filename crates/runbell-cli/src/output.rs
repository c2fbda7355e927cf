//! Output for people and programs: tables on a terminal, JSON elsewhere.

use std::future::poll_fn;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;

use comfy_table::{Attribute, Cell, ContentArrangement, ContentLineStyle, LineStyle, Row, Table, TableStyle};
use runbell::text::{is_inert, one_line};
use serde::Serialize;

/// The longest cell of a table, in characters.
const CELL: usize = 2_000;

/// Columns and one rule under the head, without borders: a line can be copied.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

/// Prints to standard output. A closed standard output is no failure of this program; its work goes on.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
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

/// The bytes of JSON that are gathered before a write.
const GATHERED: usize = 32 << 10;

/// The rows of a table; further rows make further tables, so that memory does not grow with their number.
const ROWS: usize = 1_000;

/// Lines of JSON, or rows of a table, gathered into few writes.
///
/// Callers wait through [`wait_for`](Self::wait_for), which writes the gathered output before it waits.
pub(crate) struct Printer {
    head: &'static [&'static str],
    is_table: bool,
    rows: Vec<Vec<String>>,
    text: Vec<u8>,
    has_printed: bool,
}

impl Printer {
    /// Prints JSON, or tables below `head`.
    pub(crate) fn new(head: &'static [&'static str], is_table: bool) -> Self {
        Printer { head, is_table, rows: Vec::new(), text: Vec::new(), has_printed: false }
    }

    /// Whether anything was printed.
    pub(crate) fn has_printed(&self) -> bool {
        self.has_printed
    }

    /// Prints one line of JSON, or `row` in a table.
    pub(crate) fn print(&mut self, line: &impl Serialize, row: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
        self.has_printed = true;
        if self.is_table {
            self.rows.push(row());
            if self.rows.len() >= ROWS { self.end_table() } else { Ok(()) }
        } else {
            serde_json::to_writer(&mut self.text, line)?;
            self.text.push(b'\n');
            if self.text.len() >= GATHERED { self.flush() } else { Ok(()) }
        }
    }

    /// Prints a text as it is.
    pub(crate) fn print_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.has_printed = true;
        self.text.extend_from_slice(text.as_bytes());
        if self.text.len() >= GATHERED { self.flush() } else { Ok(()) }
    }

    /// Writes the gathered output, except the rows of a table that is not full.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        if !self.text.is_empty() {
            write(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    /// Waits for `future`; writes the gathered output first, unless the future is ready after one poll of the network.
    pub(crate) async fn wait_for<F: Future>(&mut self, future: F) -> anyhow::Result<F::Output> {
        let mut future = pin!(future);
        for yields in [true, false] {
            if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
                return Ok(output);
            }
            if yields {
                // The network is polled once more; under load there is always more work before a write.
                tokio::task::yield_now().await;
            }
        }
        self.flush()?;
        Ok(future.await)
    }

    /// Writes everything.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if self.rows.is_empty() { Ok(()) } else { self.end_table() }
    }

    fn end_table(&mut self) -> anyhow::Result<()> {
        table(self.head, self.rows.drain(..))
    }
}

/// Prints a complaint on standard error.
pub(crate) fn complain(message: &str) {
    let text: String = message.chars().map(|c| if is_inert(c) || c == '\n' { c } else { ' ' }).collect();
    // A failure of standard error cannot be reported anywhere.
    let _ = writeln!(std::io::stderr(), "runbell: {text}");
}

/// Says that documents are read from a terminal, where the program would seem to hang.
pub(crate) fn say_what_is_read() {
    if std::io::stdin().is_terminal() {
        complain("reading standard input; end it with ^D, or name a FILE");
    }
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
    // Without a known width every column is as wide as it needs, as without a terminal.
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

/// A cell keeps its line breaks; all other characters that move the cursor are removed.
fn one_line_each(cell: &str) -> String {
    cell.lines().map(|line| one_line(line, CELL)).collect::<Vec<_>>().join("\n")
}

/// Whether to colour standard error: on a terminal, unless `NO_COLOR` is set (no-color.org).
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
