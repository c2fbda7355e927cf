//! One named check of a contract, and how it fails.

use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use runbell_core::{Error, Rendered};

/// Which check of which contract is under way.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    contract: &'static str,
    name: String,
}

impl Check {
    pub(crate) fn new(contract: &'static str, name: impl Into<String>) -> Self {
        Check { contract, name: name.into() }
    }

    /// Fails the check.
    #[track_caller]
    pub(crate) fn fail(&self, what: impl Display) -> ! {
        panic!("{}[{}]: {what}", self.contract, self.name)
    }

    /// Fails the check unless `holds`.
    #[track_caller]
    pub(crate) fn ensure(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    /// Runs the code under test. Its panic is not repeated here: it has been printed, and may quote anything.
    #[track_caller]
    pub(crate) fn unharmed<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(value) => value,
            Err(_) => self.fail(format!("{what} panics; the panic's own text is further up")),
        }
    }

    #[track_caller]
    pub(crate) fn equal<T: PartialEq + Debug>(&self, what: &str, seen: &T, wanted: &T) {
        self.ensure(seen == wanted, || format!("{what} is {seen:?}, not {wanted:?}"));
    }
}

/// The notes of a rendered message, a line for each.
pub(crate) fn all_notes(rendered: &Rendered) -> String {
    rendered.notes.iter().map(|note| format!("{note}\n")).collect()
}

/// Everything an error can print: itself, its reason, its causes.
pub(crate) fn everything_about(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.reason());
    let mut source: Option<&dyn StdError> = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text
}
