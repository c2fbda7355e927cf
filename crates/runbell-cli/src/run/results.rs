//! The file into which a command writes its results.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use runbell::Value;
use runbell::value::read;
use rustix::fs::OFlags;

use crate::{documents, output};

/// The largest results file: 1 MiB.
const LARGEST: u64 = 1 << 20;

/// The file for the results, and its content before the run.
#[derive(Debug)]
pub(super) struct Results {
    /// `None` when no file was named and none could be made.
    path: Option<PathBuf>,
    before: Option<Stamp>,
    /// The folder of a file that was not named by the user; removed when the run is over.
    folder: Option<tempfile::TempDir>,
}

/// Identifies a version of the file: it changes when the file is written.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp(metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
    }
}

impl Results {
    /// Chooses the file: the named one, else a new one in a folder that only this user can open.
    pub(super) fn prepare(named: Option<&Path>) -> anyhow::Result<Self> {
        match named {
            Some(path) => {
                // Absolute, because the command may change its folder.
                let path =
                    std::path::absolute(path).with_context(|| format!("--results: {}", documents::shown(path)))?;
                let before = fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
                Ok(Results { path: Some(path), before, folder: None })
            }
            None => match tempfile::Builder::new().prefix("runbell-").tempdir() {
                Ok(folder) => {
                    Ok(Results { path: Some(folder.path().join("results.json")), before: None, folder: Some(folder) })
                }
                Err(error) => {
                    // Optional: a command that needs the file names it with --results.
                    let kind = error.kind();
                    output::complain(&format!("no $RUNBELL_RESULTS: its folder cannot be made ({kind}); set TMPDIR"));
                    Ok(Results { path: None, before: None, folder: None })
                }
            },
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The results that the command wrote; empty when it wrote none.
    ///
    /// # Errors
    /// A note with the reason why the file is not used: unreadable, larger than 1 MiB, no JSON object, or older than the run.
    pub(super) fn read(&self) -> Result<ResultsMap, String> {
        let Some(path) = &self.path else { return Ok(ResultsMap::new()) };
        let named = self.folder.is_none();
        let shown = if named { documents::shown(path) } else { "$RUNBELL_RESULTS".to_owned() };
        let fault = |what: String| Err(format!("{shown}: {what}; the results are left out"));
        // The file may be a pipe or a device; opening and reading it must not block.
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = match File::options().read(true).custom_flags(nonblocking).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(ResultsMap::new()),
            Err(error) => return fault(format!("cannot be read: {error}")),
            Ok(file) => file,
        };
        match file.metadata() {
            Err(error) => return fault(format!("cannot be read: {error}")),
            Ok(metadata) if !metadata.is_file() => return fault("is not a regular file".to_owned()),
            Ok(metadata) if self.before.as_ref() == Some(&Stamp::of(&metadata)) => {
                return fault("was not written by this command".to_owned());
            }
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        match file.take(LARGEST + 1).read_to_end(&mut bytes) {
            Err(error) => return fault(format!("cannot be read: {error}")),
            Ok(_) if bytes.len() as u64 > LARGEST => {
                return fault("is larger than 1 MiB; write a summary instead".to_owned());
            }
            Ok(_) => {}
        }
        let Ok(text) = String::from_utf8(bytes) else { return fault("is not UTF-8 text".to_owned()) };
        if text.trim().is_empty() {
            return Ok(ResultsMap::new());
        }
        match read(&text).map_err(|error| format!("is not valid JSON: {error}")).and_then(as_results) {
            Ok(results) => Ok(results),
            Err(what) => fault(what),
        }
    }
}

/// Results in the form that a run holds.
type ResultsMap = runbell::value::Map;

/// Checks that results are a JSON object.
fn as_results(value: Value) -> Result<ResultsMap, String> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(format!("must be a JSON object such as {{\"loss\": 0.1}}, not {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_new_json_object_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.json");
        for (text, expected) in [
            ("{\"a\": 1}".to_owned(), Ok("{\"a\":1}")),
            (String::new(), Ok("{}")),
            ("[1]".to_owned(), Err("must be a JSON object")),
            ("{\"a\": }".to_owned(), Err("line 1, column 7")),
            (format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)), Err("larger than 1 MiB")),
        ] {
            let _ = fs::remove_file(&path);
            let results = Results::prepare(Some(&path)).expect("prepared");
            fs::write(&path, &text).expect("written");
            match (results.read(), expected) {
                (Ok(map), Ok(json)) => assert_eq!(runbell::Value::Map(map).to_json(), json),
                (Err(note), Err(part)) => assert!(note.contains(part), "{note}"),
                other => panic!("{other:?}"),
            }
        }
        fs::write(&path, "{}").expect("written");
        let stale = Results::prepare(Some(&path)).expect("prepared");
        assert!(stale.read().expect_err("old").contains("was not written by this command"));
    }
}
