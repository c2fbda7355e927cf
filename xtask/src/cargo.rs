//! Runs cargo in the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Runs cargo in the workspace and fails when it fails.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    run(&mut cargo_command(args))
}

pub(crate) fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    println!("── {}", words.join(" "));
    let status = command.status().context("cargo cannot be started")?;
    if !status.success() {
        bail!("`{}` failed", words.join(" "));
    }
    Ok(())
}

/// Runs cargo and returns what it printed.
pub(crate) fn cargo_output(args: &[&str]) -> anyhow::Result<String> {
    let output = cargo_command(args).output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`cargo {}` failed:\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
