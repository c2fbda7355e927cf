//! The client of a server: tells one event once, and says what that means.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use runbell_core::{
    ATTEMPT_TIMEOUT, BuildContext, Clock, DeliveryKey, Error, ErrorKind, Findings, HeaderValue, HttpRequest, MASK,
    Result, Retry, Secret, SecretValues, SendContext, Value, text, value,
};
use runbell_http::{Answer, Client, HttpOptions, TargetUrl};
use tokio::time::{Instant, timeout_at};

use super::RemoteEvent;

/// The longest part of a server's own words that is passed on, in characters.
const DETAIL: usize = 300;

/// What became of telling a server. The reasons are one line and free of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The server has it on disk.
    Accepted,
    /// The server will never take it.
    Refused(String),
    /// The server does not take it until somebody mends something, such as the token.
    Kept(String),
    /// It may work later, after this wait when the server said so. The server may have it all the same.
    Later(String, Option<Duration>),
}

/// Tells a server. Cheap to clone.
#[derive(Clone)]
pub struct RemoteClient {
    base: Arc<str>,
    token: Option<Secret<String>>,
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
            return Err(invalid("must not hold a user name or password; the token goes into RUNBELL_TOKEN"));
        }
        if server.contains(['?', '#']) {
            return Err(invalid("must end with the server's path, without `?` and `#`"));
        }
        let mut secrets = SecretValues::default();
        if let Some(token) = &token {
            if token.reveal().is_empty() || !token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid("the token holds something that no token holds, such as a space or a line break"));
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

    /// The same server, told with another token when this client has none.
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

    /// Tells the server once, within 10 s.
    pub async fn tell(&self, event: &RemoteEvent) -> Told {
        self.tell_within(event, ATTEMPT_TIMEOUT).await
    }

    /// As [`tell`](Self::tell), with a limit of the caller's.
    pub(super) async fn tell_within(&self, event: &RemoteEvent, limit: Duration) -> Told {
        let request = self.request(event);
        let (deadline, written) = (Instant::now() + limit, AtomicBool::new(false));
        let key = DeliveryKey::of(&["event", event.run().project(), event.run().uid(), event.state().as_str()]);
        let cx = SendContext::new(key, 1, deadline.into_std(), self.clock.now(), &written);
        match timeout_at(deadline, self.http.send(&request, &cx)).await {
            Err(_elapsed) => Told::Later("timeout: the server does not answer".to_owned(), None),
            Ok(Err(error)) => match error.retry_advice() {
                Retry::Never => Told::Kept(error.reason()),
                Retry::Backoff => Told::Later(error.reason(), None),
                Retry::After(wait) => Told::Later(error.reason(), Some(wait)),
            },
            Ok(Ok(answer)) => self.classify(&answer, event),
        }
    }

    fn request(&self, event: &RemoteEvent) -> HttpRequest {
        let (project, uid) = (text::percent_encoded(event.run().project()), text::percent_encoded(event.run().uid()));
        let url = format!("{}/api/v1/projects/{project}/runs/{uid}/events", self.base);
        let mut request = HttpRequest {
            method: "POST".to_owned(),
            url: Secret::new(url),
            headers: Vec::new(),
            body: event.body().clone(),
        };
        request.set_header("Content-Type", HeaderValue::Plain("application/json".to_owned()));
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.reveal());
            request.set_header("Authorization", HeaderValue::Secret(Secret::new(bearer)));
        }
        request
    }

    fn classify(&self, answer: &Answer, event: &RemoteEvent) -> Told {
        let status = answer.status();
        let why = match self.detail(answer.body(), event) {
            Some(detail) => format!("the server answers {status}: {detail}"),
            None => format!("the server answers {status}"),
        };
        match status {
            200..=299 if is_runbells(answer.body()) => Told::Accepted,
            // A page of a proxy's or of another program's; nobody there has promised anything.
            200..=299 => Told::Kept(format!("{why}, but not as Runbell's server does; is the URL right?")),
            400 | 404 | 409 | 413 | 422 => Told::Refused(why),
            408 | 425 | 429 | 500..=599 => Told::Later(why, answer.retry_after()),
            301 | 302 | 303 | 307 | 308 => Told::Kept(format!("{why}: it redirects; give the final URL")),
            _ => Told::Kept(why),
        }
    }

    /// What the server says about it, masked and then cut, so that no part of a secret is left.
    fn detail(&self, body: &[u8], event: &RemoteEvent) -> Option<String> {
        let document = value::read(std::str::from_utf8(body).ok()?).ok()?;
        let detail = document.get("detail")?.as_str()?;
        let masked = event.secrets().mask(detail, MASK);
        Some(text::one_line(&self.secrets.mask(&masked, MASK), DETAIL))
    }
}

/// Whether a success is one of Runbell's: an object that tells the run's version. It may be cut off.
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
        let request = client("http://h/x/", "rbt_CANARY-2").expect("a client").request(&event());
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
        assert_eq!(classify(200, &[], r#" {"version": 3, "deliveries": [17"#), Told::Accepted);
        for status in [200, 204, 301, 401, 403, 405, 407, 412] {
            assert!(matches!(classify(status, &[], "<html>"), Told::Kept(_)), "{status}");
        }
        for status in [400, 404, 409, 413, 422] {
            assert!(matches!(classify(status, &[("retry-after", "5")], ""), Told::Refused(_)), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(classify(status, &[], ""), Told::Later(_, None)), "{status}");
            let Told::Later(why, wait) = classify(status, &[("retry-after", "5")], "") else { panic!("{status}") };
            assert_eq!((why, wait), (format!("the server answers {status}"), seconds(5)));
        }
    }

    #[test]
    fn what_a_server_says_is_masked_and_on_one_line() {
        let client = client("http://h", "rbt_CANARY-2").expect("a client");
        let body = format!(r#"{{"detail": "bad\n\u001b[31m http://h/CANARY-1 rbt_CANARY-2 {}"}}"#, "x".repeat(900));
        let Told::Refused(why) = client.classify(&Answer::new(422, &[], body, Timestamp::UNIX_EPOCH), &event()) else {
            panic!("it is refused");
        };
        assert!(why.starts_with("the server answers 422: bad  [31m *** *** xxx") && why.ends_with('…'), "{why}");
        assert!(why.chars().count() < 340);
    }
}
