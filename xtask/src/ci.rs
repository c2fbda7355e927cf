//! Everything that must hold before a change is done.

use anyhow::Result;

use crate::{cargo, cargo_command, run, tidy};

/// The facade's features, each of which must build alone.
const FEATURES: [&str; 7] = ["console", "git", "mail", "notebook", "slack", "webhook", "all-kinds"];

pub(crate) fn ci() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"])?;
    tidy::tidy()?;
    cargo(&["check", "-p", "runbell", "--no-default-features", "--locked", "--quiet"])?;
    for feature in FEATURES {
        cargo(&["check", "-p", "runbell", "--no-default-features", "--features", feature, "--locked", "--quiet"])?;
    }
    // Examples and documentation examples are part of it.
    cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples", "--locked"])?;
    cargo(&["test", "--workspace", "--doc", "--locked"])?;
    run(cargo_command(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("── all good");
    Ok(())
}
