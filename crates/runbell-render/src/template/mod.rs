//! Run data as templates see it.

mod objects;
pub(crate) mod print;

use minijinja::Value as Engine;
use runbell_core::Value;

pub(crate) use objects::{BoundMethod, Dict, Huge, List, is_dict_method};

/// Run data converted for templates: made once per transition, then shared by every condition and body.
///
/// Cloning is cheap. Objects keep the order they were written in, and print as Python prints them. `x["items"]` is
/// the key; `x.items` is the dict's method, and a key only where no method has that name, as in jinja2.
#[derive(Debug, Clone)]
pub struct TemplateValue(Engine);

impl TemplateValue {
    /// Converts a value. Costs a few microseconds per kilobyte.
    pub fn new(value: &Value) -> Self {
        TemplateValue(convert(value))
    }

    /// The value as the template engine holds it.
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
        Value::Map(map) => {
            Engine::from_object(Dict::new(map.iter().map(|(key, item)| (key.as_str().into(), convert(item))).collect()))
        }
    }
}

/// An integer of any size out of its decimal digits.
pub(crate) fn integer(digits: &str) -> Engine {
    match (digits.parse::<i128>(), digits.parse::<u128>()) {
        (Ok(number), _) => Engine::from(number),
        (_, Ok(number)) => Engine::from(number),
        _ => Engine::from_object(Huge::new(digits)),
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
