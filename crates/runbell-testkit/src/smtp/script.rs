//! The script of a fake mail server, and its record.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A step of a conversation, at which a fault can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The greeting, before the client has said anything.
    Greeting,
    /// EHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH, and the lines that belong to it.
    Auth,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA.
    Data,
    /// The mail, once it is there in full.
    Content,
    /// RSET.
    Reset,
}

impl Step {
    /// Every step of a conversation without encryption and login, in order.
    pub const PLAIN: [Step; 6] =
        [Step::Greeting, Step::Hello, Step::Sender, Step::Recipient, Step::Data, Step::Content];
}

/// The server's scripted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmtpFault {
    /// Answers this: `451 4.7.1 try again later`. `{}` in it becomes what the client has just said.
    Say(String),
    /// Closes the connection.
    Close,
    /// Says nothing any more.
    Hang,
}

/// How the server encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By STARTTLS, if the client wants it.
    StartTls,
    /// From the first byte on.
    Implicit,
}

/// A mail that was accepted.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The name that the client gave in EHLO.
    pub hello: String,
    /// Whether the client asked for SMTPUTF8.
    pub is_utf8: bool,
    /// The mail as it was sent, without the closing dot.
    pub data: Vec<u8>,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Who had logged in, with which mechanism.
    pub login: Option<(String, String)>,
}

impl ReceivedMail {
    /// The mail as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// The lines before the first empty one.
    pub fn head(&self) -> String {
        self.text().split("\r\n\r\n").next().unwrap_or_default().to_owned()
    }
}

/// A fault that is asked for: at which step, for which recipient, how often.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) step: Step,
    pub(super) recipient: Option<String>,
    pub(super) fault: SmtpFault,
    pub(super) left: usize,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) mails: Vec<ReceivedMail>,
    /// Every step that was begun, over all connections.
    pub(super) steps: Vec<Step>,
    pub(super) connections: usize,
    pub(super) open: usize,
}

pub(super) struct State {
    pub(super) offers_utf8: AtomicBool,
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) tls: Tls,
    pub(super) login: Option<(String, String)>,
    pub(super) orders: Mutex<VecDeque<Order>>,
    pub(super) seen: watch::Sender<Seen>,
}
