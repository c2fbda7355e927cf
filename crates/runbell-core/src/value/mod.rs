//! The value type of run data: everything Python's `json` writes, kept without loss.
//!
//! `serde_json::Value` cannot hold `NaN`, the infinities or integers beyond 64 bit, and its
//! `arbitrary_precision` feature leaks a private encoding into other serializers. Run documents contain all of
//! these (MLRun writes them with Python's `json.dumps`), so run data has its own small type here.
//!
//! **Invariant:** reading a document and writing it again changes nothing but white space, the spelling of
//! numbers, and non-finite floats, which JSON has no words for and which go out as `null`.

mod de;
mod json;
mod map;
mod ser;

pub use de::{DecodeError, DecodeFault, decode};
pub use json::{JsonError, MAX_DEPTH, python_json, read, write_json_string};
pub use map::Map;
pub use ser::to_value;

/// A value of run data. `1` and `1.0` are different values.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null` in JSON, `None` in Python.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits 64 bit.
    Int(i64),
    /// An integer beyond 64 bit.
    BigInt(BigInt),
    /// A float; `NaN` and the infinities included.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// An object, in written order.
    Map(Map),
}

/// An integer that does not fit 64 bit, as its canonical decimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BigInt(Box<str>);

impl BigInt {
    /// The decimal digits, with a leading `-` when negative.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest float; an infinity when there is none.
    pub fn to_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl Value {
    /// Makes an integer of any size out of decimal digits with an optional leading `-`.
    ///
    /// Returns `None` when the text is anything else.
    pub fn integer(digits: &str) -> Option<Value> {
        let (negative, magnitude) = match digits.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, digits),
        };
        if magnitude.is_empty() || !magnitude.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if let Ok(small) = digits.parse::<i64>() {
            return Some(Value::Int(small));
        }
        let trimmed = magnitude.trim_start_matches('0');
        let canonical = if negative { format!("-{trimmed}") } else { trimmed.to_owned() };
        Some(Value::BigInt(BigInt(canonical.into_boxed_str())))
    }

    /// The text, when this is a text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, when this is one that fits 64 bit.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The object, when this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, when this is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The member `key`, when this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// Follows `path` through nested objects.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// Whether Python would call this true: everything but `None`, `False`, zero and empty things.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => *number != 0,
            Value::BigInt(_) => true,
            Value::Float(number) => *number != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
        }
    }

    /// The type in words, for a message: "a text", "a list".
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::BigInt(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// This value as compact JSON. Non-finite floats become `null`, integers of any size are exact.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }
}

macro_rules! from {
    ($($source:ty => |$value:ident| $made:expr),* $(,)?) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                $made
            }
        })*
    };
}

from! {
    bool => |value| Value::Bool(value),
    i32 => |value| Value::Int(value.into()),
    u32 => |value| Value::Int(value.into()),
    i64 => |value| Value::Int(value),
    f64 => |value| Value::Float(value),
    &str => |value| Value::String(value.to_owned()),
    String => |value| Value::String(value),
    Vec<Value> => |value| Value::List(value),
    Map => |value| Value::Map(value),
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(flag),
            Json::Number(number) => match number.as_i64() {
                Some(small) => Value::Int(small),
                None if number.is_f64() => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
                None => Value::integer(&number.to_string()).unwrap_or(Value::Null),
            },
            Json::String(text) => Value::String(text),
            Json::Array(list) => list.into_iter().map(Value::from).collect::<Vec<_>>().into(),
            Json::Object(map) => map.into_iter().map(|(key, item)| (key, item.into())).collect::<Map>().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_size_are_canonical() {
        assert_eq!(Value::integer("0012"), Some(Value::Int(12)));
        assert_eq!(Value::integer("-0"), Some(Value::Int(0)));
        let huge = Value::integer("-00123456789012345678901234567890");
        assert!(
            matches!(huge, Some(Value::BigInt(ref digits)) if digits.as_str() == "-123456789012345678901234567890")
        );
        for bad in ["", "-", "1.0", "+1", "1e3", "0x1"] {
            assert_eq!(Value::integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_stays_small() {
        assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
    }

    #[test]
    fn one_and_one_point_zero_differ() {
        assert_ne!(Value::Int(1), Value::Float(1.0));
    }
}
