//! Tests (`x is odd`) as jinja2 has them.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value};

use super::compare::{Number, contains, equal, order};
use super::operators::calculate;
use super::print;
use crate::fault::refuse;

/// Whether `value % divisor == expect`.
fn remainder(state: &mut State<'_, '_>, value: &Value, divisor: &Value, expect: i64) -> Result<bool, Error> {
    if Number::of(value).is_none() {
        return Err(refuse("only numbers have a remainder"));
    }
    let rest = calculate(state, "%", value, divisor)?;
    equal(state, &rest, &Value::from(expect), 0)
}

/// Replaces the engine's tests where they differ from jinja2's.
pub(super) fn add_to(env: &mut Environment<'static>, filters: &'static [&'static str], tests: &'static [&'static str]) {
    for (names, holds) in [
        (&["lt", "lessthan"][..], std::cmp::Ordering::is_lt as fn(std::cmp::Ordering) -> bool),
        (&["le"], std::cmp::Ordering::is_le),
        (&["gt", "greaterthan"], std::cmp::Ordering::is_gt),
        (&["ge"], std::cmp::Ordering::is_ge),
    ] {
        for name in names {
            env.add_test(*name, move |state: &mut State<'_, '_>, a: &Value, b: &Value| {
                Ok::<bool, Error>(order(state, a, b, 0)?.is_some_and(holds))
            });
        }
    }
    for (sign, name) in [("<", "lt"), ("<=", "le"), (">", "gt"), (">=", "ge"), ("==", "eq"), ("!=", "ne")] {
        env.add_test(sign, move |state: &mut State<'_, '_>, a: &Value, b: &Value| {
            state.perform_test(name, &[a.clone(), b.clone()])
        });
    }
    for name in ["eq", "equalto"] {
        env.add_test(name, |state: &mut State<'_, '_>, a: &Value, b: &Value| equal(state, a, b, 0));
    }
    env.add_test("ne", |state: &mut State<'_, '_>, a: &Value, b: &Value| Ok::<bool, Error>(!equal(state, a, b, 0)?));
    env.add_test("in", |state: &mut State<'_, '_>, a: &Value, b: &Value| contains(state, a, b));
    let two = Value::from(2);
    env.add_test("odd", {
        let two = two.clone();
        move |state: &mut State<'_, '_>, value: &Value| remainder(state, value, &two, 1)
    });
    env.add_test("even", move |state: &mut State<'_, '_>, value: &Value| remainder(state, value, &two, 0));
    env.add_test("divisibleby", |state: &mut State<'_, '_>, value: &Value, divisor: &Value| {
        remainder(state, value, divisor, 0)
    });
    add_types(env);
    env.add_test("filter", |value: &Value| known(value, filters));
    env.add_test("test", |value: &Value| known(value, tests));
}

/// The tests of a value's type and letter case.
fn add_types(env: &mut Environment<'static>) {
    // Booleans are numbers in Python; texts, dicts and missing values answer to `len()` and `[]`.
    env.add_test("number", |value: &Value| Number::of(value).is_some());
    env.add_test("integer", |value: &Value| {
        value.kind() != ValueKind::Bool && matches!(Number::of(value), Some(Number::Int(_) | Number::Big(_)))
    });
    env.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
    });
    env.add_test("iterable", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Iterable | ValueKind::Undefined
        )
    });
    // A missing value can be called, which raises.
    env.add_test("callable", |value: &Value| {
        value.is_undefined() || (value.kind() == ValueKind::Plain && Number::of(value).is_none())
    });
    env.add_test("lower", |state: &mut State<'_, '_>, value: &Value| {
        let text = print::to_text(state, value)?;
        Ok::<bool, Error>(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))
    });
    env.add_test("upper", |state: &mut State<'_, '_>, value: &Value| {
        let text = print::to_text(state, value)?;
        Ok::<bool, Error>(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))
    });
}

/// Whether a value is one of `names`. A value that is no text is not.
fn known(value: &Value, names: &[&str]) -> Result<bool, Error> {
    match value.as_str() {
        Some(name) => Ok(names.contains(&name)),
        None if matches!(value.kind(), ValueKind::Seq | ValueKind::Map) && !value.is_tuple() => {
            Err(refuse("a container is no name"))
        }
        None => Ok(false),
    }
}
