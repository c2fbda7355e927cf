//! The `runbell` command, as a library so that tests can build it into a program of their own.
//!
//! **Invariant:** a command runs under `runbell run` as it does without: with the same standard streams, signals and exit
//! code.

mod api;
mod args;
mod check;
mod config;
mod documents;
mod exit;
mod expand;
mod kinds;
mod options;
mod output;
mod push;
mod run;
mod runs;
mod send_test;
mod serve;
mod server;
mod source;
mod spec;
mod spool;
mod store;
mod surroundings;

use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, SpoolVerb, Verb};
use crate::exit::{DONE, USAGE};

/// The whole program: parses the command line, runs the verb, returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| misuse(&error));
    let serves = matches!(cli.verb, Verb::Serve(_));
    log(serves.then_some("info"));
    let mut builder = match serves {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    // The store writes on its own thread; with several cores it gets one for itself.
    builder.worker_threads(std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)));
    // Tokio polls the network after four times the default number of tasks, so that more events share a commit.
    builder.event_interval(256);
    let outcome = builder.enable_all().build().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(carry_out(cli.verb));
        // A task that is blocked in a write must not delay the exit.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::from(USAGE)
        }
    }
}

/// Ends the program for a command line that cannot be read.
fn misuse(error: &clap::Error) -> ! {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(word) = error.get(ContextKind::InvalidSubcommand)
    {
        let (word, verbs) = (word.to_string(), Cli::command());
        let near = runbell::nearest(&word, verbs.get_subcommands().map(clap::Command::get_name));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        // Its arguments are left out: they may hold secrets.
        let word = runbell::text::one_line(&word, 80);
        output::complain(&format!(
            "`{word}` is no verb of runbell; {near}to run a command: runbell run -- {word} …\nAll verbs: runbell --help"
        ));
        std::process::exit(i32::from(USAGE));
    }
    error.exit()
}

async fn carry_out(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Run(args) => run::run(args).await,
        Verb::Push(args) => push::push(args).await,
        Verb::Explain(args) => push::explain(args).await,
        Verb::Preview(args) => push::preview(args).await,
        Verb::Check(args) => check::check(&args),
        Verb::SendTest(args) => send_test::send_test(args).await,
        Verb::Serve(args) => serve::serve(&args).await,
        Verb::Deliveries { verb } => store::deliveries(verb).await,
        Verb::Secrets { verb } => store::secrets(verb).await,
        Verb::Tokens { verb } => store::tokens(verb).await,
        Verb::Backup(args) => store::backup(&args).await,
        Verb::Kinds(format) => kinds::kinds(format),
        Verb::Spool { verb: SpoolVerb::Flush(args) } => spool::flush(args).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "runbell", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(DONE)
        }
    }
}

/// Logs to standard error when `RUNBELL_LOG` asks for it: `debug`, `runbell_http=trace`, …
fn log(default: Option<&str>) {
    let Some(directives) = surroundings::variable("RUNBELL_LOG").or(default.map(str::to_owned)) else { return };
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(directives);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(output::colour()).init();
}
