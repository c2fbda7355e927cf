//! The objects that run data is made of inside the template engine.

use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};
use runbell_core::Map;

use super::{methods, print, refuse};

/// The methods a Python dict has, which `.name` finds before any key.
const DICT_METHODS: [&str; 11] =
    ["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// An object of run data: a Python dict with text keys. Members are converted when they are first looked at, for most
/// templates look at few.
pub(crate) struct Dict {
    map: Map,
    converted: Box<[OnceLock<Value>]>,
}

impl Dict {
    /// A dict over `map`, which it shares.
    pub(crate) fn new(map: &Map) -> Self {
        let converted = std::iter::repeat_with(OnceLock::new).take(map.len()).collect();
        Dict { map: map.clone(), converted }
    }

    fn member(&self, at: usize) -> Option<(&str, &Value)> {
        let (key, value) = self.map.get_index(at)?;
        Some((key, self.converted.get(at)?.get_or_init(|| super::convert(value))))
    }

    /// Keys and values in written order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        (0..self.map.len()).filter_map(|at| self.member(at))
    }

    /// The value under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.member(self.map.position(key)?).map(|(_, value)| value)
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Run data may hold secrets, so Debug tells the size only.
        write!(f, "Dict({} keys)", self.map.len())
    }
}

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
        Enumerator::KeyValueIter(Box::new((0..self.map.len()).map(move |at| match dict.member(at) {
            Some((key, value)) => (Value::from(key), value.clone()),
            None => (Value::UNDEFINED, Value::UNDEFINED),
        })))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.map.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::render_bounded(&Value::from_dyn_object(self.clone()), f)
    }
}

/// A list of run data.
pub(crate) struct List(Vec<Value>);

impl List {
    /// A list of these items.
    pub(crate) fn new(items: Vec<Value>) -> Self {
        List(items)
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({} items)", self.0.len())
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

/// `x.items` without the call: a method that waits for its arguments.
#[derive(Debug)]
pub(crate) struct BoundMethod {
    of: Value,
    method: &'static str,
}

impl BoundMethod {
    /// The method `name` of the dict `of`, when dicts have such a method.
    pub(crate) fn find(of: &Value, name: &str) -> Option<Value> {
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

/// An integer beyond 128 bit: kept exactly, compared and printed, but not calculated with.
#[derive(Debug)]
pub(crate) struct Huge(Box<str>);

impl Huge {
    /// Takes canonical decimal digits with an optional leading `-`.
    pub(crate) fn new(digits: &str) -> Self {
        Huge(digits.into())
    }

    /// The decimal digits.
    pub(crate) fn digits(&self) -> &str {
        &self.0
    }
}

impl Object for Huge {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
