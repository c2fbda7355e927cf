//! The tokens of a tag.

/// One token and the byte offset in the source where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) kind: TokenKind<'s>,
    pub(super) at: usize,
}

/// The kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'s> {
    /// A name or keyword.
    Name(&'s str),
    /// A text literal, decoded.
    Text(String),
    /// An integer literal as decimal digits.
    Int(String),
    /// A float literal as written, without underscores.
    Float(String),
    /// An operator or bracket.
    Op(&'static str),
}
