//! Options that several verbs share.

use std::path::PathBuf;

use clap::Args;

/// The store of a verb: a server's, or a file.
#[derive(Debug, Args)]
pub(crate) struct StoreOptions {
    /// Call the API of this server [env: RUNBELL_SERVER].
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    pub(crate) server: Option<String>,
    /// Open this store, sqlite://FILE, while no server runs on it.
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Notifications for every run: YAML, TOML or JSON [env: RUNBELL_CONFIG].
    #[arg(short, long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The file that is named here or by the variable. An empty variable names none.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.config.clone().or_else(file_of_environment)
    }
}

/// The file that the environment names.
pub(crate) fn file_of_environment() -> Option<PathBuf> {
    std::env::var_os("RUNBELL_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print JSON [default: when standard output is not a terminal].
    #[arg(long, conflicts_with = "table")]
    json: bool,
    /// Print a table [default: when standard output is a terminal].
    #[arg(long)]
    table: bool,
}

impl Format {
    /// Whether to print a table.
    pub(crate) fn is_table(self) -> bool {
        use std::io::IsTerminal as _;
        self.table || (!self.json && std::io::stdout().is_terminal())
    }
}
