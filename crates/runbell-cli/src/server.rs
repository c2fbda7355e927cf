//! The server that is named on the command line.

use anyhow::anyhow;
use runbell::remote::RemoteClient;
use runbell::{BuildContext, Secret};

/// The variable that holds the token: a command line is seen by everybody on the machine.
const TOKEN: &str = "RUNBELL_TOKEN";

/// The client of a server, with the token from the environment.
///
/// # Errors
/// When the URL is not one of a server, or the environment is at fault.
pub(crate) fn client(server: &str, cx: &BuildContext) -> anyhow::Result<RemoteClient> {
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new);
    RemoteClient::new(server, token, cx).map_err(|error| anyhow!("--server: {error}"))
}
