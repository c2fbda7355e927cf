//! `cargo xtask …`: the house's own tools. Nothing but cargo is needed to run them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a tool for a terminal")]

mod bench;
mod ci;
mod circles;
mod docs;
mod html;
mod names;
mod source;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const USAGE: &str = "\
usage: cargo xtask VERB
  ci      everything that must hold: formatting, lints, house rules, features, tests, documentation
  tidy    the house rules no lint knows
  docs    write the generated parts of the READMEs (--check: only compare)
  html    render the fixtures of the shared HTML, to look at (pictures where chromium is installed)
  bench   measure speed and memory against baselines of the same run";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["ci"] => ci::ci(),
        ["tidy"] => tidy::tidy(),
        ["docs"] => docs::docs(false),
        ["docs", "--check"] => docs::docs(true),
        ["html"] => html::html(),
        ["bench"] => bench::bench(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Runs cargo in the workspace and fails when it fails.
fn cargo(args: &[&str]) -> anyhow::Result<()> {
    run(&mut cargo_command(args))
}

fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    println!("── {}", words.join(" "));
    let status = command.status().context("cargo cannot be started")?;
    if !status.success() {
        bail!("`{}` failed", words.join(" "));
    }
    Ok(())
}

/// Runs cargo and returns what it printed.
fn cargo_output(args: &[&str]) -> anyhow::Result<String> {
    let output = cargo_command(args).output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`cargo {}` failed:\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
