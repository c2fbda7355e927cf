//! The tokens of one tag, read one after the other, and the rewritten text, written as they are read.

use crate::fault::Fault;
use crate::syntax::dialect::Dialect;
use crate::syntax::token::{Token, TokenKind};

/// How deeply expressions may nest. The engine's own limit is 150 of its levels; a level here is a few of those.
const MAX_NESTING: usize = 60;

/// How many attributes, calls and filters may follow one another, and how many operands one operator may chain.
/// jinja2 turns each into a nesting of Python code and fails at about 200.
const MAX_CHAIN: usize = 150;

/// How long the rewritten text may become. A chained comparison repeats its middle operand.
const MAX_REWRITTEN: usize = 64 << 10;

/// Names that variables cannot keep.
const KEYWORDS: [&str; 9] = ["and", "else", "if", "in", "is", "not", "or", "recursive", "self"];

/// The result of rewriting one construct.
pub(in crate::syntax) type Parsed = Result<(), Fault>;

/// Reads one tag's tokens and writes their rewritten form.
pub(in crate::syntax) struct Parser<'p, 's> {
    pub(super) source: &'s str,
    pub(super) tokens: &'p [Token<'s>],
    /// The offset in the source behind the tag.
    end: usize,
    /// The index of the next token.
    pub(super) at: usize,
    nesting: usize,
    pub(super) dialect: &'p Dialect,
    /// The rewritten tag.
    pub(in crate::syntax) out: String,
    /// Unknown filters and tests; jinja2 forgives them inside conditional expressions.
    pub(super) unknown: Vec<Fault>,
}

impl<'p, 's> Parser<'p, 's> {
    /// A parser of `tokens`. `end` is the offset behind the tag in `source`, for faults.
    pub(in crate::syntax) fn new(source: &'s str, tokens: &'p [Token<'s>], end: usize, dialect: &'p Dialect) -> Self {
        let out = String::with_capacity(96);
        Parser { source, tokens, end, at: 0, nesting: 0, dialect, out, unknown: Vec::new() }
    }

    /// The rewritten tag.
    ///
    /// # Errors
    /// Tokens that are left, and unless they are `forgiven` the unknown filters and tests.
    pub(in crate::syntax) fn finish(mut self, forgiven: bool) -> Result<String, Fault> {
        if self.at < self.tokens.len() {
            return Err(self.fault("an unexpected word or sign"));
        }
        if !forgiven && !self.unknown.is_empty() {
            return Err(self.unknown.swap_remove(0));
        }
        Ok(self.out)
    }

    pub(in crate::syntax) fn fault(&self, message: &'static str) -> Fault {
        Fault::syntax(self.source, self.tokens.get(self.at).map_or(self.end, |token| token.at), message)
    }

    pub(in crate::syntax) fn peek(&self) -> Option<&'p TokenKind<'s>> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub(in crate::syntax) fn is_op(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(TokenKind::Op(found)) if *found == operator)
    }

    pub(in crate::syntax) fn is_name(&self, word: &str) -> bool {
        matches!(self.peek(), Some(TokenKind::Name(found)) if *found == word)
    }

    pub(in crate::syntax) fn skip_op(&mut self, operator: &str) -> bool {
        let found = self.is_op(operator);
        self.at += usize::from(found);
        found
    }

    pub(in crate::syntax) fn skip_name(&mut self, word: &str) -> bool {
        let found = self.is_name(word);
        self.at += usize::from(found);
        found
    }

    pub(in crate::syntax) fn expect_op(&mut self, operator: &str) -> Parsed {
        if self.skip_op(operator) { Ok(()) } else { Err(self.fault("an unexpected word or sign")) }
    }

    /// Takes any name, a keyword too.
    pub(in crate::syntax) fn name(&mut self) -> Result<&'s str, Fault> {
        match self.peek() {
            Some(TokenKind::Name(name)) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.fault("a name is expected")),
        }
    }

    /// Whether the tag holds no more tokens.
    pub(in crate::syntax) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Writes a variable's name. A name like one of our own operators' gets a prefix.
    pub(in crate::syntax) fn push_variable(&mut self, name: &str) {
        // Keywords are plain names in jinja2 where no keyword fits. `self` could call blocks without end.
        if name.starts_with("__") || KEYWORDS.contains(&name) {
            self.out.push_str("__own_");
        }
        self.out.push_str(name);
    }

    /// Runs `inner` one level of nesting deeper.
    ///
    /// # Errors
    /// A nesting that the stack may not hold, or a text that is too long.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING || self.out.len() > MAX_REWRITTEN {
            return Err(self.fault("nested too deeply, or too long"));
        }
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// Inserts `word` before the text written since `start`.
    pub(super) fn wrap(&mut self, start: usize, word: &str) {
        self.out.insert_str(start, word);
    }

    /// Refuses more than [`MAX_CHAIN`] links.
    pub(super) fn limit(&self, links: usize) -> Parsed {
        if links > MAX_CHAIN { Err(self.fault("too many operators in one row")) } else { Ok(()) }
    }
}
