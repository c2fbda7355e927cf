//! Queries on a kind's JSON Schema: secret fields, missing fields, misspelt fields.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value as Json;

use crate::findings::{FindingCode, Findings};
use crate::notification::unknown_field;
use crate::secret::SecretValues;
use crate::value::{Map, Value};

/// The schema of a params type, with everything in one piece.
pub fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

/// Whether a schema marks its values secret.
pub fn is_secret(schema: &Json) -> bool {
    schema.get("x-secret") == Some(&Json::Bool(true))
}

/// The schema of the property `name`.
pub fn property<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    schema.get("properties")?.get(name)
}

/// The secret values among `params`.
pub fn secret_values(schema: &Json, params: &Map) -> SecretValues {
    let mut values = SecretValues::default();
    for (name, value) in params {
        each_secret(schema_of_member(schema, name), value, &mut |secret| values.add(secret));
    }
    values
}

/// `params` with every secret value replaced by `mask`; a field the schema does not know is masked as well.
pub fn masked(schema: &Json, params: &Map, mask: &str) -> Map {
    params
        .iter()
        .map(|(name, value)| {
            let mut value = value.clone();
            match schema_of_member(schema, name) {
                Some(member) => mask_secrets(member, &mut value, mask),
                None => value = Value::from(mask),
            }
            (name.clone(), value)
        })
        .collect()
}

fn schema_of_member<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    property(schema, name).or_else(|| schema.get("additionalProperties").filter(|member| member.is_object()))
}

fn alternatives(schema: &Json) -> impl Iterator<Item = &Json> {
    ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten()
}

fn each_secret(schema: Option<&Json>, value: &Value, found: &mut impl FnMut(&Value)) {
    let Some(schema) = schema else { return };
    if is_secret(schema) {
        return found(value);
    }
    match value {
        Value::Map(map) => {
            for (name, item) in map {
                each_secret(schema_of_member(schema, name), item, found);
            }
        }
        Value::List(list) => {
            for item in list {
                each_secret(schema.get("items"), item, found);
            }
        }
        _ => {}
    }
    for alternative in alternatives(schema) {
        // A trait object stops the type from growing with every level.
        let found: &mut dyn FnMut(&Value) = found;
        each_secret_dyn(alternative, value, found);
    }
}

fn each_secret_dyn(schema: &Json, value: &Value, found: &mut dyn FnMut(&Value)) {
    each_secret(Some(schema), value, &mut |secret| found(secret));
}

fn mask_secrets(schema: &Json, value: &mut Value, mask: &str) {
    if is_secret(schema) {
        *value = Value::from(mask);
        return;
    }
    match value {
        Value::Map(map) => {
            for (name, item) in map.iter_mut() {
                if let Some(member) = schema_of_member(schema, name) {
                    mask_secrets(member, item, mask);
                }
            }
        }
        Value::List(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|item| mask_secrets(items, item, mask));
            }
        }
        _ => {}
    }
    for alternative in alternatives(schema) {
        mask_secrets(alternative, value, mask);
    }
}

/// Whether any value below a property is secret: the property itself, or the values of its members.
pub fn holds_secret(schema: &Json) -> bool {
    is_secret(schema)
        || ["additionalProperties", "items"].into_iter().filter_map(|word| schema.get(word)).any(holds_secret)
        || alternatives(schema).any(holds_secret)
}

/// Checks params against a schema: missing fields, wrong types, unknown names.
pub fn check(schema: &Json, params: &Map) -> Findings {
    let mut found = Findings::default();
    let required = schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    for name in required {
        match params.get(name) {
            None | Some(Value::Null) => found.missing(name, "is required"),
            Some(Value::String(text)) if text.is_empty() => found.missing(name, "is required and must not be empty"),
            Some(_) => {}
        }
    }
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, value) in params {
        match property(schema, name) {
            None => {
                let known: Vec<&str> = properties.into_iter().flatten().map(|(known, _)| known.as_str()).collect();
                found.push(unknown_field(name, &known));
            }
            Some(property) => {
                if let Some(expected) = wrong_type(property, value) {
                    found.fault_of(
                        FindingCode::WrongType,
                        name,
                        format!("must be {expected}, not {}", value.type_name()),
                    );
                }
            }
        }
    }
    found
}

/// The expected type, when `value` is of another type. A schema without `type` takes anything.
fn wrong_type(schema: &Json, value: &Value) -> Option<String> {
    let types: Vec<&str> = match schema.get("type")? {
        Json::String(one) => vec![one],
        Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
        _ => return None,
    };
    let fits = types.iter().any(|name| match (*name, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("integer", Value::Int(_))
        | ("number", Value::Int(_) | Value::BigInt(_) | Value::Float(_))
        | ("string", Value::String(_))
        | ("array", Value::List(_))
        | ("object", Value::Map(_)) => true,
        // `null` for "not given", as Python's `None`.
        (_, Value::Null) => true,
        _ => false,
    });
    if fits {
        return None;
    }
    let words = types.iter().filter(|name| **name != "null").map(|name| match *name {
        "boolean" => "a boolean",
        "integer" => "an integer",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "an object",
        other => other,
    });
    Some(words.collect::<Vec<_>>().join(" or "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::secret::Secret;
    use crate::value::read;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only the schema is looked at")]
    struct Params {
        url: Secret<String>,
        token: Option<Secret<String>>,
        #[serde(default)]
        headers: BTreeMap<String, Secret<String>>,
        #[serde(default)]
        list: Vec<Secret<String>>,
        count: Option<u8>,
    }

    fn schema() -> Json {
        schema_of::<Params>().to_value()
    }

    fn params(text: &str) -> Map {
        read(text).expect("json").as_map().expect("an object").clone()
    }

    #[test]
    fn secrets_are_found_at_every_depth() {
        let given = params(
            r#"{"url": "secret-number-1", "token": "secret-number-2", "headers": {"X": "secret-number-3"},
                "list": ["secret-number-4"], "count": 5, "stray": "x"}"#,
        );
        let shown = Value::Map(masked(&schema(), &given, "***")).to_json();
        assert_eq!(
            shown,
            r#"{"url":"***","token":"***","headers":{"X":"***"},"list":["***"],"count":5,"stray":"***"}"#
        );
        let values = secret_values(&schema(), &given);
        let text = "secret-number-1 secret-number-2 secret-number-3 secret-number-4 secret-number-5";
        assert_eq!(values.mask(text, "*"), "* * * * secret-number-5");
    }

    #[test]
    fn a_schema_finds_missing_mistyped_and_misspelt_fields() {
        let found = check(&schema(), &params(r#"{"tokn": "x", "count": "five", "headers": null}"#));
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "url: is required",
                "tokn: is not known and has no effect; did you mean `token`?",
                "count: must be an integer, not a text",
            ]
        );
    }
}
