//! Inert text: it does not move the cursor, set colours or reorder the text around it. And the one function that cuts
//! texts.

mod cut;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use cut::{Unit, beginning, cut, cut_around, ending};

/// `text` on one line without control characters, at most `limit` characters.
///
/// Run data may hold line breaks, terminal escapes and bidirectional overrides; none of them may reach a terminal.
pub fn one_line(text: &str, limit: usize) -> String {
    cut(text, limit, Unit::Characters).chars().map(|c| if is_inert(c) { c } else { ' ' }).collect()
}

/// Whether printing `character` only moves the cursor by its width.
pub fn is_inert(character: char) -> bool {
    // Controls, and the invisible characters that reorder the text around them.
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` with its line breaks; every other character that is not inert becomes visible.
pub fn inert_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => out.push('\n'),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            other => out.push(visible(other)),
        }
    }
    out
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The characters that mean something in a URL, and all that are not ASCII: RFC 3986 section 2.3 leaves the others.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as one segment of a URL's path, or one value of its query: it can neither leave its place nor end it.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `text` on one line.
pub fn inert_line(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// A character that stands for `character` and is inert. A line break is not; see [`inert_lines`].
pub fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        // Unicode has a picture for each of the old control characters.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        inert if is_inert(inert) => inert,
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_become_visible_and_lines_stay() {
        for (text, lines, line) in [
            ("a\nb\r\nc", "a\nb\nc", "a␊b␍␊c"),
            ("\x1b[31mred\x07\x7f", "␛[31mred␇␡", "␛[31mred␇␡"),
            ("\u{9b}31m\u{202e}x\u{2028}y", "\u{fffd}31m\u{fffd}x\ny", "\u{fffd}31m\u{fffd}x\u{fffd}y"),
            ("tab\tend é 🚀", "tab end é 🚀", "tab end é 🚀"),
        ] {
            assert_eq!(inert_lines(text), lines);
            assert_eq!(inert_line(text), line);
        }
    }
}
