//! GitHub and GitLab: the URLs of their comments, the meaning of their answers.

use std::time::Duration;

use runbell_core::text::percent_encoded;
use runbell_core::{
    BuildContext, Error, ErrorKind, FindingCode, Findings, HeaderValue, HttpRequest, Pace, Receipt, Result, Secret,
};
use runbell_http::{Answer, TargetUrl, classify_status};

/// The API of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forge {
    GitHub,
    GitLab,
}

/// GitHub: "Wait for at least one minute" when a secondary limit is hit and no header says how long
/// (docs.github.com, "Best practices for using the REST API").
const SECONDARY_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that a reset time may ask for. GitHub's primary limit is counted by the hour.
const LONGEST_WAIT: i64 = 24 * 3600;

impl Forge {
    /// The forge as given, else by the server's name.
    pub(crate) fn of(gitlab: Option<bool>, server: Option<&str>) -> Self {
        let named = || server.is_some_and(|server| server.to_ascii_lowercase().contains("gitlab"));
        if gitlab.unwrap_or_else(named) { Forge::GitLab } else { Forge::GitHub }
    }

    /// The longest comment, in characters: GitHub answers 422 to more; GitLab's limit is a million.
    pub(crate) fn longest(self) -> usize {
        match self {
            Forge::GitHub => 65_536,
            Forge::GitLab => 1_000_000,
        }
    }

    /// How fast it may be written to. GitHub: 80 requests a minute that create content (docs.github.com, "Rate limits for
    /// the REST API"); GitLab: 300 notes a minute (docs.gitlab.com, "Rate limits on note creation").
    pub(crate) fn pace(self) -> Pace {
        let count = match self {
            Forge::GitHub => 80,
            Forge::GitLab => 300,
        };
        Pace { count, period: Duration::from_secs(60) }
    }

    /// Adds the headers every request has.
    pub(crate) fn sign(self, request: &mut HttpRequest, token: &Secret<String>) {
        let token = token.reveal().trim();
        match self {
            Forge::GitHub => {
                request.set_header("Accept", HeaderValue::Plain("application/vnd.github.v3+json".to_owned()));
                request.set_header("Authorization", HeaderValue::Secret(Secret::new(format!("token {token}"))));
            }
            Forge::GitLab => {
                request.set_header("PRIVATE-TOKEN", HeaderValue::Secret(Secret::new(token.to_owned())));
            }
        }
        if !request.body.is_empty() {
            request.set_header("Content-Type", HeaderValue::Plain("application/json".to_owned()));
        }
    }

    /// The method that edits a comment.
    pub(crate) fn edits_by(self) -> &'static str {
        match self {
            Forge::GitHub => "PATCH",
            Forge::GitLab => "PUT",
        }
    }

    /// The meaning of an answer. Rate limits and missing permissions are kept apart: both can be 403.
    ///
    /// # Errors
    /// As [`classify_status`], but for rate limits.
    pub(crate) fn classify(self, answer: &Answer) -> Result<Receipt> {
        let error = |kind, message: &'static str| Err(Error::new(kind, message).with("status", answer.status()));
        match answer.status() {
            429 => Err(self.slow_down(answer)),
            403 if is_limited(answer) => Err(self.slow_down(answer)),
            401 => error(ErrorKind::Unauthorized, "the server refuses the token"),
            403 => error(ErrorKind::Unauthorized, "the token may not comment here"),
            404 => error(ErrorKind::Rejected, "there is no such repository or issue, or the token may not see it"),
            410 => error(ErrorKind::Rejected, "issues are turned off in this repository"),
            200..300 if is_page(answer.body()) => error(ErrorKind::Rejected, NO_API),
            _ => classify_status(answer),
        }
    }

    fn slow_down(self, answer: &Answer) -> Error {
        let error = Error::new(ErrorKind::RateLimited, "the server asks to slow down").with("status", answer.status());
        let wait = answer.retry_after().or_else(|| until_reset(answer)).unwrap_or(SECONDARY_WAIT);
        error.retry_after(wait)
    }
}

/// The message for a server that answers, but not as its API would: a website, a login page, a proxy.
pub(crate) const NO_API: &str = "the server's answer is not what its API describes; is `server` right?";

/// Whether an answer is a web page, which no API gives.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Whether a 403 is a rate limit: by its headers, or, as GitHub's secondary limits may come without any, by its message.
fn is_limited(answer: &Answer) -> bool {
    let none_left = ["x-ratelimit-remaining", "ratelimit-remaining"]
        .into_iter()
        .any(|name| answer.header(name).is_some_and(|left| left.trim() == "0"));
    none_left || answer.retry_after().is_some() || says_so(answer.body())
}

fn says_so(body: &[u8]) -> bool {
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let message = said["message"].as_str().unwrap_or_default().to_ascii_lowercase();
    let page = said["documentation_url"].as_str().unwrap_or_default();
    message.contains("rate limit") || message.contains("abuse detection") || page.contains("rate-limit")
}

/// The time until the limit is reset.
fn until_reset(answer: &Answer) -> Option<Duration> {
    let reset: i64 = ["x-ratelimit-reset", "ratelimit-reset"]
        .into_iter()
        .find_map(|name| answer.header(name).and_then(|text| text.trim().parse().ok()))?;
    let wait = reset.saturating_sub(answer.now().as_second()).clamp(1, LONGEST_WAIT);
    u64::try_from(wait).ok().map(Duration::from_secs)
}

/// The base URL of a server's API.
///
/// # Errors
/// The text of a finding.
pub(crate) fn base(server: Option<&str>, forge: Forge) -> Result<Base, &'static str> {
    let server = server.map(str::trim).filter(|server| !server.is_empty());
    let server = server.unwrap_or(match forge {
        Forge::GitHub => "api.github.com",
        Forge::GitLab => "gitlab.com",
    });
    if server.contains(['?', '#', '@']) {
        return Err("must be a host, with a path at most: no user, no query");
    }
    let (scheme, rest) = server.split_once("://").unwrap_or(("https", server));
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err("has a scheme that is not supported; it must be https or http");
    }
    let rest = rest.trim_end_matches('/');
    let lower = rest.to_ascii_lowercase();
    let (host, path) = lower.split_once('/').unwrap_or((&lower, ""));
    let host = host.strip_suffix(":443").unwrap_or(host);
    let website = matches!(host, "github.com" | "www.github.com");
    if !path.is_empty() && (website || (host == "gitlab.com" && path != "api/v4")) {
        return Err("must be the server only, without a path; the repository goes into `repo`");
    }
    let url = match forge {
        // The website's host is not the API's.
        Forge::GitHub if website => format!("{scheme}://api.github.com"),
        Forge::GitHub => format!("{scheme}://{rest}"),
        Forge::GitLab if rest.ends_with("/api/v4") => format!("{scheme}://{rest}"),
        Forge::GitLab => format!("{scheme}://{rest}/api/v4"),
    };
    Ok(Base(url))
}

/// The base URL of a server's API; no secret.
#[derive(Debug, Clone)]
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn validate(&self, field: &str, cx: &BuildContext, found: &mut Findings) {
        TargetUrl::new(&self.0).validate(field, cx, found);
        let local = ["localhost", "127.", "[::1]"].iter().any(|host| self.0.starts_with(&format!("http://{host}")));
        if self.0.starts_with("http://") && !local {
            let message = "is not encrypted, and neither is the token then; use https";
            found.warning_of(FindingCode::Unencrypted, field, message);
        }
    }
}

/// The URLs of the comments of one issue or merge request.
#[derive(Debug, Clone)]
pub(crate) struct Comments {
    forge: Forge,
    /// All of them.
    pub(crate) all: String,
    /// The URL in front of a comment's number.
    one: String,
}

impl Comments {
    pub(crate) fn new(forge: Forge, base: &Base, repo: &str, (thread, number): (&str, u64)) -> Self {
        let Base(base) = base;
        match forge {
            Forge::GitHub => {
                let repo = encoded(repo.trim(), true);
                Comments {
                    forge,
                    all: format!("{base}/repos/{repo}/{thread}/{number}/comments"),
                    one: format!("{base}/repos/{repo}/issues/comments/"),
                }
            }
            Forge::GitLab => {
                let repo = encoded(repo.trim(), false);
                let all = format!("{base}/projects/{repo}/{thread}/{number}/notes");
                Comments { forge, one: format!("{all}/"), all }
            }
        }
    }

    /// One comment.
    pub(crate) fn one(&self, id: u64) -> String {
        format!("{}{id}", self.one)
    }

    /// A page of a hundred, the oldest first.
    pub(crate) fn page(&self, number: u32) -> String {
        let order = match self.forge {
            Forge::GitHub => "",
            Forge::GitLab => "&order_by=created_at&sort=asc",
        };
        format!("{}?per_page=100&page={number}{order}", self.all)
    }
}

/// Percent-encodes a repository's path; GitLab wants its slashes encoded too.
fn encoded(repo: &str, keep_slashes: bool) -> String {
    if keep_slashes {
        return repo.split('/').map(percent_encoded).collect::<Vec<_>>().join("/");
    }
    percent_encoded(repo)
}

#[cfg(test)]
mod tests {
    use runbell_core::{Retry, Timestamp};

    use super::*;

    #[test]
    fn servers_in_every_form() {
        use Forge::{GitHub, GitLab};
        for (server, forge, expected) in [
            (None, GitHub, "https://api.github.com"),
            (Some("github.com"), GitHub, "https://api.github.com"),
            (Some("https://GitHub.com/"), GitHub, "https://api.github.com"),
            (Some("github.com:443"), GitHub, "https://api.github.com"),
            (Some("github.corp.test"), GitHub, "https://github.corp.test"),
            (Some("HTTPS://ghe.corp.test/api/v3/"), GitHub, "https://ghe.corp.test/api/v3"),
            (Some("http://127.0.0.1:3000"), GitHub, "http://127.0.0.1:3000"),
            (None, GitLab, "https://gitlab.com/api/v4"),
            (Some("gitlab.corp.test:8443"), GitLab, "https://gitlab.corp.test:8443/api/v4"),
            (Some("https://corp.test/gitlab"), GitLab, "https://corp.test/gitlab/api/v4"),
            (Some("https://gitlab.corp.test/api/v4/"), GitLab, "https://gitlab.corp.test/api/v4"),
        ] {
            assert_eq!(base(server, forge).expect("a server").0, expected);
        }
        for server in ["ftp://x", "user@host", "host?x=y", "host#x", "https://github.com/o/r", "gitlab.com/group"] {
            assert!(base(Some(server), GitHub).is_err(), "{server}");
        }
    }

    #[test]
    fn limits_are_distinguished_from_permissions() {
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let limited = r#"{"message": "You have exceeded a secondary rate limit. Please wait."}"#;
        let forbidden = r#"{"message": "Resource not accessible by integration"}"#;
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        for (status, headers, body, kind, retry) in [
            (403, &[][..], forbidden, ErrorKind::Unauthorized, Retry::Never),
            (403, &[][..], limited, ErrorKind::RateLimited, after(60)),
            (403, &[("retry-after", "17")][..], "", ErrorKind::RateLimited, after(17)),
            (
                403,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000090")][..],
                "",
                ErrorKind::RateLimited,
                after(90),
            ),
            (403, &[("x-ratelimit-remaining", "4999")][..], forbidden, ErrorKind::Unauthorized, Retry::Never),
            (429, &[][..], "", ErrorKind::RateLimited, after(60)),
            (429, &[("x-ratelimit-reset", "1600000000")][..], "", ErrorKind::RateLimited, after(1)),
            (
                429,
                &[("Retry-After", "5"), ("x-ratelimit-reset", "1700000090")][..],
                "",
                ErrorKind::RateLimited,
                after(5),
            ),
            (401, &[][..], limited, ErrorKind::Unauthorized, Retry::Never),
            (422, &[][..], "", ErrorKind::Rejected, Retry::Never),
        ] {
            let answer = Answer::new(status, headers, body, now);
            let error = Forge::GitHub.classify(&answer).expect_err("no success");
            assert_eq!((error.kind(), error.retry_advice()), (kind, retry), "{status} {headers:?} {body}");
        }
    }

    #[test]
    fn a_web_page_is_no_success() {
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        for (status, body, succeeds) in [
            (201, r#"{"id": 1}"#, true),
            (201, "", true),
            (204, "", true),
            (200, "\n <!doctype html><title>Sign in</title>", false),
        ] {
            let outcome = Forge::GitHub.classify(&Answer::new(status, &[], body, now));
            assert_eq!(outcome.is_ok(), succeeds, "{status} {body}: {outcome:?}");
        }
    }

    #[test]
    fn paths_of_repositories() {
        let at = |forge, repo| Comments::new(forge, &Base("B".to_owned()), repo, ("issues", 7));
        assert_eq!(at(Forge::GitHub, "o/r").all, "B/repos/o/r/issues/7/comments");
        assert_eq!(at(Forge::GitHub, "o/r").one(9), "B/repos/o/r/issues/comments/9");
        assert_eq!(at(Forge::GitLab, "g/s/p").all, "B/projects/g%2Fs%2Fp/issues/7/notes");
        assert_eq!(at(Forge::GitLab, "g/s/p").one(9), "B/projects/g%2Fs%2Fp/issues/7/notes/9");
        assert_eq!(at(Forge::GitHub, "o/r?x").all, "B/repos/o/r%3Fx/issues/7/comments");
    }
}
