//! `preview`: the payload of each notification, byte for byte.

use runbell_core::{Error, Links, Note, NoteCode, Payload, Preview, Rendered};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::decide::{Decision, Entry, Plan, message, note_of, render};

/// The preview of one notification.
#[derive(Debug)]
pub struct PreviewLine {
    /// The run.
    pub uid: String,
    /// The notification's name.
    pub notification: String,
    /// Its kind.
    pub kind: String,
    /// The payload, or the reason why there is none.
    pub rendered: Result<Rendered, String>,
    /// Whether the verdict is to send it; the payload is there either way.
    pub sends: bool,
}

impl PreviewLine {
    pub(crate) fn new(plan: &Plan, entry: &Entry, links: &Links) -> Self {
        let uid = plan.transition.run.uid().to_owned();
        match entry {
            Ok(ready) => {
                let Decision { verdict, job } = plan.decide(ready);
                // The payload is shown although it would be skipped.
                let job = job.unwrap_or_else(|| plan.job(&ready.notification, &ready.name, ready.look));
                let message = message(&job, ready, &plan.secrets, links, plan.is_sample());
                let rendered = render(ready, &message).map(|mut rendered| {
                    let skipped = || Note::new(NoteCode::Skipped, format!("would be skipped: {}", verdict.reason));
                    let skipped = (!verdict.sends()).then(skipped);
                    rendered
                        .notes
                        .extend(ready.warnings.iter().map(Note::from).chain(note_of(&verdict)).chain(skipped));
                    rendered
                });
                PreviewLine {
                    uid,
                    notification: ready.notification.name.clone(),
                    kind: ready.notification.kind.clone(),
                    rendered: rendered.map_err(|error: Error| error.reason()),
                    sends: verdict.sends(),
                }
            }
            Err(unusable) => PreviewLine {
                uid,
                notification: unusable.name.clone(),
                kind: unusable.kind.clone(),
                rendered: Err(unusable.error.reason()),
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
