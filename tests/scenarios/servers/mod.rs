//! Real counterparts, started by the tests: a production mail server, GitHub's and GitLab's own descriptions of their
//! API. What is not installed is skipped, loudly, unless `RUNBELL_TEST_REQUIRE` names it or is `all`.

mod exim;
mod git;

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Whether a counterpart is there. Says so where everybody sees it when it is not.
///
/// # Panics
/// When it is required and not there.
pub(crate) fn present(name: &str, found: bool, remedy: &str) -> bool {
    if found {
        return true;
    }
    let required = std::env::var("RUNBELL_TEST_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|word| matches!(word.trim(), word if word == name || word == "all"));
    assert!(!required, "{name} is required and not installed; {remedy}");
    // Written past the test harness, which hides what passing tests print.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name} is not installed; {remedy}\n");
    false
}

/// A program on the path, or where system programs are.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder that npm packages and programs for tests are installed in.
pub(crate) fn packages() -> PathBuf {
    match std::env::var_os("RUNBELL_TEST_SERVERS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers"),
    }
}
