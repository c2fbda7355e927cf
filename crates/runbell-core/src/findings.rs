//! Faults and warnings found in configuration, all at once, each with the path of its field.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

use crate::error::{Error, ErrorKind};

/// The level of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A fault: the configuration cannot work.
    Fault,
    /// A warning: the configuration works, but probably not as meant.
    Warning,
}

/// The rule that a finding reports, for programs. A closed list; [`as_str`](Self::as_str) gives the word in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FindingCode {
    /// A required field has no value.
    Required,
    /// A value has another type than its field.
    WrongType,
    /// A value has the right type and is not allowed.
    WrongValue,
    /// A number, a size or a count is outside its limits.
    OutOfRange,
    /// A field is not known, so it has no effect.
    UnknownField {
        /// The known name that resembles it most.
        nearest: Option<String>,
    },
    /// No sender of the kind is linked.
    UnknownKind,
    /// Another notification of the same list has the name.
    NameTaken,
    /// A secret stands in a field that is shown.
    ExposedSecret,
    /// A secret that is referred to does not exist here.
    SecretNotFound,
    /// A condition cannot be compiled, so it is ignored.
    ConditionIgnored,
    /// A template cannot be compiled, so its text is sent as written.
    TemplateFailed,
    /// A value has no effect.
    NoEffect,
    /// A secret is sent unencrypted.
    Unencrypted,
    /// A kind panicked while it checked the params.
    KindPanicked,
    /// Any other rule.
    Other,
}

impl FindingCode {
    /// The word in JSON: `wrong_type`.
    pub fn as_str(&self) -> &'static str {
        match self {
            FindingCode::Required => "required",
            FindingCode::WrongType => "wrong_type",
            FindingCode::WrongValue => "wrong_value",
            FindingCode::OutOfRange => "out_of_range",
            FindingCode::UnknownField { .. } => "unknown_field",
            FindingCode::UnknownKind => "unknown_kind",
            FindingCode::NameTaken => "name_taken",
            FindingCode::ExposedSecret => "exposed_secret",
            FindingCode::SecretNotFound => "secret_not_found",
            FindingCode::ConditionIgnored => "condition_ignored",
            FindingCode::TemplateFailed => "template_failed",
            FindingCode::NoEffect => "no_effect",
            FindingCode::Unencrypted => "unencrypted",
            FindingCode::KindPanicked => "kind_panicked",
            FindingCode::Other => "other",
        }
    }
}

impl Serialize for FindingCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One fault or warning. Display is `path: message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The level.
    pub level: Level,
    /// The rule that it reports.
    pub code: FindingCode,
    /// The field: `params.headers.X-Token`. Empty for the whole document.
    pub path: String,
    /// The fault and the remedy in words. Never quotes a secret.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(level: Level, code: FindingCode, path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { level, code, path: path.into(), message: message.into() }
    }

    /// An error as a finding: its path and message, and the code that fits its kind.
    pub fn of_error(level: Level, error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::ParamsInvalid | ErrorKind::RunInvalid => FindingCode::WrongValue,
            ErrorKind::UnknownKind => FindingCode::UnknownKind,
            ErrorKind::SecretNotFound => FindingCode::SecretNotFound,
            _ => FindingCode::Other,
        };
        Finding::new(level, code, error.path(), error.message())
    }

    /// Whether it is about `field` or something inside it.
    pub fn is_about(&self, field: &str) -> bool {
        is_within(&self.path, field)
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_located(f, &self.path, &self.message)
    }
}

/// Writes `path: message`, or the message alone without a path.
pub(crate) fn write_located(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
}

/// Whether `path` is that of `field` or of something inside it.
fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A list of findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a fault with the code [`WrongValue`](FindingCode::WrongValue); see [`fault_of`](Self::fault_of).
    pub fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.fault_of(FindingCode::WrongValue, path, message);
    }

    /// Adds a fault.
    pub fn fault_of(&mut self, code: FindingCode, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding::new(Level::Fault, code, path, message));
    }

    /// Adds a fault about a required field without a value.
    pub fn missing(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.fault_of(FindingCode::Required, path, message);
    }

    /// Adds a warning with the code [`Other`](FindingCode::Other); see [`warning_of`](Self::warning_of).
    pub fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.warning_of(FindingCode::Other, path, message);
    }

    /// Adds a warning.
    pub fn warning_of(&mut self, code: FindingCode, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding::new(Level::Warning, code, path, message));
    }

    /// Adds a finding as it is.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds all of `other`, each path below `prefix`.
    pub fn extend_below(&mut self, prefix: &str, other: Findings) {
        self.0.extend(other.0.into_iter().map(|mut finding| {
            finding.path = match (prefix.is_empty(), finding.path.is_empty()) {
                (true, _) => finding.path,
                (_, true) => prefix.to_owned(),
                _ if finding.path.starts_with('[') => format!("{prefix}{}", finding.path),
                _ => format!("{prefix}.{}", finding.path),
            };
            finding
        }));
    }

    /// Whether there is a fault.
    pub fn has_faults(&self) -> bool {
        self.faults().next().is_some()
    }

    /// Whether `path` or something above or below it has a fault already.
    pub fn has_fault_at(&self, path: &str) -> bool {
        self.faults().any(|finding| finding.is_about(path) || is_within(path, &finding.path))
    }

    /// The faults.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.level == Level::Fault)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.level == Level::Warning)
    }

    /// Faults and warnings, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All faults as one error; `Ok` when there are only warnings.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] with the text of every fault. The error of a single fault carries its path.
    pub fn into_result(self) -> Result<(), Error> {
        let faults: Vec<&Finding> = self.faults().collect();
        match faults.as_slice() {
            [] => Ok(()),
            [only] => Err(Error::new(ErrorKind::ParamsInvalid, only.message.clone()).at(only.path.clone())),
            several => {
                let texts: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(Error::new(ErrorKind::ParamsInvalid, texts.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_nest() {
        let mut inner = Findings::default();
        inner.fault("[0].kind", "is required");
        inner.warning("", "odd");
        inner.fault("url", "is required");
        let mut outer = Findings::default();
        outer.extend_below("spec.notifications", inner);
        let paths: Vec<&str> = outer.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["spec.notifications[0].kind", "spec.notifications", "spec.notifications.url"]);
        assert!(outer.has_fault_at("spec.notifications.url"));
        assert!(outer.has_fault_at("spec.notifications.url.path"));
        assert!(!outer.has_fault_at("spec.notifications.urls"));
    }

    #[test]
    fn findings_become_errors_and_errors_findings() {
        let mut one = Findings::default();
        one.warning_of(FindingCode::NoEffect, "username", "has no effect");
        assert_eq!(one.clone().into_result().map_err(|error| error.to_string()), Ok(()));
        one.missing("url", "is required");
        let error = one.clone().into_result().expect_err("a fault");
        assert_eq!((error.path(), error.to_string().as_str()), ("url", "url: is required"));
        one.fault("port", "must be a port");
        let error = one.into_result().expect_err("two faults");
        assert_eq!((error.path(), error.to_string().as_str()), ("", "url: is required; port: must be a port"));

        let error = Error::new(ErrorKind::SecretNotFound, "is not set: X").at("secret_params.secret").with("status", 1);
        let finding = Finding::of_error(Level::Warning, &error);
        assert_eq!(
            serde_json::to_string(&finding).expect("JSON"),
            r#"{"level":"warning","code":"secret_not_found","path":"secret_params.secret","message":"is not set: X"}"#
        );
    }
}
