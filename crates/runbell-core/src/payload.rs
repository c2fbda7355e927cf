//! The payload that leaves the process.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::note::Note;
use crate::secret::{MASK, Secret};

/// The value of a header that is computed for each attempt, such as a signature's timestamp.
pub const PER_ATTEMPT: &str = "<per attempt>";

/// The payload that leaves the process. Debug and Serialize mask secrets; only [`Preview`] can reveal them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Payload {
    /// An HTTP request.
    Http(HttpRequest),
    /// A mail.
    Mail(MailMessage),
    /// A text for a terminal or a notebook.
    Text {
        /// Its media type: `text/plain`, `text/html`.
        content_type: &'static str,
        /// The text.
        body: String,
    },
    /// A payload of a third-party kind.
    Other(Arc<dyn CustomPayload>),
}

/// A payload of a type that core does not know: previewed through erased-serde, recovered by its sender through `Any`.
pub trait CustomPayload: erased_serde::Serialize + Any + Debug + Send + Sync {}

erased_serde::serialize_trait_object!(CustomPayload);

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST`, `PUT`, …
    pub method: String,
    /// The target. Secret, because the URL of a hook is enough to post to it.
    pub url: Secret<String>,
    /// Headers, in the order they are sent.
    pub headers: Vec<HttpHeader>,
    /// The body.
    pub body: Bytes,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: HeaderValue,
}

/// A header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A public value.
    Plain(String),
    /// A secret value, such as a token.
    Secret(Secret<String>),
    /// Filled in when an attempt is made.
    PerAttempt,
}

impl HttpRequest {
    /// Sets a header, replacing one of the same name in any letter case.
    pub fn set_header(&mut self, name: &str, value: HeaderValue) {
        match self.headers.iter_mut().find(|header| header.name.eq_ignore_ascii_case(name)) {
            Some(header) => header.value = value,
            None => self.headers.push(HttpHeader { name: name.to_owned(), value }),
        }
    }

    /// Whether a header of this name is set, in any letter case.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }
}

/// A mail.
#[derive(Debug, Clone)]
pub struct MailMessage {
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// The subject, one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Further headers: Message-ID, Date, References.
    pub headers: Vec<(String, String)>,
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Preview { payload: self, reveal: false }.serialize(serializer)
    }
}

/// Shows a payload: `{"http": {…}}`, `{"mail": {…}}`, `{"text": …}` or `{"other": …}`.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'p> {
    /// The payload.
    pub payload: &'p Payload,
    /// Whether to show secrets. Set it only at a user's explicit request.
    pub reveal: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Shown<'p> {
    Http { method: &'p str, url: &'p str, headers: ShownHeaders<'p>, body: std::borrow::Cow<'p, str> },
    Mail { from: &'p str, to: &'p [String], subject: &'p str, text: &'p str, html: &'p str },
    Text(&'p str),
    Other(&'p dyn CustomPayload),
}

struct ShownHeaders<'p> {
    headers: &'p [HttpHeader],
    reveal: bool,
}

impl Serialize for ShownHeaders<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.headers.iter().map(|header| {
            let value = match &header.value {
                HeaderValue::Plain(value) => value,
                HeaderValue::Secret(value) if self.reveal => value.reveal(),
                HeaderValue::Secret(_) => MASK,
                HeaderValue::PerAttempt => PER_ATTEMPT,
            };
            (header.name.as_str(), value)
        }))
    }
}

impl Serialize for Preview<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = match self.payload {
            Payload::Http(request) => Shown::Http {
                method: &request.method,
                url: if self.reveal { request.url.reveal() } else { MASK },
                headers: ShownHeaders { headers: &request.headers, reveal: self.reveal },
                body: String::from_utf8_lossy(&request.body),
            },
            Payload::Mail(mail) => Shown::Mail {
                from: &mail.from,
                to: &mail.to,
                subject: &mail.subject,
                text: &mail.text,
                html: &mail.html,
            },
            Payload::Text { body, .. } => Shown::Text(body),
            Payload::Other(custom) => Shown::Other(custom.as_ref()),
        };
        shown.serialize(serializer)
    }
}

/// A rendered message.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The payload that leaves the process.
    pub payload: Payload,
    /// Notes about it, such as cuts. Shown in report and preview.
    pub notes: Vec<Note>,
}

impl Rendered {
    /// A payload without notes.
    pub fn new(payload: Payload) -> Self {
        Rendered { payload, notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize)]
    struct Page {
        to: &'static str,
    }
    impl CustomPayload for Page {}

    #[test]
    fn only_an_explicit_reveal_shows_secrets() {
        let mut request = HttpRequest {
            method: "POST".to_owned(),
            url: Secret::new("https://hooks.example/CANARY".to_owned()),
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        };
        request.set_header("X-Token", HeaderValue::Secret(Secret::new("CANARY".to_owned())));
        request.set_header("x-token", HeaderValue::Secret(Secret::new("CANARY-2".to_owned())));
        request.set_header("webhook-timestamp", HeaderValue::PerAttempt);
        let payload = Payload::Http(request);
        let masked = serde_json::to_string(&payload).expect("json");
        assert_eq!(
            masked,
            r#"{"http":{"method":"POST","url":"***","headers":{"X-Token":"***","webhook-timestamp":"<per attempt>"},"body":"{}"}}"#
        );
        assert!(!format!("{payload:?}").contains("CANARY"));
        let revealed = serde_json::to_string(&Preview { payload: &payload, reveal: true }).expect("json");
        assert!(revealed.contains("hooks.example/CANARY") && revealed.contains("CANARY-2"));
    }

    #[test]
    fn a_custom_payload_is_previewed_and_got_back() {
        let payload = Payload::Other(Arc::new(Page { to: "ops" }));
        assert_eq!(serde_json::to_string(&payload).expect("json"), r#"{"other":{"to":"ops"}}"#);
        let Payload::Other(custom) = payload else { panic!("it is custom") };
        let any: Arc<dyn Any + Send + Sync> = custom;
        assert_eq!(any.downcast::<Page>().expect("a page").to, "ops");
    }
}
