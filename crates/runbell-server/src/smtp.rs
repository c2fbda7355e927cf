//! SMTP defaults: the operator's params of the `mail` kind, for notifications that leave them out.

use std::path::Path;

use anyhow::bail;
use runbell_core::value::read;
use runbell_core::{BuildContext, Findings, Map, RegisteredKind, Value};

/// The prefix of environment variables with defaults, as in `RUNBELL_MAIL_SERVER_HOST`.
const VARIABLES: &str = "RUNBELL_MAIL_";

/// The field that names a folder with a file for each param.
const FOLDER: &str = "secret_dir";

/// The defaults: the configuration's file overrides the environment, which overrides the mounted folder.
///
/// Variables and files of the folder are read as JSON if they are JSON, as MLRun reads the secret `mlrun-smtp-config`, else
/// as text.
pub(crate) fn defaults(
    configured: Option<&Map>,
    mail: Option<&RegisteredKind>,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Map> {
    let mut given = configured.cloned().unwrap_or_default();
    let folder = given.shift_remove(FOLDER);
    let Some(mail) = mail else {
        if given.is_empty() && folder.is_none() {
            return Ok(given);
        }
        bail!("mail: this server cannot send mail; remove the SMTP defaults");
    };
    let fields = || mail.schema()["properties"].as_object().into_iter().flatten();
    let names: Vec<&String> = fields().map(|(name, _)| name).collect();
    if let Some(unknown) = given.keys().find(|name| !names.contains(name)) {
        let known: Vec<&str> = names.iter().map(|name| name.as_str()).chain([FOLDER]).collect();
        bail!("mail.{}: is not known; known: {}", runbell_core::text::one_line(unknown, 40), known.join(", "));
    }
    let mut defaults = Map::new();
    if let Some(folder) = folder {
        let Some(folder) = folder.as_str() else { bail!("mail.{FOLDER}: must be the path of a folder") };
        for (name, schema) in fields() {
            let file = Path::new(folder).join(name);
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    defaults.insert(name.clone(), parsed(&text, schema));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => bail!("mail.{FOLDER}: {} cannot be read: {}", file.display(), error.kind()),
            }
        }
    }
    for (name, schema) in fields() {
        if let Some(text) = variable(&format!("{VARIABLES}{}", name.to_uppercase())) {
            defaults.insert(name.clone(), parsed(&text, schema));
        }
    }
    defaults.extend(given);
    Ok(defaults)
}

/// Finds the faults of the defaults at the start, each with its path in the configuration. Missing params are no fault:
/// notifications can give them.
pub(crate) fn check(mail: &RegisteredKind, defaults: &Map, cx: &BuildContext) -> Findings {
    let mut params = defaults.clone();
    for (name, value) in [
        ("server_host", "smtp.example.com"),
        ("sender_address", "sender@example.com"),
        ("email_addresses", "recipient@example.com"),
    ] {
        if !params.contains_key(name) {
            params.insert(name.to_owned(), value.into());
        }
    }
    mail.complete(&mut params, cx);
    let mut found = Findings::default();
    found.extend_below("mail", mail.check(&params, cx));
    found
}

/// A value as JSON if it is JSON. A param that may be a text stays one: a password may be all digits.
fn parsed(text: &str, schema: &serde_json::Value) -> Value {
    let text = text.trim_end_matches(['\r', '\n']);
    let may_be_text = match &schema["type"] {
        serde_json::Value::String(one) => one == "string",
        serde_json::Value::Array(several) => several.iter().any(|one| one == "string"),
        _ => false,
    };
    match read(text) {
        Ok(value @ (Value::String(_) | Value::List(_))) => value,
        Ok(value) if !may_be_text && !matches!(value, Value::Null) => value,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use runbell_core::value;

    use super::parsed;

    #[test]
    fn a_param_that_may_be_a_text_stays_a_text() {
        let of = |schema: &str, text: &str| {
            parsed(text, &serde_json::from_str(&format!(r#"{{"type": {schema}}}"#)).expect("JSON"))
        };
        for (schema, text, expected) in [
            (r#""string""#, "12345678\n", r#""12345678""#),
            (r#"["string", "null"]"#, "true", r#""true""#),
            (r#""string""#, r#""quoted""#, r#""quoted""#),
            (r#"["array", "string"]"#, r#"["a@b.c"]"#, r#"["a@b.c"]"#),
            (r#"["integer", "string"]"#, "2525", r#""2525""#),
            (r#"["boolean", "null"]"#, "true", "true"),
            (r#"["boolean", "null"]"#, "null", r#""null""#),
        ] {
            assert_eq!(of(schema, text), value::read(expected).expect("JSON"), "{schema} {text}");
        }
    }
}
