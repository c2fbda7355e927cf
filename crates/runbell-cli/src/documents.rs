//! Reads documents as a whole: notification files in YAML, TOML or JSON. Run documents come through [`crate::source`].

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use runbell::value::read;
use runbell::{Value, text};

use crate::output;

/// The largest file that is read: 256 MiB.
const LARGEST: u64 = 256 << 20;

/// The name of a file in messages.
pub(crate) fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { text::one_line(&path.to_string_lossy(), 200) }
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = |source: &mut dyn std::io::Read, bytes: &mut Vec<u8>| source.take(LARGEST + 1).read_to_end(bytes);
    if path == Path::new("-") {
        output::say_what_is_read();
        read(&mut std::io::stdin(), &mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| read(&mut file, &mut bytes))
    }
    .with_context(|| format!("{}: cannot be read", shown(path)))?;
    if bytes.len() as u64 > LARGEST {
        bail!("{}: is larger than 256 MiB; split it into several files", shown(path));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            bail!("{}: line {line}: is not UTF-8 text", shown(path))
        }
    }
}

/// Reads a document by its file's extension: `.json`, `.toml`, else YAML (of which JSON is a part).
///
/// The messages of faults name line and column, and quote nothing: values may be secrets.
pub(crate) fn parse(path: &Path, text: &str) -> anyhow::Result<Value> {
    let name = shown(path);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => read(text).map_err(|error| anyhow::anyhow!("{name}: is not valid JSON: {error}")),
        Some("toml") => toml::from_str(text).map_err(|error: toml::de::Error| {
            let place = error.span().map_or_else(String::new, |span| place(text, span.start));
            anyhow::anyhow!("{name}: is not valid TOML: {place}{}", first_line(error.message()))
        }),
        extension => match (read(text), extension) {
            (Ok(value), _) => Ok(value),
            (Err(error), None) if text.trim_start().starts_with(['{', '[']) => {
                Err(anyhow::anyhow!("{name}: is not valid JSON: {error}"))
            }
            (Err(_), _) => serde_saphyr::from_str(text).map_err(|error| {
                let place = error
                    .location()
                    .map_or_else(String::new, |at| format!("line {}, column {}: ", at.line(), at.column()));
                let message = error.without_snippet().to_string();
                // The rest of the message is for programmers: it names options of the reader.
                let message = ["; use ", ", set ", " at line "]
                    .iter()
                    .fold(message.as_str(), |text, end| text.split(end).next().unwrap_or_default());
                anyhow::anyhow!("{name}: is not valid YAML: {place}{}", first_line(message))
            }),
        },
    }
}

fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}, column {}: ", before[line_start..].chars().count() + 1)
}

fn first_line(message: &str) -> String {
    text::one_line(message.lines().next().unwrap_or_default(), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_every_format_name_line_and_column() {
        for (name, text) in [("a.yaml", "a: [1,\nb: {"), ("a.toml", "a = 1\nb = \n"), ("a.json", "{\"a\": 1,\n}")] {
            let message = parse(Path::new(name), text).expect_err(name).to_string();
            assert!(message.starts_with(&format!("{name}: is not valid ")), "{message}");
            assert!(message.contains("line 2, column ") || message.contains("line 3, column "), "{message}");
        }
        assert_eq!(parse(Path::new("a.yml"), "a: 1\nb: [x, 2.0]").expect("yaml").to_json(), r#"{"a":1,"b":["x",2.0]}"#);
        assert_eq!(parse(Path::new("a.toml"), "a = 1\nb = [2.0]").expect("toml").to_json(), r#"{"a":1,"b":[2.0]}"#);
    }
}
