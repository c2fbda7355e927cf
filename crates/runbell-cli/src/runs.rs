//! Splits a stream of bytes into run documents: JSON Lines, a JSON list, or one JSON document over several lines.
//!
//! The first text decides. A list begins with `[`, and its items are handed out one at a time. A first line that is a
//! document by itself begins JSON Lines. A first line that is the beginning of a document begins a single document,
//! which ends where its outermost bracket closes. Any other text counts as JSON Lines, where a bad line does not affect
//! the others; if no line is a document either, the fault of the whole text is the only one reported.
//!
//! **Invariant:** memory holds one line, one list item or one single document, and at most [`HELD`] short faults.

use memchr::{memchr, memrchr};
use runbell::value::{JsonError, read};
use runbell::{RunSnapshot, Value};

/// The largest single document, item or line: 256 MiB.
const LARGEST: usize = 256 << 20;

/// How many lines may be faulty before they count as JSON Lines although no line was a document yet.
const HELD: usize = 1_000;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One run document, or the fault in its place.
pub(crate) type Document = Result<RunSnapshot, String>;

/// Reads run documents from a complete text.
pub(crate) fn all(text: &str) -> Vec<Document> {
    let (mut splitter, mut documents) = (Splitter::default(), Vec::new());
    splitter.feed(text.as_bytes(), &mut documents);
    splitter.finish(&mut documents);
    documents
}

/// The run documents in a document: the document, or the items of a list.
pub(crate) fn of(document: Value) -> Vec<Document> {
    match document {
        Value::List(list) => list.into_iter().enumerate().map(|(index, run)| item(run, index)).collect(),
        run => vec![RunSnapshot::new(run).map_err(|error| error.to_string())],
    }
}

fn item(run: Value, index: usize) -> Document {
    RunSnapshot::new(run).map_err(|error| format!("[{index}]: {error}"))
}

/// Splits bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Splitter {
    mode: Mode,
    /// The incomplete line, item or single document.
    open: Vec<u8>,
    /// The line on which `open` begins, from 1.
    line: usize,
}

#[derive(Debug)]
enum Mode {
    /// Only white space so far.
    Blank,
    /// In the first line of a text that is no list.
    First,
    /// In a document that did not end with its first line.
    Single { brackets: Brackets, scanned: usize, next_try: usize },
    /// In a list.
    List(List),
    /// In JSON Lines.
    Lines { held: Option<Held>, skips: bool },
    /// After a list or a single document; only white space may follow.
    Ended { column: usize },
    /// Reading has ended.
    Closed,
}

/// A list whose items are handed out one at a time.
#[derive(Debug)]
struct List {
    brackets: Brackets,
    /// The number of the item in `open`, from 0.
    index: usize,
    /// Where the item begins in `open`: after the list's bracket, for the first.
    begin: usize,
    /// How many characters stand before the item on its line.
    column: usize,
    next_try: usize,
}

/// Faults that wait until the form of the input is known.
#[derive(Debug)]
struct Held {
    lines: Vec<Document>,
    /// The one fault, should no line be a document.
    whole: String,
    /// Whether the input is JSON Lines as soon as another line follows.
    is_proven: bool,
    /// Whether the text so far is JSON, so that another line is the fault.
    is_value: bool,
}

/// How many brackets are open, outside of texts.
#[derive(Debug, Default, Clone, Copy)]
struct Brackets {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Brackets {
    fn step(&mut self, byte: u8) {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn are_closed(self) -> bool {
        self.depth == 0 && !self.in_text
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter { mode: Mode::Blank, open: Vec::new(), line: 1 }
    }
}

impl Splitter {
    /// Whether nothing more needs to be fed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.mode, Mode::Closed)
    }

    /// Takes the next bytes; appends every document and fault that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Document>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.mode {
                Mode::Blank => self.blank(rest),
                Mode::First => self.first(rest, out),
                Mode::Single { .. } => self.single(rest, out),
                Mode::List(_) => self.list(rest, out),
                Mode::Lines { .. } => self.lines(rest, out),
                Mode::Ended { .. } => self.ended(rest, out),
                Mode::Closed => return,
            };
        }
    }

    /// Ends the input; appends what was held back.
    pub(crate) fn finish(&mut self, out: &mut Vec<Document>) {
        if matches!(self.mode, Mode::First) {
            self.end_first_line(out);
        }
        match &self.mode {
            Mode::Single { .. } => self.end_single(out),
            Mode::List(_) => {
                let fault = self.cut_item();
                self.fail_list(fault, out);
            }
            _ => {}
        }
        if matches!(self.mode, Mode::Lines { .. }) {
            let last = std::mem::take(&mut self.open);
            self.end_line(&last, out);
        }
        if let Mode::Lines { held: Some(held), .. } = std::mem::replace(&mut self.mode, Mode::Closed) {
            out.push(Err(held.whole));
        }
    }

    fn blank<'r>(&mut self, rest: &'r [u8]) -> &'r [u8] {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.open.clear();
                }
                b' ' | b'\t' | b'\r' => self.open.push(*byte),
                _ if self.line == 1 && BYTE_ORDER_MARK.get(self.open.len()) == Some(byte) => self.open.push(*byte),
                b'[' => {
                    self.open.push(b'[');
                    let before = self.open.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.open);
                    let (begin, column) = (self.open.len(), before.len());
                    self.mode =
                        Mode::List(List { brackets: Brackets::default(), index: 0, begin, column, next_try: TRY_FROM });
                    return &rest[at + 1..];
                }
                _ => {
                    self.mode = Mode::First;
                    return &rest[at..];
                }
            }
        }
        &[]
    }

    /// Takes the bytes of the open line. Returns whether the line is complete, and the rest.
    fn take_line<'r>(&mut self, rest: &'r [u8]) -> (bool, &'r [u8]) {
        let end = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        self.open.extend_from_slice(&rest[..end]);
        (rest[..end].ends_with(b"\n"), &rest[end..])
    }

    fn first<'r>(&mut self, rest: &'r [u8], out: &mut Vec<Document>) -> &'r [u8] {
        let (is_complete, rest) = self.take_line(rest);
        if is_complete {
            self.end_first_line(out);
        } else if self.open.len() > LARGEST {
            self.close(too_large(self.line), out);
        }
        rest
    }

    fn end_first_line(&mut self, out: &mut Vec<Document>) {
        let number = self.line;
        let read = match std::str::from_utf8(&self.open) {
            Ok(text) => read(text),
            Err(_) => return self.fall_back(not_text(number), out),
        };
        let held = |whole: String, fault: String, is_proven, is_value| Held {
            lines: vec![Err(fault)],
            whole,
            is_proven,
            is_value,
        };
        let held = match read {
            Err(error) if error.is_cut => {
                let next_try = self.open.len() * 3 / 2;
                self.mode = Mode::Single { brackets: Brackets::default(), scanned: 0, next_try };
                return;
            }
            Err(error) => Some(held(whole(&error, number), in_line(&error, number), false, false)),
            Ok(value) => {
                let is_object = value.as_map().is_some();
                match RunSnapshot::new(value) {
                    Ok(run) => {
                        out.push(Ok(run));
                        None
                    }
                    Err(error) => {
                        Some(held(error.to_string(), format!("line {number}: {error}"), is_object, !is_object))
                    }
                }
            }
        };
        self.mode = Mode::Lines { held, skips: false };
        self.open.clear();
        self.line += 1;
    }

    fn single<'r>(&mut self, rest: &'r [u8], out: &mut Vec<Document>) -> &'r [u8] {
        let (is_complete, rest) = self.take_line(rest);
        let Mode::Single { brackets, scanned, next_try } = &mut self.mode else { return rest };
        if self.open.len() > LARGEST {
            self.close(too_large(self.line), out);
            return rest;
        }
        if !is_complete {
            return rest;
        }
        self.open[*scanned..].iter().for_each(|byte| brackets.step(*byte));
        *scanned = self.open.len();
        if brackets.are_closed() {
            self.end_single(out);
        } else if self.open.len() >= *next_try {
            *next_try = self.open.len() * 3 / 2;
            // A fault that no further text can repair is reported early; otherwise bad lines would wait for the end of the input.
            match std::str::from_utf8(&self.open).map(read) {
                Ok(Err(error)) if !error.is_cut => self.fall_back(whole(&error, self.line), out),
                Ok(_) => {}
                Err(fault) => self.fall_back(not_text(self.line + newlines(&self.open[..fault.valid_up_to()])), out),
            }
        }
        rest
    }

    fn end_single(&mut self, out: &mut Vec<Document>) {
        let fault = match std::str::from_utf8(&self.open).map(read) {
            Ok(Ok(run)) => {
                out.push(RunSnapshot::new(run).map_err(|error| error.to_string()));
                self.end_whole();
                return;
            }
            Ok(Err(error)) => whole(&error, self.line),
            Err(fault) => not_text(self.line + newlines(&self.open[..fault.valid_up_to()])),
        };
        self.fall_back(fault, out);
    }

    /// A list or a single document is complete with what is in `open`.
    fn end_whole(&mut self) {
        let column = self.open.len() - memrchr(b'\n', &self.open).map_or(0, |newline| newline + 1);
        self.line += newlines(&self.open);
        self.open.clear();
        self.mode = Mode::Ended { column };
    }

    fn ended<'r>(&mut self, rest: &'r [u8], out: &mut Vec<Document>) -> &'r [u8] {
        let Mode::Ended { column } = &mut self.mode else { return rest };
        for byte in rest {
            match byte {
                b'\n' => {
                    self.line += 1;
                    *column = 0;
                }
                b' ' | b'\t' | b'\r' => *column += 1,
                _ => {
                    let (line, column) = (self.line, *column + 1);
                    let fault = format!(
                        "is not valid JSON: line {line}, column {column}: more text follows the end of the document"
                    );
                    self.close(fault, out);
                    return &[];
                }
            }
        }
        &[]
    }

    /// Reads the text in `open` as JSON Lines.
    fn fall_back(&mut self, whole: String, out: &mut Vec<Document>) {
        let text = std::mem::take(&mut self.open);
        let held = Held { lines: Vec::new(), whole, is_proven: false, is_value: false };
        self.mode = Mode::Lines { held: Some(held), skips: false };
        self.lines(&text, out);
    }

    fn lines<'r>(&mut self, rest: &'r [u8], out: &mut Vec<Document>) -> &'r [u8] {
        let mut rest = rest;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.open.is_empty() {
                self.end_line(line, out);
            } else {
                let mut begun = std::mem::take(&mut self.open);
                begun.extend_from_slice(line);
                self.end_line(&begun, out);
                begun.clear();
                self.open = begun;
            }
        }
        let Mode::Lines { skips, .. } = &mut self.mode else { return rest };
        if !*skips {
            self.open.extend_from_slice(rest);
        }
        if self.open.len() > LARGEST {
            *skips = true;
            self.open = Vec::new();
            out.push(Err(too_large(self.line)));
        }
        &[]
    }

    fn end_line(&mut self, line: &[u8], out: &mut Vec<Document>) {
        let Mode::Lines { held, skips } = &mut self.mode else { return };
        let number = self.line;
        self.line += 1;
        if std::mem::take(skips) {
            return;
        }
        let text = std::str::from_utf8(line);
        if text.is_ok_and(|text| text.trim().is_empty()) {
            return;
        }
        let mut is_object = false;
        let document = match text.map(read) {
            Err(_) => Err(not_text(number)),
            Ok(Err(error)) => Err(in_line(&error, number)),
            Ok(Ok(value)) => {
                is_object = value.as_map().is_some();
                RunSnapshot::new(value).map_err(|error| format!("line {number}: {error}"))
            }
        };
        match held {
            Some(held) if !(held.is_proven || is_object || held.lines.len() >= HELD) => {
                if std::mem::take(&mut held.is_value) {
                    held.whole = follows(text.unwrap_or_default(), number);
                }
                held.lines.push(document);
            }
            _ => {
                out.extend(held.take().map(|held| held.lines).unwrap_or_default());
                out.push(document);
            }
        }
    }

    fn close(&mut self, fault: String, out: &mut Vec<Document>) {
        out.push(Err(fault));
        self.open = Vec::new();
        self.mode = Mode::Closed;
    }
}

/// The length from which an unfinished item is parsed for early faults; again each time it has doubled.
const TRY_FROM: usize = 64 << 10;

impl Splitter {
    fn list<'r>(&mut self, rest: &'r [u8], out: &mut Vec<Document>) -> &'r [u8] {
        let Mode::List(list) = &mut self.mode else { return rest };
        for (at, byte) in rest.iter().enumerate() {
            if list.brackets.are_closed() && matches!(byte, b',' | b']') {
                self.open.extend_from_slice(&rest[..at]);
                return match self.end_item(*byte, out) {
                    // The delimiter is part of a line if this turns out to be no list.
                    Err(fault) => {
                        self.fail_list(fault, out);
                        &rest[at..]
                    }
                    Ok(()) => &rest[at + 1..],
                };
            }
            list.brackets.step(*byte);
        }
        self.open.extend_from_slice(rest);
        if self.open.len() > LARGEST {
            let fault = format!("[{}]: is larger than 256 MiB", list.index);
            self.close(fault, out);
        } else if self.open.len() >= list.next_try {
            list.next_try = self.open.len() * 2;
            let fault = self.unmendable();
            if let Some(fault) = fault {
                self.fail_list(fault, out);
            }
        }
        &[]
    }

    /// The item in `open`, which `delimiter` ends, or the fault of the list.
    fn end_item(&mut self, delimiter: u8, out: &mut Vec<Document>) -> Result<(), String> {
        let Mode::List(list) = &mut self.mode else { return Ok(()) };
        let text = item_text(&self.open, list, self.line)?;
        if text.trim().is_empty() {
            if delimiter == b',' || list.index > 0 {
                let error = read(&format!("[{text},")).err();
                return Err(error.map_or_else(String::new, |error| in_list(&error, list, self.line)));
            }
        } else {
            match read(&format!("[{text}]")) {
                Ok(Value::List(items)) => out.extend(items.into_iter().map(|run| item(run, list.index))),
                Ok(_) => {}
                Err(error) => return Err(in_list(&error, list, self.line)),
            }
        }
        match memrchr(b'\n', text.as_bytes()) {
            Some(newline) => list.column = text[newline + 1..].chars().count() + 1,
            None => list.column += text.chars().count() + 1,
        }
        self.line += newlines(text.as_bytes());
        list.index += 1;
        (list.begin, list.next_try) = (0, TRY_FROM);
        let column = list.column;
        self.open.clear();
        if delimiter == b']' {
            self.mode = Mode::Ended { column };
        }
        Ok(())
    }

    /// The fault of the unfinished item, if no further text can repair it.
    fn unmendable(&self) -> Option<String> {
        let Mode::List(list) = &self.mode else { return None };
        // A character may be cut in two.
        let valid = match std::str::from_utf8(&self.open[list.begin..]) {
            Ok(text) => text,
            Err(fault) if fault.error_len().is_none() => {
                std::str::from_utf8(&self.open[list.begin..][..fault.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return item_text(&self.open, list, self.line).err(),
        };
        let error = read(&format!("[{valid}")).err().filter(|error| !error.is_cut)?;
        Some(in_list(&error, list, self.line))
    }

    /// The fault of a list that has no end.
    fn cut_item(&self) -> String {
        let Mode::List(list) = &self.mode else { return String::new() };
        match item_text(&self.open, list, self.line) {
            Ok(text) => {
                read(&format!("[{text}")).err().map_or_else(String::new, |error| in_list(&error, list, self.line))
            }
            Err(fault) => fault,
        }
    }

    /// A fault in its first item shows that it may be no list but a line, such as `[INFO] starting`.
    fn fail_list(&mut self, fault: String, out: &mut Vec<Document>) {
        match self.mode {
            Mode::List(List { index: 0, .. }) => self.fall_back(fault, out),
            _ => self.close(fault, out),
        }
    }
}

fn item_text<'o>(open: &'o [u8], list: &List, line: usize) -> Result<&'o str, String> {
    let item = &open[list.begin..];
    std::str::from_utf8(item).map_err(|fault| not_text(line + newlines(&item[..fault.valid_up_to()])))
}

fn newlines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// The fault of a whole text that begins on line `first`.
fn whole(error: &JsonError, first: usize) -> String {
    format!("is not valid JSON: line {}, column {}: {}", first - 1 + error.line, error.column, error.message)
}

/// The fault of an item that begins on line `first`, and was read behind a bracket of its own.
fn in_list(error: &JsonError, list: &List, first: usize) -> String {
    let column = if error.line == 1 { list.column + error.column - 1 } else { error.column };
    format!("is not valid JSON: line {}, column {column}: {}", first - 1 + error.line, error.message)
}

fn in_line(error: &JsonError, number: usize) -> String {
    format!("line {number}, column {}: is not valid JSON: {}", error.column, error.message)
}

/// The fault of a second line behind a first one that is JSON by itself.
fn follows(text: &str, number: usize) -> String {
    read(&format!("0\n{text}")).err().map_or_else(String::new, |error| whole(&error, number - 1))
}

fn not_text(line: usize) -> String {
    format!("line {line}: is not UTF-8 text")
}

fn too_large(line: usize) -> String {
    format!("line {line}: the document is larger than 256 MiB; split it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"metadata": {}}"#;

    /// The faults, and `Ok` for each run; the same however the text is cut into pieces.
    fn shown(text: &str) -> Vec<Result<(), String>> {
        let whole = all(text);
        for size in [1, 2, 7] {
            let (mut splitter, mut pieces) = (Splitter::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| splitter.feed(piece, &mut pieces));
            splitter.finish(&mut pieces);
            assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "{size} bytes at a time: {text}");
        }
        whole.into_iter().map(|document| document.map(drop)).collect()
    }

    fn faults(text: &str) -> Vec<String> {
        shown(text).into_iter().map(|document| document.err().unwrap_or_else(|| "run".to_owned())).collect()
    }

    #[test]
    fn run_documents_come_in_three_forms() {
        for (text, count) in [
            (String::new(), 0),
            (" \n\r\n".to_owned(), 0),
            (RUN.to_owned(), 1),
            (format!("\u{feff}{RUN}"), 1),
            ("{\n \"metadata\": {}\n}\n".to_owned(), 1),
            ("\n  {\r\n \"metadata\": {\"name\": \"}{\\\"\"}\r\n}".to_owned(), 1),
            (format!("[{RUN}, {RUN}]"), 2),
            ("[]\n".to_owned(), 0),
            (format!("\u{feff} [\n{RUN},\n{{\n\"metadata\": {{\"x\": [1, \"]\"]}}}}\n]\n"), 2),
            (format!("{RUN}\n\n{RUN}\n"), 2),
            (format!("\n{RUN}\r\n{RUN}"), 2),
        ] {
            assert_eq!(shown(&text), vec![Ok(()); count], "{text}");
        }
    }

    #[test]
    fn a_bad_line_leaves_the_others_alone() {
        let text = "{\"metadata\": {}}\n{\"metadata\": }\n[]\n{\"metadata\": {}}\n";
        assert_eq!(
            shown(text),
            [
                Ok(()),
                Err("line 2, column 14: is not valid JSON: expected a value".to_owned()),
                Err("line 3: run: must be an object, not a list".to_owned()),
                Ok(()),
            ]
        );
        assert_eq!(
            shown("{\n \"metadata\": }").pop().map(|run| run.unwrap_err()),
            Some("is not valid JSON: line 2, column 14: expected a value".to_owned())
        );
    }

    #[test]
    fn bad_lines_in_front_wait_for_a_good_one() {
        for (text, expected) in [
            (format!("not json\n{RUN}"), vec!["line 1, column 1: is not valid JSON: expected a value", "run"]),
            (format!("[INFO] go\n{RUN}\n"), vec!["line 1, column 2: is not valid JSON: expected a value", "run"]),
            (
                format!("{{\"metadata\": {{\n{RUN}\n"),
                vec!["line 1, column 15: is not valid JSON: expected a key in double quotes", "run"],
            ),
            (format!("5\n{RUN}"), vec!["line 1: run: must be an object, not an integer", "run"]),
            (
                format!("{{}}\n{RUN}"),
                vec!["line 1: metadata: is missing; a run document has metadata, spec and status", "run"],
            ),
            ("not json\nnor this\n".to_owned(), vec!["is not valid JSON: line 1, column 1: expected a value"]),
            (
                "5\n\n  6\n".to_owned(),
                vec!["is not valid JSON: line 3, column 3: more text follows the end of the document"],
            ),
            ("\n5\n".to_owned(), vec!["run: must be an object, not an integer"]),
            ("{}".to_owned(), vec!["metadata: is missing; a run document has metadata, spec and status"]),
            (
                "{\"metadata\": {".to_owned(),
                vec!["is not valid JSON: line 1, column 15: expected a key in double quotes"],
            ),
        ] {
            assert_eq!(faults(&text), expected, "{text}");
        }
    }

    #[test]
    fn items_of_a_list_run_until_its_fault() {
        for (text, expected) in [
            (format!("[{RUN}, 5]"), vec!["run", "[1]: run: must be an object, not an integer"]),
            (
                format!("[{RUN},\n {{]"),
                vec!["run", "is not valid JSON: line 2, column 3: expected a key in double quotes"],
            ),
            (format!("[{RUN},, 1]"), vec!["run", "is not valid JSON: line 1, column 19: expected a value"]),
            (format!("[{RUN},]"), vec!["run", "is not valid JSON: line 1, column 19: expected a value"]),
            ("[,]".to_owned(), vec!["is not valid JSON: line 1, column 2: expected a value"]),
            (format!("[{RUN}, {RUN}"), vec!["run", "is not valid JSON: line 1, column 36: expected `,` or `]`"]),
            (
                format!("[{RUN}]\n x\n{RUN}"),
                vec!["run", "is not valid JSON: line 2, column 2: more text follows the end of the document"],
            ),
        ] {
            assert_eq!(faults(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_document_is_handed_out_with_its_last_byte_but_one_line_break() {
        let steps = |text: &str| {
            let (mut splitter, mut out) = (Splitter::default(), Vec::new());
            text.bytes()
                .map(|byte| {
                    splitter.feed(&[byte], &mut out);
                    out.len()
                })
                .collect::<Vec<_>>()
        };
        let text = format!("{RUN}\n{RUN}\n");
        let line = RUN.len();
        assert_eq!((steps(&text)[line - 1], steps(&text)[line], steps(&text)[2 * line + 1]), (0, 1, 2));
        let text = format!("[{RUN}, {RUN}]");
        assert_eq!((steps(&text)[line], steps(&text)[line + 1], steps(&text)[text.len() - 1]), (0, 1, 2));
        assert_eq!(steps("{\n\"metadata\": {}\n}\n").last(), Some(&1));
    }

    #[test]
    fn faults_that_no_text_can_repair_do_not_wait_for_the_end() {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        splitter.feed(format!("{{\"metadata\": {{\"a\": \"cut\n{RUN}\n").as_bytes(), &mut out);
        assert_eq!(out.len(), 2, "{out:?}");
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        splitter.feed(format!("[{RUN}, {{\"metadata\" 1, \"{}", "x".repeat(TRY_FROM)).as_bytes(), &mut out);
        assert!(splitter.is_closed() && out.len() == 2, "{out:?}");
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        (0..=HELD).for_each(|_| splitter.feed(b"no document\n", &mut out));
        assert_eq!(out.len(), HELD + 1);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_a_fault() {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        splitter.feed(format!("{RUN}\n\"").as_bytes(), &mut out);
        splitter.feed(b"\xff\n", &mut out);
        splitter.finish(&mut out);
        assert_eq!(out.pop().map(|document| document.map(drop)), Some(Err("line 2: is not UTF-8 text".to_owned())));
    }
}
