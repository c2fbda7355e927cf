//! Reads and writes JSON as Python's `json` module does: `NaN`, `Infinity`, `-Infinity`, integers of any size.

use std::fmt::{self, Write as _};

use super::{Map, Value};

/// How deeply lists and objects may nest. Deeper input is refused, so that no document can exhaust the stack.
pub const MAX_DEPTH: usize = 200;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong. Never quotes the text, which may hold secrets.
    pub message: &'static str,
    /// Whether the text is only too short: more text behind it may make it a document.
    pub is_cut: bool,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON document.
///
/// Accepts what Python's `json.loads` accepts, a leading byte-order mark too. Of a repeated key the last value
/// counts. A lone surrogate escape, which Rust's texts cannot hold, becomes U+FFFD.
///
/// # Errors
/// [`JsonError`] with the line and column of the first fault.
pub fn read(text: &str) -> Result<Value, JsonError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.fault("more text follows the end of the document"));
    }
    Ok(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, message: &'static str) -> JsonError {
        let mut at = self.at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        JsonError {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
            is_cut: at == self.text.len(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        let is_cut = word.as_bytes().starts_with(&self.text.as_bytes()[self.at..]);
        Err(JsonError { is_cut, ..self.fault("expected a value") })
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.fault("lists and objects are nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') => self.word("NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.word("Infinity", Value::Float(f64::INFINITY)),
            Some(b'-') if self.text.as_bytes().get(self.at + 1) == Some(&b'I') => {
                self.word("-Infinity", Value::Float(f64::NEG_INFINITY))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.fault("expected a value")),
            None => Err(self.fault("the text ends where a value is expected")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut map = Map::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(map));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("expected a key in double quotes"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fault("expected `:` after the key"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(map));
                }
                _ => return Err(self.fault("expected `,` or `}`")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut list = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(list));
        }
        loop {
            self.space();
            list.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(list));
                }
                _ => return Err(self.fault("expected `,` or `]`")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        self.digits()?;
        if self.at - first > 1 && self.text.as_bytes()[first] == b'0' {
            self.at = first;
            return Err(self.fault("a number must not start with 0"));
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = &self.text[start..self.at];
        let value = if float { digits.parse().ok().map(Value::Float) } else { Value::integer(digits) };
        value.ok_or_else(|| self.fault("this is not a number"))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("expected a digit")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        let mut chunk = self.at;
        loop {
            match self.peek() {
                None => return Err(self.fault("the text ends inside a string")),
                Some(b'"') => {
                    let rest = &self.text[chunk..self.at];
                    self.at += 1;
                    // Without escapes, which is the rule, the text is made in one piece and of its exact size.
                    if out.is_empty() {
                        return Ok(rest.to_owned());
                    }
                    out.push_str(rest);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[chunk..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    chunk = self.at;
                }
                Some(0..=0x1f) => return Err(self.fault("a control character must be escaped")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.fault("unknown escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        if let Some(character) = char::from_u32(high) {
            return Ok(character);
        }
        let resume = self.at;
        if (0xd800..0xdc00).contains(&high) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            self.at += 1;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = resume;
        }
        Ok('\u{fffd}')
    }

    /// Reads `uXXXX`, standing on the `u`.
    fn hex4(&mut self) -> Result<u32, JsonError> {
        let hex = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let code = hex
            .filter(|bytes| bytes.iter().all(u8::is_ascii_hexdigit))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                let rest = &self.text.as_bytes()[self.at + 1..];
                let is_cut = rest.len() < 4 && rest.iter().all(u8::is_ascii_hexdigit);
                JsonError { is_cut, ..self.fault("expected four hexadecimal digits") }
            })?;
        self.at += 5;
        Ok(code)
    }
}

impl Value {
    /// Appends this value to `out` as compact JSON; see [`Value::to_json`].
    pub fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
            Value::BigInt(digits) => out.push_str(digits.as_str()),
            Value::Float(number) if number.is_finite() => out.push_str(zmij::Buffer::new().format_finite(*number)),
            Value::Float(_) => out.push_str("null"),
            Value::String(text) => write_json_string(text, out),
            Value::List(list) => {
                out.push('[');
                for (index, item) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push('{');
                for (index, (key, item)) in map.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_json_string(key, out);
                    out.push(':');
                    item.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends what a `Display` prints. Writing to a `String` cannot fail.
fn push(out: &mut String, value: impl fmt::Display) {
    let _ = write!(out, "{value}");
}

/// Which bytes a JSON string must escape.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Appends `text` to `out` as a JSON string.
pub fn write_json_string(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| ESCAPED[usize::from(byte)]) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => push(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// The text that Python's `json.dumps` gives with its default settings: `", "` and `": "` between items, all but
/// ASCII escaped. MLRun measures and hashes this text.
pub fn python_json(value: &Value) -> String {
    let mut out = String::new();
    write_python(value, &mut out);
    out
}

fn write_python(value: &Value, out: &mut String) {
    match value {
        Value::Float(number) if number.is_nan() => out.push_str("NaN"),
        Value::Float(number) if number.is_infinite() => {
            out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Float(number) => write_python_float(*number, out),
        Value::String(text) => write_ascii_string(text, out),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_python(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_ascii_string(key, out);
                out.push_str(": ");
                write_python(item, out);
            }
            out.push('}');
        }
        plain => plain.write_json(out),
    }
}

/// As Rust's Debug, which changes to an exponent at the same bounds; Python gives the exponent a sign and two digits.
fn write_python_float(number: f64, out: &mut String) {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => out.push_str(&text),
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            push(out, format_args!("{}e{sign}{digits:0>2}", mantissa.strip_suffix(".0").unwrap_or(mantissa)));
        }
    }
}

fn write_ascii_string(text: &str, out: &mut String) {
    let mut quoted = String::with_capacity(text.len() + 2);
    write_json_string(text, &mut quoted);
    let mut units = [0; 2];
    for character in quoted.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                push(out, format_args!("\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_python_writes() {
        for (text, written) in [
            ("null", "null"),
            ("  [1, 1.0, -0.0, 1e22] ", "[1,1.0,-0.0,1e+22]"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[NaN, Infinity, -Infinity]", "[null,null,null]"),
            (r#"{"b": 1, "a": {"c": []}}"#, r#"{"b":1,"a":{"c":[]}}"#),
            (r#"{"a": 1, "b": 2, "a": 3}"#, r#"{"a":3,"b":2}"#),
            (r#""\ud83d\ude80 \u00e9 \/ \ud800""#, "\"🚀 é / \u{fffd}\""),
            (r#""\ud800\u0041""#, "\"\u{fffd}A\""),
            ("\u{feff}true", "true"),
            (r#""a\u0001\n\"""#, r#""a\u0001\n\"""#),
        ] {
            assert_eq!(read(text).map(|value| value.to_json()), Ok(written.to_owned()), "{text}");
        }
    }

    #[test]
    fn faults_name_line_and_column() {
        for (text, line, column) in [
            ("", 1, 1),
            ("{\"a\": 1,\n \"b\" 2}", 2, 6),
            ("[1, 2", 1, 6),
            ("[1] x", 1, 5),
            ("{'a': 1}", 1, 2),
            ("[01]", 1, 2),
            ("[1.]", 1, 4),
            ("\"a\nb\"", 1, 3),
            ("\"\\x\"", 1, 3),
            ("\"é", 1, 3),
            ("nul", 1, 1),
            ("-", 1, 2),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_beginning_of_a_document_is_cut_and_nothing_else() {
        let text = r#"{"a": [1.5e+3, -2, true, null, -Infinity, "\u00e9\n"]} "#;
        for end in 1..text.trim_end().len() {
            assert!(read(&text[..end]).expect_err("cut").is_cut, "{}", &text[..end]);
        }
        for bad in ["[1 2", "{1", "[tru]", "nil", r#"["\u00g"#, r#"["\x"#, "[01", "{} {", "[\"a\n"] {
            assert!(!read(bad).expect_err("a fault").is_cut, "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let text = "[".repeat(100_000);
        assert_eq!(read(&text).expect_err("too deep").message, "lists and objects are nested too deeply");
        let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(read(&fine).is_ok());
    }

    #[test]
    fn python_json_is_ascii_with_spaces() {
        let value = read(r#"{"k": ["é", 1.5, "🚀", 1e-7, 1e22], "n": null}"#).expect("valid");
        let expected = r#"{"k": ["\u00e9", 1.5, "\ud83d\ude80", 1e-07, 1e+22], "n": null}"#;
        assert_eq!(python_json(&value), expected);
    }
}
