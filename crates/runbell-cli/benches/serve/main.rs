//! The server as a process of its own, against a bare client and the disk, in the same minutes.
//!
//! Server, sink and driver share the machine's cores, so the server's own CPU time is what decides.
//! `cargo bench -p runbell-cli --bench serve -- dead-port healing` runs two parts; without a name all parts run.
//! The variables `RUNBELL_BENCH_*` (see `sizes`) make the parts smaller, for trying out.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "this is a program for a terminal"
)]

mod bench;
mod dead;
mod dead_many;
mod dead_port;
mod disk;
mod driver;
mod event;
mod filled;
mod flow;
mod goals;
mod healing;
mod idle;
mod isolation;
mod load;
mod order;
mod refusing;
mod server;
mod sink;
mod sizes;
mod times;

use std::process::ExitCode;

use bench::Bench;
use goals::Goals;
use sink::Sink;
use sizes::Sizes;

/// The parts, in the order they run.
const PARTS: [&str; 6] = ["load", "isolation", "idle", "dead-port", "dead-many", "healing"];

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = chosen.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("{unknown}: is not a part of this benchmark; name some of {}, or none for all", PARTS.join(", "));
        return ExitCode::from(2);
    }
    let sizes = match Sizes::from_environment() {
        Ok(sizes) => sizes,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(2);
        }
    };
    if sizes != Sizes::default() {
        println!("the sizes are not the full ones, so these figures prove nothing: {sizes:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let met = runtime.block_on(async {
        let mut bench = Bench { sink: Sink::start(), sizes, goals: Goals::default() };
        for part in PARTS.into_iter().filter(|part| chosen.is_empty() || chosen.iter().any(|one| one == part)) {
            run(part, &mut bench).await;
        }
        bench.goals.are_met()
    });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(part: &str, bench: &mut Bench) {
    match part {
        "load" => load::load(bench).await,
        "isolation" => isolation::isolation(bench).await,
        "idle" => idle::idle(bench).await,
        "dead-port" => dead_port::dead_port(bench).await,
        "dead-many" => dead_many::dead_many(bench).await,
        "healing" => healing::healing(bench).await,
        other => unreachable!("{other} is not in the table"),
    }
}
