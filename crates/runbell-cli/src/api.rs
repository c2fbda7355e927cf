//! Calls a server's API: over HTTP, or in this process on the store's file.
//!
//! **Invariant:** every verb on a store is written once, against the API; only how the API is reached differs.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{anyhow, bail};
use runbell::remote::{AnswerClass, RemoteClient, ServerAnswer};
use runbell::{Error, ErrorKind, SecretValues, Value};
use runbell_server::{Config, Instance, Purpose};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::options::StoreOptions;
use crate::server::{self, SERVER, TOKEN};

/// The API of a server, or of a store that no server holds.
pub(crate) enum Api {
    /// Over HTTP.
    Remote(RemoteClient),
    /// In this process, with the texts to mask in its answers.
    Local(Box<Instance>, SecretValues),
}

/// The reason why a request failed; one line, free of secrets.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The object of the request does not exist, or its state does not allow the request.
    NotDone(String),
    /// Usage or configuration is at fault, or the server cannot be reached.
    Wrong(String),
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Refusal::NotDone(why) | Refusal::Wrong(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for Refusal {}

impl Api {
    /// The API that the command line or the environment names. Does not connect yet.
    ///
    /// # Errors
    /// When neither names one, the URL is invalid, or the store cannot be opened.
    pub(crate) async fn open(
        options: &StoreOptions,
        purpose: Purpose,
        key_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        if let Some(store) = &options.store {
            let mut config = Config { store: Some(store.clone()), ..Config::default() };
            config.secrets.key_file = key_file.map(Path::to_path_buf);
            let instance = Instance::open(&config, runbell::registry()?, purpose).await?;
            return Ok(Api::Local(Box::new(instance), SecretValues::default()));
        }
        let named = options.server.clone().or_else(|| std::env::var(SERVER).ok()).filter(|url| !url.trim().is_empty());
        match server::client(named.as_deref(), &crate::surroundings::context())? {
            Some(client) => Ok(Api::Remote(client)),
            None => bail!(
                "name the server, with --server URL or in {SERVER} (its token goes into {TOKEN}); or, while no server runs on \
                 it, the store, with --store sqlite://FILE"
            ),
        }
    }

    /// Masks a value in all further answers of the API.
    pub(crate) fn conceal(&mut self, value: &str) {
        match self {
            Api::Remote(client) => client.conceal(value),
            Api::Local(_, secrets) => secrets.add(&Value::from(value)),
        }
    }

    /// Makes one request. `path` is relative to `/api/v1/`; an answer without a body is null.
    ///
    /// # Errors
    /// For every answer other than a success.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
    ) -> Result<T, Refusal> {
        let path = format!("/api/v1/{path}");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let answer = match self {
            Api::Local(instance, secrets) => {
                let asked = instance.ask(method, &path, body).await;
                let asked = asked.map_err(|error| Refusal::Wrong(error.to_string()))?;
                ServerAnswer::new(asked.status, asked.body, secrets)
            }
            Api::Remote(client) => {
                let answer = client.ask(method, &path, body.into()).await;
                answer.map_err(|error| Refusal::Wrong(format!("{}: {error}", client.server())))?
            }
        };
        if !answer.is_success() {
            return Err(self.refused(&answer));
        }
        let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
        serde_json::from_slice(body).map_err(|_| self.not_runbells(answer.status))
    }

    /// Copies the whole store into a new file, readable by its owner alone.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and when the file cannot be written; a part of it may then remain.
    pub(crate) async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        let client = match self {
            Api::Local(instance, _) => return instance.backup(file).await,
            Api::Remote(client) => client,
        };
        let unwritten = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, format!("the backup cannot be written: {}", error.kind()))
        };
        let mut copy = File::options().create_new(true).write(true).mode(0o600).open(file).map_err(unwritten)?;
        let take = |piece: &[u8]| copy.write_all(piece).map_err(unwritten);
        let answer = client.download("/api/v1/backup", take).await;
        let answer = answer.map_err(|error| anyhow!("{}: {error}", client.server()))?;
        if !answer.is_success() {
            return Err(self.refused(&answer).into());
        }
        if !is_whole(file)? {
            bail!(
                "{}: sent an incomplete database; check that the URL is a Runbell server's and that no proxy cuts answers",
                client.server()
            );
        }
        Ok(())
    }

    /// Turns an answer other than a success into a reason.
    fn refused(&self, answer: &ServerAnswer) -> Refusal {
        let (status, detail) = (answer.status, answer.detail.as_deref());
        if let (404 | 409, Some(detail)) = (status, detail) {
            return Refusal::NotDone(detail.to_owned());
        }
        let Api::Remote(client) = self else {
            return Refusal::Wrong(detail.map_or_else(|| format!("the store's API answers {status}"), str::to_owned));
        };
        let base = client.server();
        Refusal::Wrong(match (answer.class, detail) {
            (AnswerClass::Unauthorized, _) if client.token().is_none() => {
                format!("{base}: requires an access token; put it into {TOKEN}")
            }
            (AnswerClass::Unauthorized, Some(detail)) => {
                format!("{base}: does not take the token in {TOKEN}: {detail}")
            }
            (AnswerClass::Unauthorized, None) => format!("{base}: does not take the token in {TOKEN}"),
            _ if status == 408 => {
                format!("{base}: did not answer within its time limit (limits.request_secs)")
            }
            (AnswerClass::Redirect, _) => format!("{base}: redirects ({status}); give the final URL"),
            (_, Some(detail)) => format!("{base}: {detail}"),
            (AnswerClass::Later, None) => format!("{base}: answers {status}; try again later"),
            (_, None) => return self.not_runbells(status),
        })
    }

    /// The fault of an answer that no Runbell server gives.
    fn not_runbells(&self, status: u16) -> Refusal {
        Refusal::Wrong(match self {
            Api::Remote(client) => {
                let base = client.server();
                format!("{base}: answers {status}, but not as a Runbell server; check the URL")
            }
            Api::Local(..) => format!("the store's answer ({status}) is not valid"),
        })
    }
}

/// Whether a file is a SQLite database with the length in its header: a transfer over a network may have been cut.
fn is_whole(file: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let (file, mut head) = (File::open(file)?, [0; 32]);
    let length = file.metadata()?.len();
    if length < head.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut head, 0)?;
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        // The largest page does not fit into its two bytes.
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u64::from(u32::from_be_bytes([head[28], head[29], head[30], head[31]]));
    Ok(head.starts_with(b"SQLite format 3\0") && length == page * pages)
}

#[cfg(test)]
mod tests {
    use runbell::{BuildContext, Secret};

    use super::*;

    fn api(token: &str) -> Api {
        let token = (!token.is_empty()).then(|| Secret::new(token.to_owned()));
        Api::Remote(RemoteClient::new("http://H:80/x/", token, &BuildContext::here()).expect("a client"))
    }

    #[test]
    fn every_refusal_is_one_line_that_helps() {
        for (token, status, body, expected) in [
            ("", 401, r#"{"detail": "x"}"#, "http://h/x: requires an access token; put it into RUNBELL_TOKEN"),
            ("rbt_CANARY-1", 401, "", "http://h/x: does not take the token in RUNBELL_TOKEN"),
            ("rbt_CANARY-1", 403, "{\"detail\": \"not for\\nrbt_CANARY-1\"}", "http://h/x: not for ***"),
            ("", 404, r#"{"detail": "the token is not there"}"#, "the token is not there"),
            ("", 404, "<html>", "http://h/x: answers 404, but not as a Runbell server; check the URL"),
            ("", 301, "", "http://h/x: redirects (301); give the final URL"),
            ("", 503, "", "http://h/x: answers 503; try again later"),
        ] {
            let mut secrets = SecretValues::default();
            secrets.add(&Value::from(token));
            let refusal = api(token).refused(&ServerAnswer::new(status, body.as_bytes().to_vec(), &secrets));
            assert_eq!(refusal.to_string(), expected);
            assert_eq!(matches!(refusal, Refusal::NotDone(_)), expected.starts_with("the token"), "{expected}");
        }
    }

    #[test]
    fn a_cut_database_is_found_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x");
        let mut bytes = vec![0; 8_192];
        bytes[..16].copy_from_slice(b"SQLite format 3\0");
        bytes[16..18].copy_from_slice(&4_096_u16.to_be_bytes());
        bytes[28..32].copy_from_slice(&2_u32.to_be_bytes());
        for (bytes, whole) in [(&bytes[..], true), (&bytes[..4_096], false), (&bytes[..10], false), (b"<html>", false)]
        {
            std::fs::write(&file, bytes).expect("written");
            assert_eq!(is_whole(&file).expect("read"), whole);
        }
    }
}
