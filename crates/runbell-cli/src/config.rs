//! The configured notifications: from a file and from `--notify`, with `${ENV}` and `file:` expanded.

use std::path::Path;

use anyhow::bail;
use runbell::{Finding, Notification, Registry, Value, text};

use crate::{documents, output, spec};

/// Everything that is configured beside the runs' own notifications.
///
/// # Errors
/// With every fault, one per line; nothing is run then. Warnings are printed.
pub(crate) fn notifications(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
) -> anyhow::Result<Vec<Notification>> {
    notifications_but(file, specs, registry, |_, _| false)
}

/// As [`notifications`], but for faults that are `left` to somebody else.
///
/// # Errors
/// As [`notifications`].
pub(crate) fn notifications_but(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
    left: impl Fn(&Notification, &Finding) -> bool,
) -> anyhow::Result<Vec<Notification>> {
    let mut all = match file {
        Some(path) => from_file(path)?,
        None => Vec::new(),
    };
    for (index, given) in specs.iter().enumerate() {
        let notification = spec::parse(given, registry, index + 1)?;
        if all.iter().any(|other| other.name == notification.name) {
            bail!("--notify: name `{}` is taken; give another one with name=…", text::one_line(&notification.name, 80));
        }
        all.push(notification);
    }
    let builder = crate::notifier()?;
    let mut faults = Vec::new();
    for notification in &all {
        let name = text::one_line(&notification.name, 80);
        let found = builder.check_one(notification);
        let ours = found.faults().filter(|fault| !left(notification, fault));
        faults.extend(ours.map(|fault| format!("notification `{name}`: {fault}")));
        // Where a secret stands matters in files that are shared; `check` tells of it.
        // A secret that is missing here is a fault when the notification is built, which comes next.
        let told =
            |warning: &&Finding| !warning.message.starts_with("is secret") && warning.path != "secret_params.secret";
        for warning in found.warnings().filter(told) {
            output::complain(&format!("warning: notification `{name}`: {warning}"));
        }
    }
    if faults.is_empty() { Ok(all) } else { bail!("{}", faults.join("\n")) }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Notification>> {
    let mut document = documents::parse(path, &documents::read_text(path)?)?;
    let mut faults = expand_document(&mut document, path);
    let (notifications, found) = Notification::parse_list(&document);
    let name = documents::shown(path);
    faults.extend(found.faults().cloned());
    if !faults.is_empty() {
        let lines: Vec<String> = faults.iter().map(|fault| format!("{name}: {fault}")).collect();
        bail!("{}", lines.join("\n"));
    }
    for warning in found.warnings() {
        output::complain(&format!("warning: {name}: {warning}"));
    }
    Ok(notifications.into_iter().map(|(_, notification)| notification).collect())
}

/// Expands every text of a notification file; files named in it are found beside it.
pub(crate) fn expand_document(document: &mut Value, path: &Path) -> Vec<Finding> {
    let mut faults = Vec::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    expand_value(document, folder, "", &mut faults);
    faults
}

fn expand_value(value: &mut Value, folder: &Path, at: &str, faults: &mut Vec<Finding>) {
    match value {
        Value::String(text) => match expand(text, folder) {
            Ok(expanded) => *text = expanded,
            Err(message) => {
                faults.push(Finding { level: runbell::Level::Fault, path: at.to_owned(), message });
            }
        },
        Value::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                expand_value(item, folder, &format!("{at}[{index}]"), faults);
            }
        }
        Value::Map(map) => {
            for (key, item) in map.iter_mut() {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                expand_value(item, folder, &at, faults);
            }
        }
        _ => {}
    }
}

/// Replaces `${NAME}` by the environment variable, and a text `file:PATH` by that file's text without its last line
/// break. `$${` stands for a literal `${`.
pub(crate) fn expand(text: &str, folder: &Path) -> Result<String, String> {
    // Decided by what is written, not by what a variable holds.
    match text.strip_prefix("file:") {
        Some(path) => read_value(&folder.join(variables(path)?)),
        None => variables(text),
    }
}

fn variables(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else {
            return Err("has `${` without `}`; write $${ for a literal one".to_owned());
        };
        let name = &rest[start + 2..start + end];
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("has `${…}` around something that is no variable name; write $${ for a literal one".to_owned());
        }
        match std::env::var(name) {
            Ok(value) => out.push_str(&value),
            Err(_) => return Err(format!("uses ${{{name}}}, but the environment variable `{name}` is not set")),
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The text of a file that holds one value, without its last line break.
pub(crate) fn read_value(path: &Path) -> Result<String, String> {
    let text = documents::read_text(path).map_err(|error| format!("{error:#}"))?;
    Ok(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_names_what_is_missing() {
        let expand = |text| expand(text, Path::new(""));
        for (text, expected) in [
            ("plain {{ run }} $HOME", Ok("plain {{ run }} $HOME")),
            ("$${HOME}", Ok("${HOME}")),
            (
                "${RUNBELL_TEST_UNSET}",
                Err("uses ${RUNBELL_TEST_UNSET}, but the environment variable `RUNBELL_TEST_UNSET` is not set"),
            ),
            ("${", Err("has `${` without `}`; write $${ for a literal one")),
            ("${a-b}", Err("has `${…}` around something that is no variable name; write $${ for a literal one")),
        ] {
            assert_eq!(expand(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        let path = std::env::var("PATH").expect("a PATH");
        assert_eq!(expand("<${PATH}>"), Ok(format!("<{path}>")));
        assert!(expand("file:/nonexistent/file").expect_err("no file").contains("cannot be read"));
    }
}
