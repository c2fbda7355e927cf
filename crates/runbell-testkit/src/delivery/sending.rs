//! Sending in parallel, and giving up half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runbell_core::{Payload, RunState};
use tokio::task::JoinSet;

use super::{Subject, attempt, context, in_time};
use crate::http::FakeAnswer;
use crate::samples::{message_about, sample_message, sample_step};

/// How many sends one sender has to carry at once.
const AT_ONCE: usize = 64;

/// How long a sender may take to let go of a connection after its future was dropped.
const LETTING_GO: Duration = Duration::from_secs(5);

impl Subject<'_> {
    pub(super) async fn sending(&self) {
        self.at_once().await;
        self.dropped_at_once().await;
        self.dropped_in_flight().await;
    }

    async fn at_once(&self) {
        let check = self.check("64 at once");
        let sender = self.sender(&check);
        let mut sends = JoinSet::new();
        let mut wanted = Vec::new();
        for index in 0..AT_ONCE {
            let run = sample_step("run", &format!("run-{index}"), RunState::Completed);
            let message = message_about(&format!("n{index}"), vec![run], "Run completed in project demo");
            let payload = self.render(&check, &sender, &message).payload;
            wanted.push(match &payload {
                Payload::Http(request) => request.body.to_vec(),
                _ => Vec::new(),
            });
            let sender = Arc::clone(&sender);
            sends.spawn(async move { attempt(&sender, &payload, &message).await });
        }
        let outcomes = in_time(&check, sends.join_all()).await;
        for outcome in &outcomes {
            self.clean(&check, outcome);
            if let Err(error) = &outcome.result {
                check.fail(format!("one of them fails: {error}"));
            }
        }
        let requests = self.peer.requests();
        check.ensure(requests.len() == AT_ONCE, || format!("{} requests arrived", requests.len()));
        if wanted.iter().any(|body| !body.is_empty()) {
            let mut seen: Vec<Vec<u8>> = requests.iter().map(|request| request.body.to_vec()).collect();
            seen.sort();
            wanted.sort();
            check.ensure(seen == wanted, || "not every message arrived once".to_owned());
        }
    }

    /// A future dropped after its first poll has had no time to send, and must not go on by itself.
    async fn dropped_at_once(&self) {
        let check = self.check("dropped before anything was sent");
        let sender = self.sender(&check);
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message).payload;
        let written = AtomicBool::new(false);
        {
            let cx = context(&sender, &message, &written);
            tokio::select! {
                biased;
                // A sender that blocks has done it all by now.
                _ = sender.send(&payload, &cx) => return,
                () = std::future::ready(()) => {}
            }
        }
        // What left in spite of it arrives by then, and not in the middle of what is checked next.
        for _ in 0..8 {
            in_time(&check, self.peer.settle()).await;
        }
        if written.load(Ordering::Relaxed) {
            // On a quick day the first poll connects and sends; what left before the drop is no fault.
            return;
        }
        let seen = self.peer.requests().len();
        check.ensure(seen == 0, || "it is sent all the same".to_owned());
    }

    async fn dropped_in_flight(&self) {
        let check = self.check("dropped in flight");
        let sender = self.sender(&check);
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message).payload;
        let (answer, hold) = FakeAnswer::ok().held();
        self.peer.answer(answer);
        let written = AtomicBool::new(false);
        {
            let cx = context(&sender, &message, &written);
            tokio::select! {
                result = sender.send(&payload, &cx) => check.fail(format!("it ends without an answer: {result:?}")),
                () = in_time(&check, self.peer.until_requests(1)) => {}
            }
        }
        // A sender that goes on in the background keeps the connection.
        let connection = self.peer.requests().first().map_or(0, |request| request.connection);
        let closed = tokio::time::timeout(LETTING_GO, self.peer.until_closed(connection)).await;
        check.ensure(closed.is_ok(), || "it goes on after its future was dropped".to_owned());
        hold.release();
        let check = self.check("the next send after one was dropped");
        if let Err(error) = self.send(&check, &sender, &payload, &message).await.result {
            check.fail(format!("it fails: {error}"));
        }
        let seen = self.peer.requests().len();
        check.ensure(seen == 2, || format!("the peer saw {seen} requests of two sends"));
    }
}
