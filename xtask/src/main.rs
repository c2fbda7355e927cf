//! `cargo xtask …`: the house's own tools. Nothing but cargo is needed to run them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a tool for a terminal")]

mod bench;
mod cargo;
mod ci;
mod circles;
mod docs;
mod html;
mod names;
mod source;
mod tidy;

use std::process::ExitCode;

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
