//! Reads documents: notification files in YAML, TOML or JSON, run documents in JSON or JSON Lines.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use runbell::value::read;
use runbell::{RunSnapshot, Value, text};

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
                // What follows speaks to programmers, of options of the reader.
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

/// One run document, or why it is none.
pub(crate) type Document = Result<RunSnapshot, String>;

/// Reads run documents: one JSON object, a JSON list of them, or JSON Lines. A bad line leaves the others alone.
pub(crate) fn runs(text: &str) -> Vec<Document> {
    match read(text) {
        Ok(document) => runs_of(document),
        Err(error) => {
            if text.trim().is_empty() {
                return Vec::new();
            }
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(n, l)| (n, read(l)))
                .collect();
            // One document over several lines has no line that is a document by itself.
            if lines.len() == 1 || !lines.iter().any(|(_, line)| matches!(line, Ok(Value::Map(_)))) {
                return vec![Err(format!("is not valid JSON: {error}"))];
            }
            lines.into_iter().map(|(number, line)| json_line(number + 1, line)).collect()
        }
    }
}

/// The run documents in a document: itself, or the items of a list.
pub(crate) fn runs_of(document: Value) -> Vec<Document> {
    match document {
        Value::List(list) => list
            .into_iter()
            .enumerate()
            .map(|(index, run)| RunSnapshot::new(run).map_err(|error| format!("[{index}]: {error}")))
            .collect(),
        run => vec![RunSnapshot::new(run).map_err(|error| error.to_string())],
    }
}

fn json_line(number: usize, line: Result<Value, runbell::value::JsonError>) -> Document {
    match line {
        Ok(run) => RunSnapshot::new(run).map_err(|error| format!("line {number}: {error}")),
        Err(error) => Err(format!("line {number}, column {}: is not valid JSON: {}", error.column, error.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_documents_come_in_three_forms() {
        let run = r#"{"metadata": {}}"#;
        for (text, count) in [
            (String::new(), 0),
            (run.to_owned(), 1),
            ("{\n \"metadata\": {}\n}\n".to_owned(), 1),
            (format!("[{run}, {run}]"), 2),
            (format!("{run}\n\n{run}\n"), 2),
        ] {
            let runs = runs(&text);
            assert_eq!(runs.len(), count, "{text}");
            assert!(runs.iter().all(Result::is_ok), "{runs:?}");
        }
    }

    #[test]
    fn a_bad_line_leaves_the_others_alone() {
        let text = "{\"metadata\": {}}\n{\"metadata\": }\n[]\n{\"metadata\": {}}\n";
        let shown: Vec<_> = runs(text).into_iter().map(|run| run.map(|_| ()).map_err(|e| e.to_string())).collect();
        assert_eq!(
            shown,
            [
                Ok(()),
                Err("line 2, column 14: is not valid JSON: expected a value".to_owned()),
                Err("line 3: run: must be an object, not a list".to_owned()),
                Ok(()),
            ]
        );
        assert_eq!(
            runs("{\n \"metadata\": }").pop().map(|run| run.map(|_| ()).unwrap_err()),
            Some("is not valid JSON: line 2, column 14: expected a value".to_owned())
        );
    }

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
