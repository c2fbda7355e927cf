#![doc = include_str!("../README.md")]

mod address;
mod compose;
mod failure;
mod hello;
mod params;
mod plain;
mod progress;
mod send;
mod server;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::{
    BuildContext, Egress, Error, ErrorKind, Findings, Limits, Map, Message, Payload, Receipt, Rendered, Result,
    SendContext, Sender, SenderKind, Value,
};

pub use params::{Addresses, MailParams, Port};

use progress::Memory;
use server::{Login, Server};

/// The time limit of one attempt. Servers that fight spam let strangers wait before they greet.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The `mail` kind.
#[derive(Debug)]
pub struct Mail;

runbell_core::register_sender!(Mail);

impl SenderKind for Mail {
    const KIND: &'static str = "mail";
    type Params = MailParams;
    type Sender = MailSender;

    /// The default addresses are enough: the list itself may then be missing.
    fn complete(params: &mut Map, _cx: &BuildContext) {
        let given = |name: &str| params.get(name).is_some_and(Value::is_truthy);
        if !given("email_addresses") && given("default_email_addresses") {
            params.insert("email_addresses".to_owned(), Value::List(Vec::new()));
        }
    }

    fn validate(params: &MailParams, cx: &BuildContext) -> Findings {
        params.check(cx)
    }

    fn build(params: MailParams, cx: &BuildContext) -> Result<MailSender> {
        let (encryption, port) = params
            .encryption()
            .map_err(|(field, message)| Error::new(ErrorKind::ParamsInvalid, message).at(format!("params.{field}")))?;
        let host = params::host(&params.server_host)
            .ok_or_else(|| Error::new(ErrorKind::ParamsInvalid, "must be a host").at("params.server_host"))?;
        let login = Login {
            host: host.to_string(),
            port,
            encryption,
            validate_certs: params.validate_certs.unwrap_or(true),
            authorities: cx.shared.get_or_init(Egress::default).authorities(cx.env.as_ref())?,
            credentials: params
                .username()
                .zip(params.password())
                .map(|(name, password)| (name.to_owned(), password.clone())),
        };
        Ok(MailSender {
            server: Server::shared(login, cx)?,
            memory: cx.shared.get_or_init(Memory::default),
            from: params.sender()?.to_string(),
            to: params.recipients().iter().map(ToString::to_string).collect(),
            body_override: params.message_body_override.filter(|text| !text.is_empty()),
        })
    }
}

/// Sends mails by one server, from one address to some others.
#[derive(Debug)]
pub struct MailSender {
    server: Arc<Server>,
    memory: Arc<Memory>,
    from: String,
    to: Vec<String>,
    body_override: Option<String>,
}

#[async_trait]
impl Sender for MailSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        let mut notes = Vec::new();
        let mail = compose::compose(message, &self.from, &self.to, self.body_override.as_deref(), &mut notes)?;
        Ok(Rendered { payload: Payload::Mail(mail), notes })
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Mail(mail) = payload else {
            return Err(Error::new(ErrorKind::Internal, "mail can only send mails"));
        };
        send::send(&self.server, &self.memory, mail, cx).await
    }

    fn limits(&self) -> Limits {
        Limits { timeout: TIMEOUT, at_once: Some(server::AT_ONCE), ..Limits::of(self.server.destination()) }
    }
}
