//! Python's spelling of values: what `str()` and `repr()` print.
//!
//! MLRun puts values into texts with `str()`, so `1e-07`, `True`, `None` and `{'a': [1]}` are what its users know.

use std::fmt::{self, Write};

use runbell_core::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

/// `str(value)`: texts as they are, everything else as [`repr_of`].
pub fn str_of(value: &Value) -> String {
    let mut out = String::new();
    write_str(value, &mut out);
    out
}

/// `repr(value)`: texts in quotes.
pub fn repr_of(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

/// Appends `str(value)`.
pub fn write_str(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        other => write_repr(other, out),
    }
}

/// Appends `repr(value)`.
pub fn write_repr(value: &Value, out: &mut String) {
    // Writing into a `String` cannot fail, so the results below carry nothing.
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(flag) => out.push_str(bool_word(*flag)),
        Value::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
        Value::BigInt(digits) => out.push_str(digits.as_str()),
        Value::Float(number) => {
            let _ = write_float(*number, out);
        }
        Value::String(text) => {
            let _ = write_quoted(text, out);
        }
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_repr(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                let _ = write_quoted(key, out);
                out.push_str(": ");
                write_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// `key=value` pairs in written order, joined by `separator`; values as `str()`. Nothing and an empty object give "".
///
/// MLRun's `dict_to_str`, used for results in texts. A value that is no object has no pairs and gives "" too.
pub fn dict_to_str(value: Option<&Value>, separator: &str) -> String {
    let mut out = String::new();
    for (key, item) in value.and_then(Value::as_map).into_iter().flatten() {
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(key);
        out.push('=');
        write_str(item, &mut out);
    }
    out
}

/// `True` or `False`.
pub(crate) fn bool_word(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

/// Writes a float as `repr` does: the shortest digits that read back the same, exponents below -4 and from 16 on.
pub(crate) fn write_float<W: Write + ?Sized>(number: f64, out: &mut W) -> fmt::Result {
    if number.is_nan() {
        return out.write_str("nan");
    }
    if number.is_infinite() {
        return out.write_str(if number < 0.0 { "-inf" } else { "inf" });
    }
    // Rust's Debug changes to an exponent at the same bounds; only the exponent's spelling differs.
    let text = format!("{number:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return out.write_str(&text);
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

/// Writes a text in the quotes and with the escapes `repr` picks.
pub(crate) fn write_quoted<W: Write + ?Sized>(text: &str, out: &mut W) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if !needs_escape(character, quote) {
            continue;
        }
        out.write_str(&text[plain..at])?;
        plain = at + character.len_utf8();
        match character {
            '\\' | '\'' | '"' => write!(out, "\\{character}"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            _ => match u32::from(character) {
                code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            },
        }?;
    }
    out.write_str(&text[plain..])?;
    out.write_char(quote)
}

fn needs_escape(character: char, quote: char) -> bool {
    match character {
        '\\' => true,
        '\'' | '"' => character == quote,
        ' '..='~' => false,
        _ => !is_printable(character),
    }
}

/// `str.isprintable` for one character: no control, format, private, unassigned or separator character but the space.
fn is_printable(character: char) -> bool {
    use GeneralCategory as Category;
    character == ' '
        || !matches!(
            get_general_category(character),
            Category::Control
                | Category::Format
                | Category::Surrogate
                | Category::PrivateUse
                | Category::Unassigned
                | Category::LineSeparator
                | Category::ParagraphSeparator
                | Category::SpaceSeparator
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_prints_them() {
        for (number, expect) in [
            (1e-7, "1e-07"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (1000.0, "1000.0"),
            (-0.0, "-0.0"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr_of(&Value::Float(number)), expect);
        }
    }

    #[test]
    fn texts_as_python_quotes_them() {
        for (text, expect) in [
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("both ' and \"", "'both \\' and \"'"),
            ("a\\b\n\r\t\0\u{7f}", "'a\\\\b\\n\\r\\t\\x00\\x7f'"),
            ("é\u{a0}\u{ad}", "'é\\xa0\\xad'"),
            ("\u{200b}\u{2028}\u{e000}\u{feff}", "'\\u200b\\u2028\\ue000\\ufeff'"),
            ("🚀\u{e0001}", "'🚀\\U000e0001'"),
        ] {
            assert_eq!(repr_of(&Value::from(text)), expect);
        }
    }

    #[test]
    fn a_value_without_pairs_is_empty() {
        assert_eq!(dict_to_str(None, ","), "");
        assert_eq!(dict_to_str(Some(&Value::Null), ","), "");
        assert_eq!(dict_to_str(Some(&Value::Map(Default::default())), ","), "");
    }
}
