//! The server that is named on the command line.

use anyhow::anyhow;
use runbell::remote::RemoteClient;
use runbell::{BuildContext, Secret};

/// The variable that names the server.
pub(crate) const SERVER: &str = "RUNBELL_SERVER";

/// The variable that holds the token; a command line can be read by every user of the machine.
pub(crate) const TOKEN: &str = "RUNBELL_TOKEN";

/// The client of the named server, with the token from the environment. An empty variable counts as unset.
///
/// # Errors
/// When the URL or a variable is invalid.
pub(crate) fn client(named: Option<&str>, cx: &BuildContext) -> anyhow::Result<Option<RemoteClient>> {
    let Some(server) = named else { return Ok(None) };
    if server.is_empty() && std::env::var_os(SERVER).is_some_and(|variable| variable.is_empty()) {
        return Ok(None);
    }
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new);
    RemoteClient::new(server, token, cx).map(Some).map_err(|error| anyhow!("--server: {error}"))
}
