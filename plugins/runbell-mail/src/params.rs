//! The params of the `mail` kind, and the encryption that fits each port.

use std::fmt;

use lettre::message::Mailbox;
use runbell_core::{BuildContext, Egress, Error, ErrorKind, FindingCode, Findings, Result, Secret, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::Host;

use crate::address::{bare, item, mailbox, part_fault, split};

/// Parameters of the `mail` kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MailParams {
    /// The SMTP server's name or address.
    pub server_host: String,
    /// The SMTP server's port, a number or a text of digits. Default 465 with `use_tls`, else 587.
    #[serde(default)]
    pub server_port: Option<Port>,
    /// The address that mails come from, also with a name: `Run Bot <runs@example.com>`. Its domain is also that of the
    /// Message-ID.
    pub sender_address: String,
    /// The recipients: a list, or a text with commas. With or without names: `"Doe, Jane" <jane@example.com>`.
    pub email_addresses: Addresses,
    /// Additional recipients, for the defaults of a server.
    #[serde(default)]
    pub default_email_addresses: Option<Addresses>,
    /// The user name of the login. Without one there is no login.
    #[serde(default)]
    pub username: Option<String>,
    /// The password of the login.
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// Encrypt from the first byte on (port 465). Default: by port.
    #[serde(default)]
    pub use_tls: Option<bool>,
    /// Encrypt by STARTTLS; without encryption no mail is sent (port 587). Default: by port. False for both this and `use_tls`
    /// sends unencrypted.
    #[serde(default)]
    pub start_tls: Option<bool>,
    /// Whether the server's certificate is checked. Default true.
    #[serde(default)]
    pub validate_certs: Option<bool>,
    /// HTML that replaces the default body; `{{ runs }}` and `{{runs}}` in it become the table of runs.
    #[serde(default)]
    pub message_body_override: Option<String>,
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encryption {
    /// From the first byte on.
    Implicit,
    /// By STARTTLS; without it no mail is sent.
    StartTls,
    /// By STARTTLS if the server offers it; a password is never sent without encryption.
    Opportunistic,
    /// Not at all.
    None,
}

/// The port for encryption from the first byte on (RFC 8314).
const IMPLICIT_PORT: u16 = 465;

/// The port for submission with STARTTLS (RFC 6409).
const SUBMISSION_PORT: u16 = 587;

/// The port of mail servers among themselves.
const RELAY_PORT: u16 = 25;

impl MailParams {
    /// All faults and warnings.
    pub(crate) fn check(&self, cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        match host(&self.server_host) {
            None => {
                found.fault("server_host", "must be the name or address of a mail server, such as smtp.example.com")
            }
            Some(host) => {
                if let Err(refused) = cx.shared.get_or_init(Egress::default).check_host(&host.to_string()) {
                    found.fault("server_host", refused);
                }
            }
        }
        if self.server_port.is_some_and(|port| port.number().is_none()) {
            found.fault_of(FindingCode::OutOfRange, "server_port", "must be a port from 1 to 65535");
        }
        if let Err((field, message)) = self.encryption() {
            found.fault(field, message);
        }
        if let Err(fault) = mailbox(&self.sender_address) {
            found.fault("sender_address", fault);
        }
        self.email_addresses.check("email_addresses", &mut found);
        if let Some(more) = &self.default_email_addresses {
            more.check("default_email_addresses", &mut found);
        }
        let is_empty = |more: &Option<Addresses>| more.as_ref().is_none_or(|more| more.0.is_empty());
        if self.email_addresses.0.is_empty() && is_empty(&self.default_email_addresses) {
            found.fault("email_addresses", "is empty; name at least one address");
        }
        match (self.username(), self.password()) {
            // MLRun passes both to aiosmtplib, which logs in with a user name alone; an empty password is a mistake.
            (Some(_), None) => {
                found.warning_of(FindingCode::NoEffect, "username", "has no effect without `password`");
            }
            (None, Some(_)) => found.missing("username", "is required when there is a password"),
            (Some(_), Some(_)) if matches!(self.encryption(), Ok((Encryption::None, _))) => {
                let message = "is sent unencrypted; set `start_tls` or `use_tls` to true";
                found.warning_of(FindingCode::Unencrypted, "password", message);
            }
            _ => {}
        }
        found
    }

    /// The user name, where there is one.
    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_deref().filter(|name| !name.is_empty())
    }

    /// The password, where there is one.
    pub(crate) fn password(&self) -> Option<&Secret<String>> {
        self.password.as_ref().filter(|password| !password.reveal().is_empty())
    }

    /// The sender.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`]; [`Self::check`] finds it first.
    pub(crate) fn sender(&self) -> Result<Mailbox> {
        mailbox(&self.sender_address)
            .map_err(|fault| Error::new(ErrorKind::ParamsInvalid, fault).at("params.sender_address"))
    }

    /// All recipients, each address once.
    pub(crate) fn recipients(&self) -> Vec<Mailbox> {
        let mut all: Vec<Mailbox> = Vec::new();
        let more = self.default_email_addresses.iter().flat_map(|more| &more.0);
        for mailbox in self.email_addresses.0.iter().chain(more).filter_map(|one| item(one).ok()).flatten() {
            let is_same = |known: &Mailbox| bare(known).eq_ignore_ascii_case(bare(&mailbox));
            if !all.iter().any(is_same) {
                all.push(mailbox);
            }
        }
        all
    }

    /// How to encrypt, and the port.
    ///
    /// # Errors
    /// The field at fault and the right pair, for ports and ways that cannot work together.
    pub(crate) fn encryption(&self) -> std::result::Result<(Encryption, u16), (&'static str, &'static str)> {
        let port = self.server_port.and_then(Port::number);
        let tls_only = "465 expects encryption from the first byte on: set `use_tls` to true and `start_tls` to false, \
                        or use port 587 with `start_tls`";
        match (self.use_tls, self.start_tls) {
            (Some(true), Some(true)) => Err((
                "start_tls",
                "cannot go with `use_tls`; set `use_tls` alone (port 465) or `start_tls` alone (port 587)",
            )),
            (Some(true), _) => match port {
                Some(SUBMISSION_PORT) => Err((
                    "server_port",
                    "587 expects STARTTLS: set `start_tls` to true and `use_tls` to false, or use port 465 with `use_tls`",
                )),
                Some(RELAY_PORT) => Err((
                    "server_port",
                    "25 does not encrypt from the first byte on: set `start_tls` to true and `use_tls` to false, or use \
                     port 465 with `use_tls`",
                )),
                port => Ok((Encryption::Implicit, port.unwrap_or(IMPLICIT_PORT))),
            },
            (_, Some(true)) => match port {
                Some(IMPLICIT_PORT) => Err(("server_port", tls_only)),
                port => Ok((Encryption::StartTls, port.unwrap_or(SUBMISSION_PORT))),
            },
            (Some(false), _) if port == Some(IMPLICIT_PORT) => Err(("server_port", tls_only)),
            (Some(false), Some(false)) => Ok((Encryption::None, port.unwrap_or(SUBMISSION_PORT))),
            // STARTTLS alone is ruled out: the other way is left, where the port allows it.
            (None, Some(false)) => Ok(match port {
                None | Some(IMPLICIT_PORT) => (Encryption::Implicit, IMPLICIT_PORT),
                Some(port) => (Encryption::None, port),
            }),
            (_, None) => Ok(match port {
                Some(IMPLICIT_PORT) => (Encryption::Implicit, IMPLICIT_PORT),
                None | Some(SUBMISSION_PORT) => (Encryption::StartTls, SUBMISSION_PORT),
                Some(port) => (Encryption::Opportunistic, port),
            }),
        }
    }
}

/// The host in its usual form; `None` when it is no valid host.
pub(crate) fn host(text: &str) -> Option<Host> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(address) => Some(Host::Ipv6(address)),
        Err(_) => Host::parse(text).ok(),
    }
}

/// A port: a number, or a text of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(i64);

impl Port {
    fn number(self) -> Option<u16> {
        u16::try_from(self.0).ok().filter(|port| *port > 0)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port")
            }
            fn visit_i64<E>(self, number: i64) -> std::result::Result<Port, E> {
                Ok(Port(number))
            }
            fn visit_u64<E>(self, number: u64) -> std::result::Result<Port, E> {
                Ok(Port(i64::try_from(number).unwrap_or(-1)))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Port, E> {
                // A value that is no number is reported later, with the right form.
                Ok(Port(text.trim().parse().unwrap_or(-1)))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Port {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

/// Addresses: a list, or one text with commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(Vec<String>);

impl Addresses {
    fn check(&self, field: &str, found: &mut Findings) {
        for (index, one) in self.0.iter().enumerate() {
            if item(one).is_err() {
                // A name with a comma outside quotes shows in the next part.
                let next = self.0.get(index + 1).map(String::as_str);
                found.fault(format!("{field}[{index}]"), part_fault(one, next.as_ref()));
            }
        }
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Addresses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of addresses, or a text with commas")
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Addresses, E> {
                let text = text.trim();
                let all =
                    if text.is_empty() { Vec::new() } else { split(text).into_iter().map(str::to_owned).collect() };
                Ok(Addresses(all))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Addresses, A::Error> {
                let mut all = Vec::new();
                // An item that is no text is reported later, by its index.
                while let Some(one) = list.next_element::<Value>()? {
                    all.push(one.as_str().unwrap_or_default().to_owned());
                }
                Ok(Addresses(all))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Addresses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Addresses".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["array", "string"], "items": { "type": "string" } })
    }
}
