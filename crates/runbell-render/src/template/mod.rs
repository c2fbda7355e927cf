//! Run data as templates see it, and the engine that conditions and bodies share: minijinja, deciding as jinja2 does.
//!
//! The engine compares anything with anything; Python raises. So templates are rewritten before they are compiled:
//! operators become calls of functions that raise where Python does and pay for what they make.

mod compare;
mod environment;
mod filters;
mod json;
mod lexer;
mod methods;
mod objects;
mod operators;
mod parser;
mod print;
mod rewrite;
mod tests;

use std::error::Error as _;
use std::fmt;

use minijinja::{Error, ErrorKind, Value as Engine};
use runbell_core::Value;

pub(crate) use environment::{BODY, CONDITION};
use objects::{BoundMethod, Dict, Huge, List};
pub(crate) use rewrite::{Rewritten, rewrite};

/// Run data converted for templates: made once per transition, then shared by every condition and body.
///
/// Cloning is cheap. Objects keep the order they were written in, and print as Python prints them. `x["items"]` is
/// the key; `x.items` is the dict's method, and a key only where no method has that name, as in jinja2.
#[derive(Debug, Clone)]
pub struct TemplateValue(Engine);

impl TemplateValue {
    /// Converts a value; what is inside objects only once it is looked at.
    pub fn new(value: &Value) -> Self {
        TemplateValue(convert(value))
    }

    /// The value as the engine holds it.
    pub(crate) fn engine(&self) -> Engine {
        self.0.clone()
    }
}

impl From<&Value> for TemplateValue {
    fn from(value: &Value) -> Self {
        Self::new(value)
    }
}

fn convert(value: &Value) -> Engine {
    match value {
        Value::Null => Engine::from(()),
        Value::Bool(flag) => Engine::from(*flag),
        Value::Int(number) => Engine::from(*number),
        Value::BigInt(digits) => integer(digits.as_str()),
        Value::Float(number) => Engine::from(*number),
        Value::String(text) => Engine::from(text.as_str()),
        Value::List(list) => Engine::from_object(List::new(list.iter().map(convert).collect())),
        Value::Map(map) => Engine::from_object(Dict::new(map)),
    }
}

/// An integer of any size out of its decimal digits.
fn integer(digits: &str) -> Engine {
    match (digits.parse::<i64>(), digits.parse::<i128>(), digits.parse::<u128>()) {
        (Ok(number), ..) => Engine::from(number),
        (_, Ok(number), _) => Engine::from(number),
        (.., Ok(number)) => Engine::from(number),
        _ => Engine::from_object(Huge::new(digits)),
    }
}

/// Why a template could not be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is no template: jinja2 would not compile it.
    Syntax,
    /// It failed on this run: a missing value used, types that do not fit.
    Error,
    /// It used up what it may use.
    Fuel,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Syntax => "syntax",
            Cause::Error => "error",
            Cause::Fuel => "fuel",
        })
    }
}

/// An error of our own, whose words are known to hold no run data.
#[derive(Debug)]
struct Refusal(&'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

#[cold]
fn refuse(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why).with_source(Refusal(why))
}

/// What an engine error means, in one line that quotes no value: the engine's own texts may.
pub(crate) fn explain(error: &Error, source: &str) -> (Cause, String) {
    let cause = match error.kind() {
        ErrorKind::OutOfFuel => Cause::Fuel,
        ErrorKind::SyntaxError => Cause::Syntax,
        _ => Cause::Error,
    };
    let what = match error.source().and_then(|source| source.downcast_ref::<Refusal>()) {
        Some(refusal) => refusal.0.to_owned(),
        None => match error.kind() {
            ErrorKind::OutOfFuel => "it does more work than it may".to_owned(),
            ErrorKind::SyntaxError => "it cannot be read".to_owned(),
            ErrorKind::UndefinedError => "a missing value is used".to_owned(),
            ErrorKind::UnknownFilter => named("unknown filter", error, source),
            ErrorKind::UnknownTest => named("unknown test", error, source),
            ErrorKind::UnknownFunction => named("unknown function", error, source),
            ErrorKind::UnknownMethod => "a method that this value does not have".to_owned(),
            ErrorKind::MissingArgument => "an argument is missing".to_owned(),
            ErrorKind::TooManyArguments => "too many arguments".to_owned(),
            ErrorKind::CannotUnpack => "a value that cannot be unpacked".to_owned(),
            _ => "an operation does not fit its operands".to_owned(),
        },
    };
    match error.line() {
        Some(line) => (cause, format!("line {line}: {what}")),
        None => (cause, what),
    }
}

/// Names a filter, test or function, if the template's author wrote that name: others could come from run data.
fn named(what: &str, error: &Error, source: &str) -> String {
    let name = error.detail().and_then(|detail| {
        let words = detail.strip_prefix("filter ").or_else(|| detail.strip_prefix("test ")).unwrap_or(detail);
        words.strip_suffix(" is unknown")
    });
    match name {
        Some(name) if source.contains(name) && name.chars().all(|c| c == '_' || c.is_alphanumeric()) => {
            format!("{what} `{name}`")
        }
        _ => what.to_owned(),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn values_cross_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<TemplateValue>();
    }
}
