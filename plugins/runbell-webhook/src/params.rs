//! The params: typed, documented, and checked beyond the schema.

use std::borrow::Cow;
use std::fmt;

use runbell_core::{BuildContext, FindingCode, Findings, Secret, Value};
use runbell_http::TargetUrl;
use runbell_render::body::Body;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::headers::OURS;
use crate::signature::Signer;

/// The methods a webhook may use.
pub(crate) const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// Headers that belong to the connection, so that an author's value could only break it.
const CONNECTION: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// Parameters of the `webhook` kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WebhookParams {
    /// The target: an absolute http or https URL. Secret, because it often holds a token. A user name and password
    /// in it become Basic authentication.
    pub url: TargetUrl,
    /// The HTTP method in any letter case: GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS. Every method carries the
    /// body, as in MLRun.
    #[serde(default)]
    #[schemars(extend("default" = "POST"))]
    pub method: Option<String>,
    /// Headers to send, by name. Values are secret; numbers and booleans are sent as text.
    /// `host`, `content-length`, `transfer-encoding` and `connection` belong to the connection and are refused.
    #[serde(default)]
    pub headers: Option<HeaderMap>,
    /// A JSON value that replaces the default body. Templates in its texts are rendered, at every depth.
    /// Null, false, 0 and empty values mean the default body.
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    pub override_body: Option<Value>,
    /// Whether the target's certificate is checked. Has no effect for http URLs.
    #[serde(default)]
    #[schemars(extend("default" = true))]
    pub verify_ssl: Option<bool>,
    /// Signs each request after Standard Webhooks: `whsec_` and the Base64 of 24 to 64 bytes. Several secrets
    /// separated by spaces give several signatures, so that a receiver can change its secret without a gap.
    #[serde(default)]
    pub signing_secret: Option<Secret<String>>,
    /// The time limit of one attempt, in seconds, 1 to 60.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60), extend("default" = 10))]
    pub timeout_secs: Option<i64>,
}

impl WebhookParams {
    /// The method as given, trimmed; POST when there is none.
    pub(crate) fn method(&self) -> &str {
        self.method.as_deref().map(str::trim).filter(|method| !method.is_empty()).unwrap_or("POST")
    }

    pub(crate) fn check(&self, cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        self.url.validate("url", cx, &mut found);
        if !METHODS.iter().any(|known| known.eq_ignore_ascii_case(self.method())) {
            found.fault("method", format!("must be one of {}", METHODS.join(", ")));
        }
        for (name, value) in self.headers.iter().flat_map(|map| &map.0) {
            check_header(name, value.reveal(), &mut found);
        }
        if let Some(secret) = &self.signing_secret
            && let Err(fault) = Signer::new(secret.reveal())
        {
            found.fault("signing_secret", fault);
        }
        if self.timeout_secs.is_some_and(|seconds| !(1..=60).contains(&seconds)) {
            found.fault_of(FindingCode::OutOfRange, "timeout_secs", "must be from 1 to 60");
        }
        for fault in self.override_body.iter().flat_map(|template| Body::compile(template).faults()) {
            found.warning_of(FindingCode::TemplateFailed, &fault.path, fault.message());
        }
        found
    }
}

fn check_header(name: &str, value: &str, found: &mut Findings) {
    let path = format!("headers.{name}");
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        found.fault(path, "is no valid name of a header; letters, digits and hyphens are");
    } else if CONNECTION.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        found.fault(path, "belongs to the connection and cannot be set");
    } else if !value.chars().all(|c| c == '\t' || !c.is_control()) {
        found.fault(path, "must not hold line breaks or other control characters");
    } else if OURS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        found.warning_of(FindingCode::NoEffect, path, "is set by Runbell; this value is not sent");
    }
}

/// Headers by name, in written order; their values are secret.
#[derive(Debug, Clone, Default)]
pub struct HeaderMap(pub(crate) Vec<(String, Secret<String>)>);

impl IntoIterator for HeaderMap {
    type Item = (String, Secret<String>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de> Deserialize<'de> for HeaderMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Headers)
    }
}

struct Headers;

impl<'de> Visitor<'de> for Headers {
    type Value = HeaderMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<HeaderMap, A::Error> {
        let mut headers = Vec::new();
        while let Some((name, text)) = entries.next_entry::<String, Text>()? {
            // White space around a value is not part of it in HTTP, so the preview does not show any.
            headers.push((name, Secret::new(text.0.trim_matches([' ', '\t']).to_owned())));
        }
        Ok(HeaderMap(headers))
    }
}

/// A text, or a number or boolean as it is written in JSON.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Text(text)),
            Value::Null | Value::List(_) | Value::Map(_) => {
                Err(de::Error::invalid_type(de::Unexpected::Other("no text"), &"a text, a number or a boolean"))
            }
            plain => Ok(Text(plain.to_json())),
        }
    }
}

impl JsonSchema for HeaderMap {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HeaderMap".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"], "writeOnly": true, "x-secret": true }
        })
    }
}
