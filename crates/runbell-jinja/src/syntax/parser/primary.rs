//! The operands of operators: names, literals, brackets, and the attributes, calls, filters and tests behind them.

use std::fmt::Write as _;

use super::cursor::{Parsed, Parser};
use crate::fault::Fault;
use crate::syntax::token::{Token, TokenKind};

impl Parser<'_, '_> {
    pub(super) fn primary(&mut self) -> Parsed {
        let Some(kind) = self.peek() else { return Err(self.fault("an expression is expected")) };
        match kind {
            TokenKind::Name(name) => {
                self.at += 1;
                match *name {
                    "true" | "True" => self.out.push_str("true"),
                    "false" | "False" => self.out.push_str("false"),
                    "none" | "None" => self.out.push_str("none"),
                    name => self.push_variable(name),
                }
            }
            TokenKind::Text(_) => {
                let mut whole = String::new();
                while let Some(TokenKind::Text(text)) = self.peek() {
                    whole.push_str(text);
                    self.at += 1;
                }
                self.push_text(&whole);
            }
            TokenKind::Int(_) | TokenKind::Float(_) => {
                self.at += 1;
                self.push_number(kind);
            }
            TokenKind::Op("(") => {
                self.at += 1;
                self.out.push('(');
                if !self.is_op(")") {
                    self.tuple(true, None)?;
                }
                self.out.push(')');
                self.expect_op(")")?;
            }
            TokenKind::Op("[") => {
                self.at += 1;
                self.out.push('[');
                while !self.is_op("]") {
                    self.expression(true)?;
                    if !self.skip_op(",") {
                        break;
                    }
                    self.out.push(',');
                }
                self.out.push(']');
                self.expect_op("]")?;
            }
            TokenKind::Op("{") => self.dict()?,
            _ => return Err(self.fault("an expression is expected")),
        }
        Ok(())
    }

    fn dict(&mut self) -> Parsed {
        self.at += 1;
        self.out.push('{');
        while !self.is_op("}") {
            let literal = matches!(self.peek(), Some(TokenKind::Text(_) | TokenKind::Int(_)))
                && matches!(self.tokens.get(self.at + 1), Some(Token { kind: TokenKind::Op(":"), .. }));
            // A list or a dict is no key in Python, and hashing a large one is slow.
            self.out.push_str(if literal { "" } else { "__key(" });
            self.expression(true)?;
            self.out.push_str(if literal { ":" } else { "):" });
            self.expect_op(":")?;
            self.expression(true)?;
            if !self.skip_op(",") {
                break;
            }
            self.out.push(',');
        }
        // The space keeps `}}` from closing the tag.
        self.out.push_str("} ");
        self.expect_op("}")
    }

    fn push_text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                plain => self.out.push(plain),
            }
        }
        self.out.push('"');
    }

    fn push_number(&mut self, kind: &TokenKind<'_>) {
        match kind {
            TokenKind::Int(digits) if digits.parse::<u128>().is_ok() => self.out.push_str(digits),
            TokenKind::Float(text) if !text.contains(['e', 'E']) => self.out.push_str(text),
            TokenKind::Int(text) | TokenKind::Float(text) => {
                // The engine reads neither integers beyond 128 bit nor every exponent.
                let _ = write!(self.out, "__num(\"{text}\")");
            }
            _ => {}
        }
    }

    pub(super) fn postfix(&mut self, start: usize, links: &mut usize) -> Parsed {
        loop {
            if self.skip_op(".") {
                match self.peek() {
                    Some(TokenKind::Name(name)) => {
                        self.out.push('.');
                        self.out.push_str(name);
                    }
                    Some(TokenKind::Int(digits)) => {
                        let _ = write!(self.out, "[{digits}]");
                    }
                    _ => return Err(self.fault("a name or a number is expected")),
                }
                self.at += 1;
            } else if self.skip_op("[") {
                self.subscript(start)?;
            } else if self.is_op("(") {
                self.call()?;
            } else {
                return Ok(());
            }
            *links += 1;
            self.limit(*links)?;
        }
    }

    fn subscript(&mut self, start: usize) -> Parsed {
        let literal = matches!(self.peek(), Some(TokenKind::Text(_) | TokenKind::Int(_)))
            && matches!(self.tokens.get(self.at + 1), Some(Token { kind: TokenKind::Op("]"), .. }));
        if literal {
            self.out.push('[');
            self.primary()?;
            self.out.push(']');
            return self.expect_op("]");
        }
        let from = self.out.len();
        if !self.is_op(":") {
            self.tuple(true, None)?;
            if !self.is_op(":") {
                self.wrap(from, "[__index(");
                self.out.push_str(")]");
                return self.expect_op("]");
            }
        } else {
            self.out.push_str("none");
        }
        self.wrap(from, ",");
        for _ in 0..2 {
            self.out.push(',');
            let given = self.skip_op(":") && !self.is_op(":") && !self.is_op("]");
            if given { self.expression(true)? } else { self.out.push_str("none") }
        }
        self.wrap(start, "__slice(");
        self.out.push(')');
        self.expect_op("]")
    }

    pub(super) fn call(&mut self) -> Parsed {
        self.expect_op("(")?;
        self.out.push('(');
        self.arguments()?;
        self.out.push(')');
        Ok(())
    }

    /// Arguments up to and with the closing bracket, which is not written.
    fn arguments(&mut self) -> Parsed {
        while !self.is_op(")") {
            if self.skip_op("*") {
                self.out.push('*');
            } else if self.skip_op("**") {
                self.out.push_str("**");
            } else if let (Some(TokenKind::Name(name)), Some(Token { kind: TokenKind::Op("="), .. })) =
                (self.peek(), self.tokens.get(self.at + 1))
            {
                self.out.push_str(name);
                self.out.push('=');
                self.at += 2;
            }
            self.expression(true)?;
            if !self.skip_op(",") {
                break;
            }
            self.out.push(',');
        }
        self.expect_op(")")
    }

    /// A filter, its bar already taken.
    pub(in crate::syntax) fn filter(&mut self, start: usize) -> Parsed {
        let at = self.at;
        let name = self.name()?;
        if !self.dialect.filters.contains(&name) {
            self.unknown.push(Fault::syntax(self.source, self.tokens[at].at, format!("unknown filter `{name}`")));
        }
        if self.out.len() > start {
            self.out.push('|');
        }
        self.out.push_str(name);
        if self.is_op("(") { self.call() } else { Ok(()) }
    }

    /// A test, its `is` already taken.
    pub(super) fn test(&mut self, start: usize) -> Parsed {
        let negated = self.skip_name("not");
        let at = self.at;
        let name = self.name()?;
        if !self.dialect.tests.contains(&name) {
            self.unknown.push(Fault::syntax(self.source, self.tokens[at].at, format!("unknown test `{name}`")));
        }
        if name == "in" {
            self.wrap(start, "__in(");
            self.out.push(',');
        } else {
            let _ = write!(self.out, " is {name}(");
        }
        let argument = match self.peek() {
            Some(TokenKind::Name(word)) => !["else", "or", "and"].contains(word),
            Some(TokenKind::Text(_) | TokenKind::Int(_) | TokenKind::Float(_) | TokenKind::Op("[" | "{")) => true,
            _ => false,
        };
        if self.skip_op("(") {
            self.arguments()?;
        } else if argument {
            if self.is_name("is") {
                return Err(self.fault("tests cannot be chained"));
            }
            let from = self.out.len();
            self.deeper(Self::primary)?;
            self.postfix(from, &mut 0)?;
        }
        self.out.push(')');
        self.wrap(start, if negated { "(not (" } else { "(" });
        self.out.push_str(if negated { "))" } else { ")" });
        Ok(())
    }
}
