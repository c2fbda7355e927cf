//! Everything that must hold before a change is done.

use anyhow::Result;

use crate::cargo::{cargo, cargo_command, run};
use crate::tidy;

/// The facade's features, each of which must build alone.
const FEATURES: [&str; 8] = ["console", "git", "mail", "notebook", "slack", "webhook", "all-kinds", "remote"];

/// Named, or the tests that require it could be left out without a word.
const ALL: [&str; 2] = ["--features", "runbell-runtime/durable,runbell-runtime/remote"];

pub(crate) fn ci() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", ALL[0], ALL[1], "--locked", "--quiet", "--", "-D", "warnings"])?;
    tidy::tidy()?;
    cargo(&["check", "-p", "runbell", "--no-default-features", "--locked", "--quiet"])?;
    for feature in FEATURES {
        cargo(&["check", "-p", "runbell", "--no-default-features", "--features", feature, "--locked", "--quiet"])?;
    }
    // Examples and documentation examples are part of it.
    cargo(&["test", "--workspace", ALL[0], ALL[1], "--lib", "--bins", "--tests", "--examples", "--locked"])?;
    cargo(&["test", "--workspace", ALL[0], ALL[1], "--doc", "--locked"])?;
    let doc = ["doc", "--workspace", ALL[0], ALL[1], "--no-deps", "--locked", "--quiet"];
    run(cargo_command(&doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("── all good");
    Ok(())
}
