//! Asks a server's API: over HTTP, or in this process on the store's file.
//!
//! **Invariant:** every verb on a store is written once, against the API; only how the API is reached differs.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use runbell::remote::RemoteClient;
use runbell::{
    BuildContext, Clock, DeliveryKey, Error, ErrorKind, HeaderValue, HttpRequest, MASK, Secret, SecretValues,
    SendContext, Value, text,
};
use runbell_http::{Client, HttpOptions};
use runbell_server::{Config, Purpose, Site};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::server::{self, SERVER, TOKEN};
use crate::store::args::Place;

/// How long an answer may take: longer than a server works on one unless it is configured to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may say nothing while it makes a backup of everything.
const SILENCE: Duration = Duration::from_secs(600);

/// The longest answer that is read into memory.
const LONGEST: usize = 64 << 20;

/// The longest part of a server's own words that is passed on, in characters.
const DETAIL: usize = 300;

/// The API of a server, or of a store that no server holds.
pub(crate) struct Api {
    way: Way,
    /// What nobody may be told, whatever a server answers.
    secrets: SecretValues,
}

enum Way {
    Remote(Remote),
    Local(Box<Site>),
}

struct Remote {
    /// Without a slash at its end, and no secret: it holds no password.
    base: String,
    token: Option<Secret<String>>,
    http: Client,
    clock: Arc<dyn Clock>,
}

/// Why the API did not do what it was asked; one line, free of secrets.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// What it was asked about is not there, or not in a state for it.
    NotDone(String),
    /// Usage or configuration is at fault, or there is no server.
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
    /// Reaches the API where the command line or the environment say. Connects to nothing yet.
    ///
    /// # Errors
    /// When neither says anything, the URL is none, or the store cannot be opened.
    pub(crate) async fn open(place: &Place, purpose: Purpose, key_file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(store) = &place.store {
            let mut config = Config { store: Some(store.clone()), ..Config::default() };
            config.secrets.key_file = key_file.map(Path::to_path_buf);
            let site = Site::open(&config, runbell::registry()?, purpose).await?;
            return Ok(Api { way: Way::Local(Box::new(site)), secrets: SecretValues::default() });
        }
        let named = place.server.clone().or_else(|| std::env::var(SERVER).ok()).filter(|url| !url.trim().is_empty());
        let cx = crate::context();
        let Some(client) = server::client(named.as_deref(), &cx)? else {
            bail!(
                "name the server, with --server URL or in {SERVER} (its token goes into {TOKEN}); or, while no server runs on \
                 it, the store, with --store sqlite://FILE"
            );
        };
        Ok(Api::of(Remote::new(&client, &cx)?))
    }

    fn of(remote: Remote) -> Self {
        let mut api = Api { way: Way::Remote(remote), secrets: SecretValues::default() };
        if let Way::Remote(Remote { token: Some(token), .. }) = &api.way {
            api.secrets.add(&Value::from(token.reveal().as_str()));
        }
        api
    }

    /// Keeps a value out of everything that is said.
    pub(crate) fn conceal(&mut self, value: &str) {
        self.secrets.add(&Value::from(value));
    }

    /// Asks once. `path` is what follows `/api/v1/`; an answer without a body is read as null.
    ///
    /// # Errors
    /// With every answer that is no success.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
    ) -> Result<T, Refusal> {
        let path = format!("/api/v1/{path}");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let (status, body) = match &self.way {
            Way::Local(site) => {
                let asked = site.ask(method, &path, body).await;
                let asked = asked.map_err(|error| Refusal::Wrong(error.to_string()))?;
                (asked.status, asked.body)
            }
            Way::Remote(remote) => remote.ask(method, &path, body).await?,
        };
        if !(200..300).contains(&status) {
            return Err(self.refused(status, &body));
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|_| self.stranger(status))
    }

    /// Copies the whole store into a file that is not there yet, readable by its owner alone.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and when the file cannot be written; then a part of it may be left.
    pub(crate) async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        let remote = match &self.way {
            Way::Local(site) => return site.backup(file).await,
            Way::Remote(remote) => remote,
        };
        let unwritten = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, format!("the backup cannot be written: {}", error.kind()))
        };
        let mut copy = File::options().create_new(true).write(true).mode(0o600).open(file).map_err(unwritten)?;
        let take = |piece: &[u8]| copy.write_all(piece).map_err(unwritten);
        let (request, written) = (remote.request("GET", "/api/v1/backup", Vec::new()), AtomicBool::new(false));
        let answer = remote.http.stream(&request, SILENCE, &remote.context(&written), take).await;
        let answer = answer.map_err(|error| anyhow!("{}: {error}", remote.base))?;
        if !answer.is_success() {
            return Err(self.refused(answer.status(), answer.body()).into());
        }
        if !is_whole(file)? {
            bail!("{}: sent no whole database; is it a Runbell server, and nothing in between that cuts?", remote.base);
        }
        Ok(())
    }

    /// What an answer that is no success means.
    fn refused(&self, status: u16, body: &[u8]) -> Refusal {
        let detail = serde_json::from_slice::<Json>(body).ok();
        let detail = detail.as_ref().and_then(|body| body.get("detail")).and_then(Json::as_str);
        let detail = detail.map(|detail| text::one_line(&self.secrets.mask(detail, MASK), DETAIL));
        if let (404 | 409, Some(detail)) = (status, &detail) {
            return Refusal::NotDone(detail.clone());
        }
        let Way::Remote(remote) = &self.way else {
            return Refusal::Wrong(detail.unwrap_or_else(|| format!("the store's API answers {status}")));
        };
        let base = &remote.base;
        Refusal::Wrong(match (status, detail) {
            (401, _) if remote.token.is_none() => format!("{base}: asks for an access token; put it into {TOKEN}"),
            (401, Some(detail)) => format!("{base}: does not take the token in {TOKEN}: {detail}"),
            (401, None) => format!("{base}: does not take the token in {TOKEN}"),
            (408, _) => format!("{base}: did not finish in the time it is configured to take (limits.request_secs)"),
            (300..=399, _) => format!("{base}: redirects ({status}); give the final URL"),
            (_, Some(detail)) => format!("{base}: {detail}"),
            (429 | 500..=599, None) => format!("{base}: answers {status}; try again later"),
            (_, None) => return self.stranger(status),
        })
    }

    fn stranger(&self, status: u16) -> Refusal {
        Refusal::Wrong(match &self.way {
            Way::Remote(remote) => {
                format!("{}: answers {status}, but not as Runbell's server does; is the URL right?", remote.base)
            }
            Way::Local(_) => format!("the store's answer ({status}) is not understood"),
        })
    }
}

impl Remote {
    fn new(client: &RemoteClient, cx: &BuildContext) -> anyhow::Result<Self> {
        Ok(Remote {
            base: client.server().to_owned(),
            token: client.token().cloned(),
            http: Client::new(cx, &HttpOptions::default())?,
            clock: Arc::clone(&cx.clock),
        })
    }

    async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), Refusal> {
        let (request, written) = (self.request(method, path, body), AtomicBool::new(false));
        let cx = self.context(&written);
        match tokio::time::timeout(PATIENCE, self.http.fetch(&request, LONGEST, &cx)).await {
            Ok(Ok(answer)) => Ok((answer.status(), answer.body().to_vec())),
            Ok(Err(error)) => Err(Refusal::Wrong(format!("{}: {error}", self.base))),
            Err(_elapsed) => Err(Refusal::Wrong(format!("{}: does not answer", self.base))),
        }
    }

    fn request(&self, method: &str, path: &str, body: Vec<u8>) -> HttpRequest {
        let mut request = HttpRequest {
            method: method.to_owned(),
            url: Secret::new(format!("{}{path}", self.base)),
            headers: Vec::new(),
            body: body.into(),
        };
        if !request.body.is_empty() {
            request.set_header("Content-Type", HeaderValue::Plain("application/json".to_owned()));
        }
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.reveal());
            request.set_header("Authorization", HeaderValue::Secret(Secret::new(bearer)));
        }
        request
    }

    fn context<'w>(&self, written: &'w AtomicBool) -> SendContext<'w> {
        SendContext::new(DeliveryKey::of(&["api"]), 1, Instant::now() + PATIENCE, self.clock.now(), written)
    }
}

/// Whether a file is a SQLite database of the length that its head says: what came over a network may have been cut.
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
    use super::*;

    fn api(token: &str) -> Api {
        let token = (!token.is_empty()).then(|| Secret::new(token.to_owned()));
        let cx = BuildContext::here();
        let client = RemoteClient::new("http://H:80/x/", token, &cx).expect("a client");
        Api::of(Remote::new(&client, &cx).expect("a server"))
    }

    #[test]
    fn a_path_follows_the_servers_own() {
        let Way::Remote(remote) = api("rbt_1").way else { panic!("it is one") };
        let request = remote.request("GET", "/api/v1/tokens", Vec::new());
        assert_eq!(request.url.reveal(), "http://h/x/api/v1/tokens");
        assert_eq!(text::percent_encoded("a/b ü?"), "a%2Fb%20%C3%BC%3F");
    }

    #[test]
    fn every_refusal_is_one_line_that_helps() {
        for (token, status, body, expected) in [
            ("", 401, r#"{"detail": "x"}"#, "http://h/x: asks for an access token; put it into RUNBELL_TOKEN"),
            ("rbt_CANARY-1", 401, "", "http://h/x: does not take the token in RUNBELL_TOKEN"),
            ("rbt_CANARY-1", 403, "{\"detail\": \"not for\\nrbt_CANARY-1\"}", "http://h/x: not for ***"),
            ("", 404, r#"{"detail": "the token is not there"}"#, "the token is not there"),
            ("", 404, "<html>", "http://h/x: answers 404, but not as Runbell's server does; is the URL right?"),
            ("", 301, "", "http://h/x: redirects (301); give the final URL"),
            ("", 503, "", "http://h/x: answers 503; try again later"),
        ] {
            let refusal = api(token).refused(status, body.as_bytes());
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
