//! The reaction of a sender to a peer that breaks off, does not answer, or never stops.

use std::sync::atomic::{AtomicBool, Ordering};

use runbell_core::Retry;

use super::{Subject, attempt, context, in_time, is_retried, unharmed};
use crate::http::FakeAnswer;
use crate::samples::sample_message;

/// How much of an endless answer the peer may get rid of: what the sender reads and what two systems buffer.
const MOST_OF_ENDLESS: u64 = 32 << 20;

impl Subject<'_> {
    pub(super) async fn connection(&self) {
        self.refused().await;
        self.broken_before_the_answer().await;
        self.broken_in_the_body().await;
        self.silent().await;
        self.endless().await;
        self.garbage().await;
        self.recovers().await;
    }

    async fn refused(&self) {
        let check = self.check("connection refused");
        let sender = self.sender_with(&check, &self.refused_params());
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message).payload;
        let Err(error) = self.send(&check, &sender, &payload, &message).await.result else {
            check.fail("it counts as a success");
        };
        check.equal("the retry advice", &error.retry_advice(), &Retry::Backoff);
        check.ensure(!error.is_ambiguous(), || "it is ambiguous, although nothing was sent".to_owned());
    }

    async fn broken_before_the_answer(&self) {
        for (name, answer) in [
            ("closed before the answer", FakeAnswer::close()),
            ("reset before the answer", FakeAnswer::reset()),
            ("closed inside the answer's head", FakeAnswer::half_head()),
        ] {
            let check = self.check(name);
            let outcome = self.once(&check, answer).await;
            let Err(error) = outcome.result else { check.fail("it counts as a success") };
            check.ensure(is_retried(&error), || format!("it is never retried: {error}"));
            check.ensure(error.is_ambiguous(), || "it is not ambiguous, although the peer had it all".to_owned());
            check.ensure(outcome.written, || "SendContext::written was not called".to_owned());
        }
    }

    async fn broken_in_the_body(&self) {
        let check = self.check("closed inside a success's body");
        let answer = FakeAnswer::half_body(200).body(self.success.body_bytes().clone());
        self.success(&check, answer).await;
        let check = self.check("closed inside a failure's body");
        let error = self.failure(&check, FakeAnswer::half_body(500).body("half a")).await;
        check.ensure(is_retried(&error), || format!("it is never retried: {error}"));
        let check = self.check("closed inside a refusal's body");
        let error = self.failure(&check, FakeAnswer::half_body(400).body("half a")).await;
        check.equal("the retry advice", &error.retry_advice(), &Retry::Never);
    }

    /// The runtime cuts an attempt off; the sender only has to say that bytes have left.
    async fn silent(&self) {
        let check = self.check("a peer that never answers");
        let sender = self.sender(&check);
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message).payload;
        self.peer.answer(FakeAnswer::black_hole());
        let written = AtomicBool::new(false);
        let cx = context(&sender, &message, &written);
        let mut send = sender.send(&payload, &cx);
        tokio::select! {
            biased;
            result = &mut send => check.fail(format!("it ends without an answer: {result:?}")),
            () = in_time(&check, self.peer.until_requests(1)) => {}
        }
        for _ in 0..16 {
            tokio::select! {
                biased;
                result = &mut send => check.fail(format!("it ends without an answer: {result:?}")),
                () = tokio::task::yield_now() => {}
            }
        }
        check.ensure(written.load(Ordering::Relaxed), || {
            "SendContext::written was not called, so a timeout would not be ambiguous".to_owned()
        });
        self.saw_one(&check);
    }

    async fn endless(&self) {
        for (name, answer, succeeds) in [
            ("a success with an endless body", FakeAnswer::endless_body(200), Some(true)),
            ("a failure with an endless body", FakeAnswer::endless_body(500), Some(false)),
            ("a refusal with an endless body", FakeAnswer::endless_body(400), Some(false)),
            ("an endless head", FakeAnswer::endless_head(), None),
        ] {
            let check = self.check(name);
            let sender = self.sender(&check);
            let message = sample_message("contract");
            let payload = self.render(&check, &sender, &message).payload;
            self.peer.answer(answer);
            let outcome = tokio::select! {
                outcome = in_time(&check, unharmed(&check, attempt(&sender, &payload, &message))) => outcome,
                () = self.peer.until_bytes_sent(MOST_OF_ENDLESS) => check.fail("it is read on and on"),
            };
            self.clean(&check, &outcome);
            self.saw_one(&check);
            match (succeeds, &outcome.result) {
                (Some(true), Err(error)) => check.fail(format!("it counts as a failure: {error}")),
                (Some(false) | None, Ok(_)) => check.fail("it counts as a success"),
                _ => {}
            }
        }
    }

    async fn garbage(&self) {
        let check = self.check("an answer that is no HTTP");
        self.failure(&check, FakeAnswer::garbage()).await;
    }

    /// Whatever went wrong, the same sender sends the next one.
    async fn recovers(&self) {
        let sender = self.sender(&self.check("the next send"));
        let message = sample_message("contract");
        for (name, answer) in [
            ("a failure", FakeAnswer::status(500).body("later")),
            ("a closed connection", FakeAnswer::close()),
            ("a reset", FakeAnswer::reset()),
            ("half a head", FakeAnswer::half_head()),
            ("half a body", FakeAnswer::half_body(200)),
            ("an endless body", FakeAnswer::endless_body(500)),
            ("garbage", FakeAnswer::garbage()),
        ] {
            let check = self.check(format!("the next send after {name}"));
            let payload = self.render(&check, &sender, &message).payload;
            self.peer.take_requests();
            self.peer.answer(answer);
            let _ = self.send(&check, &sender, &payload, &message).await;
            if let Err(error) = self.send(&check, &sender, &payload, &message).await.result {
                check.fail(format!("it fails: {error}"));
            }
            let seen = self.peer.requests().len();
            check.ensure(seen == 2, || format!("two sends made {seen} requests"));
        }
    }
}
