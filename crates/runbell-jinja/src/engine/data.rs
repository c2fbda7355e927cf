//! Run data as the engine holds it.

use std::fmt;
use std::sync::OnceLock;

use minijinja::Value as Engine;
use runbell_core::{Map, Value};

/// Run data converted for templates: made once per transition, then shared by every condition and text.
///
/// Cloning is cheap. Objects keep the order they were written in, and print as Python prints them. `x["items"]` is
/// the key; `x.items` is the dict's method, and a key only where no method has that name, as in jinja2.
#[derive(Debug, Clone)]
pub struct TemplateValue(Engine);

impl TemplateValue {
    /// Converts a value; the members of an object only on first use.
    pub fn new(value: &Value) -> Self {
        TemplateValue(convert(value))
    }

    /// A text.
    pub fn text(text: &str) -> Self {
        TemplateValue(Engine::from(text))
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

impl From<&str> for TemplateValue {
    fn from(text: &str) -> Self {
        Self::text(text)
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
        Value::List(list) => Engine::from_object(List(list.iter().map(convert).collect())),
        Value::Map(map) => Engine::from_object(Dict::new(map)),
    }
}

/// An integer of any size from its decimal digits.
pub(super) fn integer(digits: &str) -> Engine {
    match (digits.parse::<i64>(), digits.parse::<i128>(), digits.parse::<u128>()) {
        (Ok(number), ..) => Engine::from(number),
        (_, Ok(number), _) => Engine::from(number),
        (.., Ok(number)) => Engine::from(number),
        _ => Engine::from_object(Huge::new(digits)),
    }
}

/// An object of run data: a Python dict with text keys. Members are converted on first use, because most templates
/// use few.
pub(super) struct Dict {
    map: Map,
    converted: Box<[OnceLock<Engine>]>,
}

impl Dict {
    /// A dict over `map`, which it shares.
    fn new(map: &Map) -> Self {
        let converted = std::iter::repeat_with(OnceLock::new).take(map.len()).collect();
        Dict { map: map.clone(), converted }
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// The member at a position in written order.
    pub(super) fn member(&self, at: usize) -> Option<(&str, &Engine)> {
        let (key, value) = self.map.get_index(at)?;
        Some((key, self.converted.get(at)?.get_or_init(|| convert(value))))
    }

    /// Keys and values in written order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Engine)> {
        (0..self.map.len()).filter_map(|at| self.member(at))
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Engine> {
        self.member(self.map.position(key)?).map(|(_, value)| value)
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Run data may hold secrets, so Debug shows the size only.
        write!(f, "Dict({} keys)", self.map.len())
    }
}

/// A list of run data.
pub(super) struct List(pub(super) Vec<Engine>);

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({} items)", self.0.len())
    }
}

/// An integer beyond 128 bit: kept exactly, compared and printed, but not calculated with.
#[derive(Debug)]
pub(super) struct Huge(Box<str>);

impl Huge {
    /// Takes canonical decimal digits with an optional leading `-`.
    pub(super) fn new(digits: &str) -> Self {
        Huge(digits.into())
    }

    /// The decimal digits.
    pub(super) fn digits(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cross_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<TemplateValue>();
    }
}
