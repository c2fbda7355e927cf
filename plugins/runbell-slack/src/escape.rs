//! Texts for Slack: escaped, and cut without leaving half of an escape or a token behind.
//!
//! Slack's mrkdwn has three control characters, `&`, `<` and `>` (Slack's "Formatting text for app surfaces"); a
//! mention or link exists only as a token `<…>`. Escaped text therefore cannot make one, whatever else it holds.

use std::borrow::Cow;
use std::ops::Range;

use runbell_core::text::{Unit, cut_around, is_inert};

/// Length in UTF-16 units. Slack does not say whether it counts these or code points; this is never the smaller.
pub(crate) fn units(text: &str) -> usize {
    Unit::Utf16.length(text)
}

/// The escape of a character that Slack would interpret.
fn escape(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

/// Length of a text once it is escaped; counts no further than `limit`.
pub(crate) fn escaped_units(text: &str, limit: usize) -> usize {
    let mut count = 0;
    for character in text.chars() {
        count += escape(character).map_or(character.len_utf16(), str::len);
        if count >= limit {
            return limit;
        }
    }
    count
}

/// `text` without characters that change the display of others: controls but line breaks and tabs, and those that
/// reverse the direction of writing. They become U+FFFD, one for one.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| is_inert(c) || matches!(c, '\n' | '\r' | '\t');
    match text.chars().all(harmless) {
        true => Cow::Borrowed(text),
        false => text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect::<String>().into(),
    }
}

/// The part of a text that is read for `limit` units: always more than fits, but no megabyte for three thousand
/// characters.
pub(crate) fn enough(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(4 * (limit + 1));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Collects a text of at most `limit` units. The rest of a text that does not fit is replaced by an ellipsis; an escape
/// or a token is kept whole or left out.
#[derive(Debug)]
pub(crate) struct Cutter {
    out: String,
    used: usize,
    limit: usize,
    /// The escapes and tokens in `out`.
    pieces: Vec<Range<usize>>,
}

impl Cutter {
    /// An empty text; `limit` is at least 1.
    pub(crate) fn new(limit: usize) -> Self {
        Cutter { out: String::new(), used: 0, limit, pieces: Vec::new() }
    }

    fn character(&mut self, character: char) {
        self.used += character.len_utf16();
        self.out.push(character);
    }

    fn piece(&mut self, piece: &str) {
        self.used += units(piece);
        let start = self.out.len();
        self.out.push_str(piece);
        self.pieces.push(start..self.out.len());
    }

    /// Whether more than the limit is collected, so that more changes nothing.
    fn is_full(&self) -> bool {
        self.used > self.limit
    }

    /// Adds run data, escaped and inert.
    pub(crate) fn data(&mut self, text: &str) {
        for character in inert(enough(text, self.limit)).chars() {
            if self.is_full() {
                return;
            }
            match escape(character) {
                Some(escape) => self.piece(escape),
                None => self.character(character),
            }
        }
    }

    /// Adds the author's own markup as it is.
    pub(crate) fn markup(&mut self, text: &str) {
        let mut rest = text;
        while let Some(first) = rest.chars().next().filter(|_| !self.is_full()) {
            match token(rest) {
                Some(length) => {
                    self.piece(&rest[..length]);
                    rest = &rest[length..];
                }
                None => {
                    self.character(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
    }

    /// The text, and whether it was cut.
    pub(crate) fn finish(self) -> (String, bool) {
        if !self.is_full() {
            return (self.out, false);
        }
        (cut_around(&self.out, self.limit, Unit::Utf16, &self.pieces).into_owned(), true)
    }
}

/// The length of the token or escape that `text` begins with.
pub(crate) fn token(text: &str) -> Option<usize> {
    if let Some(inside) = text.strip_prefix('<') {
        let end = inside.find(['<', '>'])?;
        return inside[end..].starts_with('>').then_some(end + 2);
    }
    ["&amp;", "&lt;", "&gt;"].into_iter().find(|escape| text.starts_with(escape)).map(str::len)
}

/// Escaped run data of at most `limit` units, and whether it was cut.
pub(crate) fn cut(text: &str, limit: usize) -> (String, bool) {
    let mut cutter = Cutter::new(limit);
    cutter.data(text);
    cutter.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_data_is_escaped_and_cut_between_characters() {
        for (text, limit, expected) in [
            ("a<b>&c", 99, "a&lt;b&gt;&amp;c"),
            ("a<b>&c", 16, "a&lt;b&gt;&amp;c"),
            ("a<b>&c", 15, "a&lt;b&gt;…"),
            ("a<b>&cd", 16, "a&lt;b&gt;&amp;…"),
            ("a<b>&c", 5, "a…"),
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("🚀🚀🚀", 6, "🚀🚀🚀"),
            ("🚀🚀🚀", 5, "🚀🚀…"),
            ("🚀🚀🚀", 4, "🚀…"),
            ("🚀", 1, "…"),
            ("ae\u{301}b", 3, "a…"),
            ("a👩\u{200d}👧b", 6, "a…"),
            ("a<\u{301}b", 7, "a&lt;\u{301}b"),
            ("a<\u{301}bc", 7, "a&lt;\u{301}…"),
            ("a<\u{301}bc", 6, "a…"),
            ("", 1, ""),
            ("a\0\u{202e}b\nc\u{200b}", 99, "a\u{fffd}\u{fffd}b\nc\u{200b}"),
        ] {
            let (cut, _) = super::cut(text, limit);
            assert_eq!(cut, expected, "{text:?} {limit}");
            assert!(units(&cut) <= limit);
        }
    }

    #[test]
    fn the_authors_tokens_stay_whole() {
        for (text, limit, expected) in [
            ("x <!here> y", 99, "x <!here> y"),
            ("x <!here> y", 9, "x …"),
            ("x <!here> y", 10, "x <!here>…"),
            ("x &amp; y", 7, "x …"),
            ("x < y > z", 5, "x …"),
            ("x << y", 5, "x <<…"),
            ("<a|b><c|d>", 8, "<a|b>…"),
        ] {
            let mut cutter = Cutter::new(limit);
            cutter.markup(text);
            assert_eq!(cutter.finish().0, expected, "{text:?} {limit}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!((units("aé🚀"), escaped_units("a<🚀", 99), escaped_units("<<<<", 6)), (4, 7, 6));
    }
}
