//! The tokens inside one `{{ … }}` or `{% … %}`, as jinja2's lexer sees them.

use super::token::{Token, TokenKind};
use crate::fault::Fault;

/// The tokens of one tag, and how it ends.
pub(super) struct Tag<'s> {
    pub(super) tokens: Vec<Token<'s>>,
    /// The offset behind the closing delimiter.
    pub(super) end: usize,
    /// Whether the closing delimiter trims (`-}}`).
    pub(super) trims: bool,
}

/// Longest first, so that `//` is not read as two `/`.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

/// Reads the tokens from the offset `start`, just behind the opening delimiter, up to `closer` (`}}` or `%}`).
pub(super) fn tag<'s>(source: &'s str, start: usize, closer: &str) -> Result<Tag<'s>, Fault> {
    let mut tokens = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut at = start;
    loop {
        let rest = &source[at..];
        let rest_trimmed = rest.trim_start();
        at += rest.len() - rest_trimmed.len();
        let rest = rest_trimmed;
        if open.is_empty() {
            if rest.starts_with(closer) {
                return Ok(Tag { tokens, end: at + closer.len(), trims: false });
            }
            let signed = rest.strip_prefix('-').or_else(|| rest.strip_prefix('+').filter(|_| closer == "%}"));
            if signed.is_some_and(|rest| rest.starts_with(closer)) {
                return Ok(Tag { tokens, end: at + 1 + closer.len(), trims: rest.starts_with('-') });
            }
        }
        let Some(first) = rest.chars().next() else {
            return Err(Fault::syntax(source, at, "the tag is not closed"));
        };
        let after_dot = matches!(tokens.last(), Some(Token { kind: TokenKind::Op("."), .. }));
        let (kind, length) = if first.is_ascii_digit() {
            number(rest, after_dot).ok_or_else(|| Fault::syntax(source, at, "a number that cannot be read"))?
        } else if first == '_' || first.is_alphanumeric() {
            let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            (TokenKind::Name(&rest[..length]), length)
        } else if first == '"' || first == '\'' {
            text(rest, first).ok_or_else(|| Fault::syntax(source, at, "a text that cannot be read"))?
        } else if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            match operator {
                "(" => open.push(")"),
                "[" => open.push("]"),
                "{" => open.push("}"),
                ")" | "]" | "}" if open.pop() != Some(operator) => {
                    return Err(Fault::syntax(source, at, "a bracket that does not match"));
                }
                _ => {}
            }
            (TokenKind::Op(operator), operator.len())
        } else {
            return Err(Fault::syntax(source, at, "an unexpected character"));
        };
        tokens.push(Token { kind, at });
        at += length;
    }
}

/// A number as jinja2 reads it: `1_000`, `0x1f`, `1.5`, `1e3`; directly after a dot only digits count.
fn number(rest: &str, after_dot: bool) -> Option<(TokenKind<'static>, usize)> {
    let bytes = rest.as_bytes();
    let digits = |from: usize, radix: u32| {
        let mut to = from;
        while let Some(byte) = bytes.get(to) {
            let next = if *byte == b'_' { bytes.get(to + 1).copied() } else { Some(*byte) };
            if !next.is_some_and(|byte| char::from(byte).is_digit(radix)) {
                break;
            }
            to += if *byte == b'_' { 2 } else { 1 };
        }
        to
    };
    let clean = |from: usize, to: usize| rest[from..to].replace('_', "");
    for (prefix, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            let end = digits(2, radix);
            if end > 2 {
                let value = u128::from_str_radix(&clean(2, end), radix).ok()?;
                return Some((TokenKind::Int(value.to_string()), end));
            }
        }
    }
    let whole = digits(0, 10);
    let mut end = whole;
    if !after_dot {
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1, 10);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(signed).is_some_and(u8::is_ascii_digit) {
                end = digits(signed, 10);
            }
        }
    }
    if end > whole {
        return Some((TokenKind::Float(clean(0, end)), end));
    }
    // Python has no leading zeros but in zero itself: `007` is the integers `00` and `7`, which no grammar takes.
    let text = clean(0, whole);
    let trimmed = text.trim_start_matches('0');
    match (trimmed.len(), text.len()) {
        (0, _) => Some((TokenKind::Int("0".to_owned()), whole)),
        (kept, all) if kept == all => Some((TokenKind::Int(text), whole)),
        _ => None,
    }
}

/// A text literal with Python's escapes; returns it decoded and its length in the source.
fn text(rest: &str, quote: char) -> Option<(TokenKind<'static>, usize)> {
    let mut out = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((TokenKind::Text(out), at + 1));
        }
        if character != '\\' {
            out.push(character);
            continue;
        }
        let (_, escaped) = characters.next()?;
        let mut hex = |count: usize| {
            let digits: String = (0..count).map_while(|_| characters.next().map(|(_, digit)| digit)).collect();
            (digits.len() == count).then(|| u32::from_str_radix(&digits, 16).ok())?
        };
        let plain = match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => escaped,
            '\n' => continue,
            'x' => char::from_u32(hex(2)?)?,
            'u' => char::from_u32(hex(4)?)?,
            'U' => char::from_u32(hex(8)?)?,
            '0'..='7' => {
                let mut code = escaped.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = characters.peek().and_then(|(_, next)| next.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    characters.next();
                }
                char::from_u32(code)?
            }
            'N' => return None,
            other => {
                out.push('\\');
                other
            }
        };
        out.push(plain);
    }
    None
}
