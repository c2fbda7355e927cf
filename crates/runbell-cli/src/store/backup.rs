//! `runbell backup`: a server's whole store in one file.

use std::fs::File;
use std::path::Path;

use anyhow::{anyhow, bail};
use runbell_server::Purpose;
use serde_json::json;
use tempfile::TempPath;

use super::args::BackupArgs;
use crate::api::Api;
use crate::exit::DONE;
use crate::{documents, output};

pub(crate) async fn backup(args: &BackupArgs) -> anyhow::Result<u8> {
    let shown = documents::shown(&args.file);
    let unwritten = |error: std::io::Error| anyhow!("{shown}: cannot be written: {}", error.kind());
    let file = std::path::absolute(&args.file).map_err(unwritten)?;
    if file.symlink_metadata().is_ok() {
        bail!("{shown}: exists already; name another file");
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    // Before the server makes its copy, which may be large.
    let beside = tempfile::Builder::new().prefix(".runbell-backup-").tempdir_in(folder).map_err(unwritten)?;
    let api = Api::open(&args.store, Purpose::Tend, None).await?;
    let copy = beside.path().join("runbell.db");
    tokio::select! {
        done = api.backup(&copy) => done?,
        _ = tokio::signal::ctrl_c() => bail!("{shown}: interrupted; nothing is left of it"),
    }
    let synced = File::open(&copy).and_then(|copy| copy.sync_all().and_then(|()| copy.metadata()));
    let bytes = synced.map_err(unwritten)?.len();
    // A file of this name that was made in the meantime stays.
    let copy = TempPath::try_from_path(copy).map_err(unwritten)?;
    copy.persist_noclobber(&file).map_err(|error| unwritten(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
    match args.format.is_table() {
        true => output::print(&format!("{shown}: {bytes} bytes\n"))?,
        false => output::print_json(&json!({ "file": file, "bytes": bytes }))?,
    }
    Ok(DONE)
}
