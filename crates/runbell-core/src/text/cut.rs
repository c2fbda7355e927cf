//! Cuts texts: never inside a grapheme, which readers see as one character (UAX #29).
//!
//! Combining marks, variation selectors, flags and joined emoji stay with the character they belong to.

use std::borrow::Cow;
use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

/// The sign at the end of a text that was cut.
const SIGN: &str = "…";

/// The unit in which a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Characters (code points), as Python counts.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
    /// UTF-16 code units, as browsers and most web services count. Never fewer than characters.
    Utf16,
}

impl Unit {
    /// The length of a text.
    pub fn length(self, text: &str) -> usize {
        match self {
            Unit::Characters => text.chars().count(),
            Unit::Bytes => text.len(),
            // One for each character, one more for each that takes four bytes.
            Unit::Utf16 => text.bytes().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum(),
        }
    }

    /// The length of one character.
    fn of(self, character: char) -> usize {
        match self {
            Unit::Characters => 1,
            Unit::Bytes => character.len_utf8(),
            Unit::Utf16 => character.len_utf16(),
        }
    }

    /// The end of the last character that ends within `limit`; `None` when the text ends there too.
    fn end(self, text: &str, limit: usize) -> Option<usize> {
        // No unit is smaller than a byte, so most texts need not be counted.
        if text.len() <= limit {
            return None;
        }
        let mut used = 0;
        text.char_indices().find_map(|(at, character)| {
            used += self.of(character);
            (used > limit).then_some(at)
        })
    }
}

/// `text` in at most `limit` units; a text that does not fit is cut at a grapheme and ends with `…`.
///
/// A text that fits is borrowed. A limit too small for the sign gives an empty text.
pub fn cut(text: &str, limit: usize, unit: Unit) -> Cow<'_, str> {
    cut_around(text, limit, unit, &[])
}

/// As [`cut`], and none of the `pieces` is split: ascending ranges of bytes, each kept whole or left out.
pub fn cut_around<'t>(text: &'t str, limit: usize, unit: Unit, pieces: &[Range<usize>]) -> Cow<'t, str> {
    if unit.end(text, limit).is_none() {
        return Cow::Borrowed(text);
    }
    let Some(room) = limit.checked_sub(unit.length(SIGN)) else { return Cow::Borrowed("") };
    let end = unit.end(text, room).unwrap_or(text.len());
    Cow::Owned(format!("{}{SIGN}", &text[..boundary(text, end, pieces)]))
}

/// The longest beginning of `text` that takes at most `limit` units and splits no grapheme.
pub fn beginning(text: &str, limit: usize, unit: Unit) -> &str {
    match unit.end(text, limit) {
        None => text,
        Some(end) => &text[..boundary(text, end, &[])],
    }
}

/// The longest end of `text` that takes at most `limit` characters and splits no grapheme.
pub fn ending(text: &str, limit: usize) -> &str {
    let from = match limit.checked_sub(1) {
        None => text.len(),
        Some(before) => text.char_indices().rev().nth(before).map_or(0, |(at, _)| at),
    };
    let mut cursor = GraphemeCursor::new(from, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) => &text[from..],
        // The cursor has the whole text, so it never asks for more of it.
        _ => cursor.next_boundary(text, 0).ok().flatten().map_or("", |at| &text[at..]),
    }
}

/// The last offset up to `end` that is inside no grapheme and none of the ascending `pieces`.
fn boundary(text: &str, mut end: usize, pieces: &[Range<usize>]) -> usize {
    loop {
        let mut cursor = GraphemeCursor::new(end, text.len(), true);
        let at = match cursor.is_boundary(text, 0) {
            Ok(true) => end,
            _ => cursor.prev_boundary(text, 0).ok().flatten().unwrap_or(0),
        };
        let piece = pieces.get(pieces.partition_point(|piece| piece.end <= at));
        match piece.filter(|piece| piece.start < at) {
            None => return at,
            Some(piece) => end = piece.start,
        }
    }
}
