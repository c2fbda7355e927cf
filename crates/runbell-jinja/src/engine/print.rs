//! Prints engine values as Python would, within a budget.

use std::fmt::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};

use super::data::{Dict, Huge};
use crate::python;

/// How deeply containers may nest when printed. Deeper ones are an error, so that none can exhaust the stack.
pub(super) const MAX_DEPTH: usize = 210;

/// How much the engine's own formatting of a container may write; where it applies a text is cut, never an error.
const RENDER_LIMIT: usize = 1 << 20;

/// A writer that refuses to write more than its budget.
pub(super) struct Limited<'w, W: Write + ?Sized> {
    out: &'w mut W,
    left: usize,
}

impl<'w, W: Write + ?Sized> Limited<'w, W> {
    /// Passes at most `left` bytes on to `out`.
    pub(super) fn new(out: &'w mut W, left: usize) -> Self {
        Limited { out, left }
    }
}

impl<W: Write + ?Sized> Write for Limited<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        self.out.write_str(text)
    }
}

/// How many bytes the remaining fuel pays for: printing a container costs a quarter of a fuel unit per byte.
fn affordable(state: &State) -> usize {
    state.fuel_levels().map_or(usize::MAX, |(_, left)| usize::try_from(left.saturating_mul(4)).unwrap_or(usize::MAX))
}

/// `str(value)`, paid for in fuel.
pub(super) fn to_text(state: &State, value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    push_text(state, value, &mut text)?;
    Ok(text)
}

/// Appends `str(value)`, paid for in fuel.
pub(super) fn push_text(state: &State, value: &Value, out: &mut String) -> Result<(), Error> {
    if let Some(plain) = value.as_str() {
        state.consume_fuel(plain.len() as u64 / 64)?;
        out.push_str(plain);
        return Ok(());
    }
    let before = out.len();
    write_value(value, &mut Limited::new(out, affordable(state)), false, 0)
        .map_err(|_| Error::from(ErrorKind::OutOfFuel))?;
    state.consume_fuel((out.len() - before) as u64 / 4)
}

/// The environment's formatter: `{{ value }}` prints `str(value)`.
pub(super) fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return out.write_str(text).map_err(Error::from);
    }
    // The engine charges for the text afterwards; the limit keeps the writing itself within the budget.
    write_value(value, &mut Limited::new(out, affordable(state)), false, 0)
        .map_err(|_| Error::from(ErrorKind::OutOfFuel))
}

/// Prints a container for the engine's own `Display`.
pub(super) fn render_bounded(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // An error would make `format!` panic, so the rest of a text that does not fit is silently left out.
    let _ = write_value(value, &mut Limited::new(f, RENDER_LIMIT), true, 0);
    Ok(())
}

/// Writes `repr(value)`, or `str(value)`, which differ in texts and missing values.
pub(super) fn write_value<W: Write>(value: &Value, out: &mut W, repr: bool, depth: usize) -> fmt::Result {
    match value.kind() {
        ValueKind::Undefined => out.write_str(if repr { "Undefined" } else { "" }),
        ValueKind::None => out.write_str("None"),
        ValueKind::Bool => out.write_str(python::bool_word(value.is_true())),
        ValueKind::Number if value.is_integer() => write!(out, "{value}"),
        ValueKind::Number => python::write_float(f64::try_from(value.clone()).unwrap_or(f64::NAN), out),
        ValueKind::String => match value.as_str() {
            Some(text) if repr => python::write_quoted(text, out),
            text => out.write_str(text.unwrap_or_default()),
        },
        _ if depth >= MAX_DEPTH => Err(fmt::Error),
        ValueKind::Seq | ValueKind::Iterable => write_list(value, out, depth),
        ValueKind::Map => write_dict(value, out, depth),
        _ => match value.downcast_object_ref::<Huge>() {
            Some(huge) => out.write_str(huge.digits()),
            None => write!(out, "{value}"),
        },
    }
}

fn write_list<W: Write>(value: &Value, out: &mut W, depth: usize) -> fmt::Result {
    let tuple = value.is_tuple();
    out.write_char(if tuple { '(' } else { '[' })?;
    let mut count = 0;
    for item in value.try_iter().map_err(|_| fmt::Error)? {
        out.write_str(if count == 0 { "" } else { ", " })?;
        write_value(&item, out, true, depth + 1)?;
        count += 1;
    }
    out.write_str(match (tuple, count) {
        (true, 1) => ",)",
        (true, _) => ")",
        (false, _) => "]",
    })
}

fn write_dict<W: Write>(value: &Value, out: &mut W, depth: usize) -> fmt::Result {
    out.write_char('{')?;
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        for (at, (key, item)) in dict.entries().enumerate() {
            out.write_str(if at == 0 { "" } else { ", " })?;
            python::write_quoted(key, out)?;
            out.write_str(": ")?;
            write_value(item, out, true, depth + 1)?;
        }
    } else if let Some(pairs) = value.as_object().and_then(|object| object.try_iter_pairs()) {
        for (at, (key, item)) in pairs.enumerate() {
            out.write_str(if at == 0 { "" } else { ", " })?;
            write_value(&key, out, true, depth + 1)?;
            out.write_str(": ")?;
            write_value(&item, out, true, depth + 1)?;
        }
    }
    out.write_char('}')
}
