//! Colour for a text that has none.
//!
//! **Invariant:** without its colour sequences the painted text is the text. Run data that imitates the layout can
//! at most get itself coloured.

use std::fmt::Write as _;

use crate::table::RULE;

const BOLD_RED: &str = "1;31";
const BOLD_YELLOW: &str = "1;33";
const DIM: &str = "2";

/// `text` as [`render`](runbell_core::Sender::render) made it, with states and severity in colour.
pub(crate) fn paint(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut in_table = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let (plain, end) = line.strip_suffix('\n').map_or((line, ""), |plain| (plain, "\n"));
        let length = plain.find([' ', ']']).unwrap_or(plain.len());
        let (colour, length) = match plain {
            _ if number == 0 && plain.starts_with("[error]") => (BOLD_RED, length + 1),
            _ if number == 0 && plain.starts_with("[warning]") => (BOLD_YELLOW, length + 1),
            rule if !rule.is_empty() && rule.chars().all(|c| c == RULE) => {
                in_table = true;
                (DIM, rule.len())
            }
            row if in_table => match state_colour(&row[..length]) {
                Some(colour) => (colour, length),
                None => ("", 0),
            },
            _ => ("", 0),
        };
        if colour.is_empty() {
            out.push_str(plain);
        } else {
            let (word, rest) = plain.split_at(length);
            // Writing into a `String` cannot fail.
            let _ = write!(out, "\x1b[{colour}m{word}\x1b[0m{rest}");
        }
        out.push_str(end);
    }
    out
}

fn state_colour(word: &str) -> Option<&'static str> {
    match word {
        "completed" => Some("32"),
        "error" => Some("31"),
        "aborted" => Some("33"),
        "running" => Some("34"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_severity_rule_and_states_are_coloured() {
        let text = "[error] Run failed\nerror in text\n\nstatus  name\n────\nerror   a\n        error b\ncompleted x\nmade-up y\n";
        let painted = "\x1b[1;31m[error]\x1b[0m Run failed\nerror in text\n\nstatus  name\n\x1b[2m────\x1b[0m\n\
            \x1b[31merror\x1b[0m   a\n        error b\n\x1b[32mcompleted\x1b[0m x\nmade-up y\n";
        assert_eq!(paint(text), painted);
        assert_eq!(paint("[info] fine\n"), "[info] fine\n");
        assert_eq!(paint("[error"), "[error");
        assert_eq!(paint(""), "");
    }
}
