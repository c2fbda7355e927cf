//! The notification, as a user configures it.

use std::fmt::{self, Debug};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::findings::{Finding, FindingCode, Findings, Level};
use crate::secret::{MASK, blank};
use crate::state::{RunState, Severity};
use crate::suggest::nearest;
use crate::value::{Map, Value, python_json};

/// The largest `secret_params`, in characters of their JSON as Python writes it: 900 KiB.
///
/// MLRun's limit, which comes from the 1 MB a Kubernetes secret holds.
pub const MAX_SECRET_PARAMS: usize = 900 * 1024;

/// The key by which `secret_params` refer to a stored secret. It stands alone.
pub const SECRET_KEY: &str = "secret";

const FIELDS: &[&str] = &[
    "kind",
    "name",
    "message",
    "severity",
    "when",
    "condition",
    "params",
    "secret_params",
    "status",
    "sent_time",
    "reason",
];

/// One notification of a run: the target, the states that notify, and the text.
///
/// Debug and Serialize mask `secret_params`.
#[derive(Clone, PartialEq, Serialize)]
pub struct Notification {
    /// The kind of sender: `slack`, `webhook`, … Default `slack`, as in MLRun.
    pub kind: String,
    /// The name, unique among the notifications of a run.
    pub name: String,
    /// The author's own text, added to the composed one.
    pub message: String,
    /// Default `info`.
    pub severity: Severity,
    /// The states that notify. Default `["completed"]`.
    pub when: Vec<RunState>,
    /// A template that decides whether to send; empty always sends.
    pub condition: String,
    /// The kind's params. They override `secret_params`.
    pub params: Map,
    /// The kind's secret params, or `{"secret": "NAME"}`.
    #[serde(serialize_with = "masked")]
    pub secret_params: Map,
}

fn masked<S: Serializer>(secret_params: &Map, serializer: S) -> Result<S::Ok, S::Error> {
    blank(secret_params, MASK).serialize(serializer)
}

impl Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `params` may hold secrets too (a webhook's URL), and only the kind's schema knows which.
        f.debug_struct("Notification")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("when", &self.when)
            .field("severity", &self.severity)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .field("secret_params", &self.secret_params.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Notification {
    /// A notification with MLRun's defaults: it is sent when the run has completed.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Notification {
            kind: kind.into(),
            name: name.into(),
            message: String::new(),
            severity: Severity::default(),
            when: vec![RunState::Completed],
            condition: String::new(),
            params: Map::new(),
            secret_params: Map::new(),
        }
    }

    /// Sets the states that notify.
    #[must_use]
    pub fn when(mut self, states: impl IntoIterator<Item = RunState>) -> Self {
        self.when = states.into_iter().collect();
        self
    }

    /// Sets the condition, a template that sees `run` and `notification`.
    #[must_use]
    pub fn condition(mut self, template: impl Into<String>) -> Self {
        self.condition = template.into();
        self
    }

    /// Sets the author's text.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets the severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets one param.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Sets one secret param.
    #[must_use]
    pub fn secret_param(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.secret_params.insert(name.into(), value.into());
        self
    }

    /// The name of the stored secret that `secret_params` refer to. An empty name is no reference.
    pub fn secret_reference(&self) -> Option<&str> {
        self.secret_params.get(SECRET_KEY)?.as_str().filter(|name| !name.is_empty())
    }

    /// Parses one notification object and returns all findings.
    ///
    /// The kind is not looked up and its params are not checked here; the registry does both. Returns `None`
    /// when there are faults.
    pub fn parse(document: &Value) -> (Option<Notification>, Findings) {
        let mut found = Findings::default();
        let Some(map) = document.as_map() else {
            found.fault_of(FindingCode::WrongType, "", format!("must be an object, not {}", document.type_name()));
            return (None, found);
        };
        for key in map.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
            found.push(unknown_field(key, FIELDS));
        }
        let mut reader = FieldReader { map, found: &mut found };
        let notification = Notification {
            kind: reader.text("kind", false).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "slack".to_owned()),
            name: reader.text("name", true).unwrap_or_default(),
            message: reader.text("message", true).unwrap_or_default(),
            severity: reader.word("severity").unwrap_or_default(),
            when: reader.when(),
            condition: reader.text("condition", false).unwrap_or_default(),
            params: reader.object("params"),
            secret_params: reader.object("secret_params"),
        };
        reader.status();
        notification.check_secret_params(&mut found);
        if found.has_faults() { (None, found) } else { (Some(notification), found) }
    }

    /// Reads a list of notifications; a mapping with `notifications` inside is accepted too.
    ///
    /// Returns the valid ones, and the findings of the others, each with its index.
    pub fn parse_list(document: &Value) -> (Vec<(usize, Notification)>, Findings) {
        let mut found = Findings::default();
        let (prefix, list) = match document.get("notifications") {
            Some(list) => ("notifications", list),
            None => ("", document),
        };
        let Some(list) = list.as_list() else {
            let wanted = "must be a list of notifications, or an object with such a list as `notifications`";
            found.fault_of(FindingCode::WrongType, prefix, format!("{wanted}; it is {}", list.type_name()));
            return (Vec::new(), found);
        };
        let mut good: Vec<(usize, Notification)> = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let (notification, item_found) = Notification::parse(item);
            found.extend_below(&format!("{prefix}[{index}]"), item_found);
            let Some(notification) = notification else { continue };
            match good.iter().find(|(_, other)| other.name == notification.name) {
                Some((first, _)) if notification.name.is_empty() => found.fault_of(
                    FindingCode::NameTaken,
                    format!("{prefix}[{index}].name"),
                    format!("is missing here and in {prefix}[{first}]; of several notifications each needs a name"),
                ),
                Some((first, _)) => found.fault_of(
                    FindingCode::NameTaken,
                    format!("{prefix}[{index}].name"),
                    format!(
                        "`{}` is the name of {prefix}[{first}] too; names must be unique",
                        crate::text::one_line(&notification.name, 80)
                    ),
                ),
                None => good.push((index, notification)),
            }
        }
        (good, found)
    }

    fn check_secret_params(&self, found: &mut Findings) {
        if self.secret_reference().is_some() && self.secret_params.len() > 1 {
            found.fault(
                "secret_params",
                "`secret` names a stored secret and must stand alone; move the other keys away",
            );
        }
        match self.secret_params.get(SECRET_KEY) {
            None | Some(Value::String(_)) => {}
            Some(_) => {
                found.fault_of(FindingCode::WrongType, "secret_params.secret", "must be the name of a secret, a text")
            }
        }
        // Python's JSON is never shorter than the texts in it, so small ones need not be written out.
        if rough_size(&self.secret_params) > MAX_SECRET_PARAMS / 12 {
            let size = python_json(&Value::Map(self.secret_params.clone())).len();
            if size > MAX_SECRET_PARAMS {
                found.fault_of(
                    FindingCode::OutOfRange,
                    "secret_params",
                    format!("is {size} characters as JSON; the limit is {MAX_SECRET_PARAMS} (900 KiB)"),
                );
            }
        }
    }
}

fn rough_size(map: &Map) -> usize {
    fn size(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len() + 4,
            Value::List(list) => 4 + list.iter().map(size).sum::<usize>(),
            Value::Map(map) => rough_size(map),
            _ => 24,
        }
    }
    map.iter().map(|(key, item)| key.len() + 8 + size(item)).sum::<usize>() + 2
}

/// The warning about an unknown name: with the nearest known one.
pub(crate) fn unknown_field(name: &str, known: &[&str]) -> Finding {
    let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
    let message = match &nearest {
        Some(near) => format!("is not known and has no effect; did you mean `{near}`?"),
        None if known.is_empty() => "is not known and has no effect; there are none".to_owned(),
        None => format!("is not known and has no effect; known: {}", known.join(", ")),
    };
    Finding::new(Level::Warning, FindingCode::UnknownField { nearest }, name, message)
}

struct FieldReader<'a> {
    map: &'a Map,
    found: &'a mut Findings,
}

impl FieldReader<'_> {
    fn present(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !matches!(value, Value::Null))
    }

    fn text(&mut self, field: &str, numbers: bool) -> Option<String> {
        match self.present(field)? {
            Value::String(text) => Some(text.clone()),
            number @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_)) if numbers => Some(number.to_json()),
            other => {
                let message = format!("must be a text, not {}", other.type_name());
                self.found.fault_of(FindingCode::WrongType, field, message);
                None
            }
        }
    }

    fn word(&mut self, field: &str) -> Option<Severity> {
        let word = self.text(field, false)?;
        let severity = Severity::from_str(&word).ok();
        if severity.is_none() {
            self.found.fault(field, not_one_of(&word, Severity::ALL.iter().map(|known| known.as_str())));
        }
        severity
    }

    fn when(&mut self) -> Vec<RunState> {
        let states = match self.present("when") {
            None => Vec::new(),
            Some(Value::List(list)) => list.clone(),
            Some(other) => {
                let message = format!("must be a list of states such as [\"completed\"], not {}", other.type_name());
                self.found.fault_of(FindingCode::WrongType, "when", message);
                Vec::new()
            }
        };
        let mut when = Vec::new();
        for (index, state) in states.iter().enumerate() {
            let known = state.as_str().and_then(|word| RunState::from_str(word).ok());
            match known {
                Some(state) if !state.notifies() => {
                    let message = format!("a run in state `{state}` never notifies; this has no effect");
                    self.found.warning_of(FindingCode::NoEffect, format!("when[{index}]"), message);
                    when.push(state);
                }
                Some(state) => when.push(state),
                None => {
                    let allowed = RunState::ALL.iter().filter(|state| state.notifies()).map(|state| state.as_str());
                    let (code, message) = match state.as_str() {
                        Some(word) => (FindingCode::WrongValue, not_one_of(word, allowed)),
                        None => (FindingCode::WrongType, format!("must be a state, not {}", state.type_name())),
                    };
                    self.found.fault_of(code, format!("when[{index}]"), message);
                }
            }
        }
        if when.is_empty() { vec![RunState::Completed] } else { when }
    }

    fn object(&mut self, field: &str) -> Map {
        match self.present(field) {
            None => Map::new(),
            Some(Value::Map(map)) => map.clone(),
            Some(other) => {
                let message = format!("must be an object, not {}", other.type_name());
                self.found.fault_of(FindingCode::WrongType, field, message);
                Map::new()
            }
        }
    }

    /// `status` is output, and still has to be one of its words.
    fn status(&mut self) {
        const STATUSES: [&str; 3] = ["pending", "sent", "error"];
        if let Some(status) = self.text("status", false).filter(|status| !STATUSES.contains(&status.as_str())) {
            self.found.fault("status", not_one_of(&status, STATUSES));
        }
    }
}

fn not_one_of<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let hint = nearest(word, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("`{}` is not one of {}{hint}", crate::text::one_line(word, 40), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn parse(text: &str) -> (Option<Notification>, Vec<String>) {
        let (notification, found) = Notification::parse(&read(text).expect("json"));
        (notification, found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_are_mlruns() {
        let (notification, found) = parse("{}");
        assert_eq!(notification, Some(Notification::new("slack", "")));
        assert!(found.is_empty());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let (notification, found) = parse(
            r#"{"kind": 1, "name": 5, "message": 2.0, "severity": "loud", "when": ["complete", 3], "params": [], "wen": 1}"#,
        );
        assert_eq!(notification, None);
        assert_eq!(
            found,
            [
                "wen: is not known and has no effect; did you mean `when`?",
                "kind: must be a text, not an integer",
                "severity: `loud` is not one of info, debug, verbose, warning, error",
                "when[0]: `complete` is not one of running, completed, error, aborted; did you mean `completed`?",
                "when[1]: must be a state, not an integer",
                "params: must be an object, not a list",
            ]
        );
    }

    #[test]
    fn severity_ignores_case_and_numbers_become_text() {
        let (notification, _) = parse(r#"{"name": 5, "message": 2.5, "severity": "WARNING"}"#);
        let notification = notification.expect("valid");
        assert_eq!((notification.name.as_str(), notification.message.as_str()), ("5", "2.5"));
        assert_eq!(notification.severity, Severity::Warning);
    }

    #[test]
    fn a_secret_reference_stands_alone() {
        assert!(parse(r#"{"secret_params": {"secret": "S", "url": "u"}}"#).0.is_none());
        assert!(parse(r#"{"secret_params": {"secret": "", "url": "u"}}"#).0.is_some());
        assert!(parse(r#"{"secret_params": {"secret": 5}}"#).0.is_none());
    }

    #[test]
    fn debug_and_serialize_show_no_params() {
        let notification = Notification::new("webhook", "n").param("url", "CANARY-1").secret_param("token", "CANARY-2");
        assert!(!format!("{notification:?}").contains("CANARY"));
        assert!(!serde_json::to_string(&notification).expect("json").contains("CANARY-2"));
    }
}
