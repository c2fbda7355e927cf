//! The client of a server's API: makes requests with the token, and classifies answers.
//!
//! **Invariant:** no returned text holds a secret: the token, and the values that the caller names, are masked.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use runbell_core::{
    ATTEMPT_TIMEOUT, BuildContext, Bytes, Clock, DeliveryKey, Error, ErrorKind, Findings, HeaderValue, HttpRequest,
    MASK, Result, Retry, Secret, SecretValues, SendContext, Value, text, value,
};
use runbell_http::{Answer, Client, HttpOptions, TargetUrl};
use tokio::time::{Instant, timeout_at};

use super::RemoteEvent;

/// The longest part of a server's text that is passed on, in characters.
const DETAIL: usize = 300;

/// How long the answer to a request may take: longer than a server works on one unless it is configured to.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may be silent while it makes a backup of everything.
const DOWNLOAD_SILENCE: Duration = Duration::from_secs(600);

/// The longest answer that is read into memory.
const LONGEST_ANSWER: usize = 64 << 20;

/// The result of sending an event to a server. The reasons are one line and free of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The server has it on disk.
    Accepted,
    /// The server will never accept it.
    Refused(String),
    /// The server does not accept it until an operator repairs something, such as the token.
    Blocked(String),
    /// It may be accepted later, after the server's wait if it named one. The server may have it all the same.
    Later(String, Option<Duration>),
}

/// The class of an answer by its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerClass {
    /// It was carried out: 2xx.
    Success,
    /// The token is missing or not accepted: 401.
    Unauthorized,
    /// The server redirects: 3xx.
    Redirect,
    /// It will never be carried out as it is: 400, 404, 409, 413, 422.
    Refused,
    /// It may be carried out later: 408, 425, 429, 5xx.
    Later,
    /// Anything else, such as 403.
    Other,
}

/// An answer of Runbell's API.
#[derive(Debug, Clone)]
pub struct ServerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The class of the status.
    pub class: AnswerClass,
    /// The server's text: one line of at most 300 characters, free of secrets. Empty for a success.
    pub detail: Option<String>,
    /// The body; of a download that succeeded it is empty.
    pub body: Vec<u8>,
}

impl ServerAnswer {
    /// Reads an answer; `secrets` are masked in the server's words.
    pub fn new(status: u16, body: Vec<u8>, secrets: &SecretValues) -> Self {
        let class = match status {
            200..=299 => AnswerClass::Success,
            300..=399 => AnswerClass::Redirect,
            401 => AnswerClass::Unauthorized,
            400 | 404 | 409 | 413 | 422 => AnswerClass::Refused,
            408 | 425 | 429 | 500..=599 => AnswerClass::Later,
            _ => AnswerClass::Other,
        };
        let detail = (class != AnswerClass::Success).then(|| detail(&body, secrets)).flatten();
        ServerAnswer { status, class, detail, body }
    }

    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        self.class == AnswerClass::Success
    }
}

/// What the server says about a refusal, masked and then cut, so that no part of a secret is left.
fn detail(body: &[u8], secrets: &SecretValues) -> Option<String> {
    let document = value::read(std::str::from_utf8(body).ok()?).ok()?;
    Some(text::one_line(&secrets.mask(document.get("detail")?.as_str()?, MASK), DETAIL))
}

/// The client of a server. Cheap to clone.
#[derive(Clone)]
pub struct RemoteClient {
    /// Without a slash at its end, and no secret: it holds no password.
    base: Arc<str>,
    token: Option<Secret<String>>,
    /// Values that no text may hold, whatever a server answers.
    secrets: SecretValues,
    http: Client,
    clock: Arc<dyn Clock>,
}

impl Debug for RemoteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteClient").field("server", &self.base).finish_non_exhaustive()
    }
}

impl RemoteClient {
    /// A client of the server at this URL. Connects to nothing. Certificate authorities and proxies come from `cx`, as for
    /// kinds.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when the URL is not one of a server (absolute, http or https, without user name, query
    /// and fragment), the token cannot stand in a header, or the environment is at fault.
    pub fn new(server: &str, token: Option<Secret<String>>, cx: &BuildContext) -> Result<Self> {
        let invalid = |message: &str| Error::new(ErrorKind::ParamsInvalid, message.to_owned());
        let target = TargetUrl::new(server);
        let mut found = Findings::default();
        target.validate("", cx, &mut found);
        if let Some(fault) = found.faults().next() {
            return Err(invalid(&fault.message));
        }
        let request = target.request("POST", "");
        if request.has_header("authorization") {
            return Err(invalid("must not hold a user name or password; put the token into RUNBELL_TOKEN"));
        }
        if server.contains(['?', '#']) {
            return Err(invalid("must end with the server's path, without `?` and `#`"));
        }
        let mut secrets = SecretValues::default();
        if let Some(token) = &token {
            if token.reveal().is_empty() || !token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid(
                    "the token holds a character that is not allowed in one, such as a space or a line break",
                ));
            }
            secrets.add(&Value::from(token.reveal().as_str()));
        }
        Ok(RemoteClient {
            base: request.url.reveal().trim_end_matches('/').into(),
            token,
            secrets,
            http: Client::new(cx, &HttpOptions::default())?,
            clock: Arc::clone(&cx.clock),
        })
    }

    /// The server's URL, without a slash at its end. Equal for equal servers, and no secret.
    pub fn server(&self) -> &str {
        &self.base
    }

    /// The same server, with this token when the client has none.
    #[must_use]
    pub fn or_token(mut self, token: Option<Secret<String>>) -> Self {
        if self.token.is_none() {
            if let Some(token) = &token {
                self.secrets.add(&Value::from(token.reveal().as_str()));
            }
            self.token = token;
        }
        self
    }

    /// The token.
    pub fn token(&self) -> Option<&Secret<String>> {
        self.token.as_ref()
    }

    /// Masks a value in all further answers of the server.
    pub fn conceal(&mut self, value: &str) {
        self.secrets.add(&Value::from(value));
    }

    /// Makes one request, within 60 s, and reads the whole answer, up to 64 MiB. `path` begins with `/api/`.
    ///
    /// # Errors
    /// Those of [`Client::fetch`], when no answer came.
    pub async fn ask(&self, method: &str, path: &str, body: Bytes) -> Result<ServerAnswer> {
        let (request, deadline) = (self.request(method, path, body), Instant::now() + REQUEST_TIMEOUT);
        let written = AtomicBool::new(false);
        let cx = self.context(DeliveryKey::of(&["api"]), deadline, &written);
        match timeout_at(deadline, self.http.fetch(&request, LONGEST_ANSWER, &cx)).await {
            Ok(answer) => answer.map(|answer| self.read(&answer, &SecretValues::default())),
            Err(_elapsed) => Err(Error::new(ErrorKind::Timeout, "does not answer")),
        }
    }

    /// As [`ask`](Self::ask), for an answer too large for memory: the body of a success goes to `take` piece by piece.
    ///
    /// # Errors
    /// Those of [`Client::stream`], when no answer came or its body broke off, and what `take` returns.
    pub async fn download(&self, path: &str, take: impl FnMut(&[u8]) -> Result<()>) -> Result<ServerAnswer> {
        let (request, written) = (self.request("GET", path, Bytes::new()), AtomicBool::new(false));
        let cx = self.context(DeliveryKey::of(&["api"]), Instant::now() + REQUEST_TIMEOUT, &written);
        let answer = self.http.stream(&request, DOWNLOAD_SILENCE, &cx, take).await?;
        Ok(self.read(&answer, &SecretValues::default()))
    }

    /// Sends an event once, within 10 s.
    pub async fn report(&self, event: &RemoteEvent) -> Reported {
        self.report_within(event, ATTEMPT_TIMEOUT).await
    }

    /// As [`report`](Self::report), with a limit of the caller's.
    pub(super) async fn report_within(&self, event: &RemoteEvent, limit: Duration) -> Reported {
        let request = self.request("POST", &path_of(event), event.body().clone());
        let (deadline, written) = (Instant::now() + limit, AtomicBool::new(false));
        let key = DeliveryKey::of(&["event", event.run().project(), event.run().uid(), event.state().as_str()]);
        let cx = self.context(key, deadline, &written);
        match timeout_at(deadline, self.http.send(&request, &cx)).await {
            Err(_elapsed) => Reported::Later("timeout: the server does not answer".to_owned(), None),
            Ok(Err(error)) => match error.retry_advice() {
                Retry::Never => Reported::Blocked(error.reason()),
                Retry::Backoff => Reported::Later(error.reason(), None),
                Retry::After(wait) => Reported::Later(error.reason(), Some(wait)),
            },
            Ok(Ok(answer)) => self.classify(&answer, event),
        }
    }

    fn request(&self, method: &str, path: &str, body: Bytes) -> HttpRequest {
        let mut request = HttpRequest {
            method: method.to_owned(),
            url: Secret::new(format!("{}{path}", self.base)),
            headers: Vec::new(),
            body,
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

    fn context<'w>(&self, key: DeliveryKey, deadline: Instant, written: &'w AtomicBool) -> SendContext<'w> {
        SendContext::new(key, 1, deadline.into_std(), self.clock.now(), written)
    }

    /// Reads an answer without this client's secrets and these.
    fn read(&self, answer: &Answer, secrets: &SecretValues) -> ServerAnswer {
        let mut all = self.secrets.clone();
        all.extend(secrets);
        ServerAnswer::new(answer.status(), answer.body().to_vec(), &all)
    }

    fn classify(&self, answer: &Answer, event: &RemoteEvent) -> Reported {
        let ServerAnswer { status, class, detail, body } = self.read(answer, event.secrets());
        let why = match detail {
            Some(detail) => format!("the server answers {status}: {detail}"),
            None => format!("the server answers {status}"),
        };
        match class {
            AnswerClass::Success if is_runbells(&body) => Reported::Accepted,
            // A page of a proxy or of another program, which has accepted nothing.
            AnswerClass::Success => Reported::Blocked(format!("{why}, but not as a Runbell server; check the URL")),
            AnswerClass::Refused => Reported::Refused(why),
            AnswerClass::Later => Reported::Later(why, answer.retry_after()),
            AnswerClass::Redirect => Reported::Blocked(format!("{why}: it redirects; give the final URL")),
            AnswerClass::Unauthorized | AnswerClass::Other => Reported::Blocked(why),
        }
    }
}

fn path_of(event: &RemoteEvent) -> String {
    let (project, uid) = (text::percent_encoded(event.run().project()), text::percent_encoded(event.run().uid()));
    format!("/api/v1/projects/{project}/runs/{uid}/events")
}

/// Whether a success is one of Runbell's server: an object with the run's version. It may be cut off.
fn is_runbells(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") && body.windows(9).any(|window| window == b"\"version\"")
}

#[cfg(test)]
mod tests {
    use runbell_core::{Notification, RunSnapshot, Timestamp, Transition};

    use super::*;

    fn client(server: &str, token: &str) -> Result<RemoteClient> {
        let token = (!token.is_empty()).then(|| Secret::new(token.to_owned()));
        RemoteClient::new(server, token, &BuildContext::here())
    }

    fn event() -> RemoteEvent {
        let run = value::read(r#"{"metadata": {"uid": "u", "project": "a/b ü"}, "status": {"state": "error"}}"#);
        let run = RunSnapshot::new(run.expect("JSON")).expect("a run");
        let hook = Notification::new("webhook", "w").secret_param("url", "http://h/CANARY-1");
        RemoteEvent::new(Transition::current(run, Timestamp::UNIX_EPOCH), Some(&[hook]))
    }

    #[test]
    fn urls_are_checked_and_made_equal() {
        for (server, expected) in [
            ("http://h", Ok("http://h")),
            (" https://H:443/ ", Ok("https://h")),
            ("http://h:8080/runbell//", Ok("http://h:8080/runbell")),
            ("", Err("is required")),
            ("h:80", Err("scheme")),
            ("localhost", Err("no scheme")),
            ("ftp://h", Err("scheme")),
            ("http://user:CANARY-2@h", Err("RUNBELL_TOKEN")),
            ("http://CANARY-2@h", Err("RUNBELL_TOKEN")),
            ("http://h/?CANARY-2", Err("without `?`")),
        ] {
            match (client(server, ""), expected) {
                (Ok(client), Ok(base)) => assert_eq!(client.server(), base),
                (Err(error), Err(part)) => {
                    let text = error.to_string();
                    assert!(text.contains(part) && !text.contains("CANARY"), "{server}: {text}");
                }
                (found, _) => panic!("{server}: {found:?}"),
            }
        }
        assert!(client("http://h", "two words").is_err());
    }

    #[test]
    fn a_request_names_the_run_and_holds_the_token() {
        let client = client("http://h/x/", "rbt_CANARY-2").expect("a client");
        let request = client.request("POST", &path_of(&event()), event().body().clone());
        assert_eq!(request.url.reveal(), "http://h/x/api/v1/projects/a%2Fb%20%C3%BC/runs/u/events");
        let expected = HeaderValue::Secret(Secret::new("Bearer rbt_CANARY-2".to_owned()));
        assert!(request.headers.iter().any(|header| header.name == "Authorization" && header.value == expected));
    }

    #[test]
    fn every_answer_has_a_meaning() {
        let client = client("http://h", "rbt_CANARY-2").expect("a client");
        let classify = |status, headers: &[(&str, &str)], body: &str| {
            client.classify(&Answer::new(status, headers, body, Timestamp::UNIX_EPOCH), &event())
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(classify(200, &[], r#" {"version": 3, "deliveries": [17"#), Reported::Accepted);
        for status in [200, 204, 301, 401, 403, 405, 407, 412] {
            assert!(matches!(classify(status, &[], "<html>"), Reported::Blocked(_)), "{status}");
        }
        for status in [400, 404, 409, 413, 422] {
            assert!(matches!(classify(status, &[("retry-after", "5")], ""), Reported::Refused(_)), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(classify(status, &[], ""), Reported::Later(_, None)), "{status}");
            let Reported::Later(why, wait) = classify(status, &[("retry-after", "5")], "") else { panic!("{status}") };
            assert_eq!((why, wait), (format!("the server answers {status}"), seconds(5)));
        }
    }

    #[test]
    fn texts_of_a_server_are_masked_and_on_one_line() {
        let client = client("http://h", "rbt_CANARY-2").expect("a client");
        let body = format!(r#"{{"detail": "bad\n\u001b[31m http://h/CANARY-1 rbt_CANARY-2 {}"}}"#, "x".repeat(900));
        let Reported::Refused(why) = client.classify(&Answer::new(422, &[], body, Timestamp::UNIX_EPOCH), &event())
        else {
            panic!("it is refused");
        };
        assert!(why.starts_with("the server answers 422: bad  [31m *** *** xxx") && why.ends_with('…'), "{why}");
        assert!(why.chars().count() < 340);
    }
}
