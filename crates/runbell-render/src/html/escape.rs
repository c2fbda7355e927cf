//! Escapes the values put into the template, so that data stays text wherever the HTML is shown.

use std::fmt::{self, Write};

use minijinja::{Error, Output, State, Value};
use runbell_core::text::{is_inert, visible};

/// Where the HTML will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// In a mail or a notebook.
    Html,
    /// In a comment on GitHub or GitLab: no character of the data means anything in Markdown either, nor names a person,
    /// an issue, an emoji or a link.
    Markdown,
}

/// Breaks a reference without showing: a zero-width space.
const BREAK: &str = "&#8203;";

impl Flavour {
    /// The formatter minijinja calls with every value: safe ones are written as they are, all others escaped.
    pub(super) fn format(self, out: &mut Output, _state: &State, value: &Value) -> Result<(), Error> {
        let written = match value.as_str() {
            Some(text) if value.is_safe() => out.write_str(text),
            Some(text) => self.escape(text, out),
            None if value.is_undefined() || value.is_none() => Ok(()),
            None => self.escape(&value.to_string(), out),
        };
        written.map_err(|_| Error::from(minijinja::ErrorKind::WriteFailure))
    }

    /// Writes `text` escaped; line breaks become `<br>`, so that no line of the result begins with data.
    pub(crate) fn escape(self, text: &str, out: &mut (impl Write + ?Sized)) -> fmt::Result {
        let (mut plain, mut at, mut at_line_start) = (0, 0, false);
        loop {
            // Most bytes stand for themselves, and need no closer look.
            let ordinary = text.as_bytes()[at..].iter().take_while(|byte| self.is_ordinary(**byte)).count();
            if ordinary > 0 && !(at_line_start && text[at..].starts_with(' ')) {
                at += ordinary;
                at_line_start = false;
            }
            let Some(character) = text[at..].chars().next() else { break };
            let form = match character {
                // Indentation is kept, other spaces are not worth the characters.
                ' ' if at_line_start => Form::Text("&nbsp;"),
                _ => self.form(character, &text[at..]),
            };
            at_line_start = character == '\n' || (at_line_start && character == ' ');
            let next = at + character.len_utf8();
            if form == Form::Plain {
                at = next;
                continue;
            }
            out.write_str(&text[plain..at])?;
            (plain, at) = (next, next);
            match form {
                Form::Text(escape) => out.write_str(escape)?,
                Form::Plain | Form::Visible => out.write_char(visible(character))?,
            }
            if self == Flavour::Markdown && breaks_after(character, &text[plain..]) {
                out.write_str(BREAK)?;
            }
        }
        out.write_str(&text[plain..])
    }

    /// Whether a byte stands for itself in any context.
    fn is_ordinary(self, byte: u8) -> bool {
        match self {
            Flavour::Html => matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\''),
            Flavour::Markdown => {
                matches!(byte, b' ' | b'(' | b')' | b'+'..=b'9' | b'=' | b'A'..=b'Z' | b'a'..=b'z')
                    && !matches!(byte, b'G' | b'W' | b'g' | b'w')
            }
        }
    }

    /// How `character`, the first of `rest`, is written.
    fn form(self, character: char, rest: &str) -> Form {
        Form::Text(match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&#39;",
            '\n' => "<br>",
            '\r' if rest.starts_with("\r\n") => "",
            ' '..='~' if self == Flavour::Html => return Form::Plain,
            ' '..='~' => return markdown(character, rest).map_or(Form::Plain, Form::Text),
            _ if is_inert(character) => return Form::Plain,
            _ => return Form::Visible,
        })
    }
}

/// How a character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Plain,
    /// As an entity, or not at all.
    Text(&'static str),
    /// As something that can be seen and does nothing.
    Visible,
}

/// The form of a printable character in a Markdown document: the entity of every one that could begin a construct.
fn markdown(character: char, rest: &str) -> Option<&'static str> {
    let begins = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    Some(match character {
        '!' => "&#33;",
        '#' => "&#35;",
        '$' => "&#36;",
        '%' => "&#37;",
        '*' => "&#42;",
        '@' => "&#64;",
        '[' => "&#91;",
        '\\' => "&#92;",
        ']' => "&#93;",
        '^' => "&#94;",
        '_' => "&#95;",
        '`' => "&#96;",
        '{' => "&#123;",
        '|' => "&#124;",
        '}' => "&#125;",
        '~' => "&#126;",
        // URLs and emoji codes.
        ':' if rest.starts_with("://") || is_emoji_code(rest) => "&#58;",
        // A link without a scheme, an issue by another name.
        'w' if begins("www.") => "w&#8203;",
        'W' if begins("www.") => "W&#8203;",
        'g' if begins("gh-") => "g&#8203;",
        'G' if begins("gh-") => "G&#8203;",
        _ => return None,
    })
}

/// Whether a reference would begin with `character` in front of `rest`: `@name`, `#1`, `!1`, `$1`, `&1`, `%name`, `~name`,
/// `^alert`, and the note of [`markdown`] on `:`.
fn breaks_after(character: char, rest: &str) -> bool {
    let next = rest.chars().next();
    match character {
        '@' | '#' | '!' | '$' | '&' | '%' | '~' | '^' => {
            next.is_some_and(|next| next.is_alphanumeric() || matches!(next, '"' | '_' | '-'))
        }
        ':' => true,
        _ => false,
    }
}

/// Whether `rest` begins with an emoji's code: `:tada:`, `:+1:`. A time such as `12:30:05` does not.
fn is_emoji_code(rest: &str) -> bool {
    let Some((name, _)) = rest[1..].split_once(':') else { return false };
    (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-'))
        && (name.bytes().any(|byte| !byte.is_ascii_digit()) || matches!(name, "100" | "1234"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(flavour: Flavour, text: &str) -> String {
        let mut out = String::new();
        flavour.escape(text, &mut out).expect("a string takes everything");
        out
    }

    #[test]
    fn data_is_text_in_html() {
        for (text, expected) in [
            ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;"),
            ("a\n  b  c\r\nd", "a<br>&nbsp;&nbsp;b  c<br>d"),
            ("\x1b[31m\u{202e}x\0", "␛[31m\u{fffd}x␀"),
            ("@ada #1 *b*", "@ada #1 *b*"),
        ] {
            assert_eq!(escaped(Flavour::Html, text), expected);
        }
    }

    #[test]
    fn data_is_text_in_markdown() {
        for (text, expected) in [
            ("@ada", "&#64;&#8203;ada"),
            ("a@b", "a&#64;&#8203;b"),
            ("# 50%", "&#35; 50&#37;"),
            ("o/r#12", "o/r&#35;&#8203;12"),
            ("&1", "&amp;&#8203;1"),
            ("https://h", "https&#58;&#8203;//h"),
            (":tada: 12:30:05", "&#58;&#8203;tada: 12:30:05"),
            ("[x](y)", "&#91;x&#93;(y)"),
            ("www.h GH-1", "w&#8203;ww.h G&#8203;H-1"),
        ] {
            assert_eq!(escaped(Flavour::Markdown, text), expected);
        }
    }
}
