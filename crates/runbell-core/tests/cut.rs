//! Cutting: within the limit, at a grapheme, and never more than needed.

#![allow(clippy::expect_used, reason = "a test may stop at a fault")]

use std::ops::Range;

use proptest::prelude::*;
use runbell_core::text::{Unit, beginning, cut, cut_around, ending, one_line};
use unicode_segmentation::UnicodeSegmentation as _;

const UNITS: [Unit; 3] = [Unit::Characters, Unit::Bytes, Unit::Utf16];

#[test]
fn lengths() {
    for (text, characters, bytes, utf16) in [("", 0, 0, 0), ("abc", 3, 3, 3), ("é€", 2, 5, 2), ("🚀e\u{301}", 3, 7, 4)]
    {
        assert_eq!(UNITS.map(|unit| unit.length(text)), [characters, bytes, utf16], "{text}");
    }
}

#[test]
fn no_grapheme_is_broken() {
    for (text, limit, expected) in [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ééé", 3, "ééé"),
        ("abe\u{301}\u{301}x", 4, "ab…"),
        ("a👩\u{200d}👩\u{200d}👧b", 4, "a…"),
        ("a👍\u{1f3fd}bcd", 3, "a…"),
        ("🇩🇪🇫🇷🇮🇹", 4, "🇩🇪…"),
        ("a\r\nbc", 3, "a…"),
        ("각각", 3, "각각"),
        ("\u{1100}\u{1161}\u{11a8}\u{1100}\u{1161}\u{11a8}", 5, "\u{1100}\u{1161}\u{11a8}…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ] {
        assert_eq!(cut(text, limit, Unit::Characters), expected, "{text:?} {limit}");
    }
}

#[test]
fn each_unit_has_its_own_limit() {
    for (unit, limit, expected) in [
        (Unit::Characters, 3, "🚀€…"),
        (Unit::Bytes, 10, "🚀€…"),
        (Unit::Bytes, 9, "🚀…"),
        (Unit::Bytes, 3, "…"),
        (Unit::Bytes, 2, ""),
        (Unit::Utf16, 4, "🚀€…"),
        (Unit::Utf16, 3, "🚀…"),
    ] {
        assert_eq!(cut("🚀€é🚀", limit, unit), expected, "{unit:?} {limit}");
    }
}

#[test]
fn pieces_stay_whole() {
    for (limit, expected) in
        [(13, "a&lt;b&amp;cd"), (12, "a&lt;b&amp;…"), (11, "a&lt;b…"), (7, "a&lt;b…"), (6, "a&lt;…"), (5, "a…")]
    {
        assert_eq!(cut_around("a&lt;b&amp;cd", limit, Unit::Utf16, &[1..5, 6..11]), expected, "{limit}");
    }
    // A mark joins the end of a piece: neither is split.
    let piece = std::slice::from_ref(&(1..5));
    assert_eq!(cut_around("a&lt;\u{301}bc", 7, Unit::Characters, piece), "a&lt;\u{301}…");
    assert_eq!(cut_around("a&lt;\u{301}bc", 6, Unit::Characters, piece), "a…");
}

#[test]
fn ends_begin_at_a_grapheme() {
    for (text, limit, expected) in
        [("abcdef", 3, "def"), ("ab", 3, "ab"), ("abc", 0, ""), ("ae\u{301}bc", 3, "bc"), ("x👩\u{200d}👧", 2, "")]
    {
        assert_eq!(ending(text, limit), expected, "{text:?} {limit}");
    }
}

#[test]
fn one_line_is_cut_and_inert() {
    for (text, limit, expected) in [
        ("a\nb\x1b[31m", 80, "a b [31m"),
        ("abcdef", 4, "abc…"),
        ("abce\u{301}f", 6, "abce\u{301}f"),
        ("abce\u{301}f", 5, "abc…"),
    ] {
        assert_eq!(one_line(text, limit), expected);
    }
}

/// Texts made of what sticks together.
fn texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a",
        " ",
        "\n",
        "\r\n",
        "é",
        "€",
        "e\u{301}",
        "\u{301}",
        "\u{fe0f}",
        "\u{200d}",
        "👩",
        "👍\u{1f3fd}",
        "🇩",
        "🇪",
        "❤️",
        "क\u{94d}ष",
        "\u{1100}",
        "\u{1161}",
        "\u{600}",
        "🏴\u{e0067}\u{e007f}",
        "<",
        "&amp;",
    ]);
    let mixed = prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat());
    prop_oneof![mixed, any::<String>()]
}

fn boundaries(text: &str) -> Vec<usize> {
    text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect()
}

/// What stands in the text around `at`, as one piece: `cut_around` must not split it.
fn piece_around(text: &str, at: usize) -> Option<Range<usize>> {
    let start = (0..at).rev().find(|at| text.is_char_boundary(*at))?;
    let end = (at + 1..=text.len()).rev().find(|end| text.is_char_boundary(*end) && *end <= at + 9)?;
    Some(start..end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_text_fits_and_loses_no_more_than_it_must(text in texts(), limit in 0_usize..60, unit in prop::sample::select(UNITS.to_vec())) {
        let shown = cut(&text, limit, unit);
        prop_assert!(unit.length(&shown) <= limit);
        if unit.length(&text) <= limit {
            prop_assert_eq!(&*shown, text.as_str());
            return Ok(());
        }
        let Some(kept) = shown.strip_suffix('…') else {
            prop_assert!(shown.is_empty() && limit < unit.length("…"), "{:?}", shown);
            return Ok(());
        };
        let boundaries = boundaries(&text);
        prop_assert!(text.starts_with(kept) && boundaries.contains(&kept.len()), "{:?}", shown);
        let next = boundaries.iter().find(|at| **at > kept.len()).expect("something was cut");
        prop_assert!(unit.length(&text[..*next]) + unit.length("…") > limit, "one more grapheme fits");
        prop_assert_eq!(cut(&shown, limit, unit), &*shown);
    }

    #[test]
    fn no_piece_is_split(text in texts(), limit in 3_usize..60, at in 1_usize..60) {
        let pieces: Vec<Range<usize>> = piece_around(&text, at.min(text.len())).into_iter().collect();
        let shown = cut_around(&text, limit, Unit::Bytes, &pieces);
        prop_assert!(shown.len() <= limit);
        if text.len() > limit {
            let end = shown.strip_suffix('…').expect("the sign fits").len();
            prop_assert!(text.starts_with(&shown[..end]) && boundaries(&text).contains(&end));
            prop_assert!(!pieces.iter().any(|piece| piece.start < end && end < piece.end), "{pieces:?} {end}");
        }
    }

    #[test]
    fn beginnings_and_ends_are_the_longest(text in texts(), limit in 0_usize..60, unit in prop::sample::select(UNITS.to_vec())) {
        let boundaries = boundaries(&text);
        let longest = boundaries.iter().copied().filter(|at| unit.length(&text[..*at]) <= limit).max();
        prop_assert_eq!(Some(beginning(&text, limit, unit).len()), longest);
        let longest = boundaries.iter().copied().find(|at| text[*at..].chars().count() <= limit);
        prop_assert_eq!(Some(text.len() - ending(&text, limit).len()), longest);
    }
}
