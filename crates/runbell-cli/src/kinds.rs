//! `runbell kinds`: the kinds that this program can send.

use runbell::{Place, RegisteredKind, schema};
use serde::Serialize;
use serde_json::Value as Json;

use crate::exit::DONE;
use crate::options::Format;
use crate::output;

#[derive(Serialize)]
struct Line<'a> {
    kind: &'a str,
    aliases: &'a [&'a str],
    place: Place,
    package: &'a str,
    version: &'a str,
    schema: &'a Json,
}

pub(crate) fn kinds(format: Format) -> anyhow::Result<u8> {
    let registry = runbell::registry()?;
    if format.is_table() {
        let rows = registry.kinds().map(|kind| {
            let registration = kind.registration();
            let place = match registration.place {
                Place::Anywhere => "anywhere",
                Place::HereOnly => "here only",
            };
            let name = std::iter::once(registration.kind).chain(registration.aliases.iter().copied());
            vec![
                name.collect::<Vec<_>>().join(", "),
                place.to_owned(),
                params(kind),
                format!("{} {}", registration.package, registration.version),
            ]
        });
        output::table(&["KIND", "SENT FROM", "PARAMS (* required, s secret)", "FROM"], rows)?;
    } else {
        let lines: Vec<Line<'_>> = registry
            .kinds()
            .map(|kind| {
                let registration = kind.registration();
                Line {
                    kind: registration.kind,
                    aliases: registration.aliases,
                    place: registration.place,
                    package: registration.package,
                    version: registration.version,
                    schema: kind.schema(),
                }
            })
            .collect();
        output::print_json(&lines)?;
    }
    Ok(DONE)
}

fn params(kind: &RegisteredKind) -> String {
    let schema = kind.schema();
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let names = schema.get("properties").and_then(Json::as_object).into_iter().flat_map(|properties| properties.keys());
    let shown: Vec<String> = names
        .map(|name| {
            let secret = schema::property(schema, name).is_some_and(schema::holds_secret);
            let star = if required.contains(&name.as_str()) { "*" } else { "" };
            format!("{name}{star}{}", if secret { " (s)" } else { "" })
        })
        .collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}
