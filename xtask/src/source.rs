//! Rust source as the house rules see it: words and signs, without comments, texts and what only tests compile.

/// A word or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Sign(char),
}

impl Token {
    pub(crate) fn is(&self, sign: char) -> bool {
        *self == Token::Sign(sign)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Sign(_) => None,
        }
    }
}

/// The tokens of a file that the product itself is built of.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    without_tests(&all_tokens(text))
}

fn all_tokens(text: &str) -> Vec<Token> {
    let (bytes, mut tokens, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let rest = &text[at..];
        at += match byte {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => comment(rest),
            b'"' => quoted(rest),
            b'r' | b'b' | b'c' if literal(rest).is_some() => literal(rest).unwrap_or(1),
            b'\'' => quote(rest),
            _ => {
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                if word > 0 {
                    tokens.push(Token::Word(rest[..word].to_owned()));
                } else if let Some(sign) = rest.chars().next().filter(|sign| !sign.is_whitespace()) {
                    tokens.push(Token::Sign(sign));
                }
                word.max(rest.chars().next().map_or(1, char::len_utf8))
            }
        };
    }
    tokens
}

/// The length of a comment that may hold others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a text in double quotes.
fn quoted(rest: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a text with letters in front: raw, or of bytes.
fn literal(rest: &str) -> Option<usize> {
    let letters = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c')).filter(|letters| *letters <= 2)?;
    let is_raw = rest[..letters].contains('r');
    let hashes = rest[letters..].bytes().take_while(|byte| *byte == b'#').count();
    let begin = letters + hashes;
    match rest.as_bytes().get(begin)? {
        b'"' if is_raw => {
            let end = format!("\"{}", "#".repeat(hashes));
            Some(rest[begin + 1..].find(&end).map_or(rest.len(), |at| begin + 1 + at + end.len()))
        }
        b'"' if hashes == 0 => Some(letters + quoted(&rest[letters..])),
        b'\'' if hashes == 0 && !is_raw => Some(letters + quote(&rest[letters..])),
        _ => None,
    }
}

/// The length of a character, or of a lifetime's quote alone.
fn quote(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let behind = escaped + 1;
            rest[behind..].find('\'').map_or(rest.len(), |at| behind + at + 1)
        }
        (_, Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// Leaves out every item behind an attribute such as `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::with_capacity(tokens.len()), 0);
    while at < tokens.len() {
        let attribute = (tokens[at].is('#') && tokens.get(at + 1).is_some_and(|token| token.is('[')))
            .then(|| at + 1 + balanced(&tokens[at + 1..]));
        match attribute {
            Some(end) if is_of_tests(&tokens[at..end]) => at = end + item(&tokens[end..]),
            _ => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

fn is_of_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Token::word).collect();
    words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not")
}

/// The number of tokens up to the bracket that closes the first one.
pub(crate) fn balanced(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The number of tokens of an item: up to its semicolon, or to the end of its braces.
fn item(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            Token::Sign(';') => return at + 1,
            Token::Sign('{') => return at + balanced(&tokens[at..]),
            Token::Sign('(' | '[') => at += balanced(&tokens[at..]),
            _ => at += 1,
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_texts_and_tests_are_left_out() {
        let text = r####"
            // crate::a
            /* crate::b /* crate::c */ */
            fn f<'a>(x: &'a str) -> char { let _ = ("crate::d \" x", r#"crate::e " x"#, b"crate::f", b'"', '\'', '"'); 'x' }
            #[cfg(test)]
            mod tests { use crate::g; }
            #[cfg(all(test, feature = "x"))]
            use crate::h;
            #[cfg(not(test))]
            use crate::i;
        "####;
        let words: Vec<String> = tokens(text).iter().filter_map(Token::word).map(str::to_owned).collect();
        let kept = ["fn", "f", "a", "x", "a", "str", "char", "let", "_", "cfg", "not", "test", "use", "crate", "i"];
        assert_eq!(words, kept);
    }
}
