//! The arguments of a filter.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use crate::engine::compare::Number;
use crate::fault::refuse;

/// Arguments by position or by name, as Python takes them.
pub(super) struct Arguments {
    by_position: Vec<Value>,
    by_name: Option<Kwargs>,
}

impl Arguments {
    /// Refuses more arguments than there are `names`, and names that are not among them.
    pub(super) fn new(mut by_position: Vec<Value>, names: &[&str]) -> Result<Self, Error> {
        let by_name = match by_position.pop_if(|last| last.is_kwargs()) {
            Some(last) => Some(Kwargs::try_from(last)?),
            None => None,
        };
        if by_position.len() > names.len() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        if by_name.as_ref().is_some_and(|kwargs| kwargs.args().any(|name| !names.contains(&name))) {
            return Err(refuse("an unknown argument"));
        }
        Ok(Arguments { by_position, by_name })
    }

    /// The argument at a position or under a name.
    pub(super) fn get(&self, at: usize, name: &str) -> Option<Value> {
        let named = || self.by_name.as_ref().and_then(|kwargs| kwargs.peek::<Option<Value>>(name).ok().flatten());
        self.by_position.get(at).cloned().or_else(named)
    }

    /// Whether an argument is given and true.
    pub(super) fn flag(&self, at: usize, name: &str) -> bool {
        self.get(at, name).is_some_and(|value| value.is_true())
    }

    /// An integer argument.
    pub(super) fn count(&self, at: usize, name: &str, default: i64) -> Result<i64, Error> {
        match self.get(at, name) {
            None => Ok(default),
            Some(value) => match Number::of(&value) {
                Some(Number::Int(number)) => {
                    i64::try_from(number).map_err(|_| refuse("a number too large for an argument"))
                }
                _ => Err(refuse("an argument must be an integer")),
            },
        }
    }
}
