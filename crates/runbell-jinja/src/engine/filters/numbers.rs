//! Filters that make numbers, as Python reads and rounds them.

use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, Error, Value};

use super::arguments::Arguments;
use crate::engine::compare::Number;
use crate::engine::data::integer;
use crate::fault::refuse;

/// Adds `int`, `float`, `abs` and `round`.
pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("abs", abs);
    env.add_filter("round", round);
}

/// Python's `float("…")`.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.trim_start_matches(['+', '-']);
    // Rust reads the same words as Python for infinity and NaN, but neither underscores between digits nor `.`.
    if text.contains("__") || text.starts_with('_') || text.ends_with('_') || text.len() > digits.len() + 1 {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// Python's `int("…", base)`.
fn parse_int(text: &str, base: i64) -> Option<Value> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = match base {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let digits = match digits.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &digits[prefix.len()..],
        _ => digits,
    };
    if digits.is_empty() || digits.starts_with(['_', '+', '-']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    if base == 10 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = digits.trim_start_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        return Some(integer(&if negative && digits != "0" { format!("-{digits}") } else { digits.to_owned() }));
    }
    let number =
        i128::from_str_radix(&digits, u32::try_from(base).ok().filter(|base| (2..=36).contains(base))?).ok()?;
    Some(Value::from(if negative { -number } else { number }))
}

fn truncated(number: f64) -> Option<Value> {
    number.is_finite().then(|| integer(&format!("{:.0}", number.trunc())))
}

fn int(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["default", "base"])?;
    let default = args.get(0, "default").unwrap_or_else(|| Value::from(0));
    if let Some(text) = value.as_str() {
        let found = parse_int(text, args.count(1, "base", 10)?);
        return Ok(found.or_else(|| truncated(parse_float(text)?)).unwrap_or(default));
    }
    if value.is_undefined() {
        return Err(refuse("a missing value is no number"));
    }
    match Number::of(value) {
        Some(Number::Int(number)) => Ok(Value::from(number)),
        Some(Number::Float(number)) if number.is_infinite() => Err(refuse("infinity is no integer")),
        Some(Number::Float(number)) => Ok(truncated(number).unwrap_or(default)),
        Some(Number::Big(_)) => Ok(value.clone()),
        None => Ok(default),
    }
}

fn float(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["default"])?;
    let default = args.get(0, "default").unwrap_or_else(|| Value::from(0.0));
    if value.is_undefined() {
        return Err(refuse("a missing value is no number"));
    }
    Ok(match (value.as_str(), Number::of(value)) {
        (Some(text), _) => parse_float(text).map_or(default, Value::from),
        (_, Some(number)) => Value::from(number.to_f64()),
        _ => default,
    })
}

fn abs(value: &Value) -> Result<Value, Error> {
    match Number::of(value) {
        Some(Number::Int(number)) => number.checked_abs().map(Value::from).ok_or_else(|| refuse("a number too large")),
        Some(Number::Float(number)) => Ok(Value::from(number.abs())),
        Some(Number::Big(digits)) => Ok(integer(digits.trim_start_matches('-'))),
        None => Err(refuse("`abs` needs a number")),
    }
}

fn round(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["precision", "method"])?;
    let precision = args.count(0, "precision", 0)?;
    let method = args.get(1, "method");
    let method = method.as_ref().map_or(Some("common"), |method| method.as_str());
    let number = Number::of(value).ok_or_else(|| refuse("`round` needs a number"))?;
    match (method, number) {
        (Some("common"), Number::Int(number)) if precision >= 0 => Ok(Value::from(number)),
        (Some("common"), Number::Float(number)) if precision >= 0 => {
            // Seventeen digits distinguish every float; formatting rounds half to even on the exact value, as Python.
            let digits = usize::try_from(precision).unwrap_or(0);
            let rounded = if digits > 400 { number } else { format!("{number:.digits$}").parse().unwrap_or(number) };
            Ok(Value::from(rounded))
        }
        (Some(method @ ("common" | "ceil" | "floor")), number) => {
            let scale = 10_f64.powi(i32::try_from(precision).unwrap_or(i32::MAX));
            let scaled = number.to_f64() * scale;
            let whole = match method {
                "ceil" => scaled.ceil(),
                "floor" => scaled.floor(),
                _ => scaled.round_ties_even(),
            };
            match number {
                Number::Int(_) if method == "common" => truncated(whole / scale).ok_or_else(|| refuse("no integer")),
                _ if scaled.is_finite() => Ok(Value::from(whole / scale)),
                _ => Err(refuse("a number too large to round")),
            }
        }
        _ => Err(refuse("`round` knows common, ceil and floor")),
    }
}
