//! The operators that rewritten templates call: Python's rules, every allocation paid for first.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::compare::{Number, contains, equal, order};
use super::data::{Huge, integer};
use super::print;
use crate::fault::refuse;

type Run = fn(&mut State<'_, '_>, &[Value]) -> Result<Value, Error>;

/// How deeply a value may nest that outlives one turn of a loop.
const MAX_KEPT_DEPTH: usize = 100;

struct Operator(&'static str, Run);

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Object for Operator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        (self.1)(state, args)
    }
}

/// Adds every operator under the name the rewriter writes.
pub(super) fn add_to(env: &mut Environment<'static>) {
    let operators: [(&'static str, Run); 18] = [
        ("__lt", |state, args| ordered(state, args, Ordering::is_lt)),
        ("__le", |state, args| ordered(state, args, Ordering::is_le)),
        ("__gt", |state, args| ordered(state, args, Ordering::is_gt)),
        ("__ge", |state, args| ordered(state, args, Ordering::is_ge)),
        ("__eq", |state, args| two(args).and_then(|(a, b)| equal(state, a, b, 0)).map(Value::from)),
        ("__ne", |state, args| two(args).and_then(|(a, b)| equal(state, a, b, 0)).map(|same| Value::from(!same))),
        ("__in", |state, args| two(args).and_then(|(a, b)| contains(state, a, b)).map(Value::from)),
        ("__notin", |state, args| two(args).and_then(|(a, b)| contains(state, a, b)).map(|found| Value::from(!found))),
        ("__chain", chain),
        ("__math", math),
        ("__concat", concat),
        ("__neg", |_, args| negate(first(args)?)),
        ("__pos", |_, args| match Number::of(first(args)?) {
            Some(Number::Int(number)) => Ok(Value::from(number)),
            Some(_) => Ok(first(args)?.clone()),
            None => Err(refuse("`+` needs a number")),
        }),
        ("__num", |_, args| Ok(literal(first(args)?.as_str().unwrap_or_default()))),
        ("__key", |_, args| key(first(args)?)),
        ("__index", |_, args| Ok(key(first(args)?).unwrap_or(Value::UNDEFINED))),
        ("__iter", |_, args| iterable(first(args)?)),
        ("__keep", |state, args| keep(state, first(args)?, 0)),
    ];
    for (name, run) in operators {
        env.add_global(name, Value::from_object(Operator(name, run)));
    }
    env.add_global("__slice", Value::from_object(Operator("__slice", slice)));
}

fn first(args: &[Value]) -> Result<&Value, Error> {
    args.first().ok_or_else(|| refuse("an operand is missing"))
}

fn two(args: &[Value]) -> Result<(&Value, &Value), Error> {
    match args {
        [a, b] => Ok((a, b)),
        _ => Err(refuse("an operator takes two operands")),
    }
}

fn ordered(state: &State, args: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, Error> {
    let (a, b) = two(args)?;
    Ok(Value::from(order(state, a, b, 0)?.is_some_and(holds)))
}

/// `a < b < c` where `b` is too long to be written twice: all operands are evaluated, comparing stops at the first
/// false.
fn chain(state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let mut left = first(args)?;
    for pair in args[1..].chunks(2) {
        let [operator, right] = pair else { break };
        let holds = match operator.as_str() {
            Some("eq") => equal(state, left, right, 0)?,
            Some("ne") => !equal(state, left, right, 0)?,
            Some("in") => contains(state, left, right)?,
            Some("notin") => !contains(state, left, right)?,
            operator => order(state, left, right, 0)?.is_some_and(|order| match operator {
                Some("lt") => order.is_lt(),
                Some("le") => order.is_le(),
                Some("gt") => order.is_gt(),
                _ => order.is_ge(),
            }),
        };
        if !holds {
            return Ok(Value::from(false));
        }
        left = right;
    }
    Ok(Value::from(true))
}

fn math(state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let mut total = first(args)?.clone();
    for pair in args[1..].chunks(2) {
        let [operator, right] = pair else { break };
        total = calculate(state, operator.as_str().unwrap_or_default(), &total, right)?;
    }
    Ok(total)
}

/// `a operator b` for `+ - * / // % **`.
pub(super) fn calculate(state: &mut State<'_, '_>, operator: &str, a: &Value, b: &Value) -> Result<Value, Error> {
    match (operator, Number::of(a), Number::of(b)) {
        (_, Some(Number::Int(x)), Some(Number::Int(y))) => integers(operator, x, y),
        (_, Some(x), Some(y)) => {
            // Beside a float Python makes a float of every integer.
            if !matches!(x, Number::Float(_)) && !matches!(y, Number::Float(_)) {
                return Err(refuse("integers beyond 128 bit are not calculated with"));
            }
            floats(operator, x.to_f64(), y.to_f64())
        }
        ("+", ..) => add(state, a, b),
        ("*", _, Some(Number::Int(count))) => repeat(state, a, count),
        ("*", Some(Number::Int(count)), _) => repeat(state, b, count),
        ("%", ..) if a.as_str().is_some() => {
            let mut args = vec![a.clone()];
            if b.is_tuple() {
                args.extend(b.try_iter()?);
            } else {
                args.push(b.clone());
            }
            state.apply_filter("format", &args)
        }
        _ => Err(refuse("an arithmetic operation does not fit its operands")),
    }
}

fn integers(operator: &str, a: i128, b: i128) -> Result<Value, Error> {
    let result = match operator {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" | "//" | "%" if b == 0 => return Err(refuse("division by zero")),
        "/" => return Ok(Value::from(a as f64 / b as f64)),
        "//" => a.checked_div_euclid(b).map(|_| floor_div(a, b)),
        "%" => a.checked_rem_euclid(b).map(|_| a - floor_div(a, b) * b),
        _ if b < 0 => return floats(operator, a as f64, b as f64),
        _ => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
    };
    result.map(Value::from).ok_or_else(|| refuse("a number beyond 128 bit"))
}

fn floor_div(a: i128, b: i128) -> i128 {
    let quotient = a / b;
    if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

fn floats(operator: &str, a: f64, b: f64) -> Result<Value, Error> {
    let result = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" | "//" | "%" if b == 0.0 => return Err(refuse("division by zero")),
        "/" => a / b,
        "//" => floor_and_rest(a, b).0,
        "%" => floor_and_rest(a, b).1,
        _ if a == 0.0 && b < 0.0 => return Err(refuse("zero to a negative power")),
        _ => {
            let power = a.powf(b);
            // Python makes a complex number of the first and raises `OverflowError` for the second.
            if (power.is_nan() && !a.is_nan() && !b.is_nan()) || (power.is_infinite() && a.is_finite() && b.is_finite())
            {
                return Err(refuse("a power that is no float"));
            }
            power
        }
    };
    Ok(Value::from(result))
}

/// CPython's `float_divmod`.
fn floor_and_rest(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    let floor = if quotient == 0.0 {
        0.0_f64.copysign(a / b)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    };
    (floor, rest)
}

fn add(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        state.consume_fuel((a.len() + b.len()) as u64 / 64)?;
        return Ok(Value::from([a, b].concat()));
    }
    match (a.kind(), b.kind()) {
        (ValueKind::Seq, ValueKind::Seq) if a.is_tuple() == b.is_tuple() => {
            let mut items = collect(state, a)?;
            items.extend(collect(state, b)?);
            Ok(sequence(items, a.is_tuple()))
        }
        _ => Err(refuse("`+` does not fit its operands")),
    }
}

fn sequence(items: Vec<Value>, tuple: bool) -> Value {
    if tuple { Value::from(Tuple::from(items)) } else { Value::from(items) }
}

/// Every item, each paid for.
pub(super) fn collect(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_none() {
        return Err(refuse("none has no items"));
    }
    if let Some(text) = value.as_str() {
        state.consume_fuel(text.len() as u64 / 2)?;
    }
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        state.consume_fuel(1)?;
        items.push(item?);
    }
    Ok(items)
}

fn repeat(state: &mut State<'_, '_>, value: &Value, count: i128) -> Result<Value, Error> {
    let count = u64::try_from(count.max(0)).unwrap_or(u64::MAX);
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() as u64).saturating_mul(count) / 64)?;
        return Ok(Value::from(text.repeat(usize::try_from(count).unwrap_or(0))));
    }
    if value.kind() != ValueKind::Seq {
        return Err(refuse("`*` does not fit its operands"));
    }
    let items = collect(state, value)?;
    if items.is_empty() {
        return Ok(value.clone());
    }
    state.consume_fuel((items.len() as u64).saturating_mul(count))?;
    let mut repeated = Vec::with_capacity(items.len() * usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        repeated.extend(items.iter().cloned());
    }
    Ok(sequence(repeated, value.is_tuple()))
}

fn concat(state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let mut text = String::new();
    for part in args {
        print::push_text(state, part, &mut text)?;
    }
    Ok(Value::from(text))
}

fn negate(value: &Value) -> Result<Value, Error> {
    match Number::of(value) {
        Some(Number::Int(number)) => number.checked_neg().map(Value::from).ok_or_else(|| refuse("a number too large")),
        Some(Number::Float(number)) => Ok(Value::from(-number)),
        Some(Number::Big(digits)) => Ok(match digits.strip_prefix('-') {
            Some(positive) => integer(positive),
            None => integer(&format!("-{digits}")),
        }),
        None => Err(refuse("`-` needs a number")),
    }
}

fn literal(text: &str) -> Value {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Value::from_object(Huge::new(text));
    }
    Value::from(text.parse::<f64>().unwrap_or(f64::NAN))
}

fn key(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map | ValueKind::Iterable => Err(refuse("a container is no key")),
        ValueKind::Seq if !value.is_tuple() => Err(refuse("a container is no key")),
        _ => Ok(value.clone()),
    }
}

fn iterable(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => Err(refuse("a value that cannot be iterated")),
        _ => Ok(value.clone()),
    }
}

/// A value that outlives a turn of a loop: a lazy one becomes a list, and the nesting is bounded.
fn keep(state: &mut State<'_, '_>, value: &Value, depth: usize) -> Result<Value, Error> {
    if depth > MAX_KEPT_DEPTH {
        return Err(refuse("a namespace holds values nested too deeply"));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            for item in collect(state, value)? {
                let inner = if value.kind() == ValueKind::Map { value.get_item(&item)? } else { item };
                if inner.as_object().is_some() {
                    keep(state, &inner, depth + 1)?;
                }
            }
            if value.kind() == ValueKind::Iterable {
                Ok(Value::from(collect(state, value)?))
            } else {
                Ok(value.clone())
            }
        }
        _ => Ok(value.clone()),
    }
}

/// `value[start:stop:step]`.
fn slice(state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let [value, start, stop, step] = args else { return Err(refuse("a slice takes three bounds")) };
    let bound = |value: &Value| match (value.is_none(), Number::of(value)) {
        (true, _) => Ok(None),
        (_, Some(Number::Int(number))) => Ok(Some(number)),
        _ => Err(refuse("a slice's bounds are integers")),
    };
    let text = value.as_str();
    if text.is_none() && value.kind() != ValueKind::Seq {
        return Err(refuse("a value that cannot be sliced"));
    }
    let step = bound(step)?.unwrap_or(1);
    if step == 0 {
        return Err(refuse("a slice's step is not zero"));
    }
    match text {
        Some(text) => {
            // Cutting looks at every character, which costs more than copying.
            state.consume_fuel(text.len() as u64 / 8)?;
            let characters: Vec<char> = text.chars().collect();
            let picked: String = pick(&characters, bound(start)?, bound(stop)?, step).collect();
            Ok(Value::from(picked))
        }
        None => {
            let items = collect(state, value)?;
            let picked = pick(&items, bound(start)?, bound(stop)?, step).collect();
            Ok(sequence(picked, value.is_tuple()))
        }
    }
}

/// The items a Python slice picks.
fn pick<T: Clone>(
    items: &[T],
    start: Option<i128>,
    stop: Option<i128>,
    step: i128,
) -> impl Iterator<Item = T> + use<'_, T> {
    let length = items.len() as i128;
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: i128| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(low, high);
    let start = start.map_or(if step > 0 { low } else { high }, clamp);
    let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
    let inside = move |at: &i128| if step > 0 { *at < stop } else { *at > stop };
    std::iter::successors(Some(start).filter(inside), move |at| at.checked_add(step).filter(inside))
        .filter_map(|at| items.get(usize::try_from(at).ok()?).cloned())
}
