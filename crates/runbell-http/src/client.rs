//! The shared clients: one for each combination of certificate checking, authorities, proxies and egress rules.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue as Value};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Request, Response};
use runbell_core::{BuildContext, CA_FILE, Egress, Error, ErrorKind, HeaderValue, HttpRequest, Result, SendContext};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::timeout;
use url::Url;

use crate::answer::Answer;
use crate::body::{Marked, Watch};
use crate::failure::{Circumstances, rebuild};
use crate::proxy::{self, ProxyVars};
use crate::resolve::Guarded;
use crate::words::words;

/// How long name, connection and handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a body is kept: enough for an error's code, too little to be hurt by.
const BODY_LIMIT: usize = 64 * 1024;

/// How much of a success's body is read, so that the connection can be used again.
const DRAIN_LIMIT: usize = 16 * 1024;

/// The longest wait for a body once the status is known. The rest of the body would not change the outcome.
const BODY_WAIT: Duration = Duration::from_millis(500);

/// How a kind wants its connections. The default checks certificates against the system's authorities, those in
/// the file named by `RUNBELL_CA_FILE`, and those of [`Egress::with_ca`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Whether certificates are checked. Default true.
    pub verify_ssl: bool,
    /// PEM text of further authorities to trust.
    pub ca: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions { verify_ssl: true, ca: None }
    }
}

/// A client, shared by everything that has the same options. Cheap to clone.
///
/// It speaks HTTP/1.1, and HTTP/2 where the target offers it in the handshake; keeps connections; follows no
/// redirect; and takes proxies from the environment in [`BuildContext::env`], never from the process behind it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    egress: Arc<Egress>,
    proxied: bool,
    no_roots: bool,
}

impl Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("guarded", &self.egress.is_guarded()).finish_non_exhaustive()
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    verify_ssl: bool,
    ca: String,
    proxies: ProxyVars,
    egress: Arc<Egress>,
}

/// The clients of a process, in its type map.
#[derive(Default)]
struct Clients(Mutex<HashMap<Key, Client>>);

impl Client {
    /// The client for these options, shared if one exists. Does not connect.
    ///
    /// Authorities are the system's, found as OpenSSL finds them (`SSL_CERT_FILE`, `SSL_CERT_DIR`, the usual
    /// places), read once for each client. Where none are installed http targets work all the same, and https
    /// targets fail with an error that says so.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when `RUNBELL_CA_FILE` or a proxy variable holds something unusable; it names
    /// the variable, never its value.
    pub fn new(cx: &BuildContext, options: &HttpOptions) -> Result<Self> {
        let egress = cx.shared.get_or_init(Egress::default);
        // Behind a guard, and with a proxy set on purpose, the environment has no say.
        let proxies = match egress.is_guarded() || egress.proxy().is_some() {
            true => ProxyVars::default(),
            false => ProxyVars::read(cx.env.as_ref()),
        };
        let mut ca = options.ca.clone().unwrap_or_default();
        ca.push_str(&egress.authorities(cx.env.as_ref())?);
        let key = Key { verify_ssl: options.verify_ssl, ca, proxies, egress };
        let clients = cx.shared.get_or_init(Clients::default);
        let mut clients = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let ca_source = if cx.env.var(CA_FILE).is_some() { "RUNBELL_CA_FILE: the file it names" } else { "ca:" };
        let client = build(&key, ca_source)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Sends a request once and waits for the answer with any status.
    ///
    /// The status decides: once it is there this succeeds, even if the body is endless or never comes. Bodies are
    /// read up to 64 KiB, of a success up to 16 KiB, for half a second; the rest is dropped.
    ///
    /// Reports [`SendContext::written`] once the connection takes the request to write it. A request without a body
    /// gives no such sign and is reported from the start.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] or [`ErrorKind::Timeout`] when no answer came, ambiguous when the request may have
    /// left; [`ErrorKind::ParamsInvalid`] when the egress rules refuse the target's address.
    pub async fn send(&self, request: &HttpRequest, cx: &SendContext<'_>) -> Result<Answer> {
        let mut response = self.begin(request, None, cx).await?;
        let body = excerpt(&mut response).await;
        Ok(self.answer(response, body, request, cx))
    }

    /// As [`send`](Self::send), for a kind that needs the whole body of the answer: up to `limit` bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ErrorKind::Unreachable`] when the body breaks off or is longer.
    pub async fn fetch(&self, request: &HttpRequest, limit: usize, cx: &SendContext<'_>) -> Result<Answer> {
        let mut response = self.begin(request, None, cx).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken_off)? {
            if body.len() + chunk.len() > limit {
                let error = Error::new(ErrorKind::Unreachable, "the target's answer is too long");
                return Err(error.with("limit", limit).retry().ambiguous());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(self.answer(response, body, request, cx))
    }

    /// As [`send`](Self::send), for an answer too large for memory: the body of a success goes to `take` piece by piece.
    /// `silence` is how long the answer, and then each piece of it, is waited for.
    ///
    /// # Errors
    /// As [`send`](Self::send), [`ErrorKind::Unreachable`] or [`ErrorKind::Timeout`] when the body breaks off, and what
    /// `take` returns.
    pub async fn stream(
        &self,
        request: &HttpRequest,
        silence: Duration,
        cx: &SendContext<'_>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Answer> {
        let silent = |_| Error::new(ErrorKind::Timeout, "the target went silent").retry().ambiguous();
        let mut response = timeout(silence, self.begin(request, None, cx)).await.map_err(silent)??;
        if !response.status().is_success() {
            let body = excerpt(&mut response).await;
            return Ok(self.answer(response, body, request, cx));
        }
        while let Some(chunk) = timeout(silence, response.chunk()).await.map_err(silent)?.map_err(broken_off)? {
            take(&chunk)?;
        }
        Ok(self.answer(response, Vec::new(), request, cx))
    }

    /// As [`send`](Self::send), with the URL parsed already.
    pub(crate) async fn send_to(
        &self,
        url: Option<&Url>,
        request: &HttpRequest,
        cx: &SendContext<'_>,
    ) -> Result<Answer> {
        let mut response = self.begin(request, url, cx).await?;
        let body = excerpt(&mut response).await;
        Ok(self.answer(response, body, request, cx))
    }

    fn answer(&self, mut response: Response, body: Vec<u8>, request: &HttpRequest, cx: &SendContext<'_>) -> Answer {
        let status = response.status();
        // Through a proxy it is not known who answered.
        let may_quote = match response.remote_addr() {
            _ if !self.egress.is_guarded() => true,
            Some(address) => !self.proxied && self.egress.may_quote(address.ip()),
            None => false,
        };
        let words = (!status.is_success() && may_quote).then(|| words(&body, request, cx)).flatten();
        let headers = std::mem::take::<HeaderMap>(response.headers_mut());
        Answer { status: status.as_u16(), headers, body, now: cx.now, words }
    }

    async fn begin(&self, request: &HttpRequest, url: Option<&Url>, cx: &SendContext<'_>) -> Result<Response> {
        let watch = Watch { taken: Arc::new(AtomicBool::new(request.body.is_empty())), cx };
        let request = self.prepare(request, url, &watch)?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let begun = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let mut execution = pin!(self.http.execute(request));
        let outcome = poll_fn(|task| {
            let outcome = execution.as_mut().poll(task);
            watch.report();
            outcome
        })
        .await;
        if let Some(begun) = begun {
            let (status, elapsed) = (outcome.as_ref().ok().map(|answer| answer.status().as_u16()), begun.elapsed());
            tracing::debug!(status, elapsed_ms = elapsed.as_millis() as u64, "request");
        }
        outcome.map_err(|error| {
            let circumstances = Circumstances {
                written: watch.written(),
                proxied: self.proxied,
                no_roots: self.no_roots,
                connect_timeout: CONNECT_TIMEOUT,
            };
            rebuild(&error, circumstances, &host)
        })
    }

    fn prepare(&self, request: &HttpRequest, url: Option<&Url>, watch: &Watch<'_, '_>) -> Result<Request> {
        let invalid = |message| Error::new(ErrorKind::ParamsInvalid, message);
        let url = match url {
            Some(parsed) => parsed.clone(),
            None => Url::parse(request.url.reveal()).map_err(|_| invalid("the request's URL is not valid"))?,
        };
        if let Err(refused) = self.egress.check_host(url.host_str().unwrap_or_default()) {
            return Err(Error::new(ErrorKind::ParamsInvalid, refused));
        }
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("the request's method is not valid"))?;
        let mut out = Request::new(method, url);
        let headers = out.headers_mut();
        for header in &request.headers {
            let faulty = |message| invalid(message).with("header", &header.name);
            let name =
                HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| invalid("a header's name is not valid"))?;
            let value = match &header.value {
                HeaderValue::Plain(text) => Value::from_bytes(text.as_bytes()),
                HeaderValue::Secret(text) => Value::from_bytes(text.reveal().as_bytes()).map(|mut value| {
                    value.set_sensitive(true);
                    value
                }),
                HeaderValue::PerAttempt => {
                    return Err(Error::new(ErrorKind::Internal, "a header was not filled in for the attempt")
                        .with("header", &header.name));
                }
            };
            headers.append(name, value.map_err(|_| faulty("a header's value is not valid"))?);
        }
        if !request.body.is_empty() {
            let body = Marked::new(request.body.clone(), Arc::clone(&watch.taken));
            *out.body_mut() = Some(reqwest::Body::wrap(body));
        }
        Ok(out)
    }
}

fn broken_off(_quotes_urls: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unreachable, "the target's answer broke off").retry().ambiguous()
}

/// Reads the body, within limits. A body that ends in time leaves its connection fit for the next request.
async fn excerpt(response: &mut Response) -> Vec<u8> {
    if response.content_length() == Some(0) {
        return Vec::new();
    }
    let limit = if response.status().is_success() { DRAIN_LIMIT } else { BODY_LIMIT };
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
    };
    // Neither a late nor a broken body changes what the status has said.
    let _ = timeout(BODY_WAIT, reading).await;
    body
}

/// The certificates in a PEM text. The fault completes a sentence.
fn certificates(pem: &str) -> Result<Vec<Certificate>, &'static str> {
    const MALFORMED: &str = "holds a malformed certificate";
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| MALFORMED)?;
        found.push(Certificate::from_der(&certificate).map_err(|_| MALFORMED)?);
        // The library would only say so when the client is built, together with its other reasons.
        store.add(certificate).map_err(|_| MALFORMED)?;
    }
    if found.is_empty() { Err("holds no certificate in PEM form") } else { Ok(found) }
}

fn build(key: &Key, ca_source: &str) -> Result<Client> {
    let ca = match key.ca.trim().is_empty() {
        true => Vec::new(),
        false => certificates(&key.ca)
            .map_err(|fault| Error::new(ErrorKind::ParamsInvalid, format!("{ca_source} {fault}")))?,
    };
    let proxies = match key.egress.proxy() {
        Some(url) => {
            let invalid = |()| Error::new(ErrorKind::ParamsInvalid, "proxy: must be an http or https URL");
            vec![proxy::all(url).map_err(invalid)?]
        }
        None => key.proxies.proxies()?,
    };
    let builder = || {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("runbell/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .tls_danger_accept_invalid_certs(!key.verify_ssl)
            // First, for it also turns off what the process's environment says.
            .no_proxy();
        for proxy in &proxies {
            builder = builder.proxy(proxy.clone());
        }
        // With a proxy set on purpose only the proxy's own name is resolved here.
        if key.egress.is_guarded() && key.egress.proxy().is_none() {
            builder = builder.dns_resolver(Guarded(Arc::clone(&key.egress)));
        }
        builder
    };
    let (http, no_roots) = match builder().tls_certs_merge(ca.clone()).build() {
        Ok(http) => (http, false),
        // A bare system has no authorities, which is no reason to refuse targets that need none.
        Err(_) if ca.is_empty() && key.verify_ssl => (builder().tls_certs_only([]).build().map_err(unusable)?, true),
        Err(error) => return Err(unusable(error)),
    };
    let proxied = key.proxies.any() || key.egress.proxy().is_some();
    Ok(Client { http, egress: Arc::clone(&key.egress), proxied, no_roots })
}

fn unusable(_quotes_paths: reqwest::Error) -> Error {
    Error::new(ErrorKind::Internal, "the HTTP client cannot be set up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shared_by_what_they_depend_on() {
        let cx = BuildContext { env: Arc::new(HashMap::new()), ..BuildContext::here() };
        let client = |verify_ssl| Client::new(&cx, &HttpOptions { verify_ssl, ca: None }).expect("a client");
        let count = || cx.shared.get_or_init(Clients::default).0.lock().expect("not poisoned").len();
        client(true);
        client(true);
        assert_eq!(count(), 1);
        client(false);
        assert_eq!(count(), 2);
        cx.shared.set(Egress::guarded([]));
        client(true);
        assert_eq!(count(), 3);
    }
}
