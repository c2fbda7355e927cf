//! The reaction of a sender to each status.

use std::time::Duration;

use runbell_core::{Error, ErrorKind, Retry};

use super::{Subject, debug, is_retried};
use crate::check::Check;
use crate::http::FakeAnswer;
use crate::samples::SAMPLE_TIME;

/// A body no sender has a reason to repeat.
const BODY: &str = "body-of-the-answer-that-belongs-into-no-receipt";

/// The longest wait a sender may choose by itself when the target gives none.
const LONGEST_OWN_WAIT: Duration = Duration::from_secs(15 * 60);

impl Subject<'_> {
    pub(super) async fn answers(&self) {
        self.successes().await;
        self.receipts().await;
        self.redirects().await;
        self.refusals().await;
        self.timeouts_and_faults().await;
        self.rate_limits().await;
        self.senseless_waits().await;
    }

    async fn successes(&self) {
        for status in [200, 201, 202, 204] {
            let check = self.check(format!("{status}"));
            let receipt = self.success(&check, self.success.clone().with_status(status)).await;
            check.ensure(receipt.answer.chars().count() <= 60 && !receipt.answer.contains('\n'), || {
                format!("a receipt is a word or two: {:?}", receipt.answer)
            });
            let address = self.peer.address().to_string();
            check.ensure(!receipt.answer.contains("://") && !receipt.answer.contains(&address), || {
                format!("a receipt holds no address: {:?}", receipt.answer)
            });
        }
    }

    /// The body of a success is not the receipt. A kind may find fault with a body it does not know.
    async fn receipts(&self) {
        let check = self.check("the receipt quotes no body");
        for answer in [FakeAnswer::status(200).body(BODY), self.success.clone().header("x-note", BODY)] {
            let body = String::from_utf8_lossy(answer.body_bytes()).into_owned();
            let Ok(receipt) = self.once(&check, answer).await.result else { continue };
            let quoted = receipt.answer.contains(BODY) || (body.len() > 8 && receipt.answer.contains(&body));
            check.ensure(!quoted, || format!("it is {:?}", receipt.answer));
        }
    }

    async fn redirects(&self) {
        for status in [300, 301, 302, 303, 304, 307, 308] {
            let check = self.check(format!("{status}"));
            // That the redirect is not followed shows in the number of requests.
            let error = self.failure(&check, FakeAnswer::redirect(status, self.peer.url("/elsewhere")).echoing()).await;
            self.final_answer(&check, &error);
        }
    }

    async fn refusals(&self) {
        for status in [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451] {
            let check = self.check(format!("{status}"));
            let error = self.failure(&check, FakeAnswer::status(status).echoing()).await;
            self.final_answer(&check, &error);
            if matches!(status, 401 | 403) {
                check.equal("the kind", &error.kind(), &ErrorKind::Unauthorized);
            }
        }
    }

    fn final_answer(&self, check: &Check, error: &Error) {
        check.equal("the retry advice", &error.retry_advice(), &Retry::Never);
        check.ensure(!error.is_ambiguous(), || "it is ambiguous, although the target has answered".to_owned());
        check.ensure(!error.kind().is_configuration(), || {
            format!("`{}` is for configuration found wrong before sending", error.kind().as_str())
        });
    }

    async fn timeouts_and_faults(&self) {
        for status in [408, 500, 502, 503, 504, 529] {
            let check = self.check(format!("{status}"));
            let error = self.failure(&check, FakeAnswer::status(status).echoing()).await;
            check.equal("the retry advice", &error.retry_advice(), &Retry::Backoff);
            if status >= 500 {
                check.equal("the kind", &error.kind(), &ErrorKind::Unreachable);
            }
        }
    }

    async fn rate_limits(&self) {
        let seconds =
            |status: u16, wait: u64| FakeAnswer::status(status).header("Retry-After", wait.to_string()).echoing();
        for (status, wait) in [(429, 7), (503, 11)] {
            let check = self.check(format!("{status} with seconds"));
            let error = self.failure(&check, seconds(status, wait)).await;
            let after = Retry::After(Duration::from_secs(wait));
            check.equal("the retry advice", &error.retry_advice(), &after);
            self.answered(&check, &error, status);
        }
        for status in [429, 503] {
            let check = self.check(format!("{status} with a date"));
            let date = http_date(90);
            let error = self.failure(&check, FakeAnswer::status(status).header("retry-after", date).echoing()).await;
            let (least, most) = (Duration::from_secs(88), Duration::from_secs(92));
            let near = matches!(error.retry_advice(), Retry::After(wait) if wait >= least && wait <= most);
            check.ensure(near, || {
                let advice = debug(&error.retry_advice());
                format!("Retry-After is 90 s after SendContext::now, the error says {advice}")
            });
            self.answered(&check, &error, status);
        }
        let check = self.check("429 without Retry-After");
        let error = self.failure(&check, FakeAnswer::status(429).echoing()).await;
        let fits = match error.retry_advice() {
            Retry::Never => false,
            Retry::Backoff => true,
            Retry::After(wait) => wait <= LONGEST_OWN_WAIT,
        };
        check.ensure(fits, || format!("the retry advice is {:?}", error.retry_advice()));
        self.answered(&check, &error, 429);
    }

    fn answered(&self, check: &Check, error: &Error, status: u16) {
        if status == 429 {
            check.equal("the kind", &error.kind(), &ErrorKind::RateLimited);
            check.ensure(!error.is_ambiguous(), || "it is ambiguous, although the target has answered".to_owned());
        }
    }

    async fn senseless_waits(&self) {
        let past = http_date(-3600);
        for value in ["", "soon", "-5", "1e3", "99999999999999999999999", "Mon, 99 Feb 2026 25:61:61 GMT", &past] {
            let check = self.check(format!("429 with Retry-After `{value}`"));
            let error = self.failure(&check, FakeAnswer::status(429).header("retry-after", value).echoing()).await;
            check.ensure(is_retried(&error), || "it is never retried".to_owned());
            if value == past {
                let soon = !matches!(error.retry_advice(), Retry::After(wait) if wait > Duration::from_secs(1));
                check.ensure(soon, || format!("a date gone by says {:?}", error.retry_advice()));
            }
        }
    }
}

/// The time `seconds` after the sample's, as HTTP writes it.
fn http_date(seconds: i64) -> String {
    let at = runbell_core::Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("near the sample's time");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_http_writes_them() {
        assert_eq!(http_date(90), "Tue, 03 Feb 2026 04:06:36 GMT");
    }
}
