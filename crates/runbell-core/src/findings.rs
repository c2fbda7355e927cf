//! Faults and warnings found in configuration, all at once, each with the path of its field.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It cannot work.
    Fault,
    /// It works, but probably not as meant.
    Warning,
}

/// What a finding is about, for programs that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FindingCause {
    /// A required field has no value.
    Missing,
    /// A secret stands in a field that is shown.
    Exposed,
    /// Anything else.
    #[default]
    Other,
}

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Where it is: `params.headers.X-Token`. Empty for the whole.
    pub path: String,
    /// What is wrong and what would be right. Never quotes a secret.
    pub message: String,
    /// What it is about.
    #[serde(skip)]
    pub cause: FindingCause,
}

impl Finding {
    /// A finding that no program decides by.
    pub fn new(level: Level, path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { level, path: path.into(), message: message.into(), cause: FindingCause::Other }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// A list of findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a fault.
    pub fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding::new(Level::Fault, path, message));
    }

    /// Adds a fault about a required field without a value.
    pub fn missing(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { cause: FindingCause::Missing, ..Finding::new(Level::Fault, path, message) });
    }

    /// Adds a warning.
    pub fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding::new(Level::Warning, path, message));
    }

    /// Adds a warning about a secret in a field that is shown.
    pub fn exposed(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { cause: FindingCause::Exposed, ..Finding::new(Level::Warning, path, message) });
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

    /// Whether something cannot work.
    pub fn has_faults(&self) -> bool {
        self.faults().next().is_some()
    }

    /// Whether `path` or something above or below it has a fault already.
    pub fn has_fault_at(&self, path: &str) -> bool {
        self.faults().any(|finding| {
            let (short, long) = if finding.path.len() < path.len() {
                (finding.path.as_str(), path)
            } else {
                (path, finding.path.as_str())
            };
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
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
    /// [`ErrorKind::ParamsInvalid`] with the text of every fault.
    pub fn into_result(self) -> Result<(), Error> {
        let faults: Vec<String> = self.faults().map(ToString::to_string).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::ParamsInvalid, faults.join("; "))) }
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
}
