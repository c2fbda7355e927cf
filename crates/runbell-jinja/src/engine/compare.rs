//! Comparison as Python does it: numbers with numbers, texts with texts, and an error where Python raises.

use std::cmp::Ordering;

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use super::data::{Dict, Huge};
use super::print::MAX_DEPTH;
use crate::fault::refuse;

/// A number with Python's rules: booleans are integers, integers and floats compare exactly.
#[derive(Debug, Clone)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
    /// Beyond 127 bit: decimal digits with an optional sign.
    Big(String),
}

impl Number {
    /// The number a value is, when it is one.
    pub(super) fn of(value: &Value) -> Option<Number> {
        match value.kind() {
            ValueKind::Bool => Some(Number::Int(i128::from(value.is_true()))),
            ValueKind::Number if !value.is_integer() => Some(Number::Float(f64::try_from(value.clone()).ok()?)),
            ValueKind::Number => Some(match i128::try_from(value.clone()) {
                Ok(number) => Number::Int(number),
                Err(_) => Number::Big(value.to_string()),
            }),
            ValueKind::Plain => Some(Number::Big(value.downcast_object_ref::<Huge>()?.digits().to_owned())),
            _ => None,
        }
    }

    /// The nearest float; an infinity when there is none.
    pub(super) fn to_f64(&self) -> f64 {
        match self {
            Number::Int(number) => *number as f64,
            Number::Float(number) => *number,
            Number::Big(digits) => digits.parse().unwrap_or(f64::NAN),
        }
    }

    /// `None` when one of them is not a number (NaN).
    fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
            (Number::Int(a), Number::Float(b)) => int_with_float(*a, *b),
            (Number::Float(a), Number::Int(b)) => int_with_float(*b, *a).map(Ordering::reverse),
            (Number::Big(a), Number::Big(b)) => Some(big_with_big(a, b)),
            (Number::Big(a), Number::Int(_)) => Some(sign(a)),
            (Number::Int(_), Number::Big(b)) => Some(sign(b).reverse()),
            (Number::Big(_), Number::Float(b)) => self.to_f64().partial_cmp(b),
            (Number::Float(a), Number::Big(_)) => a.partial_cmp(&other.to_f64()),
        }
    }
}

fn sign(digits: &str) -> Ordering {
    if digits.starts_with('-') { Ordering::Less } else { Ordering::Greater }
}

fn big_with_big(a: &str, b: &str) -> Ordering {
    sign(a).cmp(&sign(b)).then_with(|| {
        let magnitude = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        if a.starts_with('-') { magnitude.reverse() } else { magnitude }
    })
}

fn int_with_float(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    // Beyond these bounds a float is larger than any 128-bit integer, and the cast below would saturate.
    if b >= i128::MAX as f64 {
        return Some(Ordering::Less);
    }
    if b < i128::MIN as f64 {
        return Some(Ordering::Greater);
    }
    let whole = b.trunc();
    Some(a.cmp(&(whole as i128)).then_with(|| whole.partial_cmp(&b).unwrap_or(Ordering::Equal)))
}

/// Whether a value is a list in Python's sense, and whether it is a tuple.
fn sequence(value: &Value) -> Option<bool> {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable).then(|| value.is_tuple())
}

/// `a == b`. Values of different types are unequal, never an error.
pub(super) fn equal(state: &State, a: &Value, b: &Value, depth: usize) -> Result<bool, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        state.consume_fuel(a.len().min(b.len()) as u64 / 256)?;
        return Ok(a == b);
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(&b) == Some(Ordering::Equal));
    }
    if depth > MAX_DEPTH {
        return Err(refuse("values nest too deeply to compare"));
    }
    match (a.kind(), b.kind()) {
        (ValueKind::None, ValueKind::None) | (ValueKind::Undefined, ValueKind::Undefined) => Ok(true),
        (ValueKind::Map, ValueKind::Map) => equal_maps(state, a, b, depth),
        (ValueKind::Plain, ValueKind::Plain) => Ok(a == b),
        _ => match (sequence(a), sequence(b)) {
            (Some(left), Some(right)) if left == right => {
                if let (Some(left), Some(right)) = (a.len(), b.len())
                    && left != right
                {
                    return Ok(false);
                }
                let (mut left, mut right) = (a.try_iter()?, b.try_iter()?);
                loop {
                    state.consume_fuel(1)?;
                    match (left.next(), right.next()) {
                        (Some(x), Some(y)) if equal(state, &x, &y, depth + 1)? => {}
                        (None, None) => return Ok(true),
                        _ => return Ok(false),
                    }
                }
            }
            _ => Ok(false),
        },
    }
}

fn equal_maps(state: &State, a: &Value, b: &Value, depth: usize) -> Result<bool, Error> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for key in a.try_iter()? {
        state.consume_fuel(2)?;
        let (Ok(x), Ok(y)) = (a.get_item(&key), b.get_item(&key)) else { return Ok(false) };
        if y.is_undefined() || !equal(state, &x, &y, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two values; `None` when a NaN is involved.
///
/// # Errors
/// Where Python raises `TypeError`: missing values, and types that have no order among each other.
pub(super) fn order(state: &State, a: &Value, b: &Value, depth: usize) -> Result<Option<Ordering>, Error> {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(&b));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        state.consume_fuel(a.len().min(b.len()) as u64 / 256)?;
        return Ok(Some(a.cmp(b)));
    }
    match (a.kind(), b.kind()) {
        (ValueKind::Seq, ValueKind::Seq) if a.is_tuple() == b.is_tuple() && depth <= MAX_DEPTH => {
            let (mut left, mut right) = (a.try_iter()?, b.try_iter()?);
            loop {
                state.consume_fuel(1)?;
                match (left.next(), right.next()) {
                    (None, None) => return Ok(Some(Ordering::Equal)),
                    (None, Some(_)) => return Ok(Some(Ordering::Less)),
                    (Some(_), None) => return Ok(Some(Ordering::Greater)),
                    (Some(x), Some(y)) => {
                        if !equal(state, &x, &y, depth + 1)? {
                            return order(state, &x, &y, depth + 1);
                        }
                    }
                }
            }
        }
        (ValueKind::Undefined, _) | (_, ValueKind::Undefined) => Err(refuse("a missing value has no order")),
        _ => Err(refuse("values of these types have no order")),
    }
}

/// `item in container`.
///
/// # Errors
/// Where Python raises: a container that is none, and anything but a text looked for in a text.
pub(super) fn contains(state: &State, item: &Value, container: &Value) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::String => match (item.as_str(), container.as_str()) {
            (Some(needle), Some(hay)) => {
                state.consume_fuel(hay.len() as u64 / 64)?;
                Ok(hay.contains(needle))
            }
            _ => Err(refuse("only a text can be in a text")),
        },
        ValueKind::Map => match item.kind() {
            ValueKind::Map | ValueKind::Iterable => Err(refuse("a container is no key")),
            ValueKind::Seq if !item.is_tuple() => Err(refuse("a container is no key")),
            _ if container.downcast_object_ref::<Dict>().is_some() => Ok(container
                .downcast_object_ref::<Dict>()
                .is_some_and(|dict| item.as_str().is_some_and(|key| dict.get(key).is_some()))),
            // The engine's maps hold numbers and texts by value, as Python's do.
            ValueKind::Bool | ValueKind::Number | ValueKind::String => {
                Ok(container.as_object().is_some_and(|object| object.get_value(item).is_some()))
            }
            _ => any_equal(state, item, container),
        },
        ValueKind::Seq | ValueKind::Iterable => any_equal(state, item, container),
        // A missing container is an empty one in jinja2.
        ValueKind::Undefined => Ok(false),
        _ => Err(refuse("nothing can be in a value of this type")),
    }
}

fn any_equal(state: &State, item: &Value, container: &Value) -> Result<bool, Error> {
    for candidate in container.try_iter()? {
        state.consume_fuel(1)?;
        if equal(state, item, &candidate, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}
