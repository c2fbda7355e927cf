//! What the hand-written sender writes, and what it makes of an answer.

use std::time::Duration;

use runbell_core::{Error, ErrorKind, HeaderValue, HttpRequest, Receipt, Result, Timestamp};

/// Address and path of a URL.
pub(crate) fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_graphic()))?;
    Some(rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash)))
}

/// A request as it goes over the wire.
pub(crate) fn request_bytes(request: &HttpRequest) -> Vec<u8> {
    let (address, path) = split(request.url.reveal()).unwrap_or_default();
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {address}\r\n", request.method);
    for header in &request.headers {
        let value = match &header.value {
            HeaderValue::Plain(value) => value,
            HeaderValue::Secret(value) => value.reveal(),
            HeaderValue::PerAttempt => continue,
        };
        head.push_str(&format!("{}: {value}\r\n", header.name));
    }
    head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()));
    [head.as_bytes(), &request.body].concat()
}

/// Success or failure by status; Retry-After counts from `now`.
pub(crate) fn classify(head: &str, now: Timestamp) -> Result<Receipt> {
    let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let named = |line: &str| Some(line.split_once(':')?.1.trim().to_owned()).filter(|_| is_retry_after(line));
    let error = |kind| Error::new(kind, "the target refuses").with("status", status);
    let error = match (status, head.lines().find_map(named).and_then(|value| wait(&value, now))) {
        (200..=299, _) => return Ok(Receipt { answer: status.to_string().into() }),
        (429, Some(wait)) => error(ErrorKind::RateLimited).retry_after(wait),
        (429, None) => error(ErrorKind::RateLimited).retry(),
        (503, Some(wait)) => error(ErrorKind::Unreachable).retry_after(wait),
        (500.., _) | (0, _) => error(ErrorKind::Unreachable).retry(),
        (408, _) => error(ErrorKind::Timeout).retry(),
        (401 | 403, _) => error(ErrorKind::Unauthorized),
        _ => error(ErrorKind::Rejected),
    };
    Err(error)
}

fn is_retry_after(line: &str) -> bool {
    line.get(..12).is_some_and(|name| name.eq_ignore_ascii_case("retry-after:"))
}

/// Retry-After in seconds or as a date such as `Tue, 03 Feb 2026 04:06:36 GMT`.
fn wait(value: &str, now: Timestamp) -> Option<Duration> {
    let date = || http_date(value).map(|at| at.as_second().saturating_sub(now.as_second()).max(0).unsigned_abs());
    value.parse().ok().or_else(date).map(Duration::from_secs)
}

fn http_date(value: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<&str> = value.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    format!("{year}-{:02}-{day}T{time}Z", MONTHS.find(month)? / 3 + 1).parse().ok()
}
