//! Answers of targets, and their meaning for a delivery.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use runbell_core::{Error, ErrorKind, Receipt, Result};

/// The longest Retry-After that is passed on: 7 days. A target that asks for more is taken to mean "much later".
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The month names etc. of an HTTP date are RFC 5322's; a wrong weekday does no harm.
static HTTP_DATE: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// A target's answer. Its body may echo secrets: a kind may read it, but must not quote it.
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) now: Timestamp,
    /// What a refusal says, fit to be quoted.
    pub(crate) words: Option<String>,
}

impl Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("body", &self.body.len()).finish_non_exhaustive()
    }
}

impl Answer {
    /// An answer that never crossed a network, for the tests of a kind's [`classify`](crate::HttpKind::classify).
    ///
    /// Headers that are not valid in HTTP are left out.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>, now: Timestamp) -> Self {
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?)))
            .collect();
        Answer { status, headers, body: body.into(), now, words: None }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status says that the request was carried out: 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's value, by its name in any letter case; `None` also when it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as far as it was read: at most 64 KiB, of a success at most 16 KiB, without parts that came late.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The time of the attempt, to measure the answer's own times by.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds the answer's own words to an error about it, where they may be quoted. Secrets of the notification and of the request
    /// are left out; under a guard only public addresses and listed networks are quoted.
    pub fn explain(&self, error: Error) -> Error {
        match &self.words {
            // A kind that knows the target's codes has named one already.
            Some(words) if error.get("answer").is_none() => error.quoting(words),
            _ => error,
        }
    }

    /// The wait that the target asks for: its Retry-After, in seconds or as a date (RFC 9110 §10.2.3).
    ///
    /// A date in the past is no wait; waits beyond 7 days are taken as 7 days; nonsense as no header.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
            // More digits than fit are a very long wait too.
            Duration::from_secs(value.parse().unwrap_or(u64::MAX))
        } else {
            let until = HTTP_DATE.parse_timestamp(value).ok()?;
            Duration::try_from(until.duration_since(self.now)).unwrap_or(Duration::ZERO)
        };
        Some(wait.min(LONGEST_RETRY_AFTER))
    }

    /// Adds the target's Retry-After to an error, or the advice to try again by the retry policy.
    pub fn retrying(&self, error: Error) -> Error {
        match self.retry_after() {
            Some(wait) => error.retry_after(wait),
            None => error.retry(),
        }
    }
}

/// The meaning of a status, unless a kind overrides it.
///
/// # Errors
/// | status | kind | tried again |
/// |---|---|---|
/// | 2xx | none | |
/// | 401, 403 | [`Unauthorized`](ErrorKind::Unauthorized) | never |
/// | 408 | [`Timeout`](ErrorKind::Timeout) | by the retry policy |
/// | 425 | [`Unreachable`](ErrorKind::Unreachable) | by the retry policy |
/// | 429 | [`RateLimited`](ErrorKind::RateLimited) | after its Retry-After, else by the retry policy |
/// | 503 | [`Unreachable`](ErrorKind::Unreachable) | after its Retry-After, else by the retry policy |
/// | other 5xx | [`Unreachable`](ErrorKind::Unreachable) | by the retry policy |
/// | 3xx, other 4xx | [`Rejected`](ErrorKind::Rejected) | never |
///
/// A redirect is not followed: its target was not configured, and its rule of turning a POST into a GET
/// loses the message.
pub fn classify_status(answer: &Answer) -> Result<Receipt> {
    use ErrorKind::{Rejected, Timeout, Unauthorized, Unreachable};
    let error = |kind, message: &'static str| Error::new(kind, message).with("status", answer.status);
    Err(match answer.status {
        200 => return Ok(Receipt { answer: Cow::Borrowed("200") }),
        201..=299 => return Ok(Receipt { answer: answer.status.to_string().into() }),
        301 | 302 | 303 | 307 | 308 => error(Rejected, "the target redirects; give the final URL"),
        401 => error(Unauthorized, "the target refuses the credentials"),
        403 => error(Unauthorized, "the target forbids this"),
        404 => error(Rejected, "the target does not know this address"),
        408 => error(Timeout, "the target waited too long for the request").retry(),
        410 => error(Rejected, "the target says that this address is gone for good"),
        413 => error(Rejected, "the message is too big for the target"),
        425 => error(Unreachable, "the target is not ready for this request yet").retry(),
        429 => answer.retrying(error(ErrorKind::RateLimited, "the target asks to slow down")),
        400..=499 => error(Rejected, "the target refuses the message"),
        503 => answer.retrying(error(Unreachable, "the target is not available")),
        500..=599 => error(Unreachable, "the target failed").retry(),
        _ => error(Rejected, "the target gave an answer that is no success"),
    })
}

#[cfg(test)]
mod tests {
    use runbell_core::Retry;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().expect("a time")
    }

    #[test]
    fn every_status_has_a_meaning() {
        use ErrorKind::{RateLimited, Rejected, Timeout, Unauthorized, Unreachable};
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        for (status, retry_after, kind, retry) in [
            (100, None, Rejected, Retry::Never),
            (300, None, Rejected, Retry::Never),
            (302, None, Rejected, Retry::Never),
            (304, None, Rejected, Retry::Never),
            (308, Some("5"), Rejected, Retry::Never),
            (400, Some("5"), Rejected, Retry::Never),
            (401, None, Unauthorized, Retry::Never),
            (403, None, Unauthorized, Retry::Never),
            (404, None, Rejected, Retry::Never),
            (408, None, Timeout, Retry::Backoff),
            (410, None, Rejected, Retry::Never),
            (422, None, Rejected, Retry::Never),
            (425, None, Unreachable, Retry::Backoff),
            (429, None, RateLimited, Retry::Backoff),
            (429, Some("7"), RateLimited, after(7)),
            (429, Some("soon"), RateLimited, Retry::Backoff),
            (500, Some("7"), Unreachable, Retry::Backoff),
            (502, None, Unreachable, Retry::Backoff),
            (503, None, Unreachable, Retry::Backoff),
            (503, Some("120"), Unreachable, after(120)),
            (599, None, Unreachable, Retry::Backoff),
            (999, None, Rejected, Retry::Never),
        ] {
            let headers: Vec<(&str, &str)> = retry_after.map(|value| ("Retry-After", value)).into_iter().collect();
            let answer = Answer::new(status, &headers, "CANARY", now());
            let error = classify_status(&answer).expect_err("no success");
            assert_eq!((error.kind(), error.retry_advice()), (kind, retry), "{status} {retry_after:?}");
            assert!(error.to_string().contains(&status.to_string()) && !error.to_string().contains("CANARY"));
        }
        for status in [200, 201, 202, 204, 299] {
            let receipt = classify_status(&Answer::new(status, &[], "", now())).expect("a success");
            assert_eq!(receipt.answer, status.to_string());
        }
    }

    #[test]
    fn retry_after_in_every_form() {
        for (value, seconds) in [
            ("0", Some(0)),
            (" 30 ", Some(30)),
            ("604801", Some(604_800)),
            ("99999999999999999999999999", Some(604_800)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Mon, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 03:04:05 GMT", Some(0)),
            ("Thu, 01 Jan 2026 03:04:05 GMT", Some(0)),
            ("Fri, 02 Jan 2099 03:04:05 GMT", Some(604_800)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("tomorrow", None),
            ("2026-01-02T03:05:05Z", None),
        ] {
            let answer = Answer::new(429, &[("retry-after", value)], "", now());
            assert_eq!(answer.retry_after(), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(Answer::new(429, &[], "", now()).retry_after(), None);
    }
}
