//! What MLRun 1.12.1 did with the same input, case by case.
//!
//! The files hold observed results. A case may differ only for a reason in [`Difference`]; each selects its cases by
//! a rule over the input, and says what holds instead.

mod decisions;
mod deliveries;
#[path = "../../../crates/runbell-render/tests/common/facts.rs"]
mod facts;
mod git;
mod mail;
mod validation;

use runbell::value::{Map, Value, read};

/// Where Runbell differs on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Difference {
    /// Conditions count in every state; MLRun looks at them for completed runs only.
    ConditionsCountInEveryState,
    /// The status is always recorded; MLRun does not record it for a running run with several states in `when`.
    StatusAlwaysRecorded,
    /// A missing webhook is an error; MLRun says "sent".
    NothingConfiguredIsAnError,
    /// Secrets are not in bodies.
    SecretsAreRedacted,
    /// A workflow without results still notifies.
    WorkflowWithoutResults,
    /// Unknown states in `when` are refused.
    UnknownStates,
    /// Console and notebook need no params.
    ConsoleNeedsNoParams,
    /// Redirects fail.
    RedirectsFail,
    /// A run goes out as it was handed in.
    AsHandedIn,
    /// Target URLs are absolute.
    AbsoluteUrls,
    /// White space around addresses is dropped.
    AddressesAreTrimmed,
    /// Severities ignore case and are a closed list.
    Severities,
}

/// How the HTML of a run that took MLRun's whole way may differ: the document's `kind` is dropped on it, and run data is
/// not escaped.
fn leeway(run: &Value) -> facts::Leeway {
    facts::Leeway { markup: facts::has_markup(run), kind: run.get("kind").is_some() }
}

/// One case of a file, its numbers as they were meant.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) value: Value,
}

impl Case {
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Value> {
        self.value.at(path)
    }

    pub(crate) fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads a file of cases.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut file = read(text).expect("JSON");
    restore(&mut file);
    let list = file.get("cases").and_then(Value::as_list).expect("cases");
    assert!(!list.is_empty());
    list.iter()
        .map(|case| Case { id: case.get("id").and_then(Value::as_str).expect("an id").to_owned(), value: case.clone() })
        .collect()
}

/// Turns `{"$float": "nan"}` and `{"$int": "…"}` into what they stand for.
fn restore(value: &mut Value) {
    let restored = match value {
        Value::Map(map) if map.len() == 1 => match map.get_index(0) {
            Some((key, Value::String(text))) if key == "$float" => text.parse().ok().map(Value::Float),
            Some((key, Value::String(text))) if key == "$int" => Value::integer(text),
            _ => None,
        },
        _ => None,
    };
    match (restored, value) {
        (Some(restored), value) => *value = restored,
        (None, Value::Map(map)) => map.values_mut().for_each(restore),
        (None, Value::List(list)) => list.iter_mut().for_each(restore),
        _ => {}
    }
}

/// Whether two values are the same JSON: key order is free, integers and floats are apart, NaN is null.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    let same_map = |left: &Map, right: &Map| {
        left.len() == right.len()
            && left.iter().all(|(key, item)| right.get(key).is_some_and(|other| same(item, other)))
    };
    match (left, right) {
        (Value::Map(left), Value::Map(right)) => same_map(left, right),
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}
