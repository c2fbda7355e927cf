//! The contract of a kind that sends mail: a server's answers and faults, the recipients, the number of mails.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runbell_core::{
    Error, ErrorKind, MailMessage, Map, Message, Payload, Receipt, RegisteredKind, Result, Retry, SendContext, Sender,
    SenderKind,
};
use tokio::task::JoinSet;

use crate::canary::{Canaries, plant};
use crate::check::Check;
use crate::check::{all_notes, everything_about};
use crate::context::TestContext;
use crate::delivery::unharmed;
use crate::logs;
use crate::params::{kind_of, map_of};
use crate::samples::{hostile_messages, message_about, sample_message, sample_run};
use crate::smtp::{FakeSmtp, SmtpFault, Step};

const CONTRACT: &str = "mail_contract";

/// How long a send may take against a server that answers at once. Only a hang comes near it.
const GUARD: Duration = Duration::from_secs(20);

/// How many mails one sender has to carry at once.
const AT_ONCE: usize = 16;

/// Proves how a kind delivers mail; `params` are good ones that point at `peer`, unencrypted, with at least two recipients.
///
/// A mail arrives once, with the key in its Message-ID, whatever the run holds: no header is made from data, no line is
/// longer than SMTP allows. Answers: 4xx is retried, 5xx never; a refused recipient is named, the others get the mail,
/// and no recipient gets it twice when it is tried again. Connections: refused, closed or silent at every step is retried, and
/// ambiguous only once the mail has left; one connection serves several mails. Secrets are in no error and no log, even
/// when the server repeats everything.
///
/// # Panics
/// When a check fails, naming it.
pub async fn mail_contract<K: SenderKind>(peer: &FakeSmtp, params: serde_json::Value) {
    logs::listen();
    let check = Check::new(CONTRACT, "good params");
    let (kind, test) = (kind_of::<K>(), TestContext::here());
    let mut params = map_of(&check, params);
    kind.complete(&mut params, &test.build());
    let (params, canaries) = plant(&kind, &params, &test.build());
    let subject = Subject { peer, kind, test, params, canaries };
    subject.rendering().await;
    subject.hostile_messages().await;
    subject.refusals().await;
    subject.logins().await;
    subject.recipients().await;
    subject.connections().await;
    subject.in_parallel().await;
    let check = subject.check("secrets in logs");
    subject.canaries.absent(&check, "a log line", &logs::text());
}

struct Subject<'p> {
    peer: &'p FakeSmtp,
    kind: Arc<RegisteredKind>,
    test: TestContext,
    params: Map,
    canaries: Canaries,
}

/// The result of one send.
struct Outcome {
    result: Result<Receipt>,
    written: bool,
}

fn mail_of<'m>(check: &Check, payload: &'m Payload) -> &'m MailMessage {
    match payload {
        Payload::Mail(mail) => mail,
        _ => check.fail("the payload is no mail"),
    }
}

impl Subject<'_> {
    fn check(&self, name: impl Into<String>) -> Check {
        Check::new(CONTRACT, name)
    }

    /// A new sender that shares no client with others.
    fn sender(&self, check: &Check) -> Arc<dyn Sender> {
        self.peer.behave();
        self.peer.take_mails();
        match check.unharmed("building", || self.kind.build(&self.params, &self.test.build())) {
            Ok(sender) => sender,
            Err(error) => check.fail(format!("no sender is built: {error}")),
        }
    }

    fn render(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message) -> Payload {
        match check.unharmed("rendering", || sender.render(message)) {
            Ok(rendered) => {
                let shown = format!("{:?} {}", rendered.payload, all_notes(&rendered));
                self.canaries.absent(check, "the payload", &shown);
                rendered.payload
            }
            Err(error) => check.fail(format!("rendering fails: {error}")),
        }
    }

    async fn send(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message, attempt: u32) -> Outcome {
        let payload = self.render(check, sender, message);
        let written = AtomicBool::new(false);
        let deadline = Instant::now() + sender.limits().timeout;
        let cx = SendContext::new(message.key, attempt, deadline, message.at, &written);
        let sending = tokio::time::timeout(GUARD, unharmed(check, sender.send(&payload, &cx)));
        let Ok(result) = sending.await else { check.fail("it does not end") };
        match &result {
            Ok(receipt) => self.canaries.absent(check, "the receipt", &format!("{receipt:?}")),
            Err(error) => self.canaries.absent(check, "the error", &everything_about(error)),
        }
        Outcome { result, written: written.load(Ordering::Relaxed) }
    }

    async fn failure(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message, attempt: u32) -> (Error, bool) {
        let Outcome { result, written } = self.send(check, sender, message, attempt).await;
        match result {
            Ok(receipt) => check.fail(format!("it counts as a success: {:?}", receipt.answer)),
            Err(error) => (error, written),
        }
    }

    async fn success(&self, check: &Check, sender: &Arc<dyn Sender>, message: &Message, attempt: u32) {
        if let Err(error) = self.send(check, sender, message, attempt).await.result {
            check.fail(format!("it fails: {error}"));
        }
    }

    async fn rendering(&self) {
        let check = self.check("building connects to nothing");
        let before = self.peer.connections();
        let sender = self.sender(&check);
        let message = sample_message("contract");
        let payload = self.render(&check, &sender, &message);
        check.equal("the number of connections", &self.peer.connections(), &before);
        let check = self.check("same message, same payload");
        self.test.clock.advance(Duration::from_secs(3601));
        let again = self.render(&check, &self.sender(&check), &message);
        check.equal("rendered later, it", &format!("{again:?}"), &format!("{payload:?}"));
        let check = self.check("limits");
        let limits = sender.limits();
        check.ensure(limits.destination.ends_with(&format!(":{}", self.peer.port())), || {
            format!("the destination is {}", limits.destination)
        });
        check.ensure((1..=60).contains(&limits.timeout.as_secs()), || format!("a timeout of {:?}", limits.timeout));
        let check = self.check("a mail arrives once");
        self.success(&check, &sender, &message, 1).await;
        let (mails, wanted) = (self.peer.take_mails(), mail_of(&check, &payload));
        let [mail] = mails.as_slice() else { check.fail(format!("{} mails arrived", mails.len())) };
        check.equal("the envelope's sender", &mail.from, &wanted.from);
        check.equal("the envelope's recipients", &mail.to, &wanted.to);
        let head = mail.head();
        for (name, part) in [("Message-ID", message.key.to_string()), ("Date", "3 Feb 2026 04:05:06 ".to_owned())] {
            let prefix = format!("{name}: ");
            let line = head.lines().find(|line| line.starts_with(&prefix));
            check.ensure(line.is_some_and(|line| line.contains(&part)), || format!("{name} is {line:?}"));
        }
        let text = mail.text();
        for part in ["multipart/alternative", "text/plain", "text/html"] {
            check.ensure(text.contains(part), || format!("there is no {part}"));
        }
    }

    async fn hostile_messages(&self) {
        let usual: HashSet<String> = {
            let check = self.check("the usual headers");
            let sender = self.sender(&check);
            self.success(&check, &sender, &sample_message("usual"), 1).await;
            header_names(&check, &self.peer.take_mails()[0].head())
        };
        for (name, message) in hostile_messages() {
            let check = self.check(format!("a message with {name}"));
            let sender = self.sender(&check);
            self.success(&check, &sender, &message, 1).await;
            let mails = self.peer.take_mails();
            let [mail] = mails.as_slice() else { check.fail(format!("{} mails arrived", mails.len())) };
            for header in header_names(&check, &mail.head()) {
                check.ensure(usual.contains(&header), || format!("data makes a header `{header}`"));
            }
            // RFC 5321 section 4.5.3.1.6: a line has at most 1,000 octets with its end.
            let longest = mail.data.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
            check.ensure(longest <= 999, || format!("a line has {longest} octets"));
            let strange = mail.data.iter().find(|byte| !matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t'));
            check.ensure(strange.is_none(), || format!("the mail holds the byte {strange:?}"));
        }
    }

    async fn refusals(&self) {
        for step in [Step::Greeting, Step::Hello, Step::Sender, Step::Recipient, Step::Data, Step::Content] {
            for (answer, retried) in
                [("421 4.3.2 going down", true), ("451 4.7.1 greylisted", true), ("554 5.7.1 {}", false)]
            {
                let check = self.check(format!("{answer} at {step:?}"));
                let sender = self.sender(&check);
                let message = sample_message("refused");
                self.peer.fault(step, SmtpFault::Say(answer.to_owned()), usize::MAX);
                let (error, _) = self.failure(&check, &sender, &message, 1).await;
                check.equal("whether it is retried", &(error.retry_advice() != Retry::Never), &retried);
                check.ensure(!error.is_ambiguous(), || "it is ambiguous, although the server has answered".to_owned());
                check.equal("the number of mails", &self.peer.mails().len(), &0);
                let shown = error.to_string();
                check.ensure(shown.contains(&answer[..3]), || format!("the code is not said: {shown}"));
                // Once it behaves, the same delivery goes through.
                self.peer.behave();
                if retried {
                    self.success(&check, &sender, &message, 2).await;
                    check.equal("the number of mails in the end", &self.peer.mails().len(), &1);
                }
            }
        }
    }

    /// A server that repeats the login it refuses; only for params with one.
    async fn logins(&self) {
        let check = self.check("a refused login");
        let sender = self.sender(&check);
        let before = self.steps(Step::Auth);
        self.success(&check, &sender, &sample_message("login"), 1).await;
        if self.steps(Step::Auth) == before {
            return;
        }
        for (answer, retried) in [("535 5.7.8 {}", false), ("454 4.7.0 {}", true)] {
            let sender = self.sender(&check);
            self.peer.fault(Step::Auth, SmtpFault::Say(answer.to_owned()), 1);
            let (error, _) = self.failure(&check, &sender, &sample_message("login"), 1).await;
            check.equal("whether it is retried", &(error.retry_advice() != Retry::Never), &retried);
            if !retried {
                check.equal("the kind", &error.kind(), &ErrorKind::Unauthorized);
            }
            check.equal("the number of mails", &self.peer.mails().len(), &0);
        }
    }

    async fn recipients(&self) {
        let sender = self.sender(&self.check("recipients"));
        let payload = self.render(&self.check("recipients"), &sender, &sample_message("x"));
        let to = mail_of(&self.check("recipients"), &payload).to.clone();
        let [first, .., last] = to.as_slice() else {
            self.check("good params").fail("name at least two recipients");
        };

        let check = self.check("one recipient is refused");
        let sender = self.sender(&check);
        self.peer.refuse(last, "550 5.1.1 no such user", usize::MAX);
        let (error, _) = self.failure(&check, &sender, &sample_message("partial"), 1).await;
        check.equal("the retry advice", &error.retry_advice(), &Retry::Never);
        check.equal("the kind", &error.kind(), &ErrorKind::Rejected);
        let shown = error.to_string();
        check.ensure(shown.contains(last.as_str()) && shown.contains("550"), || format!("it says {shown}"));
        check.ensure(!shown.contains(first.as_str()), || format!("it names one who got it: {shown}"));
        check.equal("who got it", &self.everybody(), &to[..to.len() - 1].to_vec());

        let check = self.check("one recipient is put off");
        let sender = self.sender(&check);
        self.peer.refuse(last, "451 4.7.1 greylisted", 1);
        let message = sample_message("greylisted");
        let (error, _) = self.failure(&check, &sender, &message, 1).await;
        check.ensure(error.retry_advice() != Retry::Never, || "it is never retried".to_owned());
        check.ensure(error.to_string().contains(last.as_str()), || format!("it says {error}"));
        self.success(&check, &sender, &message, 2).await;
        check.equal("who got it, each once", &self.everybody(), &to);

        let check = self.check("one is refused, another put off");
        let sender = self.sender(&check);
        self.peer.refuse(first, "550 5.1.1 no such user", 1).refuse(last, "452 4.2.2 mailbox full", 1);
        let message = sample_message("mixed");
        let (error, _) = self.failure(&check, &sender, &message, 1).await;
        check.ensure(error.retry_advice() != Retry::Never, || "it is never retried".to_owned());
        let (error, _) = self.failure(&check, &sender, &message, 2).await;
        check.equal("the retry advice in the end", &error.retry_advice(), &Retry::Never);
        check.ensure(error.to_string().contains(first.as_str()), || format!("it says {error}"));
        check.equal("who got it, each once", &self.everybody(), &to[1..].to_vec());
    }

    /// The recipients of every mail that has arrived.
    fn everybody(&self) -> Vec<String> {
        self.peer.take_mails().into_iter().flat_map(|mail| mail.to).collect()
    }

    async fn connections(&self) {
        for step in Step::PLAIN {
            for fault in [SmtpFault::Close, SmtpFault::Say("¡no SMTP at all!".to_owned())] {
                let check = self.check(format!("{fault:?} at {step:?}"));
                let sender = self.sender(&check);
                self.peer.fault(step, fault, 1);
                let message = sample_message("closed");
                let (error, written) = self.failure(&check, &sender, &message, 1).await;
                check.ensure(error.retry_advice() != Retry::Never, || "it is never retried".to_owned());
                check.equal("whether it is ambiguous", &error.is_ambiguous(), &(step == Step::Content));
                check.equal("whether bytes of it had left", &written, &(step == Step::Content));
                self.success(&check, &sender, &message, 2).await;
            }
            let check = self.check(format!("silence at {step:?}"));
            let sender = self.sender(&check);
            self.peer.fault(step, SmtpFault::Hang, 1);
            let (message, begun) = (sample_message("silent"), self.steps(step) + 1);
            let payload = self.render(&check, &sender, &message);
            let written = AtomicBool::new(false);
            {
                let cx = SendContext::new(message.key, 1, Instant::now() + GUARD, message.at, &written);
                tokio::select! {
                    result = sender.send(&payload, &cx) => check.fail(format!("it ends: {result:?}")),
                    () = self.peer.until_step(step, begun) => {}
                }
            }
            check.equal("whether bytes of it had left", &written.load(Ordering::Relaxed), &(step == Step::Content));
            // What was dropped lets go of its connection, and leaves nothing half done.
            if tokio::time::timeout(GUARD, self.peer.until_alone()).await.is_err() {
                check.fail("it goes on after its future was dropped");
            }
            self.success(&check, &sender, &message, 2).await;
            check.equal("the number of mails", &self.peer.take_mails().len(), &1);
        }
        let check = self.check("one connection for several mails");
        let sender = self.sender(&check);
        let before = self.peer.connections();
        for name in ["one", "two", "three"] {
            self.success(&check, &sender, &sample_message(name), 1).await;
        }
        check.equal("the number of connections", &(self.peer.connections() - before), &1);
        let check = self.check("a kept connection that was closed meanwhile");
        self.peer.fault(Step::Reset, SmtpFault::Close, 1);
        self.success(&check, &sender, &sample_message("four"), 1).await;
        check.equal("the number of mails", &self.peer.take_mails().len(), &4);
        let check = self.check("a kept connection that the server gives up");
        self.peer.fault(Step::Reset, SmtpFault::Say("421 4.4.2 idle for too long".to_owned()), 1);
        self.success(&check, &sender, &sample_message("five"), 1).await;
    }

    fn steps(&self, step: Step) -> usize {
        self.peer.steps().into_iter().filter(|seen| *seen == step).count()
    }

    async fn in_parallel(&self) {
        let check = self.check(format!("{AT_ONCE} at once"));
        let sender = self.sender(&check);
        let mut sends = JoinSet::new();
        for index in 0..AT_ONCE {
            let message = message_about(&format!("n{index}"), vec![sample_run()], "Run completed in project demo");
            let payload = self.render(&check, &sender, &message);
            let sender = Arc::clone(&sender);
            sends.spawn(async move {
                let written = AtomicBool::new(false);
                let cx = SendContext::new(message.key, 1, Instant::now() + GUARD, message.at, &written);
                sender.send(&payload, &cx).await
            });
        }
        let Ok(results) = tokio::time::timeout(GUARD, sends.join_all()).await else { check.fail("they do not end") };
        for result in results {
            if let Err(error) = result {
                check.fail(format!("one of them fails: {error}"));
            }
        }
        let mut keys: Vec<String> = self.peer.take_mails().iter().map(|mail| id_of(&mail.head())).collect();
        keys.sort();
        keys.dedup();
        check.equal("the number of different mails", &keys.len(), &AT_ONCE);
    }
}

fn id_of(head: &str) -> String {
    head.lines().find(|line| line.starts_with("Message-ID: ")).unwrap_or_default().to_owned()
}

/// The names of the headers in a head; lines that go on are part of the one before.
fn header_names(check: &Check, head: &str) -> HashSet<String> {
    head.split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| match line.split_once(':') {
            Some((name, _)) => name.to_ascii_lowercase(),
            None => check.fail("a line of the head is no header"),
        })
        .collect()
}
