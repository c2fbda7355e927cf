//! One conversation.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::script::{ReceivedMail, SmtpFault, State, Step, Tls};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Session<'s> {
    state: &'s State,
    stream: BufReader<Box<dyn Stream>>,
    encrypted: bool,
    login: Option<(String, String)>,
    hello: String,
    is_utf8: bool,
}

/// What a fault leaves of a conversation.
enum Next {
    /// It goes on as usual.
    Usual,
    /// The fault has answered already.
    Answered,
}

pub(super) async fn serve(state: &State, stream: TcpStream) -> io::Result<()> {
    let stream: Box<dyn Stream> = match (&state.acceptor, state.tls) {
        (Some(acceptor), Tls::Implicit) => Box::new(acceptor.accept(stream).await?),
        _ => Box::new(stream),
    };
    let mut session = Session {
        state,
        stream: BufReader::new(stream),
        encrypted: state.tls == Tls::Implicit,
        login: None,
        hello: String::new(),
        is_utf8: false,
    };
    if let Next::Usual = session.step(Step::Greeting, "", None).await? {
        session.say("220 localhost ESMTP fake").await?;
    }
    session.converse().await
}

impl Session<'_> {
    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.get_mut().flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Notes that a step was begun, and carries out the fault that was asked for, if any.
    async fn step(&mut self, step: Step, said: &str, recipient: Option<&str>) -> io::Result<Next> {
        self.state.seen.send_modify(|seen| seen.steps.push(step));
        let fault = {
            let mut orders = self.state.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let meant = |order: &super::script::Order| {
                order.step == step
                    && order.left > 0
                    && order.recipient.as_deref().is_none_or(|of| Some(of) == recipient)
            };
            orders.iter_mut().find(|order| meant(order)).map(|order| {
                order.left -= 1;
                order.fault.clone()
            })
        };
        match fault {
            None => Ok(Next::Usual),
            Some(SmtpFault::Say(answer)) => {
                self.say(&answer.replace("{}", said)).await?;
                // The client goes on after a 220, whatever text it has.
                if step == Step::StartTls && answer.starts_with("220") {
                    self.encrypt().await?;
                }
                Ok(Next::Answered)
            }
            Some(SmtpFault::Close) => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(SmtpFault::Hang) => {
                // Until the client has had enough.
                while self.line().await.is_ok() {}
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        let (mut from, mut to): (Option<String>, Vec<String>) = (None, Vec::new());
        loop {
            let line = self.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let address = || {
                let start = line.find('<').map_or(line.len(), |at| at + 1);
                line[start..].split('>').next().unwrap_or_default().to_owned()
            };
            let (step, recipient) = match verb.as_str() {
                "EHLO" => (Step::Hello, None),
                "STARTTLS" => (Step::StartTls, None),
                "AUTH" => (Step::Auth, None),
                "MAIL" => (Step::Sender, None),
                "RCPT" => (Step::Recipient, Some(address())),
                "DATA" => (Step::Data, None),
                "RSET" => (Step::Reset, None),
                "QUIT" => return self.say("221 bye").await,
                "NOOP" => {
                    self.say("250 ok").await?;
                    continue;
                }
                _ => {
                    self.say("500 what?").await?;
                    continue;
                }
            };
            if let Next::Answered = self.step(step, &line, recipient.as_deref()).await? {
                continue;
            }
            match step {
                Step::Hello => {
                    self.hello = line.split_once(' ').map(|(_, name)| name.to_owned()).unwrap_or_default();
                    self.hello().await?;
                }
                Step::StartTls if self.acceptor().is_none() => self.say("502 5.5.1 not here").await?,
                Step::StartTls => {
                    self.say("220 go on").await?;
                    self.encrypt().await?;
                }
                Step::Auth => self.log_in(&line).await?,
                Step::Sender if self.state.login.is_some() && self.login.is_none() => {
                    self.say("530 5.7.0 log in first").await?;
                }
                Step::Sender => {
                    (from, to) = (Some(address()), Vec::new());
                    self.is_utf8 = line.ends_with(" SMTPUTF8");
                    self.say("250 2.1.0 ok").await?;
                }
                Step::Recipient if from.is_none() => self.say("503 5.5.1 who is it from?").await?,
                Step::Recipient => {
                    to.push(address());
                    self.say("250 2.1.5 ok").await?;
                }
                Step::Data if to.is_empty() => self.say("554 5.5.1 no valid recipients").await?,
                Step::Data => {
                    self.say("354 go on").await?;
                    self.receive(from.take().unwrap_or_default(), std::mem::take(&mut to)).await?;
                }
                _ => {
                    (from, to) = (None, Vec::new());
                    self.say("250 2.0.0 ok").await?;
                }
            }
        }
    }

    async fn hello(&mut self) -> io::Result<()> {
        let mut lines = vec!["localhost", "8BITMIME"];
        if self.state.tls == Tls::StartTls && !self.encrypted {
            lines.push("STARTTLS");
        }
        if self.state.offers_utf8.load(Ordering::SeqCst) {
            lines.push("SMTPUTF8");
        }
        lines.push("AUTH PLAIN LOGIN");
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            self.say(&format!("250{}{line}", if index == last { ' ' } else { '-' })).await?;
        }
        Ok(())
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.state.acceptor.clone().filter(|_| self.state.tls == Tls::StartTls)
    }

    async fn encrypt(&mut self) -> io::Result<()> {
        let Some(acceptor) = self.acceptor() else { return Ok(()) };
        // An empty stream takes the place while the real one changes.
        let plain =
            std::mem::replace(&mut self.stream, BufReader::new(Box::new(tokio::io::empty()) as Box<dyn Stream>));
        self.stream = BufReader::new(Box::new(acceptor.accept(plain.into_inner()).await?));
        self.encrypted = true;
        Ok(())
    }

    async fn log_in(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split(' ').skip(1);
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next().map(str::to_owned);
        let decoded = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default();
        let given = match mechanism.as_str() {
            "PLAIN" => {
                let response = match initial {
                    Some(response) => response,
                    None => {
                        self.say("334 ").await?;
                        self.line().await?
                    }
                };
                let response = decoded(&response);
                let mut parts = response.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            "LOGIN" => {
                self.say("334 VXNlcm5hbWU6").await?;
                let user = decoded(&self.line().await?);
                self.say("334 UGFzc3dvcmQ6").await?;
                (user, decoded(&self.line().await?))
            }
            _ => return self.say("504 5.5.4 no such mechanism").await,
        };
        if self.state.login.as_ref().is_some_and(|wanted| *wanted != given) {
            return self.say(&format!("535 5.7.8 {} {}: no", given.0, given.1)).await;
        }
        self.login = Some((given.0, mechanism));
        self.say("235 2.7.0 welcome").await
    }

    async fn receive(&mut self, from: String, to: Vec<String>) -> io::Result<()> {
        let mut data: Vec<u8> = Vec::new();
        loop {
            let start = data.len();
            if self.stream.read_until(b'\n', &mut data).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match &data[start..] {
                b".\r\n" => {
                    data.truncate(start);
                    break;
                }
                [b'.', ..] => drop(data.remove(start)),
                _ => {}
            }
        }
        if let Next::Answered = self.step(Step::Content, "the mail", None).await? {
            return Ok(());
        }
        let (hello, is_utf8) = (self.hello.clone(), self.is_utf8);
        let mail =
            ReceivedMail { from, to, hello, is_utf8, data, encrypted: self.encrypted, login: self.login.clone() };
        self.state.seen.send_modify(|seen| seen.mails.push(mail));
        self.say("250 2.0.0 taken").await
    }
}
