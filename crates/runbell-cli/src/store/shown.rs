//! Formats answers of the API.

use serde_json::Value as Json;

use crate::api::Refusal;
use crate::exit::NOT_DELIVERED;
use crate::output;

/// Prints that one of several actions failed, and goes on.
///
/// # Errors
/// For a failure that concerns all of them.
pub(super) fn not_done(name: &str, refusal: Refusal) -> anyhow::Result<u8> {
    match refusal {
        Refusal::NotDone(why) => {
            output::complain(&format!("{}: {why}", runbell::text::one_line(name, 80)));
            Ok(NOT_DELIVERED)
        }
        wrong => Err(wrong.into()),
    }
}

/// A field of an answer, for a table.
pub(super) fn cell(object: &Json, field: &str) -> String {
    match &object[field] {
        Json::Null => String::new(),
        Json::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(list) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A time of an answer, for a table: to the second.
pub(super) fn time(object: &Json, field: &str) -> String {
    let text = cell(object, field);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}
