//! Cuts texts without breaking what a reader sees as one character.

use std::borrow::Cow;

use unicode_general_category::{GeneralCategory, get_general_category};

/// `text` in at most `limit` characters, the last of them `…` when something was cut.
///
/// Combining marks, variation selectors and joined emoji stay with what they belong to.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    // Every character takes a byte at least, so most texts need not be counted.
    if text.len() <= limit || text.chars().nth(limit).is_none() {
        return Cow::Borrowed(text);
    }
    let keep = limit.saturating_sub(1);
    let end = text.char_indices().nth(keep).map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{}…", &text[..boundary(text, end)]))
}

/// The last place at or before `end` where a cut breaks no visible character.
fn boundary(text: &str, end: usize) -> usize {
    let mut end = end;
    while let (Some(last), Some(next)) = (text[..end].chars().next_back(), text[end..].chars().next()) {
        if last != JOINER && !joins_the_one_before(next) {
            break;
        }
        end -= last.len_utf8();
    }
    end
}

/// Joins two emoji into one.
const JOINER: char = '\u{200d}';

fn joins_the_one_before(character: char) -> bool {
    use GeneralCategory as Category;
    character == JOINER
        // Skin tones, and the tags that flags are spelt with.
        || matches!(character, '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
        || matches!(
            get_general_category(character),
            Category::NonspacingMark | Category::SpacingMark | Category::EnclosingMark
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_visible_is_broken() {
        for (text, limit, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ééé", 3, "ééé"),
            ("abe\u{301}\u{301}x", 4, "ab…"),
            ("a👩\u{200d}👩\u{200d}👧b", 4, "a…"),
            ("a👍\u{1f3fd}bcd", 3, "a…"),
            ("abc", 0, "…"),
        ] {
            assert_eq!(cut(text, limit), expected, "{text} {limit}");
        }
    }
}
