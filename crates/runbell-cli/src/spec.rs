//! Reads `--notify SPEC`: `KIND`, `KIND:name=value,…` or `KIND:{json}`.

use std::path::Path;

use anyhow::{anyhow, bail};
use runbell::{Notification, RegisteredKind, Registry, Value, nearest, schema, text, value};
use serde_json::Value as Json;

use crate::expand;

/// Fields of the notification itself; everything else is a param.
const RESERVED: [&str; 5] = ["name", "when", "message", "severity", "condition"];

/// Reads one SPEC. Its name defaults to `KIND-N`, its states to completed, error and aborted.
///
/// # Errors
/// With the field's name; values are not quoted, because they may be secrets.
pub(crate) fn parse(spec: &str, registry: &Registry, number: usize) -> anyhow::Result<Notification> {
    let (kind_name, rest) = spec.split_once(':').unwrap_or((spec, ""));
    if kind_name.trim().is_empty() {
        bail!("--notify: must begin with a kind, such as console or webhook:url=…");
    }
    let kind = registry.get(kind_name.trim()).map_err(|error| anyhow!("--notify: {error}"))?;
    let fields = if rest.trim_start().starts_with('{') { from_json(rest, kind)? } else { from_pairs(rest, kind)? };

    let mut document = value::Map::from_iter([
        ("kind".to_owned(), Value::from(kind_name.trim())),
        ("name".to_owned(), Value::from(format!("{}-{number}", kind.registration().kind))),
        ("when".to_owned(), Value::from(["completed", "error", "aborted"].map(Value::from).to_vec())),
    ]);
    let (mut params, mut secret_params) = (value::Map::new(), value::Map::new());
    for (name, field) in fields {
        if RESERVED.contains(&name.as_str()) {
            document.insert(name, field);
        } else if schema::property(kind.schema(), &name).map_or(name == runbell::SECRET_KEY, schema::holds_secret) {
            // A param's own name wins over the reference to a stored secret.
            secret_params.insert(name, field);
        } else {
            params.insert(name, field);
        }
    }
    document.insert("params".to_owned(), params.into());
    document.insert("secret_params".to_owned(), secret_params.into());
    let (notification, found) = Notification::parse(&Value::Map(document));
    match notification {
        Some(notification) => Ok(notification),
        None => {
            let faults: Vec<String> = found.faults().map(ToString::to_string).collect();
            bail!("--notify {}: {}", text::one_line(kind_name, 40), faults.join("; "))
        }
    }
}

fn from_json(rest: &str, kind: &RegisteredKind) -> anyhow::Result<Vec<(String, Value)>> {
    let kind = kind.registration().kind;
    let Value::Map(fields) =
        value::read(rest).map_err(|error| anyhow!("--notify {kind}: is not valid JSON: {error}"))?
    else {
        bail!("--notify {kind}: must be a JSON object after the colon");
    };
    fields
        .into_iter()
        .map(|(name, mut field)| {
            expand_all(&mut field)
                .map_err(|message| anyhow!("--notify {kind}: {}: {message}", text::one_line(&name, 80)))?;
            Ok((name, field))
        })
        .collect()
}

fn expand_all(value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) => *text = expanded(text)?,
        Value::List(list) => list.iter_mut().try_for_each(expand_all)?,
        Value::Map(map) => map.values_mut().try_for_each(expand_all)?,
        _ => {}
    }
    Ok(())
}

/// `@file` or a text with `${ENV}`.
fn expanded(text: &str) -> Result<String, String> {
    match text.strip_prefix('@') {
        Some(literal) if literal.starts_with('@') => expand::text(literal, Path::new("")),
        Some(path) => expand::read_value(Path::new(path)),
        None => expand::text(text, Path::new("")),
    }
}

fn from_pairs(rest: &str, kind: &RegisteredKind) -> anyhow::Result<Vec<(String, Value)>> {
    let mut fields: Vec<(String, Value)> = Vec::new();
    for pair in split_pairs(rest, |name| begins_pair(name, kind)) {
        let kind_name = kind.registration().kind;
        let Some((name, raw)) = pair.split_once('=').filter(|(name, _)| is_name(name.trim())) else {
            let param = url_param(kind).filter(|_| pair.contains("://"));
            let example = param.map_or_else(|| "name=value".to_owned(), |param| format!("{param}=https://…"));
            bail!("--notify {kind_name}: expected name=value after the colon; write {kind_name}:{example}");
        };
        let name = name.trim();
        if fields.iter().any(|(other, _)| other == name) {
            bail!("--notify {kind_name}: {name}: is given twice");
        }
        let text = expanded(raw).map_err(|message| anyhow!("--notify {kind_name}: {name}: {message}"))?;
        let value = match name {
            "when" => Value::List(text.split(',').map(|state| Value::from(state.trim())).collect()),
            reserved if RESERVED.contains(&reserved) => Value::from(text),
            param => typed(schema::property(kind.schema(), param), &text)
                .map_err(|message| anyhow!("--notify {kind_name}: {name}: {message}"))?,
        };
        fields.push((name.to_owned(), value));
    }
    Ok(fields)
}

/// Whether `name=` behind a comma begins a new pair: a field or a param, also a misspelt one. Anything else belongs to the value
/// before it, such as `b=2` in `url=http://h/x?a=1,b=2`.
fn begins_pair(name: &str, kind: &RegisteredKind) -> bool {
    let known = || {
        let properties = kind.schema().get("properties").and_then(Json::as_object);
        let params = properties.into_iter().flat_map(|properties| properties.keys()).map(String::as_str);
        RESERVED.into_iter().chain([runbell::SECRET_KEY]).chain(params)
    };
    // Of short names nearly every other one is near.
    known().any(|other| other == name) || (name.len() > 3 && nearest(name, known()).is_some())
}

/// The param of a kind that holds its target's URL.
fn url_param(kind: &RegisteredKind) -> Option<&'static str> {
    ["url", "webhook"].into_iter().find(|name| schema::property(kind.schema(), name).is_some())
}

/// Splits at commas that stand before a `name=` that begins a pair, and at no other.
fn split_pairs(text: &str, begins: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut pairs = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        let next = &text[comma + 1..];
        if next.split_once('=').is_some_and(|(name, _)| is_name(name.trim()) && begins(name.trim())) {
            pairs.push(&text[start..comma]);
            start = comma + 1;
        }
    }
    pairs.push(&text[start..]);
    pairs.retain(|pair| !pair.trim().is_empty());
    pairs
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Reads a value by the type in its schema. A value of another type stays text, which the params' check reports. A value
/// that begins as JSON but is invalid is a fault.
fn typed(schema: Option<&Json>, text: &str) -> Result<Value, String> {
    let Some(schema) = schema else { return Ok(Value::from(text)) };
    let read = value::read(text.trim());
    let json_or_text = || match &read {
        Ok(value) => Ok(value.clone()),
        Err(error) if text.trim_start().starts_with(['{', '[']) => Err(format!("is not valid JSON: {error}")),
        Err(_) => Ok(Value::from(text)),
    };
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        // No type: the param takes anything, such as a body.
        _ => return json_or_text(),
    };
    let fits = |value: &Value| {
        types.iter().any(|name| match *name {
            "integer" => matches!(value, Value::Int(_)),
            "number" => matches!(value, Value::Int(_) | Value::Float(_)),
            "boolean" => matches!(value, Value::Bool(_)),
            "object" => matches!(value, Value::Map(_)),
            "array" => matches!(value, Value::List(_)),
            _ => false,
        })
    };
    if let Some(value) = read.as_ref().ok().filter(|value| fits(value)) {
        return Ok(value.clone());
    }
    if types.contains(&"string") {
        return Ok(Value::from(text));
    }
    if types.contains(&"boolean") {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => return Ok(Value::Bool(true)),
            "false" | "no" | "off" => return Ok(Value::Bool(false)),
            _ => {}
        }
    }
    if types.contains(&"array") && !text.trim_start().starts_with('[') {
        return Ok(Value::List(text.split(',').map(|item| Value::from(item.trim())).collect()));
    }
    json_or_text().map(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str) -> anyhow::Result<Notification> {
        parse(spec, &runbell::registry().expect("a registry"), 3)
    }

    #[test]
    fn the_three_forms() {
        let plain = read("console").expect("valid");
        assert_eq!((plain.name.as_str(), plain.when.len()), ("console-3", 3));

        let pairs =
            read("webhook:url=http://h/a,b?x=1,2,method=PUT,verify_ssl=no,timeout_secs=5,when=error,message=a, b")
                .expect("valid");
        assert_eq!(pairs.secret_params.get("url"), Some(&Value::from("http://h/a,b?x=1,2")));
        assert_eq!(Value::Map(pairs.params).to_json(), r#"{"method":"PUT","verify_ssl":false,"timeout_secs":5}"#);
        assert_eq!((pairs.message.as_str(), pairs.when.len()), ("a, b", 1));

        let query = read("webhook:url=http://h/x?a=1,b=2,c=3,name=n").expect("valid");
        assert_eq!(query.secret_params.get("url"), Some(&Value::from("http://h/x?a=1,b=2,c=3")));
        assert_eq!(query.name, "n");
        // A param that is misspelt is one all the same: its check says what was meant.
        let misspelt = read("webhook:url=http://h/,metod=PUT").expect("valid");
        assert_eq!(misspelt.params.get("metod"), Some(&Value::from("PUT")));

        let json = read(r#"webhook:{"url": "http://h/", "headers": {"X": "y"}, "name": "n"}"#).expect("valid");
        assert_eq!(Value::Map(json.secret_params).to_json(), r#"{"url":"http://h/","headers":{"X":"y"}}"#);
        assert_eq!(json.name, "n");
    }

    #[test]
    fn bodies_and_headers_are_read_as_json() {
        let notification =
            read(r#"webhook:url=http://h/,override_body={"a": 1, "b": "c"},headers={"X": "y", "Z": "w"}"#)
                .expect("valid");
        assert_eq!(notification.params.get("override_body").map(Value::to_json).as_deref(), Some(r#"{"a":1,"b":"c"}"#));
        assert_eq!(
            notification.secret_params.get("headers").map(Value::to_json).as_deref(),
            Some(r#"{"X":"y","Z":"w"}"#)
        );
    }

    #[test]
    fn faults_name_the_field() {
        for (spec, part) in [
            ("pager", "`pager` is not linked"),
            ("mial", "did you mean `mail`?"),
            ("webhook:url", "expected name=value"),
            ("webhook:url=a,url=b", "url: is given twice"),
            ("webhook:when=done", "when[0]: `done` is not one of"),
            ("slack:https://hooks.slack.com/services/T/B/x", "write slack:webhook=https://…"),
            ("webhook:http://h/", "write webhook:url=https://…"),
            ("webhook:{", "is not valid JSON: line 1"),
            ("webhook:url=${RUNBELL_TEST_UNSET}", "url: uses ${RUNBELL_TEST_UNSET}"),
            ("webhook:url=@/nonexistent", "url: /nonexistent: cannot be read"),
        ] {
            let message = read(spec).expect_err(spec).to_string();
            assert!(message.contains(part), "{spec}: {message}");
        }
    }
}
