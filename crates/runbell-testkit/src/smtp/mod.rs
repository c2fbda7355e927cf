//! A fake mail server: speaks SMTP on the loopback interface, keeps the mails it gets, and misbehaves as scripted.

mod script;
mod session;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use script::{Order, Seen, State};
pub use script::{ReceivedMail, SmtpFault, Step, Tls};
pub use tls::TestCa;

/// A fake mail server. Dropping it closes every connection.
pub struct FakeSmtp {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for FakeSmtp {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FakeSmtp {
    /// Starts one that does not encrypt, and takes any login, or none.
    pub async fn start() -> Self {
        Self::start_with(Tls::None, None, None).await
    }

    /// Starts one that encrypts with a certificate of `ca` for `localhost`, and wants this user and password for every
    /// mail.
    pub async fn start_encrypted(tls: Tls, ca: &TestCa, login: Option<(&str, &str)>) -> Self {
        Self::start_with(tls, Some(ca.acceptor("localhost")), login).await
    }

    /// Starts one with any acceptor of encrypted connections.
    ///
    /// # Panics
    /// When no port of the loopback interface can be had.
    pub async fn start_with(tls: Tls, acceptor: Option<TlsAcceptor>, login: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let state = Arc::new(State {
            offers_utf8: AtomicBool::new(false),
            acceptor,
            tls,
            login,
            orders: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                state.seen.send_modify(|seen| (seen.connections, seen.open) = (seen.connections + 1, seen.open + 1));
                sessions.spawn(async move {
                    // However it ends, the client has gone or was sent away.
                    let _ = session::serve(&state, stream).await;
                    state.seen.send_modify(|seen| seen.open -= 1);
                });
            }
        });
        FakeSmtp { address, state, accepting }
    }

    /// Offers SMTPUTF8 (RFC 6531) from now on.
    pub fn offer_utf8(&self) {
        self.state.offers_utf8.store(true, Ordering::SeqCst);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Asks for a fault, the next `times` times that a conversation comes to this step.
    pub fn fault(&self, step: Step, fault: SmtpFault, times: usize) -> &Self {
        self.order(Order { step, recipient: None, fault, left: times })
    }

    /// Asks for an answer to RCPT TO of this recipient, the next `times` times.
    pub fn refuse(&self, recipient: &str, answer: &str, times: usize) -> &Self {
        let (recipient, fault) = (Some(recipient.to_owned()), SmtpFault::Say(answer.to_owned()));
        self.order(Order { step: Step::Recipient, recipient, fault, left: times })
    }

    fn order(&self, order: Order) -> &Self {
        self.state.orders.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        self
    }

    /// Forgets the faults that were asked for and did not come up.
    pub fn behave(&self) {
        self.state.orders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The mails accepted so far.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.state.seen.borrow().mails.clone()
    }

    /// Takes the mails accepted so far.
    pub fn take_mails(&self) -> Vec<ReceivedMail> {
        let mut mails = Vec::new();
        self.state.seen.send_modify(|seen| mails = std::mem::take(&mut seen.mails));
        mails
    }

    /// Every step that any client has begun.
    pub fn steps(&self) -> Vec<Step> {
        self.state.seen.borrow().steps.clone()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.seen.borrow().connections
    }

    /// Waits until a conversation has come to this step so many times, over all.
    pub async fn until_step(&self, step: Step, count: usize) {
        let reached = |seen: &Seen| seen.steps.iter().filter(|seen| **seen == step).count() >= count;
        let _ = self.state.seen.subscribe().wait_for(reached).await;
    }

    /// Waits until no client is connected.
    pub async fn until_alone(&self) {
        let _ = self.state.seen.subscribe().wait_for(|seen| seen.open == 0).await;
    }
}
