//! What scenarios are made with.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The command, in an environment that holds nothing of the tester's.
pub(crate) fn runbell(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runbell-under-test"));
    command.env_clear().args(args).stdin(Stdio::null());
    for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("USER", "tester");
    command
}

/// A command that prints the signals it gets.
pub(crate) const SIGNAL_PRINTER: &str = env!("CARGO_BIN_EXE_signal-printer");

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Standard output as JSON Lines.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}\n{}", self.err));
        self.out.lines().map(parse).collect()
    }
}

/// Runs to the end.
pub(crate) fn say(command: &mut Command) -> Said {
    command.output().expect("it starts").into()
}

/// Runs to the end with `input` on standard input.
pub(crate) fn say_with(command: &mut Command, input: &str) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writing = std::thread::spawn(move || {
        // A command may end without reading all of it.
        let _ = stdin.write_all(input.as_bytes());
    });
    let said = child.wait_with_output().expect("it ends").into();
    writing.join().expect("no panic");
    said
}

/// A folder of a test's own.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path as text.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }
}
