//! Sends the spooled events: those of a run in order, each to its own server.

use std::collections::HashMap;
use std::path::Path;

use runbell::remote::{RemoteClient, Reported};
use runbell::{BuildContext, text};
use serde::Serialize;

use super::folder::{Entry, Spool};
use crate::documents::shown;

/// The failures in a row after which no more events are sent to a server. One event that it cannot handle does not stop
/// the others.
const FAILURES: u32 = 3;

/// The outcome of one spooled event.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) file: String,
    pub(crate) server: String,
    pub(crate) project: String,
    pub(crate) uid: String,
    pub(crate) state: String,
    pub(crate) at: String,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}

/// The outcomes of a spooled event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The server has it.
    Sent,
    /// It stays spooled for a later flush.
    Left,
    /// The server refuses it; its file is renamed.
    Refused,
    /// Its file cannot be read or opened. It stays.
    Damaged,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Sent => "sent",
            Status::Left => "left",
            Status::Refused => "refused",
            Status::Damaged => "damaged",
        }
    }
}

/// A server while events are sent to it.
struct Server {
    failures: u32,
    /// The reason why no more events are sent to it.
    left_alone: Option<String>,
}

/// Sends the events for the `wanted` servers, and passes each outcome to `report`. Needs the spool's lock.
///
/// The server of `known` gets `known`'s token, if there is one; every other server gets the token in the spool.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) async fn send(
    spool: &Spool,
    cx: &BuildContext,
    known: Option<&RemoteClient>,
    wanted: impl Fn(&str) -> bool,
    report: &(impl Fn(Line) + Sync),
) -> anyhow::Result<()> {
    let mut servers: HashMap<String, Server> = HashMap::new();
    // Runs with an event that stays: their later events stay too.
    let mut stopped: HashMap<(String, String, String), String> = HashMap::new();
    let folder = spool.clone();
    for path in blocking(move || folder.files()).await?? {
        let (folder, file) = (spool.clone(), path.clone());
        let entry = match blocking(move || folder.read(&file)).await? {
            Ok(entry) => entry,
            Err(why) => {
                report(Line::new(&path, None, Status::Damaged, why));
                continue;
            }
        };
        if !wanted(&entry.server) {
            continue;
        }
        let server = servers.entry(entry.server.clone()).or_insert(Server { failures: 0, left_alone: None });
        let run = (entry.server.clone(), entry.project.clone(), entry.uid.clone());
        if let Some(why) = server.left_alone.as_ref().or_else(|| stopped.get(&run)) {
            report(Line::new(&path, Some(&entry), Status::Left, why.clone()));
            continue;
        }
        let line = match send_one(spool, cx, known, &entry).await? {
            Err(why) => (Status::Damaged, why),
            Ok(Reported::Accepted) => {
                server.failures = 0;
                let (folder, file) = (spool.clone(), path.clone());
                match blocking(move || folder.remove(&file)).await? {
                    Ok(()) => (Status::Sent, String::new()),
                    Err(error) => (Status::Left, format!("sent, but its file cannot be removed: {error}")),
                }
            }
            Ok(Reported::Refused(why)) => {
                server.failures = 0;
                let (folder, file) = (spool.clone(), path.clone());
                match blocking(move || folder.set_aside(&file)).await? {
                    Ok(aside) => {
                        report(Line::new(&aside, Some(&entry), Status::Refused, why));
                        continue;
                    }
                    Err(error) => (Status::Refused, format!("{why}; its file cannot be renamed: {error}")),
                }
            }
            Ok(Reported::Blocked(why)) => {
                stopped.insert(run, why.clone());
                (Status::Left, why)
            }
            Ok(Reported::Later(why, asked)) => {
                stopped.insert(run, why.clone());
                server.failures += 1;
                if asked.is_some() || server.failures >= FAILURES {
                    server.left_alone = Some(why.clone());
                }
                (Status::Left, why)
            }
        };
        report(Line::new(&path, Some(&entry), line.0, line.1));
    }
    Ok(())
}

/// Opens an event and sends it; the inner error says why it cannot be opened.
async fn send_one(
    spool: &Spool,
    cx: &BuildContext,
    known: Option<&RemoteClient>,
    entry: &Entry,
) -> anyhow::Result<Result<Reported, String>> {
    let (folder, sealed) = (spool.clone(), entry.clone());
    let (event, token) = match blocking(move || folder.open(&sealed)).await? {
        Ok(opened) => opened,
        Err(why) => return Ok(Err(why)),
    };
    let client = match known.filter(|known| known.server() == entry.server) {
        Some(known) => known.clone().or_token(token),
        None => match RemoteClient::new(&entry.server, token, cx) {
            Ok(client) => client,
            Err(error) => return Ok(Err(error.to_string())),
        },
    };
    Ok(Ok(client.report(&event).await))
}

/// Runs file work on another thread: a slow disk must not delay signals and streams.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

impl Line {
    fn new(path: &Path, entry: Option<&Entry>, status: Status, reason: String) -> Self {
        let text =
            |field: fn(&Entry) -> &String| entry.map_or_else(String::new, |entry| text::one_line(field(entry), 200));
        Line {
            file: shown(path),
            server: text(|entry| &entry.server),
            project: text(|entry| &entry.project),
            uid: text(|entry| &entry.uid),
            state: text(|entry| &entry.state),
            at: text(|entry| &entry.at),
            status,
            reason,
        }
    }
}
