//! `tojson`: for conditions as Python's `json.dumps` inside jinja2 writes it, for texts as plain JSON.

use std::fmt::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::data::Huge;
use super::print::{Limited, MAX_DEPTH};
use crate::fault::refuse;
use crate::python;

/// How the JSON text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `json.dumps(sort_keys=True)`, ASCII, with `< > & '` escaped as jinja2 does.
    Jinja2,
    /// Compact, in written order, valid for every JSON reader: NaN and the infinities become null.
    Plain,
}

/// `value|tojson`, paid for in fuel.
pub(super) fn to_json(state: &State, value: &Value, style: Style, indent: Option<usize>) -> Result<Value, Error> {
    let left = state.fuel_levels().map_or(u64::MAX, |(_, left)| left.saturating_mul(4));
    let mut text = String::new();
    let mut writer = Writer {
        out: Limited::new(&mut text, usize::try_from(left).unwrap_or(usize::MAX)),
        style,
        indent: indent.map(|spaces| spaces.min(16)),
        unfit: false,
    };
    let written = writer.value(value, 0);
    if writer.unfit {
        return Err(refuse("a value that JSON has no words for"));
    }
    written.map_err(|_| Error::from(ErrorKind::OutOfFuel))?;
    state.consume_fuel(text.len() as u64 / 4)?;
    Ok(Value::from(text))
}

struct Writer<'w> {
    out: Limited<'w, String>,
    style: Style,
    indent: Option<usize>,
    /// Whether a value has no JSON form.
    unfit: bool,
}

impl Writer<'_> {
    fn unfit(&mut self) -> fmt::Result {
        self.unfit = true;
        Err(fmt::Error)
    }

    fn value(&mut self, value: &Value, depth: usize) -> fmt::Result {
        match value.kind() {
            ValueKind::None => self.out.write_str("null"),
            ValueKind::Bool => self.out.write_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => write!(self.out, "{value}"),
            ValueKind::Number => self.float(f64::try_from(value.clone()).unwrap_or(f64::NAN)),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            _ if depth >= MAX_DEPTH => self.unfit(),
            ValueKind::Seq => self.list(value, depth),
            ValueKind::Iterable if self.style == Style::Plain => self.list(value, depth),
            ValueKind::Map => self.dict(value, depth),
            _ => match value.downcast_object_ref::<Huge>() {
                Some(huge) => self.out.write_str(huge.digits()),
                None => self.unfit(),
            },
        }
    }

    fn float(&mut self, number: f64) -> fmt::Result {
        if number.is_finite() {
            return python::write_float(number, &mut self.out);
        }
        self.out.write_str(match self.style {
            Style::Plain => "null",
            Style::Jinja2 if number.is_nan() => "NaN",
            Style::Jinja2 if number > 0.0 => "Infinity",
            Style::Jinja2 => "-Infinity",
        })
    }

    fn text(&mut self, text: &str) -> fmt::Result {
        self.out.write_char('"')?;
        let mut units = [0_u16; 2];
        for character in text.chars() {
            match character {
                '"' => self.out.write_str("\\\"")?,
                '\\' => self.out.write_str("\\\\")?,
                '\n' => self.out.write_str("\\n")?,
                '\r' => self.out.write_str("\\r")?,
                '\t' => self.out.write_str("\\t")?,
                '\u{8}' => self.out.write_str("\\b")?,
                '\u{c}' => self.out.write_str("\\f")?,
                '<' | '>' | '&' | '\'' if self.style == Style::Jinja2 => {
                    write!(self.out, "\\u{:04x}", u32::from(character))?;
                }
                ' '..='~' => self.out.write_char(character)?,
                _ if self.style == Style::Plain && character >= ' ' => self.out.write_char(character)?,
                _ => {
                    for unit in character.encode_utf16(&mut units) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        self.out.write_char('"')
    }

    fn list(&mut self, value: &Value, depth: usize) -> fmt::Result {
        let Ok(items) = value.try_iter() else { return self.unfit() };
        self.out.write_char('[')?;
        let mut empty = true;
        for item in items {
            self.separate(empty, depth + 1)?;
            self.value(&item, depth + 1)?;
            empty = false;
        }
        self.close(empty, depth, ']')
    }

    fn dict(&mut self, value: &Value, depth: usize) -> fmt::Result {
        let Some(pairs) = value.as_object().and_then(|object| object.try_iter_pairs()) else { return self.unfit() };
        let mut pairs: Vec<(Value, Value)> = pairs.collect();
        if self.style == Style::Jinja2 {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.out.write_char('{')?;
        let mut empty = true;
        for (key, item) in &pairs {
            self.separate(empty, depth + 1)?;
            match key.kind() {
                ValueKind::String => self.value(key, depth)?,
                ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                    self.out.write_char('"')?;
                    self.value(key, depth)?;
                    self.out.write_char('"')?;
                }
                _ => return self.unfit(),
            }
            self.out.write_str(if self.style == Style::Plain && self.indent.is_none() { ":" } else { ": " })?;
            self.value(item, depth + 1)?;
            empty = false;
        }
        self.close(empty, depth, '}')
    }

    fn separate(&mut self, first: bool, depth: usize) -> fmt::Result {
        if !first {
            self.out.write_char(',')?;
        }
        match self.indent {
            Some(spaces) => write!(self.out, "\n{:width$}", "", width = spaces * depth),
            None if !first && self.style == Style::Jinja2 => self.out.write_char(' '),
            None => Ok(()),
        }
    }

    fn close(&mut self, empty: bool, depth: usize, bracket: char) -> fmt::Result {
        if let (Some(spaces), false) = (self.indent, empty) {
            write!(self.out, "\n{:width$}", "", width = spaces * depth)?;
        }
        self.out.write_char(bracket)
    }
}
