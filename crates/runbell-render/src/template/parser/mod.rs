//! Rewrites expressions: jinja2's grammar in, calls of our own operators out.
//!
//! The engine compares values of different types without an error and cannot be taught otherwise, so operators
//! become function calls: `a < b` becomes `__lt(a,b)`. Precedence is jinja2's, decided here.

mod primary;

use std::fmt::Write as _;

use super::lexer::{Kind, Token};
use super::rewrite::{Dialect, Fault};

/// How deeply expressions may nest. The engine's own limit is 150 of its levels; a level here is a few of those.
const MAX_NESTING: usize = 60;

/// How many attributes, calls and filters may follow one another, and how many operands one operator may chain.
/// jinja2 turns each into a nesting of Python code and fails at about 200.
const MAX_CHAIN: usize = 150;

/// How long the rewritten text may become. A chained comparison repeats its middle operand.
const MAX_REWRITTEN: usize = 64 << 10;

/// From this length on the middle operand of a chained comparison is not repeated.
const REPEATED_OPERAND: usize = 256;

/// Names that variables cannot keep.
const KEYWORDS: [&str; 9] = ["and", "else", "if", "in", "is", "not", "or", "recursive", "self"];

type Parsed = Result<(), Fault>;

/// Reads one tag's tokens and writes their rewritten form.
pub(super) struct Parser<'p, 's> {
    source: &'s str,
    tokens: &'p [Token<'s>],
    end: usize,
    at: usize,
    nesting: usize,
    dialect: &'p Dialect,
    /// What the tag becomes.
    pub(super) out: String,
    /// Filters and tests nobody knows; jinja2 forgives them inside conditional expressions.
    unknown: Vec<Fault>,
}

impl<'p, 's> Parser<'p, 's> {
    /// `end` is where the tag ends in `source`, for faults.
    pub(super) fn new(source: &'s str, tokens: &'p [Token<'s>], end: usize, dialect: &'p Dialect) -> Self {
        let out = String::with_capacity(96);
        Parser { source, tokens, end, at: 0, nesting: 0, dialect, out, unknown: Vec::new() }
    }

    /// The fault jinja2 finds at compile time although the grammar is fine, unless `forgiven`.
    pub(super) fn finish(mut self, forgiven: bool) -> Result<String, Fault> {
        if self.at < self.tokens.len() {
            return Err(self.fault("an unexpected word or sign"));
        }
        if !forgiven && !self.unknown.is_empty() {
            return Err(self.unknown.swap_remove(0));
        }
        Ok(self.out)
    }

    pub(super) fn fault(&self, message: &'static str) -> Fault {
        Fault::syntax(self.source, self.tokens.get(self.at).map_or(self.end, |token| token.at), message)
    }

    pub(super) fn peek(&self) -> Option<&'p Kind<'s>> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub(super) fn is_op(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Kind::Op(found)) if *found == operator)
    }

    pub(super) fn is_name(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Kind::Name(found)) if *found == word)
    }

    pub(super) fn skip_op(&mut self, operator: &str) -> bool {
        let found = self.is_op(operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_name(&mut self, word: &str) -> bool {
        let found = self.is_name(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_op(&mut self, operator: &str) -> Parsed {
        if self.skip_op(operator) { Ok(()) } else { Err(self.fault("an unexpected word or sign")) }
    }

    /// Takes a name, whatever it is.
    pub(super) fn name(&mut self) -> Result<&'s str, Fault> {
        match self.peek() {
            Some(Kind::Name(name)) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.fault("a name is expected")),
        }
    }

    /// Whether the tag holds no more tokens.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Writes a variable's name. Names like our own operators' are moved out of their way.
    pub(super) fn push_variable(&mut self, name: &str) {
        // Keywords are plain names in jinja2 where no keyword fits. `self` could call blocks without end.
        if name.starts_with("__") || KEYWORDS.contains(&name) {
            self.out.push_str("__own_");
        }
        self.out.push_str(name);
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING || self.out.len() > MAX_REWRITTEN {
            return Err(self.fault("nested too deeply, or too long"));
        }
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// Writes `word` before what was written since `start`.
    pub(super) fn wrap(&mut self, start: usize, word: &str) {
        self.out.insert_str(start, word);
    }

    /// One or more expressions; with a comma they are a tuple. `conditional` allows `a if b else c`.
    pub(super) fn tuple(&mut self, conditional: bool, stop: Option<&str>) -> Parsed {
        let start = self.out.len();
        let mut count = 0;
        let mut comma = false;
        while !(self.is_done() || self.is_op(")") || stop.is_some_and(|word| self.is_name(word))) {
            self.expression(conditional)?;
            count += 1;
            comma = self.skip_op(",");
            if !comma {
                break;
            }
            self.out.push(',');
        }
        match (count, comma) {
            (0, _) => Err(self.fault("an expression is expected")),
            (1, false) => Ok(()),
            _ => {
                self.wrap(start, "(");
                self.out.push(')');
                Ok(())
            }
        }
    }

    /// One expression.
    pub(super) fn expression(&mut self, conditional: bool) -> Parsed {
        if conditional { self.deeper(Self::conditional) } else { self.deeper(Self::or) }
    }

    fn conditional(&mut self) -> Parsed {
        let (start, known) = (self.out.len(), self.unknown.len());
        self.or()?;
        let mut links = 0;
        while self.skip_name("if") {
            links += 1;
            self.limit(links)?;
            self.wrap(start, "(");
            self.out.push_str(" if ");
            self.or()?;
            if self.skip_name("else") {
                self.out.push_str(" else ");
                self.deeper(Self::conditional)?;
            }
            self.out.push(')');
            self.unknown.truncate(known);
        }
        Ok(())
    }

    fn limit(&self, links: usize) -> Parsed {
        if links > MAX_CHAIN { Err(self.fault("too many operators in one row")) } else { Ok(()) }
    }

    fn or(&mut self) -> Parsed {
        self.and()?;
        let mut links = 0;
        while self.skip_name("or") {
            links += 1;
            self.limit(links)?;
            self.out.push_str(" or ");
            self.and()?;
        }
        Ok(())
    }

    fn and(&mut self) -> Parsed {
        self.not()?;
        let mut links = 0;
        while self.skip_name("and") {
            links += 1;
            self.limit(links)?;
            self.out.push_str(" and ");
            self.not()?;
        }
        Ok(())
    }

    fn not(&mut self) -> Parsed {
        if self.skip_name("not") {
            self.out.push_str("not ");
            return self.deeper(Self::not);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed {
        let start = self.out.len();
        self.sum()?;
        let mut operands = vec![(start, self.out.len())];
        let mut functions = Vec::new();
        while let Some(function) = self.comparison_operator() {
            functions.push(function);
            self.limit(functions.len())?;
            self.out.push(',');
            let from = self.out.len();
            self.sum()?;
            operands.push((from, self.out.len()));
        }
        match functions.as_slice() {
            [] => {}
            [only] => {
                self.wrap(start, only);
                self.out.push(')');
            }
            chain => {
                let texts: Vec<&str> = operands.iter().map(|(from, to)| &self.out[*from..*to]).collect();
                let mut rewritten = String::new();
                if texts[1..chain.len()].iter().all(|text| text.len() < REPEATED_OPERAND) {
                    for (at, function) in chain.iter().enumerate() {
                        rewritten.push_str(if at == 0 { "(" } else { " and " });
                        let _ = write!(rewritten, "{function}{},{})", texts[at], texts[at + 1]);
                    }
                } else {
                    let _ = write!(rewritten, "__chain({}", texts[0]);
                    for (function, text) in chain.iter().zip(&texts[1..]) {
                        let _ = write!(rewritten, ",\"{}\",{text}", function.trim_matches(['_', '(']));
                    }
                }
                rewritten.push(')');
                self.out.truncate(start);
                self.out.push_str(&rewritten);
            }
        }
        Ok(())
    }

    /// Takes a comparison operator and gives the call it becomes.
    fn comparison_operator(&mut self) -> Option<&'static str> {
        let function = match self.peek()? {
            Kind::Op("==") => "__eq(",
            Kind::Op("!=") => "__ne(",
            Kind::Op("<") => "__lt(",
            Kind::Op("<=") => "__le(",
            Kind::Op(">") => "__gt(",
            Kind::Op(">=") => "__ge(",
            Kind::Name("in") => "__in(",
            Kind::Name("not") => {
                if !matches!(self.tokens.get(self.at + 1), Some(Token { kind: Kind::Name("in"), .. })) {
                    return None;
                }
                self.at += 1;
                "__notin("
            }
            _ => return None,
        };
        self.at += 1;
        Some(function)
    }

    fn fold(&mut self, operators: &[&str], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let start = self.out.len();
        operand(self)?;
        let mut links = 0;
        while let Some(Kind::Op(operator)) = self.peek() {
            if !operators.contains(operator) {
                break;
            }
            self.at += 1;
            links += 1;
            self.limit(links)?;
            let _ = write!(self.out, ",\"{operator}\",");
            operand(self)?;
        }
        if links > 0 {
            self.wrap(start, "__math(");
            self.out.push(')');
        }
        Ok(())
    }

    fn sum(&mut self) -> Parsed {
        self.fold(&["+", "-"], Self::concatenation)
    }

    fn concatenation(&mut self) -> Parsed {
        let start = self.out.len();
        self.product()?;
        let mut links = 0;
        while self.skip_op("~") {
            links += 1;
            self.limit(links)?;
            self.out.push(',');
            self.product()?;
        }
        if links > 0 {
            self.wrap(start, "__concat(");
            self.out.push(')');
        }
        Ok(())
    }

    fn product(&mut self) -> Parsed {
        self.fold(&["*", "/", "//", "%"], Self::power)
    }

    fn power(&mut self) -> Parsed {
        // jinja2 folds powers from the left, unlike Python.
        self.fold(&["**"], |parser| parser.unary(true))
    }

    fn unary(&mut self, filters: bool) -> Parsed {
        let start = self.out.len();
        let function = match self.peek() {
            Some(Kind::Op("-")) => Some("__neg("),
            Some(Kind::Op("+")) => Some("__pos("),
            _ => None,
        };
        if let Some(function) = function {
            self.at += 1;
            self.out.push_str(function);
            self.deeper(|parser| parser.unary(false))?;
            self.out.push(')');
        } else {
            self.primary()?;
        }
        let mut links = 0;
        self.postfix(start, &mut links)?;
        if !filters {
            return Ok(());
        }
        loop {
            if self.skip_op("|") {
                self.filter(start)?;
            } else if self.skip_name("is") {
                self.test(start)?;
            } else if self.is_op("(") {
                self.call()?;
            } else {
                return Ok(());
            }
            links += 1;
            self.limit(links)?;
        }
    }
}
