//! The contract of a kind's params: documented, checked with the right field named, and never shown.

use std::fmt::Debug;
use std::sync::Arc;

use runbell_core::schema::{holds_secret, is_secret, property};
use runbell_core::value::decode;
use runbell_core::{
    BuildContext, Error, Finding, FindingCode, Findings, MASK, Map, RegisteredKind, Registration, Registry, SenderKind,
    Value, nearest,
};
use serde_json::Value as Json;

use crate::canary::{Canaries, Canary, candidates, plant};
use crate::check::{Check, everything_about};
use crate::context::TestContext;

const CONTRACT: &str = "params_contract";

/// Tests a kind's declarations about its params; `params` are valid ones, best with every field set.
///
/// The schema describes every property. The good params are accepted, and a sender is built. A missing required
/// param, or a value of the wrong type, is a fault with the field's path; an unknown param is a warning with the
/// nearest name. Secrets (fields of type [`Secret`](runbell_core::Secret)) are masked wherever params or sender
/// are printed, and stand in no finding and no error.
///
/// # Panics
/// When a check fails, naming it.
pub fn params_contract<K: SenderKind>(params: serde_json::Value) {
    params_contract_in::<K>(params, &TestContext::here());
}

/// [`params_contract`] in surroundings of your own, for kinds that read the environment.
///
/// # Panics
/// When a check fails, naming it.
pub fn params_contract_in<K: SenderKind>(params: serde_json::Value, test: &TestContext) {
    let subject = Subject::<K>::new(params, test);
    subject.names();
    subject.schema();
    subject.good_params();
    subject.explicit_params_stay();
    subject.required_params();
    subject.wrong_types();
    subject.unknown_params();
    subject.secrets_are_masked();
    subject.secrets_stand_in_no_error();
}

/// A kind out of its type, as a registry would hold it.
pub(crate) fn kind_of<K: SenderKind>() -> Arc<RegisteredKind> {
    let registration = const { &Registration::of::<K>("runbell-testkit", "contract") };
    let registry = Registry::default().with(registration).expect("an empty registry takes any kind");
    Arc::clone(registry.get(K::KIND).expect("it was just added"))
}

/// Params as a map.
pub(crate) fn map_of(check: &Check, params: serde_json::Value) -> Map {
    match Value::from(params) {
        Value::Map(map) => map,
        other => check.fail(format!("params must be an object, not {}", other.type_name())),
    }
}

struct Subject<K> {
    kind: Arc<RegisteredKind>,
    /// As given, completed from the environment.
    params: Map,
    given: Map,
    cx: BuildContext,
    type_name: std::marker::PhantomData<K>,
}

fn check(name: impl Into<String>) -> Check {
    Check::new(CONTRACT, name)
}

fn show<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
    findings.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn everything(error: &Error) -> String {
    everything_about(error)
}

impl<K: SenderKind> Subject<K> {
    fn new(params: serde_json::Value, test: &TestContext) -> Self {
        let (kind, cx) = (kind_of::<K>(), test.build());
        let given = map_of(&check("good params"), params);
        let mut params = given.clone();
        kind.complete(&mut params, &cx);
        Subject { kind, params, given, cx, type_name: std::marker::PhantomData }
    }

    fn properties(&self) -> Vec<(&str, &Json)> {
        let properties = self.kind.schema().get("properties").and_then(Json::as_object);
        properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)).collect()
    }

    fn required(&self) -> Vec<&str> {
        let required = self.kind.schema().get("required").and_then(Json::as_array);
        required.into_iter().flatten().filter_map(Json::as_str).collect()
    }

    fn names(&self) {
        let check = check("names");
        let fits = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        let names: Vec<&str> = std::iter::once(K::KIND).chain(K::ALIASES.iter().copied()).collect();
        for (index, name) in names.iter().enumerate() {
            check.ensure(fits(name), || format!("`{name}` does not fit [a-z][a-z0-9-]*"));
            check.ensure(!names[..index].contains(name), || format!("`{name}` is given twice"));
        }
    }

    fn schema(&self) {
        let check = check("schema");
        let schema = self.kind.schema();
        check.equal("the schema's type", &schema.get("type").and_then(Json::as_str), &Some("object"));
        for (name, property) in self.properties() {
            let described = property.get("description").and_then(Json::as_str).is_some_and(|text| !text.is_empty());
            check.ensure(described, || format!("`{name}` has no description; write a doc comment on the field"));
            if is_secret(property) {
                check.equal(&format!("writeOnly of `{name}`"), &property.get("writeOnly"), &Some(&Json::Bool(true)));
            }
        }
        for name in self.required() {
            check.ensure(property(schema, name).is_some(), || format!("`{name}` is required and not described"));
        }
    }

    fn good_params(&self) {
        let check = check("good params");
        let found = self.kind.check(&self.params, &self.cx);
        check.ensure(found.is_empty(), || format!("they are found fault with: {}", show(found.iter())));
        if let Err(error) = self.kind.build(&self.params, &self.cx) {
            check.fail(format!("no sender is built: {error}"));
        }
    }

    fn explicit_params_stay(&self) {
        for (name, value) in &self.given {
            let same = self.params.get(name) == Some(value);
            check("explicit params stay").ensure(same, || format!("`complete` changed `{name}`, which was given"));
        }
    }

    /// The findings about `params`, and the result of building with them. The two must agree, and name fields.
    fn find(&self, check: &Check, params: &Map) -> (Findings, Option<Error>) {
        let found = check.unharmed("checking", || self.kind.check(params, &self.cx));
        let built = check.unharmed("building", || self.kind.build(params, &self.cx)).err();
        for finding in found.faults() {
            let mut known =
                self.properties().into_iter().map(|(name, _)| name).chain(params.keys().map(String::as_str));
            check.ensure(known.any(|name| finding.is_about(name)), || {
                format!("a fault has the path `{}`, which is no param: {}", finding.path, finding.message)
            });
        }
        let agreed = built.is_none() || found.has_faults();
        check.ensure(agreed, || "checking finds no fault, and no sender is built".to_owned());
        (found, built)
    }

    fn required_params(&self) {
        for name in self.required() {
            let mut without = self.params.clone();
            without.shift_remove(name);
            let mut empty = self.params.clone();
            empty.insert(name.to_owned(), Value::Null);
            for (what, params) in [("missing", without), ("null", empty)] {
                let check = check(format!("{name} is {what}"));
                let (found, built) = self.find(&check, &params);
                check.ensure(found.faults().any(|finding| finding.path == name), || {
                    format!("no fault has the path `{name}`; found: {}", show(found.iter()))
                });
                check.ensure(built.is_some(), || "a sender is built all the same".to_owned());
            }
        }
    }

    fn wrong_types(&self) {
        for (name, property) in self.properties() {
            let check = check(format!("{name} of a wrong type"));
            let canary = Canary::new(name);
            let Some(wrong) = wrong_value(property, &canary.text) else { continue };
            let mut params = self.params.clone();
            params.insert(name.to_owned(), wrong);
            let (found, built) = self.find(&check, &params);
            check.ensure(found.faults().any(|finding| finding.is_about(name)), || {
                format!("no fault has the path `{name}`; found: {}", show(found.iter()))
            });
            let shown = show(found.iter()) + &built.as_ref().map(everything).unwrap_or_default();
            check.ensure(!shown.contains(&canary.text), || format!("the value is quoted: {shown}"));
        }
    }

    fn unknown_params(&self) {
        let check = check("an unknown param");
        let known: Vec<&str> = self.properties().into_iter().map(|(name, _)| name).collect();
        let misspelt = match known.first() {
            Some(first) => format!("{first}x"),
            None => "colour".to_owned(),
        };
        if known.contains(&misspelt.as_str()) {
            return;
        }
        let mut params = self.params.clone();
        params.insert(misspelt.clone(), Value::from("x"));
        let (found, built) = self.find(&check, &params);
        check.ensure(!found.has_faults(), || format!("it is a fault: {}", show(found.iter())));
        check.ensure(built.is_none(), || "no sender is built".to_owned());
        let Some(warning) = found.warnings().find(|finding| finding.path == misspelt) else {
            check.fail(format!("`{misspelt}` is not warned about; found: {}", show(found.iter())))
        };
        if let Some(near) = nearest(&misspelt, known.iter().copied()) {
            let code = FindingCode::UnknownField { nearest: Some(near.to_owned()) };
            let said = warning.code == code && warning.message.contains(&format!("`{near}`"));
            check.ensure(said, || format!("the nearest name, `{near}`, is not said: {}", warning.message));
        }
    }

    fn secrets_are_masked(&self) {
        let (params, canaries) = plant(&self.kind, &self.params, &self.cx);
        for (name, _) in self
            .properties()
            .into_iter()
            .filter(|(name, schema)| holds_secret(schema) && self.params.get(name).is_some_and(Value::is_truthy))
        {
            // A field that takes no canary would go unchecked.
            check("secrets").ensure(canaries.iter().any(|canary| canary.field == name), || {
                format!("`{name}` is secret, and no value with a canary in it is valid")
            });
        }
        let absent = |what: &str, shown: &str| canaries.absent(&check(format!("secrets in {what}")), what, shown);
        match decode::<K::Params>(&params) {
            Ok(typed) => both_debugs("Debug of the params", &typed, &absent),
            Err(error) => check("secrets").fail(format!("params with canaries are not read: {error:?}")),
        }
        match self.kind.build(&params, &self.cx) {
            Ok(sender) => {
                both_debugs("Debug of the sender", &sender, &absent);
                both_debugs("the limits", &sender.limits(), &absent);
            }
            Err(error) => check("secrets").fail(format!("no sender is built: {error}")),
        }
        absent("the masked params", &Value::Map(self.kind.masked(&params, MASK)).to_json());
        self.every_error_is_clean(&params, &canaries);
    }

    /// Breaks every other field in turn while the secrets are in place.
    fn every_error_is_clean(&self, params: &Map, canaries: &Canaries) {
        for (name, property) in self.properties() {
            let wrong = wrong_value(property, "wrong").unwrap_or(Value::Null);
            for broken in [wrong, Value::Null, Value::from(""), Value::from("%"), Value::Int(-1)] {
                let mut params = params.clone();
                params.insert(name.to_owned(), broken);
                let check = check(format!("secrets while `{name}` is wrong"));
                let (found, built) = self.find(&check, &params);
                canaries.absent(&check, "a finding", &format!("{found:?}"));
                canaries.absent(&check, "an error", &built.as_ref().map(everything).unwrap_or_default());
            }
        }
    }

    /// Breaks the secret fields themselves.
    fn secrets_stand_in_no_error(&self) {
        for (name, property) in self.properties().into_iter().filter(|(_, schema)| holds_secret(schema)) {
            let canary = Canary::new(name);
            let spoilt = ["not a url {}", "http://{}\n", "ftp://{}.example/", "{}\0", "\u{e9}{}", "http://[{}"];
            let texts = spoilt.map(|pattern| pattern.replace("{}", &canary.text));
            let mut broken: Vec<Value> = texts.iter().map(|text| Value::from(text.as_str())).collect();
            broken.extend(texts.iter().flat_map(|text| candidates(property, None, text)));
            broken.push(Value::List(vec![Value::from(canary.text.as_str())]));
            broken.push(Value::Map(Map::from([(canary.text.clone(), Value::from(canary.text.as_str()))])));
            let canaries = Canaries::from_one(canary);
            for value in broken {
                let mut params = self.params.clone();
                params.insert(name.to_owned(), value);
                let check = check(format!("secrets while `{name}` itself is wrong"));
                let (found, built) = self.find(&check, &params);
                for finding in found.iter() {
                    canaries.absent(&check, "a finding", &finding.message);
                }
                canaries.absent(&check, "an error", &built.as_ref().map(everything).unwrap_or_default());
            }
        }
    }
}

fn both_debugs(what: &str, value: &dyn Debug, absent: &dyn Fn(&str, &str)) {
    absent(what, &format!("{value:?}"));
    absent(what, &format!("{value:#?}"));
}

/// A value no alternative of the schema takes, with `text` inside; `None` when it takes everything.
fn wrong_value(schema: &Json, text: &str) -> Option<Value> {
    let mut types = Vec::new();
    if !collect_types(schema, &mut types) {
        return None;
    }
    let has = |name: &str| types.iter().any(|known| known == name);
    if !has("object") {
        return Some(Value::Map(Map::from([(text.to_owned(), Value::from(text))])));
    }
    if !has("array") {
        return Some(Value::List(vec![Value::from(text)]));
    }
    (!has("string")).then(|| Value::from(text))
}

/// Collects the types a schema allows; false when it allows any.
fn collect_types(schema: &Json, types: &mut Vec<String>) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => types.push(one.clone()),
        Some(Json::Array(many)) => types.extend(many.iter().filter_map(Json::as_str).map(str::to_owned)),
        _ => {
            let alternatives = ["anyOf", "oneOf"].into_iter().find_map(|word| schema.get(word)?.as_array());
            if let Some(words) = schema.get("enum").and_then(Json::as_array) {
                types.extend(words.iter().map(|word| if word.is_string() { "string" } else { "other" }.to_owned()));
                return true;
            }
            return match alternatives {
                Some(alternatives) => alternatives.iter().all(|alternative| collect_types(alternative, types)),
                None => schema.get("const").is_some(),
            };
        }
    }
    true
}
