//! Python's spelling of values, as `str()` and `repr()` print them.
//!
//! MLRun puts values into texts with `str()`, so its users know `1e-07`, `True`, `None` and `{'a': [1]}`.

use runbell_core::Value;
use runbell_jinja::python::{bool_word, write_float, write_quoted};

/// `str(value)`: texts as they are, everything else as [`repr_of`].
pub fn str_of(value: &Value) -> String {
    let mut out = String::new();
    write_str(value, &mut out);
    out
}

/// `repr(value)`: texts in quotes.
pub fn repr_of(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

/// Appends `str(value)`.
pub fn write_str(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        other => write_repr(other, out),
    }
}

/// Appends `repr(value)`.
pub fn write_repr(value: &Value, out: &mut String) {
    // Writing into a `String` cannot fail, so the results below carry nothing.
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(flag) => out.push_str(bool_word(*flag)),
        Value::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
        Value::BigInt(digits) => out.push_str(digits.as_str()),
        Value::Float(number) => {
            let _ = write_float(*number, out);
        }
        Value::String(text) => {
            let _ = write_quoted(text, out);
        }
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_repr(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                let _ = write_quoted(key, out);
                out.push_str(": ");
                write_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// `key=value` pairs in written order, joined by `separator`; values as `str()`. Nothing and an empty object give "".
///
/// MLRun's `dict_to_str`, used for results in texts. A value that is no object has no pairs and gives "" too.
pub fn dict_to_str(value: Option<&Value>, separator: &str) -> String {
    let mut out = String::new();
    for (key, item) in value.and_then(Value::as_map).into_iter().flatten() {
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(key);
        out.push('=');
        write_str(item, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_prints_them() {
        for (number, expect) in [
            (1e-7, "1e-07"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (1000.0, "1000.0"),
            (-0.0, "-0.0"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr_of(&Value::Float(number)), expect);
        }
    }

    #[test]
    fn texts_as_python_quotes_them() {
        for (text, expect) in [
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("both ' and \"", "'both \\' and \"'"),
            ("a\\b\n\r\t\0\u{7f}", "'a\\\\b\\n\\r\\t\\x00\\x7f'"),
            ("é\u{a0}\u{ad}", "'é\\xa0\\xad'"),
            ("\u{200b}\u{2028}\u{e000}\u{feff}", "'\\u200b\\u2028\\ue000\\ufeff'"),
            ("🚀\u{e0001}", "'🚀\\U000e0001'"),
        ] {
            assert_eq!(repr_of(&Value::from(text)), expect);
        }
    }

    #[test]
    fn a_value_without_pairs_is_empty() {
        assert_eq!(dict_to_str(None, ","), "");
        assert_eq!(dict_to_str(Some(&Value::Null), ","), "");
        assert_eq!(dict_to_str(Some(&Value::Map(Default::default())), ","), "");
    }
}
