//! `runbell serve`: the server.

use std::path::Path;

use anyhow::{Context as _, bail};
use runbell_server::{Config, TlsSettings};

use crate::args::ServeArgs;
use crate::exit::DONE;
use crate::{documents, expand, output};

pub(crate) async fn serve(args: &ServeArgs) -> anyhow::Result<u8> {
    if args.config_schema {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&runbell_server::config_schema())?))?;
        return Ok(DONE);
    }
    let mut config = configuration(args.config.as_deref())?;
    if let Some(listen) = &args.listen {
        config.listen = Some(listen.clone());
    }
    if let Some(store) = &args.store {
        config.store = Some(store.clone());
    }
    if let (Some(cert), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) {
        config.tls = Some(TlsSettings { cert, key });
    }
    let ready = |url: &str| {
        // A closed standard output does not stop the server.
        let _ = output::print(&format!("listening on {url}\n"));
    };
    runbell_server::serve(&config, runbell::registry()?, ready).await?;
    Ok(DONE)
}

/// The server's configuration from a file; the defaults without one.
pub(crate) fn configuration(file: Option<&Path>) -> anyhow::Result<Config> {
    let Some(file) = file else { return Ok(Config::default()) };
    let name = documents::shown(file);
    let mut document = documents::parse(file, &documents::read_text(file)?)?;
    let faults: Vec<String> =
        expand::document(&mut document, file).iter().map(|fault| format!("{name}: {fault}")).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Config::read(&document).with_context(|| name)
}
