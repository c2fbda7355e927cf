//! Small helpers for texts that end up on one line of a terminal, a log or a report.

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
