//! Canaries: secrets made for a test, placed in every secret field, and looked for in everything that is printed.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use runbell_core::schema::{holds_secret, is_secret};
use runbell_core::{BuildContext, DeliveryKey, Map, RegisteredKind, Value};
use serde_json::Value as Json;

use crate::check::Check;

/// A secret that exists nowhere else, 32 characters of hexadecimal: valid in URLs, headers and Base64 alike.
#[derive(Clone)]
pub(crate) struct Canary {
    /// The field it sits in.
    pub(crate) field: String,
    /// The secret.
    pub(crate) text: String,
    /// How it may look in a text, whole or in halves: a cut-off secret is a leak too.
    forms: Vec<String>,
}

impl Canary {
    pub(crate) fn new(field: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        let text = DeliveryKey::of(&["canary", field, &count]).to_string()[3..].to_owned();
        let (left, right) = text.split_at(16);
        let forms = [left, right].into_iter().flat_map(forms).collect();
        Canary { field: field.to_owned(), text, forms }
    }
}

/// A text as encoders leave it. Percent and backslash escapes are undone in the searched text instead.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.bytes().map(|byte| format!("{byte:02x}")).collect()];
    for lead in 0..3_usize {
        // Base64 looks different at each of three offsets; the characters that depend on neighbours are left out.
        let bytes = [&b"\0\0"[..lead.min(2)], secret.as_bytes()].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            let start = [0, 2, 3][lead];
            let whole = bytes.len() / 3 * 4;
            forms.push(encoded[start..whole].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Every canary of one contract.
#[derive(Clone, Default)]
pub(crate) struct Canaries(Vec<Canary>);

impl Canaries {
    pub(crate) fn from_one(canary: Canary) -> Self {
        Canaries(vec![canary])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Canary> {
        self.0.iter()
    }

    /// The field whose secret stands in `text`, in whatever form.
    pub(crate) fn found_in(&self, text: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        // Texts may be large and the fields many: each decoding is done once.
        let decoded = [percent_decoded(text), unescaped(text)];
        let texts: Vec<&str> = std::iter::once(text).chain(decoded.iter().flatten().map(String::as_str)).collect();
        let lowered: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        let found = self.0.iter().find(|canary| {
            texts.iter().any(|text| canary.forms.iter().any(|form| contains(text, form)))
                || lowered.iter().any(|text| contains(text, &canary.text))
        });
        found.map(|canary| canary.field.as_str())
    }

    /// Fails when a canary stands in `text`. The text itself is not shown: it may be a real secret one day.
    #[track_caller]
    pub(crate) fn absent(&self, check: &Check, what: &str, text: &str) {
        if let Some(field) = self.found_in(text) {
            check.fail(format!("{what} shows the secret in `{field}`"));
        }
    }
}

/// Several times faster than [`str::contains`], which shows with texts of a megabyte.
fn contains(text: &str, part: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

fn percent_decoded(text: &str) -> Option<String> {
    text.contains('%').then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
}

/// `text` with `\u0041`, `\u{41}` and `\x41` undone.
fn unescaped(text: &str) -> Option<String> {
    text.contains('\\').then(|| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let digits = if let Some(hex) = rest.strip_prefix("u{") {
                hex.split_once('}').map(|(hex, _)| (hex, hex.len() + 3))
            } else if rest.starts_with('u') {
                rest.get(1..5).map(|hex| (hex, 5))
            } else if rest.starts_with('x') {
                rest.get(1..3).map(|hex| (hex, 3))
            } else {
                None
            };
            let code = digits.and_then(|(hex, length)| Some((u32::from_str_radix(hex, 16).ok()?, length)));
            if let Some((character, length)) = code.and_then(|(code, length)| Some((char::from_u32(code)?, length))) {
                out.push(character);
                rest = &rest[length..];
            }
        }
        out.push_str(rest);
        out
    })
}

/// Puts a canary into every secret field, given or not, wherever the params stay valid.
pub(crate) fn plant(kind: &RegisteredKind, params: &Map, cx: &BuildContext) -> (Map, Canaries) {
    let mut planted = params.clone();
    let mut canaries = Canaries::default();
    let properties = kind.schema().get("properties").and_then(Json::as_object);
    for (name, schema) in properties.into_iter().flatten().filter(|(_, schema)| holds_secret(schema)) {
        let canary = Canary::new(name);
        let valid = candidates(schema, planted.get(name), &canary.text).into_iter().find_map(|value| {
            let mut params = planted.clone();
            params.insert(name.clone(), value);
            let fits = !kind.check(&params, cx).has_faults() && kind.build(&params, cx).is_ok();
            fits.then_some(params)
        });
        if let Some(params) = valid {
            planted = params;
            canaries.0.push(canary);
        }
    }
    (planted, canaries)
}

/// Values for a field that holds secrets, with the canary inside; the likeliest to be valid first.
pub(crate) fn candidates(schema: &Json, given: Option<&Value>, canary: &str) -> Vec<Value> {
    if is_secret(schema) {
        return match given {
            Some(Value::String(text)) => in_text(text, canary).into_iter().map(Value::from).collect(),
            None | Some(Value::Null) => {
                vec![Value::from(canary), Value::from(format!("http://127.0.0.1:9/{canary}"))]
            }
            Some(_) => Vec::new(),
        };
    }
    let mut found = Vec::new();
    if let Some(items) = schema.get("additionalProperties").filter(|items| holds_secret(items)) {
        let mut map = given.and_then(Value::as_map).cloned().unwrap_or_default();
        for value in candidates(items, None, canary) {
            map.insert("X-Canary".to_owned(), value);
            found.push(Value::Map(map.clone()));
        }
    }
    if let Some(items) = schema.get("items").filter(|items| holds_secret(items)) {
        let list = given.and_then(Value::as_list).unwrap_or_default();
        found.extend(candidates(items, None, canary).into_iter().map(|value| {
            let mut list = list.to_vec();
            list.push(value);
            Value::List(list)
        }));
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for alternative in schema.get(word).and_then(Json::as_array).into_iter().flatten() {
            found.extend(candidates(alternative, given, canary));
        }
    }
    found
}

fn in_text(text: &str, canary: &str) -> Vec<String> {
    if text.contains("://") {
        // The path is the secret part of a hook's URL.
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        return vec![format!("{}/{canary}{rest}", path.trim_end_matches('/'))];
    }
    let (start, padding) = text.split_at(text.trim_end_matches('=').len());
    let prefixed = text.rfind('_').map(|at| format!("{}{canary}{}", &text[..=at], &text[at + 1..]));
    let whole = [format!("{text}{canary}"), format!("{start}{canary}{padding}")];
    whole.into_iter().chain(prefixed).chain([canary.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_nothing_else() {
        let canary = Canary::new("token");
        let secret = canary.text.clone();
        let canaries = Canaries::from_one(canary);
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let json: String = secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let rust: String = secret.chars().map(|c| c.escape_unicode().to_string()).collect();
        for text in [&secret, &hex, &percent, &json, &rust, &secret.to_uppercase(), &secret[..16].to_owned()] {
            assert_eq!(canaries.found_in(&format!("x {text} y")), Some("token"), "{text}");
        }
        for lead in ["", "a", "ab", "user:", "https://hooks.example/services/"] {
            let text = format!("{lead}{secret}/tail");
            for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                assert_eq!(canaries.found_in(&encoded), Some("token"), "{lead}");
            }
        }
        assert_eq!(canaries.found_in("nothing % \\ \\u12 %zz here é"), None);
    }

    #[test]
    fn canaries_go_where_params_stay_valid() {
        for (text, wanted) in [
            ("https://h.example/a/b?c=d", "https://h.example/a/b/CANARY?c=d"),
            ("https://h.example", "https://h.example/CANARY"),
            ("whsec_YWJj", "whsec_YWJjCANARY"),
        ] {
            assert_eq!(in_text(text, "CANARY")[0], wanted);
        }
    }
}
