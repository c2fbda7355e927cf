//! Text that is safe to show: nothing in it moves the cursor, colours, or reorders what is around it.

/// `text` on one line without control characters, at most `limit` characters.
///
/// Run data may hold line breaks, terminal escapes and bidirectional overrides; none of them may reach a terminal.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).map(|c| if is_inert(c) { c } else { ' ' }).collect();
    if text.chars().nth(limit).is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// Whether printing `character` moves nothing but the cursor by its own width.
pub fn is_inert(character: char) -> bool {
    // Controls, and the invisible characters that reorder what is around them.
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` with its line breaks kept and everything else that is not inert made visible.
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

/// `text` as one segment of a URL's path, or one value of its query: it can neither leave its place nor end it.
pub fn percent_encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte.into());
        } else {
            out.extend(['%', HEX[usize::from(byte >> 4)].into(), HEX[usize::from(byte & 15)].into()]);
        }
    }
    out
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
