//! Python's spelling of single values: a boolean, a float and a text as `repr()` prints them.

use std::fmt::{self, Write};

use unicode_general_category::{GeneralCategory, get_general_category};

/// `True` or `False`.
pub fn bool_word(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

/// Writes a float as `repr` does: the shortest digits that read back the same, exponents below -4 and from 16 on.
///
/// # Errors
/// Those of `out`; a `String` has none.
pub fn write_float<W: Write + ?Sized>(number: f64, out: &mut W) -> fmt::Result {
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

/// Writes a text in the quotes and with the escapes that `repr` chooses.
///
/// # Errors
/// Those of `out`; a `String` has none.
pub fn write_quoted<W: Write + ?Sized>(text: &str, out: &mut W) -> fmt::Result {
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
