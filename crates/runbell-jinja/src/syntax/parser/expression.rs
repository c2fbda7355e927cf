//! Expressions, from the conditional `a if b else c` down to the operators with a sign.
//!
//! The engine compares values of different types without an error, and no setting changes that, so operators become
//! function calls: `a < b` becomes `__lt(a,b)`. Precedence is jinja2's, decided here.

use std::fmt::Write as _;

use super::cursor::{Parsed, Parser};
use crate::syntax::token::{Token, TokenKind};

/// From this length on the middle operand of a chained comparison is not repeated.
const REPEATED_OPERAND: usize = 256;

impl Parser<'_, '_> {
    /// One or more expressions; with a comma they are a tuple. `conditional` allows `a if b else c`.
    pub(in crate::syntax) fn tuple(&mut self, conditional: bool, stop: Option<&str>) -> Parsed {
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
    pub(in crate::syntax) fn expression(&mut self, conditional: bool) -> Parsed {
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

    /// Takes a comparison operator; returns the call that replaces it.
    fn comparison_operator(&mut self) -> Option<&'static str> {
        let function = match self.peek()? {
            TokenKind::Op("==") => "__eq(",
            TokenKind::Op("!=") => "__ne(",
            TokenKind::Op("<") => "__lt(",
            TokenKind::Op("<=") => "__le(",
            TokenKind::Op(">") => "__gt(",
            TokenKind::Op(">=") => "__ge(",
            TokenKind::Name("in") => "__in(",
            TokenKind::Name("not") => {
                if !matches!(self.tokens.get(self.at + 1), Some(Token { kind: TokenKind::Name("in"), .. })) {
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
        while let Some(TokenKind::Op(operator)) = self.peek() {
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
            Some(TokenKind::Op("-")) => Some("__neg("),
            Some(TokenKind::Op("+")) => Some("__pos("),
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
