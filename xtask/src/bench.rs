//! Speed and memory, against baselines of the same run. Figures of one machine; the ratios are what counts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cargo::{cargo, cargo_command, cargo_output, root, run};

/// How much longer `runbell run -- true` may take than `true`.
const START_UP: Duration = Duration::from_millis(10);

/// The parts of the server's benchmark that take a minute each; the others take several.
const QUICK: &[&str] = &["--", "load", "isolation", "idle"];

pub(crate) fn bench() -> Result<()> {
    let mut missed = Vec::new();
    for (what, package, bench, parts) in [
        ("conditions", "runbell-jinja", "condition", &[][..]),
        ("html", "runbell-render", "html", &[]),
        ("dispatch", "runbell", "dispatch", &[]),
        ("push", "runbell-cli", "push", &[]),
        ("serve", "runbell-cli", "serve", QUICK),
        ("serve dead-port", "runbell-cli", "serve", &["--", "dead-port"]),
        ("serve dead-many", "runbell-cli", "serve", &["--", "dead-many"]),
        ("serve healing", "runbell-cli", "serve", &["--", "healing"]),
    ] {
        if cargo(&[&["bench", "-p", package, "--bench", bench, "--quiet"], parts].concat()).is_err() {
            missed.push(what);
        }
    }
    cargo(&["build", "--release", "--locked", "--quiet", "-p", "runbell-cli"])?;
    let program = root().join("target/release/runbell");
    if !start_up(&program)? {
        missed.push("start-up");
    }
    let size = fs::metadata(&program)?.len();
    println!("{:44} {:>8.1}", "stripped binary, all kinds, MiB", mib(size));
    smallest_facade()?;
    if missed.is_empty() { Ok(()) } else { bail!("goals missed: {}", missed.join(", ")) }
}

fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

/// `runbell run -- true` against `true`, interleaved.
fn start_up(program: &Path) -> Result<bool> {
    println!("── start-up");
    let mut extra = Vec::new();
    for _ in 0..101 {
        let bare = timed(&mut Command::new("true"))?;
        let under = timed(Command::new(program).args(["run", "--", "true"]))?;
        extra.push(under.saturating_sub(bare));
    }
    extra.sort();
    let median = extra[extra.len() / 2];
    let good = median <= START_UP;
    println!(
        "{:44} {:>8.2}  at most 10       {}",
        "ms that `runbell run -- true` adds (median)",
        median.as_secs_f64() * 1e3,
        if good { "met" } else { "MISSED" }
    );
    Ok(good)
}

fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    command.status().context("it does not start")?;
    Ok(started.elapsed())
}

/// What a program pays that wants nothing but `console`.
fn smallest_facade() -> Result<()> {
    println!("── the facade with only `console`");
    let features = ["-p", "runbell", "--no-default-features", "--features", "console", "--locked"];
    let tree = cargo_output(&[&["tree", "-e", "normal", "--prefix", "none"][..], &features].concat())?;
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    println!("{:44} {:>8}", "packages, its own included", packages.len());
    let folder = root().join("target/smallest");
    // A build that is not clean would not count.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let started = Instant::now();
    let mut build = cargo_command(&[&["build", "--quiet"][..], &features].concat());
    run(build.arg("--target-dir").arg(&folder))?;
    println!("{:44} {:>8.1}", "clean debug build, s", started.elapsed().as_secs_f64());
    fs::remove_dir_all(&folder)?;
    Ok(())
}
