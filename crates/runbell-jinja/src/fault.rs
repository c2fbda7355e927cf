//! Why a condition or a text cannot be used: a cause for programs, and a message for people.

use std::error::Error as _;
use std::fmt;

use minijinja::{Error, ErrorKind};

/// Why a condition or a text has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The source is no template: jinja2 would not compile it either.
    Syntax,
    /// The template failed on this run: a missing value was used, or types do not fit.
    Error,
    /// The template used up its fuel.
    Fuel,
}

impl Cause {
    /// The word in reports and verdicts: `syntax`, `error` or `fuel`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Syntax => "syntax",
            Cause::Error => "error",
            Cause::Fuel => "fuel",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault of a template, found when it was compiled or when it was evaluated.
///
/// Display is one line, `line 3: a missing value has no order`, without the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The cause, for programs.
    pub cause: Cause,
    /// The line in the source, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The fault in words, on one line. Quotes the template's own words only, never a value.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// A source that exceeds `limit` bytes.
    pub(crate) fn too_long(limit: usize) -> Fault {
        Fault { cause: Cause::Syntax, line: None, message: format!("longer than {limit} bytes") }
    }

    /// A fault of grammar at a byte offset of `source`.
    pub(crate) fn syntax(source: &str, at: usize, message: impl Into<String>) -> Fault {
        let before = &source.as_bytes()[..at.min(source.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Fault { cause: Cause::Syntax, line: Some(line), message: message.into() }
    }

    /// An error of the engine in words that quote no value: the engine's own texts may.
    pub(crate) fn of(error: &Error, source: &str) -> Fault {
        let cause = match error.kind() {
            ErrorKind::OutOfFuel => Cause::Fuel,
            ErrorKind::SyntaxError => Cause::Syntax,
            _ => Cause::Error,
        };
        let message = match error.source().and_then(|cause| cause.downcast_ref::<Refusal>()) {
            Some(refusal) => refusal.0.to_owned(),
            None => words(error, source),
        };
        Fault { cause, line: error.line(), message }
    }

    /// An error of the engine's compiler. jinja2 would not compile the source either, so the cause is the syntax.
    pub(crate) fn of_compiler(error: &Error, source: &str) -> Fault {
        Fault { cause: Cause::Syntax, ..Fault::of(error, source) }
    }
}

fn words(error: &Error, source: &str) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "it does more work than it may",
        ErrorKind::SyntaxError => "it cannot be read",
        ErrorKind::UndefinedError => "a missing value is used",
        ErrorKind::UnknownFilter => return named("unknown filter", error, source),
        ErrorKind::UnknownTest => return named("unknown test", error, source),
        ErrorKind::UnknownFunction => return named("unknown function", error, source),
        ErrorKind::UnknownMethod => "a method that this value does not have",
        ErrorKind::MissingArgument => "an argument is missing",
        ErrorKind::TooManyArguments => "too many arguments",
        ErrorKind::CannotUnpack => "a value that cannot be unpacked",
        _ => "an operation does not fit its operands",
    }
    .to_owned()
}

/// Names a filter, test or function only if the author wrote that name: other names may come from run data.
fn named(fault: &str, error: &Error, source: &str) -> String {
    let name = error.detail().and_then(|detail| {
        let words = detail.strip_prefix("filter ").or_else(|| detail.strip_prefix("test ")).unwrap_or(detail);
        words.strip_suffix(" is unknown")
    });
    match name {
        Some(name) if source.contains(name) && name.chars().all(|c| c == '_' || c.is_alphanumeric()) => {
            format!("{fault} `{name}`")
        }
        _ => fault.to_owned(),
    }
}

/// An error of our own, whose words hold no run data.
#[derive(Debug)]
struct Refusal(&'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

/// An error for the engine to pass on, in words of our own.
#[cold]
pub(crate) fn refuse(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why).with_source(Refusal(why))
}
