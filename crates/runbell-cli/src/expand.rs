//! `${ENV}` and `file:` in notification files, the server's configuration and `--notify`.

use std::path::Path;

use runbell::{Finding, FindingCode, Level, Value};

use crate::{documents, surroundings};

/// Expands every text of a notification file; files named in it are found beside it.
pub(crate) fn document(document: &mut Value, path: &Path) -> Vec<Finding> {
    let mut faults = Vec::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    expand_value(document, folder, "", &mut faults);
    faults
}

fn expand_value(value: &mut Value, folder: &Path, at: &str, faults: &mut Vec<Finding>) {
    match value {
        Value::String(text) => match self::text(text, folder) {
            Ok(expanded) => *text = expanded,
            Err(message) => {
                faults.push(Finding::new(Level::Fault, FindingCode::WrongValue, at, message));
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
pub(crate) fn text(text: &str, folder: &Path) -> Result<String, String> {
    // Decided by the text in the file, not by the value of a variable.
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
            return Err("has `${` without `}`; write $${ for a literal ${".to_owned());
        };
        let name = &rest[start + 2..start + end];
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("has `${…}` around a text that is no variable name; write $${ for a literal ${".to_owned());
        }
        match surroundings::variable(name) {
            Some(value) => out.push_str(&value),
            None => {
                return Err(format!("uses ${{{name}}}, but the environment variable `{name}` is not set, or empty"));
            }
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
    fn expansion_names_missing_variables_and_files() {
        let expand = |text| super::text(text, Path::new(""));
        for (text, expected) in [
            ("plain {{ run }} $HOME", Ok("plain {{ run }} $HOME")),
            ("$${HOME}", Ok("${HOME}")),
            (
                "${RUNBELL_TEST_UNSET}",
                Err(
                    "uses ${RUNBELL_TEST_UNSET}, but the environment variable `RUNBELL_TEST_UNSET` is not set, or empty",
                ),
            ),
            ("${", Err("has `${` without `}`; write $${ for a literal ${")),
            ("${a-b}", Err("has `${…}` around a text that is no variable name; write $${ for a literal ${")),
        ] {
            assert_eq!(expand(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        let path = std::env::var("PATH").expect("a PATH");
        assert_eq!(expand("<${PATH}>"), Ok(format!("<{path}>")));
        assert!(expand("file:/nonexistent/file").expect_err("no file").contains("cannot be read"));
    }
}
