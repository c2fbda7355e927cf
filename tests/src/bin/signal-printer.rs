//! A command that prints every signal it gets on standard output, and goes on until SIGUSR1; then it exits with 0.
#![allow(clippy::print_stdout, reason = "it prints by design")]

use std::io::Write as _;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

fn main() -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])?;
    println!("ready {}", std::process::id());
    std::io::stdout().flush()?;
    for signal in &mut signals {
        println!("got {}", signal_hook::low_level::signal_name(signal).unwrap_or("?"));
        std::io::stdout().flush()?;
        if signal == SIGUSR1 {
            return Ok(());
        }
    }
    Ok(())
}
