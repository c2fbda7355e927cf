//! How the engine uses run data: keys before attributes, Python's methods, Python's printing.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};

use super::data::{Dict, Huge, List};
use super::{methods, print};
use crate::fault::refuse;

/// The methods a Python dict has, which `.name` finds before any key.
const DICT_METHODS: [&str; 11] =
    ["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

impl Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        // A key that is not there falls back to the attribute, as in jinja2.
        let key = key.as_str()?;
        self.get(key).cloned().or_else(|| BoundMethod::find(&Value::from_dyn_object(self.clone()), key))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if DICT_METHODS.contains(&key) {
            return BoundMethod::find(&Value::from_dyn_object(self.clone()), key);
        }
        self.get(key).cloned()
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if !DICT_METHODS.contains(&method) {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        // Another error than "unknown method", or the engine would look the method up as a value and call that.
        methods::call(state, &Value::from_dyn_object(self.clone()), method, args).map_err(|error| match error.kind() {
            ErrorKind::UnknownMethod => refuse("a method that would change the run"),
            _ => error,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let dict = self.clone();
        Enumerator::KeyValueIter(Box::new((0..self.len()).map(move |at| match dict.member(at) {
            Some((key, value)) => (Value::from(key), value.clone()),
            None => (Value::UNDEFINED, Value::UNDEFINED),
        })))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::render_bounded(&Value::from_dyn_object(self.clone()), f)
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::render_bounded(&Value::from_dyn_object(self.clone()), f)
    }
}

impl Object for Huge {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits())
    }
}

/// `x.items` without the call: a method that waits for its arguments.
#[derive(Debug)]
pub(super) struct BoundMethod {
    of: Value,
    method: &'static str,
}

impl BoundMethod {
    /// The method `name` of the dict `of`, when dicts have such a method.
    pub(super) fn find(of: &Value, name: &str) -> Option<Value> {
        let method = DICT_METHODS.into_iter().find(|known| *known == name)?;
        Some(Value::from_object(BoundMethod { of: of.clone(), method }))
    }
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.of.call_method(state, self.method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in method {} of dict object>", self.method)
    }
}
