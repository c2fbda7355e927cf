//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::options::{ConfigFile, Format};
use crate::store::args::{BackupArgs, DeliveriesVerb, SecretsVerb, TokensVerb};

/// Runbell rings when your runs finish.
#[derive(Debug, Parser)]
#[command(name = "runbell", version, about = "Runbell rings when your runs finish.", disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 a delivery or an action failed, 2 usage or configuration.\n\
`run` returns the exit code of its command.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command, and send notifications about its end.
    Run(RunArgs),
    /// Send the notifications of run documents (JSON or JSON Lines), for their current state.
    Push(DocumentArgs),
    /// Explain for each notification whether it would be sent, and why.
    Explain(DocumentArgs),
    /// Show the payload of each notification, byte for byte, without sending it.
    Preview(PreviewArgs),
    /// Check notification files and run documents; print every fault and warning.
    Check(CheckArgs),
    /// Send a sample through a notification, and report the outcome.
    SendTest(SendTestArgs),
    /// Run the server: accept events of runs and deliver their notifications, also after a crash.
    Serve(ServeArgs),
    /// Manage deliveries: list, show, replay, cancel.
    Deliveries {
        #[command(subcommand)]
        verb: DeliveriesVerb,
    },
    /// Manage a project's secrets.
    Secrets {
        #[command(subcommand)]
        verb: SecretsVerb,
    },
    /// Manage access tokens.
    Tokens {
        #[command(subcommand)]
        verb: TokensVerb,
    },
    /// Copy a whole store into a file, also while its server runs.
    Backup(BackupArgs),
    /// List the kinds of notification this program can send, with their params.
    Kinds(Format),
    /// Manage events that a server does not have yet.
    Spool {
        #[command(subcommand)]
        verb: SpoolVerb,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "SPEC is KIND, KIND:name=value,… or KIND:{json}:\n  \
console\n  \
slack:webhook=${SLACK_WEBHOOK},when=error\n  \
webhook:url=@url.txt,method=PUT,message=nightly build\n\
A value may be @file or hold ${ENV}; @@ and $${ stand for a literal @ and ${. Besides params there are name, when\n\
(default completed,error,aborted), message, severity and condition. A comma begins a new name=value only before a\n\
name and an equals sign; for texts with such a comma use JSON.\n\
Without any notification the result is printed on standard error.\n\n\
CMD may write its results as a JSON object to the file named by $RUNBELL_RESULTS.\n\n\
With --server the server sends the notifications, except kinds that print in this process; its token is taken from\n\
RUNBELL_TOKEN. A server that is down neither fails nor delays CMD: events are sent in the background, for up to 30 s\n\
after CMD's end; ^C ends that wait. Events that the server does not have by then are spooled below $XDG_STATE_HOME/runbell\n\
(~/.local/state/runbell), and sent by the next `runbell run --server` or by `runbell spool flush`.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Add a notification; may be given more than once.
    #[arg(long, value_name = "SPEC")]
    pub(crate) notify: Vec<String>,
    /// The run's project.
    #[arg(long, value_name = "P", default_value = "default")]
    pub(crate) project: String,
    /// The run's name [default: CMD's file name].
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Add a label; may be given more than once.
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<String>,
    /// Read the run's results from this file, a JSON object of at most 1 MiB, when CMD has ended.
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// Add the last N lines of CMD's standard error to the text of a failure. CMD's standard error is then a pipe that closes
    /// with runbell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), allow_negative_numbers = true)]
    pub(crate) tail: Option<u16>,
    /// Do not start CMD when a notification, its file or the server is at fault: exit with 2. Without it the fault is a warning,
    /// and the other notifications are sent.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Report CMD's start and end to this server, which sends the notifications.
    #[arg(long, value_name = "URL", env = "RUNBELL_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// Send the notifications of an event from here if the server does not accept it in three attempts or 10 s; do not spool
    /// it.
    #[arg(long, value_name = "WHERE", requires = "server")]
    pub(crate) fallback: Option<Fallback>,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// The process that sends when the server does not accept an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fallback {
    /// This process.
    Local,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolVerb {
    /// Send the spooled events, each to its own server; list the events sent and those left.
    Flush(FlushArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all events are sent or the spool is empty, 1 an event is left or was refused.\n\
An event is sent with the token it was spooled with. If the token was rotated, pass the new one with RUNBELL_TOKEN and\n\
its server with --server.")]
pub(crate) struct FlushArgs {
    /// The server that the token in RUNBELL_TOKEN is for.
    #[arg(long, value_name = "URL", env = "RUNBELL_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DocumentArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Run documents: JSON, a JSON list, or JSON Lines; `-` is standard input. They are processed as a stream.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    pub(crate) documents: DocumentArgs,
    /// Show target URLs, tokens and other secrets.
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Notification files or run documents; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The sample is marked as a test. It is sent regardless of `when` and `condition`, with the attempts,\n\
time limits and pace of a real delivery. SPEC is written as for `runbell run --notify`.\n\n  \
runbell send-test 'slack:webhook=${SLACK_WEBHOOK}'\n  \
runbell send-test -c notifications.yaml drift"
)]
pub(crate) struct SendTestArgs {
    /// The notifications to choose from: YAML, TOML or JSON [default: the file in RUNBELL_CONFIG, unless a SPEC is given].
    #[arg(short, long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// With a file: the names of notifications in it [default: all]. Without a file: one SPEC.
    #[arg(value_name = "SPEC|NAME")]
    pub(crate) given: Vec<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "It prints `listening on http://…` when it is ready, and stops on SIGTERM or ^C: attempts under way end,\n\
the other deliveries are made after the next start. Without access tokens it listens on loopback only; make the first\n\
with\n  \
runbell tokens create --admin NAME --store FILE\n\
Secrets are sealed with the keys in $RUNBELL_SECRET_KEYS, else in a file beside the store, made on the first start."
)]
pub(crate) struct ServeArgs {
    /// Address and port [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// The store, sqlite://FILE [default: sqlite://runbell.db].
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<String>,
    /// The server's configuration: YAML, TOML or JSON. Options on the command line override it.
    #[arg(short, long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// PEM file of a certificate, for HTTPS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Print the JSON Schema of the configuration and exit.
    #[arg(long)]
    pub(crate) config_schema: bool,
}
