//! The command line of the verbs on a store.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{ArgGroup, Args, Subcommand};
use runbell::RunState;

use crate::options::{Format, StoreOptions};

/// The help of each verb with the paragraph that all of them share. Clap wraps the lines.
macro_rules! help {
    ($($line:literal),*) => {
        concat!(
            $($line, "\n",)*
            "The store is reached over its server's API, with the access token in RUNBELL_TOKEN; or, while no server runs on it, \
             by opening its file with --store, which needs no token.\n\n\
             Exit codes: 0 done, 1 an action failed, 2 usage or configuration, or the server or store cannot be reached."
        )
    };
}

/// The option for the project.
#[derive(Debug, Args)]
pub(crate) struct Project {
    /// The project.
    #[arg(short, long, value_name = "P", default_value = "default", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) project: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesVerb {
    /// List deliveries, the youngest first.
    List(ListArgs),
    /// Show a delivery with its attempts.
    Show(ShowArgs),
    /// Repeat finished deliveries: the failed ones, or those named by id.
    Replay(ReplayArgs),
    /// Cancel waiting deliveries.
    Cancel(CancelArgs),
}

/// Filters on deliveries.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only deliveries of the run with this uid.
    #[arg(long, value_name = "U")]
    pub(crate) uid: Option<String>,
    /// Only deliveries of the notification with this name.
    #[arg(long, value_name = "N")]
    pub(crate) notification: Option<String>,
    /// Only deliveries of this kind.
    #[arg(long, value_name = "K")]
    pub(crate) kind: Option<String>,
    /// Only deliveries with this status.
    #[arg(long, value_name = "S", value_parser = PossibleValuesParser::new(["pending", "leased", "retry", "sent", "failed", "superseded"]))]
    pub(crate) status: Option<String>,
    /// Only deliveries about this state of a run.
    #[arg(long, value_name = "S", value_parser = PossibleValuesParser::new(RunState::ALL.iter().map(|state| state.as_str())))]
    pub(crate) state: Option<String>,
}

impl Filters {
    /// The given filters, with their names in the API.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("uid", &self.uid),
            ("notification", &self.notification),
            ("kind", &self.kind),
            ("status", &self.status),
            ("state", &self.state),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

#[derive(Debug, Args)]
#[command(after_help = help!(
    "JSON output has one object on a line for each delivery.",
    ""
))]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// List at most N; a message on standard error says if there are more.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = help!())]
pub(crate) struct ShowArgs {
    /// The delivery's id.
    pub(crate) id: i64,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["ids", "all"]).required(true))]
#[command(after_help = help!(
    "  runbell deliveries replay 17 18",
    "  runbell deliveries replay --all --kind slack --state error",
    "",
    "Replayed deliveries are due at once; with --store, as soon as a server opens the store. --all repeats at most the youngest 10,000.",
    ""
))]
pub(crate) struct ReplayArgs {
    /// The deliveries' ids.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<i64>,
    /// All deliveries that match the filters. --status may be failed (the default), sent or superseded.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Make new deliveries with new keys, so that the target does not drop them as repetitions. The old deliveries do not
    /// change.
    #[arg(long)]
    pub(crate) new_key: bool,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = help!(
    "Cancelled deliveries become `superseded` and can be replayed.",
    ""
))]
pub(crate) struct CancelArgs {
    /// The deliveries' ids.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<i64>,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsVerb {
    /// List the names of a project's secrets; their values are never shown.
    List(SecretsListArgs),
    /// Store a secret; replaces one with the same name.
    Set(SecretsSetArgs),
    /// Delete secrets.
    Delete(SecretsDeleteArgs),
}

#[derive(Debug, Args)]
#[command(after_help = help!())]
pub(crate) struct SecretsListArgs {
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = help!(
    "The value is read from standard input unless an option names another source; never from the command line, which every user of the machine can read. One line break at its end is dropped.",
    "",
    "  printf %s \"$HOOK\" | runbell secrets set SLACK_HOOK -p ml",
    "",
    "With --store the value is sealed with the keys in RUNBELL_SECRET_KEYS, else with the keys in the key file, as a server does.",
    ""
))]
pub(crate) struct SecretsSetArgs {
    /// The secret's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: String,
    /// A value on the command line; refused without being quoted.
    #[arg(hide = true)]
    pub(crate) surplus: Vec<OsString>,
    /// Read the value from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "from_env")]
    pub(crate) from_file: Option<PathBuf>,
    /// Take the value from this environment variable.
    #[arg(long, value_name = "VAR")]
    pub(crate) from_env: Option<String>,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    /// The key file, if the server's configuration sets it (secrets.key_file) [default: the store's file name with .key].
    #[arg(long, value_name = "FILE", requires = "store")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = help!())]
pub(crate) struct SecretsDeleteArgs {
    /// The secrets' names.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensVerb {
    /// Make an access token and print it once; it cannot be shown again.
    Create(TokensCreateArgs),
    /// List access tokens, including revoked ones, without their secret part.
    List(TokensListArgs),
    /// Revoke access tokens; this cannot be undone.
    Revoke(TokensRevokeArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope").args(["admin", "projects"]).required(true).multiple(true))]
#[command(after_help = help!(
    "On a terminal, or with --table, standard output has the token only; JSON output is an object with `token` and `id`.",
    "",
    "  RUNBELL_TOKEN=$(runbell tokens create ci -p ml --table)",
    "",
    "The first token must be an administrator's; from then on every request needs a token. Make it before the first start, or on a server that listens on loopback:",
    "",
    "  runbell tokens create me --admin --store sqlite://runbell.db",
    ""
))]
pub(crate) struct TokensCreateArgs {
    /// A name for the token's use, such as ci.
    pub(crate) name: String,
    /// Allow every action in every project.
    #[arg(long)]
    pub(crate) admin: bool,
    /// A project that the token may use; may be given more than once. `*` means every project.
    #[arg(short, long = "project", value_name = "P")]
    pub(crate) projects: Vec<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = help!())]
pub(crate) struct TokensListArgs {
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = help!())]
pub(crate) struct TokensRevokeArgs {
    /// The tokens' ids, as `tokens list` shows them.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

#[derive(Debug, Args)]
#[command(after_help = help!(
    "FILE is a SQLite database with the whole store, readable by its owner only. Its secrets are sealed, so keep the server's key file too. To restore it, start a server on it, with the key file beside it:",
    "",
    "  cp runbell.db.key copy.db.key && runbell serve --store sqlite://copy.db",
    ""
))]
pub(crate) struct BackupArgs {
    /// The file to make; it must not exist.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) format: Format,
}
