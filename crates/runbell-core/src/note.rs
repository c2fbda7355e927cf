//! Notes: remarks beside a payload or a report line, for example about a cut text.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

use crate::findings::{Finding, write_located};

/// The subject of a note, for programs. A closed list; [`as_str`](Self::as_str) gives its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoteCode {
    /// A text or a value was cut.
    Cut,
    /// Whole parts were left out: runs, lines, placeholders.
    LeftOut,
    /// A template failed, so its text is sent as written.
    TemplateFailed,
    /// The condition is broken, so it was ignored.
    ConditionIgnored,
    /// The configuration has a finding that is a warning; see [`FindingCode`](crate::FindingCode).
    Configuration,
    /// The previewed payload would not be sent.
    Skipped,
    /// Newer news or a new list of notifications replaced the delivery.
    Superseded,
    /// Any other subject.
    Other,
}

impl NoteCode {
    /// The code as a word: `left_out`.
    pub fn as_str(self) -> &'static str {
        match self {
            NoteCode::Cut => "cut",
            NoteCode::LeftOut => "left_out",
            NoteCode::TemplateFailed => "template_failed",
            NoteCode::ConditionIgnored => "condition_ignored",
            NoteCode::Configuration => "configuration",
            NoteCode::Skipped => "skipped",
            NoteCode::Superseded => "superseded",
            NoteCode::Other => "other",
        }
    }
}

/// A remark in a report or a preview. Display and JSON are one text: `path: message`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// The subject.
    pub code: NoteCode,
    /// The field, such as `override_body.list[1]`. Empty without a field.
    pub path: String,
    /// The remark in words. Never quotes a secret.
    pub message: String,
}

impl Note {
    /// A note about no field in particular; see [`at`](Self::at).
    pub fn new(code: NoteCode, message: impl Into<String>) -> Self {
        Note { code, path: String::new(), message: message.into() }
    }

    /// A note that a text or a value was cut.
    pub fn cut(message: impl Into<String>) -> Self {
        Note::new(NoteCode::Cut, message)
    }

    /// A note that whole parts were left out.
    pub fn left_out(message: impl Into<String>) -> Self {
        Note::new(NoteCode::LeftOut, message)
    }

    /// Names the field.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
}

impl From<&Finding> for Note {
    fn from(finding: &Finding) -> Self {
        Note::new(NoteCode::Configuration, finding.message.clone()).at(finding.path.clone())
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_located(f, &self.path, &self.message)
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{FindingCode, Level};

    #[test]
    fn a_note_is_one_text_in_json() {
        let finding = Finding::new(Level::Warning, FindingCode::NoEffect, "params.username", "has no effect");
        let notes = [Note::cut("the text was cut"), Note::from(&finding)];
        assert_eq!(
            serde_json::to_string(&notes).expect("JSON"),
            r#"["the text was cut","params.username: has no effect"]"#
        );
        assert_eq!(notes.map(|note| note.code.as_str()), ["cut", "configuration"]);
    }
}
