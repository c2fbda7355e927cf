//! Secrets: a type that cannot be printed, and the masking of secret values in texts and run data.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use memchr::memmem::Finder;
use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value::{Map, Value};

/// The printed form of a secret.
pub const MASK: &str = "***";

/// The replacement of a secret in run data, as in MLRun.
pub const REDACTED: &str = "REDACTED";

/// Secret values shorter than this are masked where they stand, but not searched for in other texts: a header
/// value such as `prod` would blank out half a run.
const SEARCHED_LENGTH: usize = 8;

/// A value that prints as `***` in Debug, Display and Serialize, and is marked secret in JSON Schema.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself. Every call is a place where the secret can leave; keep them few.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

impl<T: JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Secret_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("writeOnly".to_owned(), true.into());
        schema.insert("x-secret".to_owned(), true.into());
        schema
    }
}

/// Secret values that must not appear in printed texts or in run data. Cheap to clone.
#[derive(Clone, Default)]
pub struct SecretValues(Arc<Vec<Needle>>);

/// A secret text with its searcher, for every text of every run is searched.
#[derive(Clone)]
struct Needle {
    text: String,
    finder: Finder<'static>,
}

impl Needle {
    fn is_in(&self, text: &str) -> bool {
        text.len() >= self.text.len() && self.finder.find(text.as_bytes()).is_some()
    }
}

impl Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValues({})", self.0.len())
    }
}

impl SecretValues {
    /// Adds every text and number inside `value`, and the parts of a text that are secrets by themselves: what follows
    /// `Bearer` in a header, and `whsec_` in a signing secret; password, path and query values of a URL.
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.add_text(text);
                text.split_whitespace().for_each(|word| self.add_text(word));
                if let Some(key) = text.trim().strip_prefix("whsec_") {
                    self.add_text(key);
                }
                if let Some((_, rest)) = text.split_once("://") {
                    self.add_url(rest);
                }
            }
            Value::List(list) => list.iter().for_each(|item| self.add(item)),
            Value::Map(map) => map.values().for_each(|item| self.add(item)),
            Value::Int(_) | Value::BigInt(_) | Value::Float(_) => self.add_text(&value.to_json()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Adds the parts of a URL after its `://`.
    fn add_url(&mut self, rest: &str) {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some((user, _)) = host.rsplit_once('@') {
            let password = user.split_once(':').map_or(user, |(_, password)| password);
            self.add_text(password);
            self.add_text(&percent_decoded(password));
        }
        self.add_text(path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        for segment in path.split('/') {
            // A word such as `services` is no secret; what has digits in it may well be.
            if segment.bytes().any(|byte| byte.is_ascii_digit()) || segment.len() >= 2 * SEARCHED_LENGTH {
                self.add_text(segment);
            }
        }
        for pair in query.split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            self.add_text(value);
            self.add_text(&percent_decoded(value));
        }
    }

    fn add_text(&mut self, text: &str) {
        if text.len() < SEARCHED_LENGTH || self.0.iter().any(|known| known.text == text) {
            return;
        }
        let needles = Arc::make_mut(&mut self.0);
        needles.push(Needle { text: text.to_owned(), finder: Finder::new(text).into_owned() });
        // The longest first: a URL before its own path.
        needles.sort_by_key(|known| std::cmp::Reverse(known.text.len()));
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &SecretValues) {
        if self.0.is_empty() {
            self.clone_from(other);
        } else {
            other.0.iter().for_each(|needle| self.add_text(&needle.text));
        }
    }

    /// `text` with `replacement` wherever a secret value stands.
    pub fn mask<'t>(&self, text: &'t str, replacement: &str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for needle in self.0.iter() {
            if needle.is_in(&masked) {
                masked = Cow::Owned(masked.replace(needle.text.as_str(), replacement));
            }
        }
        masked
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|needle| needle.is_in(text))
    }

    fn found_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is_in(text),
            Value::List(list) => list.iter().any(|item| self.found_in(item)),
            Value::Map(map) => map.iter().any(|(key, item)| self.is_in(key) || self.found_in(item)),
            _ => false,
        }
    }

    /// Replaces every secret value inside `value` by [`REDACTED`]. Touches nothing when there is none.
    pub fn redact(&self, value: &mut Value) {
        if !self.0.is_empty() && self.found_in(value) {
            self.replace(value);
        }
    }

    /// As [`redact`](Self::redact), for a run's document: the run's identity is kept. It is no secret, even if a secret
    /// contains it, as a target's URL may contain a uid; without it two runs would become one.
    pub fn redact_run(&self, document: &mut Value) {
        const IDENTITY: [&str; 2] = ["project", "uid"];
        let identity = IDENTITY.map(|field| document.at(&["metadata", field]).cloned());
        self.redact(document);
        let Value::Map(run) = document else { return };
        let Some(Value::Map(metadata)) = run.get_mut("metadata") else { return };
        for (field, value) in IDENTITY.into_iter().zip(identity) {
            if let Some(value) = value {
                metadata.insert(field.to_owned(), value);
            }
        }
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text, REDACTED) {
                    *text = masked;
                }
            }
            Value::List(list) => list.iter_mut().for_each(|item| self.replace(item)),
            Value::Map(map) => {
                map.values_mut().for_each(|item| self.replace(item));
                if map.keys().any(|key| self.is_in(key)) {
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, item)| (self.mask(&key, REDACTED).into_owned(), item))
                        .collect();
                }
            }
            _ => {}
        }
    }
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Replaces every text in `map` by `mask`, keeping the keys.
pub(crate) fn blank(map: &Map, mask: &str) -> Map {
    map.keys().map(|key| (key.clone(), Value::from(mask))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("hunter2-hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).expect("json"), "\"***\"");
        assert_eq!(secret.reveal(), "hunter2-hunter2");
    }

    #[test]
    fn schemas_mark_secrets() {
        let schema = schemars::schema_for!(Secret<String>);
        assert_eq!(schema.get("x-secret"), Some(&true.into()));
        assert_eq!(schema.get("writeOnly"), Some(&true.into()));
        assert_eq!(schema.get("type"), Some(&"string".into()));
    }

    #[test]
    fn the_parts_of_a_secret_are_secret_too() {
        let mut secrets = SecretValues::default();
        secrets.add(&Value::from("Bearer token-token-1"));
        secrets.add(&Value::from("whsec_c2lnbmluZy1rZXk="));
        secrets.add(&Value::from("http://user:pass%2Fword-2@h/services/part-number-3/x?tok=value-of-4&a=b"));
        secrets.add(&Value::Int(98_765_432_109_876));
        let text = "token-token-1 pass/word-2 pass%2Fword-2 part-number-3 value-of-4 98765432109876 c2lnbmluZy1rZXk= services a=b";
        assert_eq!(secrets.mask(text, "*"), "* * * * * * * services a=b");
    }

    #[test]
    fn secret_values_are_found_inside_texts_and_urls_by_their_path() {
        let mut secrets = SecretValues::default();
        secrets.add(&Value::from("https://hooks.example/services/T0/B0/abcdef"));
        secrets.add(&Value::from("short"));
        let mut run =
            read(r#"{"a": ["POST /services/T0/B0/abcdef", "short"], "services/T0/B0/abcdef": 1}"#).expect("json");
        secrets.redact(&mut run);
        assert_eq!(run.to_json(), r#"{"a":["POST /REDACTED","short"],"REDACTED":1}"#);
        assert_eq!(secrets.mask("see https://hooks.example/services/T0/B0/abcdef!", MASK), "see ***!");
    }
}
