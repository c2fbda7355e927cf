//! Filters as jinja2 has them, where the engine's own order across types or print otherwise.

mod arguments;
mod numbers;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};

use self::arguments::Arguments;
use super::compare::{equal, order};
use super::objects::BoundMethod;
use super::operators::{calculate, collect};
use super::print;
use crate::fault::refuse;

/// The part of an item that a filter compares: an attribute or the item, with or without letter case.
struct Look {
    path: Option<Value>,
    fold_case: bool,
}

impl Look {
    fn at(&self, item: &Value) -> Result<Value, Error> {
        let mut found = item.clone();
        match &self.path {
            None => {}
            Some(path) => match path.as_str() {
                Some(path) => {
                    for part in path.split('.') {
                        let key = part.parse::<usize>().map_or_else(|_| Value::from(part), Value::from);
                        found = found.get_item(&key)?;
                    }
                }
                None => found = found.get_item(path)?,
            },
        }
        Ok(match found.as_str() {
            Some(text) if self.fold_case => Value::from(text.to_lowercase()),
            _ => found,
        })
    }
}

/// Sorts by `keys`, stable, an error where Python cannot order two of them.
fn sort_by(state: &State, mut items: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<(Value, Value)>, Error> {
    let mut fault = None;
    items.sort_by(|(a, _), (b, _)| {
        if fault.is_some() {
            return std::cmp::Ordering::Equal;
        }
        match state.consume_fuel(1).and_then(|()| order(state, a, b, 0)) {
            Ok(order) if reverse => order.map_or(std::cmp::Ordering::Equal, std::cmp::Ordering::reverse),
            Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
            Err(error) => {
                fault = Some(error);
                std::cmp::Ordering::Equal
            }
        }
    });
    match fault {
        Some(error) => Err(error),
        None => Ok(items),
    }
}

fn keyed(state: &State, value: &Value, look: &Look) -> Result<Vec<(Value, Value)>, Error> {
    collect(state, value)?.into_iter().map(|item| Ok((look.at(&item)?, item))).collect()
}

fn sort(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["reverse", "case_sensitive", "attribute"])?;
    let fold_case = !args.flag(1, "case_sensitive");
    let looks: Vec<Look> = match args.get(2, "attribute").filter(|path| !path.is_none()) {
        Some(paths) if paths.as_str().is_some() => {
            let paths = paths.as_str().unwrap_or_default().split(',');
            paths.map(|path| Look { path: Some(Value::from(path)), fold_case }).collect()
        }
        path => vec![Look { path, fold_case }],
    };
    // jinja2 sorts by a list of the attributes; lists look for a difference before they ask for an order.
    let mut items = Vec::new();
    for item in collect(state, value)? {
        let key = looks.iter().map(|look| look.at(&item)).collect::<Result<Vec<_>, _>>()?;
        items.push((Value::from(key), item));
    }
    let sorted = sort_by(state, items, args.flag(0, "reverse"))?;
    Ok(sorted.into_iter().map(|(_, item)| item).collect())
}

fn extreme(state: &State, value: &Value, args: Rest<ValueOrKwargs>, largest: bool) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["case_sensitive", "attribute"])?;
    let look = Look { path: args.get(1, "attribute"), fold_case: !args.flag(0, "case_sensitive") };
    let mut best: Option<(Value, Value)> = None;
    for (key, item) in keyed(state, value, &look)? {
        let better = match &best {
            None => true,
            Some((found, _)) if largest => order(state, &key, found, 0)?.is_some_and(std::cmp::Ordering::is_gt),
            Some((found, _)) => order(state, &key, found, 0)?.is_some_and(std::cmp::Ordering::is_lt),
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

fn unique(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Vec<Value>, Error> {
    let args = Arguments::new(args.into_values(), &["case_sensitive", "attribute"])?;
    let look = Look { path: args.get(1, "attribute"), fold_case: !args.flag(0, "case_sensitive") };
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for (key, item) in keyed(state, value, &look)? {
        if key.as_object().is_some() {
            return Err(refuse("`unique` cannot compare containers"));
        }
        if seen.insert(key) {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn sum(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["attribute", "start"])?;
    let look = Look { path: args.get(0, "attribute").filter(|path| !path.is_none()), fold_case: false };
    let mut total = args.get(1, "start").unwrap_or_else(|| Value::from(0));
    if total.as_str().is_some() {
        return Err(refuse("texts are not summed"));
    }
    for (item, _) in keyed(state, value, &look)? {
        total = calculate(state, "+", &total, &item)?;
    }
    Ok(total)
}

/// One group of `groupby`: a pair that also answers to `.grouper` and `.list`.
#[derive(Debug)]
struct Group(Value, Value);

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_usize() {
            Some(0) => Some(self.0.clone()),
            Some(1) => Some(self.1.clone()),
            _ => None,
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "grouper" => Some(self.0.clone()),
            "list" => Some(self.1.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:?}, {:?})", self.0, self.1)
    }
}

fn groupby(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Vec<Value>, Error> {
    let args = Arguments::new(args.into_values(), &["attribute", "default", "case_sensitive"])?;
    let path = args.get(0, "attribute").ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let look = Look { path: Some(path), fold_case: !args.flag(2, "case_sensitive") };
    let mut items = keyed(state, value, &look)?;
    if let Some(default) = args.get(1, "default") {
        for (key, _) in items.iter_mut().filter(|(key, _)| key.is_undefined()) {
            *key = default.clone();
        }
    }
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sort_by(state, items, false)? {
        match groups.last_mut() {
            Some((last, members)) if equal(state, last, &key, 0)? => members.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    Ok(groups.into_iter().map(|(key, items)| Value::from_object(Group(key, Value::from(items)))).collect())
}

fn dictsort(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Vec<Value>, Error> {
    let args = Arguments::new(args.into_values(), &["case_sensitive", "by", "reverse"])?;
    if value.kind() != ValueKind::Map {
        return Err(refuse("`dictsort` needs a dict"));
    }
    let by_value = match args.get(1, "by").as_ref().map(|by| by.as_str()) {
        None | Some(Some("key")) => false,
        Some(Some("value")) => true,
        Some(_) => return Err(refuse("`dictsort` sorts by key or value")),
    };
    let look = Look { path: None, fold_case: !args.flag(0, "case_sensitive") };
    let mut items = Vec::new();
    for key in collect(state, value)? {
        let item = value.get_item(&key)?;
        items.push((look.at(if by_value { &item } else { &key })?, Value::from(Tuple::from([key, item]))));
    }
    Ok(sort_by(state, items, args.flag(2, "reverse"))?.into_iter().map(|(_, pair)| pair).collect())
}

fn join(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["d", "attribute"])?;
    let look = Look { path: args.get(1, "attribute").filter(|path| !path.is_none()), fold_case: false };
    let separator = match args.get(0, "d") {
        Some(separator) => print::to_text(state, &separator)?,
        None => String::new(),
    };
    let mut text = String::new();
    for (at, (item, _)) in keyed(state, value, &look)?.into_iter().enumerate() {
        if at > 0 {
            state.consume_fuel(separator.len() as u64 / 64)?;
            text.push_str(&separator);
        }
        print::push_text(state, &item, &mut text)?;
    }
    Ok(Value::from(text))
}

fn truncate(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["length", "killwords", "end", "leeway"])?;
    let end = args.get(2, "end").map_or_else(|| Ok("...".to_owned()), |end| print::to_text(state, &end))?;
    let (length, leeway) = (args.count(0, "length", 255)?, args.count(3, "leeway", 5)?);
    let room = usize::try_from(length).ok().and_then(|length| length.checked_sub(end.chars().count()));
    let (Some(room), Ok(leeway)) = (room, usize::try_from(leeway)) else {
        return Err(refuse("`truncate` needs a length not below its end mark's"));
    };
    if count(value)? <= room.saturating_add(end.chars().count()).saturating_add(leeway) {
        return Ok(value.clone());
    }
    let Some(text) = value.as_str() else { return Err(refuse("only a text is cut")) };
    let cut: String = text.chars().take(room).collect();
    let kept =
        if args.flag(1, "killwords") { &cut } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept) };
    Ok(Value::from(format!("{kept}{end}")))
}

fn center(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["width"])?;
    let width = u64::try_from(args.count(0, "width", 80)?).unwrap_or(0);
    let text = print::to_text(state, value)?;
    let missing = width.saturating_sub(text.chars().count() as u64);
    state.consume_fuel(missing / 64)?;
    let left = missing / 2 + (missing & width & 1);
    let spaces = |count: u64| " ".repeat(usize::try_from(count).unwrap_or(0));
    Ok(Value::from(format!("{}{text}{}", spaces(left), spaces(missing - left))))
}

/// A filter that takes `str(value)`.
fn textual(env: &mut Environment<'static>, name: &'static str, change: fn(&str) -> Value) {
    env.add_filter(name, move |state: &mut State<'_, '_>, value: &Value| match value.as_str() {
        Some(text) => {
            // Reading every character costs more than the copying that the engine charges for.
            state.consume_fuel(text.len() as u64 / 64)?;
            Ok::<Value, Error>(change(text))
        }
        None => Ok(change(&print::to_text(state, value)?)),
    });
}

/// `|attr("name")`: attributes, never keys.
fn attr(value: &Value, name: &str) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(refuse("a missing value has no attributes")),
        ValueKind::Map => Ok(BoundMethod::find(value, name).unwrap_or(Value::UNDEFINED)),
        _ => Ok(Value::UNDEFINED),
    }
}

/// Refuses a value that Python cannot iterate; the engine takes none for an empty list.
fn items_of(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => Err(refuse("a value that cannot be iterated")),
        _ => Ok(value.clone()),
    }
}

/// The same for filters that in jinja2 take a false value for an empty list.
fn items_if_true(value: &Value) -> Result<Value, Error> {
    if value.is_true() { items_of(value) } else { Ok(Value::from(Vec::<Value>::new())) }
}

type Words<'a> = Option<std::borrow::Cow<'a, str>>;

/// The filters that pick items or look into them.
fn add_pickers(env: &mut Environment<'static>) {
    env.add_filter("map", |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
        filters::map(state, items_if_true(value)?, args)
    });
    env.add_filter("select", |state: &mut State<'_, '_>, value: &Value, test: Words<'_>, args: Rest<ValueOrKwargs>| {
        filters::select(state, items_if_true(value)?, test, args)
    });
    env.add_filter("reject", |state: &mut State<'_, '_>, value: &Value, test: Words<'_>, args: Rest<ValueOrKwargs>| {
        filters::reject(state, items_if_true(value)?, test, args)
    });
    env.add_filter(
        "selectattr",
        |state: &mut State<'_, '_>, value: &Value, name: &str, test: Words<'_>, args: Rest<ValueOrKwargs>| {
            filters::selectattr(state, items_if_true(value)?, name.into(), test, args)
        },
    );
    env.add_filter(
        "rejectattr",
        |state: &mut State<'_, '_>, value: &Value, name: &str, test: Words<'_>, args: Rest<ValueOrKwargs>| {
            filters::rejectattr(state, items_if_true(value)?, name.into(), test, args)
        },
    );
}

/// Refuses none for `batch` and `slice`.
fn add_cutters(env: &mut Environment<'static>) {
    env.add_filter("batch", |state: &mut State<'_, '_>, value: &Value, count: usize, fill: Option<Value>| {
        filters::batch(state, items_of(value)?, count, fill)
    });
    env.add_filter("slice", |state: &mut State<'_, '_>, value: &Value, count: usize, fill: Option<Value>| {
        filters::slice(state, items_of(value)?, count, fill)
    });
}

/// `indent`, of texts only, no wider than the fuel pays for.
fn indent(state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::new(args.into_values(), &["width", "first", "blank"])?;
    let Some(text) = value.as_str() else { return Err(refuse("only a text is indented")) };
    let prefix = match args.get(0, "width") {
        Some(width) if width.as_str().is_some() => print::to_text(state, &width)?,
        _ => {
            let width = u64::try_from(args.count(0, "width", 4)?).unwrap_or(0);
            state.consume_fuel(width / 64)?;
            " ".repeat(usize::try_from(width).unwrap_or(0))
        }
    };
    let mut out = String::new();
    for (at, line) in text.split('\n').enumerate() {
        out.push_str(if at == 0 { "" } else { "\n" });
        if (at > 0 || args.flag(1, "first")) && (!line.is_empty() || args.flag(2, "blank")) {
            state.consume_fuel(1 + prefix.len() as u64 / 64)?;
            out.push_str(&prefix);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Replaces the engine's filters where they differ from jinja2's, and adds those it lacks.
pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("sort", sort);
    env.add_filter("min", |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
        extreme(state, value, args, false)
    });
    env.add_filter("max", |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
        extreme(state, value, args, true)
    });
    env.add_filter("unique", unique);
    env.add_filter("sum", sum);
    env.add_filter("groupby", groupby);
    env.add_filter("dictsort", dictsort);
    numbers::add_to(env);
    env.add_filter("join", join);
    env.add_filter("truncate", truncate);
    env.add_filter("center", center);
    env.add_filter("attr", attr);
    env.add_filter("string", |state: &mut State<'_, '_>, value: &Value| print::to_text(state, value));
    textual(env, "upper", |text| Value::from(text.to_uppercase()));
    textual(env, "lower", |text| Value::from(text.to_lowercase()));
    textual(env, "title", |text| Value::from(filters::title(text.into())));
    textual(env, "forceescape", |text| Value::from(escape(text)));
    textual(env, "escape", |text| Value::from(escape(text)));
    textual(env, "e", |text| Value::from(escape(text)));
    textual(env, "capitalize", |text| {
        let mut rest = text.chars();
        Value::from(rest.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(rest.as_str().to_lowercase().chars()).collect()
        }))
    });
    textual(env, "wordcount", |text| {
        Value::from(text.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty()).count())
    });
    env.add_filter("list", |state: &mut State<'_, '_>, value: &Value| collect(state, value));
    env.add_filter("first", |value: &Value| filters::first(&items_of(value)?));
    env.add_filter("length", count);
    env.add_filter("count", count);
    env.add_filter("indent", indent);
    add_pickers(env);
    add_cutters(env);
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            plain => out.push(plain),
        }
    }
    out
}

fn count(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    value.len().ok_or_else(|| refuse("a value of this type has no length"))
}
