//! Bodies and queries, as MLRun's SDK sends them: JSON with any Content-Type and with NaN, booleans in two spellings,
//! repeated keys for lists.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use runbell_core::value::{decode, read};
use runbell_core::{Map, Timestamp, Value, text, time_of};
use serde::de::DeserializeOwned;

use crate::answer::{Answer, Problem};
use crate::state::App;

/// A JSON body; `null` when there is none.
pub(crate) struct Document(pub(crate) Value);

impl FromRequest<App> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {} bytes", app.limits.body_bytes),
            ),
            _ => Problem::bad("the body is incomplete; the connection ended first"),
        })?;
        if bytes.is_empty() {
            return Ok(Document(Value::Null));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad("the body is not UTF-8"))?;
        // The error gives the place and quotes nothing: a body holds secrets.
        read(text).map(Document).map_err(|error| Problem::bad(format!("the body is not valid JSON: {error}")))
    }
}

impl Document {
    /// The object in the body.
    pub(crate) fn object(self) -> Answer<Map> {
        match self.0 {
            Value::Map(map) => Ok(map),
            Value::Null => Err(Problem::bad("a JSON object is required as body")),
            other => Err(Problem::bad(format!("the body must be a JSON object, not {}", other.type_name()))),
        }
    }

    /// The typed fields in the body.
    pub(crate) fn fields<T: DeserializeOwned>(self) -> Answer<T> {
        decode_fields(&self.object()?)
    }

    /// As [`fields`](Self::fields), for a body that may be absent.
    pub(crate) fn optional_fields<T: DeserializeOwned + Default>(self) -> Answer<T> {
        if matches!(self.0, Value::Null) { Ok(T::default()) } else { self.fields() }
    }
}

fn decode_fields<T: DeserializeOwned>(map: &Map) -> Answer<T> {
    // The message quotes names and types, never a value.
    decode(map).map_err(|error| Problem::bad(format!("{}: {}", text::one_line(&error.path, 80), error.fault)))
}

/// The query, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Query::parse(parts.uri.query().unwrap_or_default()))
    }
}

/// The longest value in a query, in bytes.
const LONGEST: usize = 4_096;

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Query(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The last value given for a key; an empty one counts as none.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// As [`get`](Self::get), checked to be a short text.
    pub(crate) fn text(&self, key: &str) -> Answer<Option<String>> {
        match self.get(key) {
            Some(value) if value.len() > LONGEST => Err(Problem::bad(format!("{key}: is longer than {LONGEST} bytes"))),
            value => Ok(value.map(str::to_owned)),
        }
    }

    /// Every value given for a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        let given = self.0.iter().filter(|(name, value)| name == key && !value.is_empty());
        given.map(|(_, value)| value.clone()).collect()
    }

    /// A boolean, in any spelling of MLRun's SDK.
    pub(crate) fn flag(&self, key: &str) -> Answer<Option<bool>> {
        let Some(word) = self.get(key) else { return Ok(None) };
        match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => Ok(Some(true)),
            "false" | "no" | "0" | "off" => Ok(Some(false)),
            _ => Err(Problem::bad(format!("{key}: must be true or false"))),
        }
    }

    /// A whole number of at least `least`.
    pub(crate) fn number(&self, key: &str, least: i64) -> Answer<Option<i64>> {
        let Some(word) = self.get(key) else { return Ok(None) };
        match word.parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(Problem::bad(format!("{key}: must be a whole number of at least {least}"))),
        }
    }

    /// The number of a child run; 0 is the run itself.
    pub(crate) fn iteration(&self) -> Answer<i64> {
        Ok(self.number("iter", 0)?.unwrap_or(0))
    }

    /// A time; MLRun's SDK sends it with or without an offset.
    pub(crate) fn time(&self, key: &str) -> Answer<Option<Timestamp>> {
        let Some(word) = self.get(key) else { return Ok(None) };
        // A plus that was not encoded arrives as a space.
        let parsed = time_of(word).or_else(|| time_of(&word.replace(' ', "+")));
        let wrong = || Problem::bad(format!("{key}: must be a time such as 2026-01-31T12:00:00+00:00"));
        parsed.map(Some).ok_or_else(wrong)
    }

    /// The query reduced to these keys, encoded again.
    pub(crate) fn only(&self, keys: &[&str]) -> String {
        let pairs = self.0.iter().filter(|(name, _)| keys.contains(&name.as_str()));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}
