//! Vector files: results observed elsewhere, case by case.

use runbell_core::Value;
use runbell_core::value::read;

/// Reads a vector file; `$float` and `$int` stand for numbers that JSON cannot carry.
pub(crate) fn vectors(text: &str) -> Value {
    decode(read(text).expect("a vector file is JSON"))
}

fn decode(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(decode).collect()),
        Value::Map(map) if map.len() == 1 => match (map.get("$float"), map.get("$int")) {
            (Some(Value::String(word)), _) => Value::Float(word.parse().expect("a float's word")),
            (_, Some(Value::String(digits))) => Value::integer(digits).expect("an integer's digits"),
            _ => Value::Map(map.into_iter().map(|(key, item)| (key, decode(item))).collect()),
        },
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, item)| (key, decode(item))).collect()),
        plain => plain,
    }
}

/// The cases of a vector file.
pub(crate) fn cases(file: &Value) -> &[Value] {
    file.get("cases").and_then(Value::as_list).expect("cases")
}

/// The text under `key`.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).expect(key)
}
