//! Answers to "why was I (not) told?" and "what would be sent?".

use runbell_core::{Error, Links, Payload, Preview, Rendered};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::plan::{Entry, Plan, render};

/// Why a notification would be sent or not.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The run.
    pub uid: String,
    /// The notification's name.
    pub notification: String,
    /// `send`, `skip`, or `error` when it cannot be sent as it is configured.
    pub verdict: &'static str,
    /// The rule that decided; of an error its kind.
    pub reason: String,
    /// More, where there is more to say.
    pub detail: Option<String>,
    /// Whether the configuration is at fault.
    #[serde(skip)]
    pub is_fault: bool,
}

impl Explanation {
    pub(crate) fn new(plan: &Plan, entry: &Entry) -> Self {
        let uid = plan.transition.run.uid().to_owned();
        match entry {
            Ok(prepared) => {
                let (verdict, note) = plan.decide(prepared);
                Explanation {
                    uid,
                    notification: prepared.notification.name.clone(),
                    verdict: if verdict.sends() { "send" } else { "skip" },
                    reason: verdict.reason.as_str().to_owned(),
                    // The cause alone is for programs; the note says it in words.
                    detail: match (verdict.detail, note) {
                        (Some(cause), Some(note)) => Some(match note.split_once("): ") {
                            Some((_, why)) => format!("{cause}: {why}"),
                            None => cause,
                        }),
                        (detail, _) => detail,
                    },
                    is_fault: false,
                }
            }
            Err(unprepared) => Explanation {
                uid,
                notification: unprepared.name.clone(),
                verdict: "error",
                reason: unprepared.error.kind().as_str().to_owned(),
                detail: Some(unprepared.error.to_string()),
                is_fault: true,
            },
        }
    }
}

/// What would be sent for one notification.
#[derive(Debug)]
pub struct PreviewLine {
    /// The run.
    pub uid: String,
    /// The notification's name.
    pub notification: String,
    /// Its kind.
    pub kind: String,
    /// The payload, or why there is none.
    pub rendered: Result<Rendered, String>,
    /// Whether the verdict is to send it; the payload is there either way.
    pub sends: bool,
}

impl PreviewLine {
    pub(crate) fn new(plan: &Plan, entry: &Entry, links: &Links) -> Self {
        let uid = plan.transition.run.uid().to_owned();
        match entry {
            Ok(prepared) => {
                let (verdict, note) = plan.decide(prepared);
                let rendered = render(prepared, &plan.message(prepared, links)).map(|mut rendered| {
                    let skipped = (!verdict.sends()).then(|| format!("would be skipped: {}", verdict.reason));
                    rendered.notes.extend(prepared.warnings.iter().cloned().chain(note).chain(skipped));
                    rendered
                });
                PreviewLine {
                    uid,
                    notification: prepared.notification.name.clone(),
                    kind: prepared.notification.kind.clone(),
                    rendered: rendered.map_err(|error: Error| error.reason()),
                    sends: verdict.sends(),
                }
            }
            Err(unprepared) => PreviewLine {
                uid,
                notification: unprepared.name.clone(),
                kind: unprepared.kind.clone(),
                rendered: Err(unprepared.error.reason()),
                sends: false,
            },
        }
    }

    /// This line as it is printed; `reveal` shows secrets.
    pub fn shown(&self, reveal: bool) -> impl Serialize + '_ {
        Shown { line: self, reveal }
    }
}

struct Shown<'a> {
    line: &'a PreviewLine,
    reveal: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uid", &self.line.uid)?;
        map.serialize_entry("notification", &self.line.notification)?;
        map.serialize_entry("kind", &self.line.kind)?;
        match &self.line.rendered {
            Ok(rendered) => {
                let payload: &Payload = &rendered.payload;
                map.serialize_entry("payload", &Preview { payload, reveal: self.reveal })?;
                map.serialize_entry("notes", &rendered.notes)?;
            }
            Err(error) => map.serialize_entry("error", error)?,
        }
        map.end()
    }
}
