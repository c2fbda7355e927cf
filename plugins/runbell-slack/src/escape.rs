//! Texts for Slack: escaped, and cut without leaving half of anything behind.
//!
//! Slack's mrkdwn has three control characters, `&`, `<` and `>` (Slack's "Formatting text for app surfaces"); a
//! mention or link exists only as a token `<…>`. Escaped text therefore cannot make one, whatever else is in it.

use std::borrow::Cow;

use runbell_core::text::is_inert;

/// Length in UTF-16 units. Slack does not say whether it counts these or code points; this is never the smaller.
pub(crate) fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
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

/// `text` without characters that do something to the display of others: controls but line breaks and tabs, and
/// those that reverse the direction of writing. They become U+FFFD, one for one.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| is_inert(c) || matches!(c, '\n' | '\r' | '\t');
    match text.chars().all(harmless) {
        true => Cow::Borrowed(text),
        false => text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect::<String>().into(),
    }
}

/// So much of a text that more would not fit into `units` units: a megabyte is not looked at for three thousand
/// characters.
pub(crate) fn beginning(text: &str, units: usize) -> &str {
    let mut end = text.len().min(4 * (units + 1));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Collects a text of at most `limit` units. What does not fit is replaced by an ellipsis; an escape or a token is
/// there whole or not at all.
#[derive(Debug)]
pub(crate) struct Cutter {
    out: String,
    used: usize,
    limit: usize,
    /// Up to here the text would fit with an ellipsis behind it.
    fits: usize,
    cut: bool,
}

impl Cutter {
    /// An empty text; `limit` is at least 1.
    pub(crate) fn new(limit: usize) -> Self {
        Cutter { out: String::new(), used: 0, limit, fits: 0, cut: false }
    }

    fn atom(&mut self, atom: &str) {
        if self.cut {
            return;
        }
        self.used += units(atom);
        if self.used > self.limit {
            self.out.truncate(self.fits);
            self.out.push('…');
            self.cut = true;
            return;
        }
        self.out.push_str(atom);
        if self.used < self.limit {
            self.fits = self.out.len();
        }
    }

    /// Adds run data, escaped and inert.
    pub(crate) fn data(&mut self, text: &str) {
        let mut buffer = [0; 4];
        for character in inert(beginning(text, self.limit)).chars() {
            self.atom(escape(character).unwrap_or_else(|| character.encode_utf8(&mut buffer)));
        }
    }

    /// Adds the author's own markup as it is.
    pub(crate) fn markup(&mut self, text: &str) {
        let mut rest = text;
        while let Some(first) = rest.chars().next().filter(|_| !self.cut) {
            let (atom, tail) = rest.split_at(token(rest).unwrap_or(first.len_utf8()));
            self.atom(atom);
            rest = tail;
        }
    }

    /// The text, and whether something was left out.
    pub(crate) fn finish(self) -> (String, bool) {
        (self.out, self.cut)
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
