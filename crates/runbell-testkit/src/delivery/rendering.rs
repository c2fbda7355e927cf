//! The payload of a message, and that the same payload is sent.

use std::sync::Arc;
use std::time::Duration;

use runbell_core::{HeaderValue, HttpRequest, Message, Payload, Sender};

use super::{Subject, in_time, revealed};
use crate::check::Check;
use crate::http::Request;
use crate::samples::{hostile_messages, sample_message};

/// Headers that belong to the connection rather than to the payload.
const OF_THE_CLIENT: &[&str] = &["host", "user-agent", "accept", "content-length", "connection", "accept-encoding"];

impl Subject<'_> {
    pub(super) async fn rendering(&self) {
        self.building().await;
        self.limits();
        self.same_message_same_payload();
        self.wire("the preview is what is sent", &sample_message("contract")).await;
        for (name, message) in hostile_messages() {
            self.wire(&format!("a message with {name}"), &message).await;
        }
    }

    async fn building(&self) {
        let check = self.check("building connects to nothing");
        let before = self.peer.connections();
        let sender = self.sender(&check);
        let message = sample_message("contract");
        self.render(&check, &sender, &message);
        // A task that building spawned gets its chance to connect first.
        for _ in 0..8 {
            in_time(&check, self.peer.settle()).await;
        }
        let opened = self.peer.connections() - before;
        check.ensure(opened == 0, || format!("{opened} connections were opened by building and rendering"));
    }

    fn limits(&self) {
        let check = self.check("limits");
        let limits = self.sender(&check).limits();
        let address = self.peer.address().to_string();
        check.equal("the destination", &&*limits.destination, &address.as_str());
        let seconds = Duration::from_secs(1)..=Duration::from_secs(60);
        check.ensure(seconds.contains(&limits.timeout), || format!("a timeout of {:?}", limits.timeout));
        if let Some(pace) = limits.pace {
            check.ensure(pace.count > 0 && !pace.period.is_zero(), || format!("a pace of {pace:?}"));
        }
    }

    /// Twice by one sender, and by another one built later: neither chance nor the clock may show.
    fn same_message_same_payload(&self) {
        let check = self.check("same message, same payload");
        let message = sample_message("contract");
        let sender = self.sender(&check);
        let first = self.render(&check, &sender, &message);
        let second = self.render(&check, &sender, &message);
        self.test.clock.advance(Duration::from_secs(3601));
        let other = self.render(&check, &self.sender(&check), &message);
        for (what, again) in [("rendered again", second), ("rendered by another sender, later", other)] {
            let same = revealed(&first.payload) == revealed(&again.payload) && first.notes == again.notes;
            check.ensure(same, || format!("{what}, it differs"));
        }
    }

    /// Renders and sends `message`, and compares the two.
    async fn wire(&self, name: &str, message: &Message) {
        let check = self.check(name);
        let sender: Arc<dyn Sender> = self.sender(&check);
        let payload = self.render(&check, &sender, message).payload;
        if let Err(error) = self.send(&check, &sender, &payload, message).await.result {
            check.fail(format!("sending fails: {error}"));
        }
        self.saw_one(&check);
        let Payload::Http(request) = &payload else { return };
        if let Some(seen) = self.peer.requests().first() {
            compare(&check, request, seen);
        }
    }
}

/// Whether the wire shows what the preview said. Secrets are compared and not shown.
fn compare(check: &Check, payload: &HttpRequest, seen: &Request) {
    check.equal("the method", &seen.method, &payload.method);
    check.ensure(seen.path == path_of(payload.url.reveal()), || "path and query differ from the preview's".to_owned());
    check.ensure(seen.body == payload.body, || {
        format!("the body differs: {} bytes on the wire, {} in the preview", seen.body.len(), payload.body.len())
    });
    for header in &payload.headers {
        let on_wire: Vec<&str> = seen
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&header.name))
            .map(|(_, value)| value.as_str())
            .collect();
        let name = &header.name;
        let [value] = on_wire[..] else {
            check.fail(format!("the header `{name}` of the preview is {} times on the wire", on_wire.len()))
        };
        match &header.value {
            HeaderValue::PerAttempt => {
                let filled = !value.is_empty() && !value.contains("per attempt");
                check.ensure(filled, || format!("the header `{name}` was not filled in for the attempt"));
            }
            HeaderValue::Plain(wanted) => check.equal(&format!("the header `{name}`"), &value, &wanted.as_str()),
            HeaderValue::Secret(wanted) => {
                check.ensure(value == wanted.reveal(), || format!("the header `{name}` differs from the preview's"));
            }
        }
    }
    for (name, _) in &seen.headers {
        let known = payload.has_header(name) || OF_THE_CLIENT.iter().any(|own| own.eq_ignore_ascii_case(name));
        check.ensure(known, || format!("the header `{name}` is on the wire and not in the preview"));
    }
}

/// Path and query of a URL, as a request line has them.
fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('?') => format!("/{}", &rest[at..]),
        Some(at) => rest[at..].to_owned(),
        None => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_url() {
        for (url, path) in [
            ("http://127.0.0.1:80/a/b?c=d#e", "/a/b?c=d"),
            ("http://h", "/"),
            ("http://h?q", "/?q"),
            ("http://h/#f", "/"),
        ] {
            assert_eq!(path_of(url), path);
        }
    }
}
