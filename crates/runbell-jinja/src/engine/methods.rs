//! Python's methods of texts, lists and dicts, and formatting; none makes a text that the fuel does not pay for.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::compare::{Number, equal};
use super::data::Dict;
use super::operators::collect;
use super::print;
use crate::fault::refuse;

/// Widths and precisions up to here are formatted; Python would go on to fill the memory.
const MAX_WIDTH: usize = 4096;

/// `value.method(args)`, for values that do not have the method themselves.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.kind(), method) {
        (ValueKind::String, "format" | "join" | "replace" | "split" | "splitlines") => {
            text_method(state, value, method, args)
        }
        (ValueKind::String, _) => match more_text_methods(state, value.as_str().unwrap_or_default(), method, args)? {
            Some(result) => Ok(result),
            None => pycompat::unknown_method_callback(state, value, method, args),
        },
        (ValueKind::Seq, "count" | "index") => {
            let [sought] = args else { return Err(Error::from(ErrorKind::MissingArgument)) };
            let mut count = 0;
            for (at, item) in collect(state, value)?.iter().enumerate() {
                if equal(state, item, sought, 0)? {
                    if method == "index" {
                        return Ok(Value::from(at));
                    }
                    count += 1;
                }
            }
            if method == "index" { Err(refuse("no such item")) } else { Ok(Value::from(count)) }
        }
        (ValueKind::Map, "get") if args.first().is_some_and(|key| key.as_object().is_some() && !key.is_tuple()) => {
            Err(refuse("a container is no key"))
        }
        (ValueKind::Map, "get") if value.downcast_object_ref::<Dict>().is_some() && (1..=2).contains(&args.len()) => {
            let found = value.downcast_object_ref::<Dict>().and_then(|dict| dict.get(args[0].as_str()?));
            Ok(found.or_else(|| args.get(1)).cloned().unwrap_or_else(|| Value::from(())))
        }
        (ValueKind::Map, "copy") if args.is_empty() => Ok(value.clone()),
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Methods of Python's `str` that the engine's own set lacks; `None` for all others.
fn more_text_methods(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    // Looking at every character costs more than the copying that the engine charges for.
    state.consume_fuel(text.len() as u64 / 64)?;
    let argument = |at: usize| args.get(at).and_then(Value::as_str);
    Ok(Some(match (method, args.len()) {
        ("swapcase", 0) => {
            state.consume_fuel(text.len() as u64 / 16)?;
            let mut out = String::with_capacity(text.len());
            for character in text.chars() {
                if character.is_uppercase() {
                    out.extend(character.to_lowercase());
                } else {
                    out.extend(character.to_uppercase());
                }
            }
            Value::from(out)
        }
        ("casefold", 0) => Value::from(text.to_lowercase()),
        ("removeprefix", 1) => Value::from(argument(0).and_then(|start| text.strip_prefix(start)).unwrap_or(text)),
        ("removesuffix", 1) => Value::from(argument(0).and_then(|end| text.strip_suffix(end)).unwrap_or(text)),
        ("rsplit", 1) => match argument(0) {
            Some(mark) if !mark.is_empty() => {
                state.consume_fuel(text.len() as u64 / 8)?;
                text.split(mark).map(Value::from).collect()
            }
            _ => return Err(refuse("`rsplit` needs a text to split at")),
        },
        ("ljust" | "rjust" | "zfill", 1) => {
            let width = args.first().and_then(Value::as_usize).ok_or_else(|| refuse("a width must be an integer"))?;
            state.consume_fuel(width as u64 / 64)?;
            let missing = width.saturating_sub(text.chars().count());
            match method {
                "ljust" => Value::from(format!("{text}{}", " ".repeat(missing))),
                "rjust" => Value::from(format!("{}{text}", " ".repeat(missing))),
                _ => {
                    let digits = text.trim_start_matches(['+', '-']);
                    let sign = &text[..text.len() - digits.len()];
                    Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
                }
            }
        }
        _ => return Ok(None),
    }))
}

fn text_method(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let text = value.as_str().unwrap_or_default();
    match method {
        "join" => {
            let [items] = args else { return Err(Error::from(ErrorKind::MissingArgument)) };
            let mut out = String::new();
            for (at, item) in collect(state, items)?.iter().enumerate() {
                let Some(item) = item.as_str() else { return Err(refuse("only texts are joined")) };
                state.consume_fuel((item.len() + text.len()) as u64 / 64)?;
                out.push_str(if at == 0 { "" } else { text });
                out.push_str(item);
            }
            Ok(Value::from(out))
        }
        "replace" => {
            if let [old, new, ..] = args
                && let (Some(old), Some(new)) = (old.as_str(), new.as_str())
            {
                let found = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
                state.consume_fuel((found as u64).saturating_mul(new.len() as u64) / 64)?;
            }
            pycompat::unknown_method_callback(state, value, method, args)
        }
        "split" | "splitlines" => {
            state.consume_fuel(text.len() as u64 / 8)?;
            pycompat::unknown_method_callback(state, value, method, args)
        }
        _ => {
            let args = formattable(state, text, '{', args)?;
            pycompat::unknown_method_callback(state, value, method, &args)
        }
    }
}

/// `text|format(…)` and `text % …`.
pub(super) fn format(state: &mut State<'_, '_>, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else { return Err(refuse("only a text is a format")) };
    // A list or a dict stands for names, of which any may stay unused.
    let names = matches!(args, [only] if only.is_undefined() || (only.as_object().is_some() && !only.is_tuple()));
    if !names && !args.last().is_some_and(Value::is_kwargs) && args.len() > conversions(text) {
        return Err(refuse("more values than the format takes"));
    }
    let args = formattable(state, text, '%', args)?;
    let mut all = vec![value.clone()];
    all.extend(args);
    state.apply_filter("__format", &all)
}

/// How many values a `%` format takes.
fn conversions(text: &str) -> usize {
    let marks = text.replace("%%", "");
    marks
        .split('%')
        .skip(1)
        .map(|rest| 1 + rest.split(char::is_alphabetic).next().unwrap_or("").matches('*').count())
        .sum()
}

/// The arguments of a format, ready to be put in: containers as Python prints them, the result paid for, widths capped.
fn formattable(state: &mut State<'_, '_>, text: &str, mark: char, args: &[Value]) -> Result<Vec<Value>, Error> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    if digits.into_iter().any(|run| run.parse::<usize>().map_or(true, |width| width > MAX_WIDTH)) {
        return Err(refuse("a width too large"));
    }
    // `%*d` and `{:{}}` take a width from an argument.
    let takes_width =
        text.contains('*') || text.matches('{').count() > text.matches('}').count() || text.contains(":{");
    let mut longest = MAX_WIDTH;
    let mut ready = Vec::with_capacity(args.len());
    for value in args {
        if takes_width && matches!(Number::of(value), Some(number) if number.to_f64().abs() > MAX_WIDTH as f64) {
            return Err(refuse("a width too large"));
        }
        let by_name = value.is_kwargs() || (value.kind() == ValueKind::Map && text.contains("%("));
        let inner = mark == '{' && text.contains(['[', '.']) && value.as_object().is_some();
        if let Some(text) = value.as_str() {
            longest = longest.max(text.len());
        } else if by_name || inner {
            // Its members may be printed once per mark, so they are paid for too.
            let printed = print::to_text(state, value)?;
            longest = longest.max(printed.len());
        } else if value.as_object().is_some() && Number::of(value).is_none() {
            let printed = print::to_text(state, value)?;
            longest = longest.max(printed.len());
            ready.push(Value::from(printed));
            continue;
        }
        ready.push(value.clone());
    }
    state.consume_fuel((text.matches(mark).count() as u64).saturating_mul(longest as u64) / 64)?;
    Ok(ready)
}
