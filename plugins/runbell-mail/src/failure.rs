//! Errors in Runbell's own words. A server's text is never passed on: it may repeat the client's commands, the password
//! among them.

use std::error::Error as StdError;
use std::io;

use lettre::transport::smtp::Error as SmtpError;
use runbell_core::{CA_FILE, Error, ErrorKind};
use rustls::{CertificateError, Error as TlsError};

/// The stage of an SMTP session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting, the handshake of encryption from the first byte on, greeting and EHLO.
    Connect,
    /// STARTTLS and its handshake.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, before anything of the mail was sent.
    Data,
    /// The mail itself.
    Content,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Stage::Connect => "greeting",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Sender => "MAIL FROM",
            Stage::Recipient => "RCPT TO",
            Stage::Data => "DATA",
            Stage::Content => "the mail",
        }
    }
}

/// A reply that refuses: its code, and the enhanced one where the server gives it (RFC 3463).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) enhanced: Option<String>,
}

impl Refusal {
    /// The refusal in an error; `None` when it is something else.
    pub(crate) fn of(error: &SmtpError) -> Option<Self> {
        let code = error.status().map(u16::from)?;
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let enhanced = text.split_whitespace().next().filter(|word| is_enhanced(word, code)).map(str::to_owned);
        Some(Refusal { code, enhanced })
    }

    /// The refusal that a server without SMTPUTF8 would give (RFC 6531 section 3.5).
    pub(crate) fn without_utf8() -> Self {
        Refusal { code: 553, enhanced: Some("5.6.7".to_owned()) }
    }

    /// Whether trying again may help: 4xx (RFC 5321 section 4.2.1).
    pub(crate) fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    pub(crate) fn shown(&self) -> String {
        match &self.enhanced {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }
}

/// `5.7.8` after a 5xx: three numbers, the first that of the code.
fn is_enhanced(word: &str, code: u16) -> bool {
    let mut parts = word.split('.');
    let number = |part: Option<&str>| {
        part.filter(|part| (1..=3).contains(&part.len())).and_then(|part| part.parse::<u16>().ok())
    };
    number(parts.next()) == Some(code / 100)
        && number(parts.next()).is_some()
        && number(parts.next()).is_some()
        && parts.next().is_none()
}

const REFUSED: &str = "the mail server refuses connections";
const NO_ROUTE: &str = "there is no route to the mail server";

/// The error for an address that cannot be connected to.
pub(crate) fn unreachable(error: &io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => REFUSED,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => NO_ROUTE,
        _ => "connecting to the mail server failed",
    };
    Error::new(ErrorKind::Unreachable, message).with("at", Stage::Connect.as_str()).retry()
}

/// Rebuilds an error of the SMTP library.
pub(crate) fn rebuild(error: &SmtpError, stage: Stage) -> Error {
    if let Some(refusal) = Refusal::of(error) {
        return refused(&refusal, stage);
    }
    let causes = || Causes(Some(error));
    if let Some(failure) = causes().find_map(|cause| cause.downcast_ref::<TlsError>()) {
        return Error::new(ErrorKind::Unreachable, tls(failure, stage)).with("at", stage.as_str()).retry();
    }
    let io = causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).next();
    let (kind, message) = match (stage, io) {
        (Stage::Connect, Some(io::ErrorKind::ConnectionRefused)) => (ErrorKind::Unreachable, REFUSED),
        (_, Some(io::ErrorKind::TimedOut)) => (ErrorKind::Timeout, "the mail server did not answer in time"),
        (_, Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)) => {
            (ErrorKind::Unreachable, NO_ROUTE)
        }
        (Stage::Auth, None) if error.is_client() => {
            let message = "the mail server offers neither AUTH PLAIN nor AUTH LOGIN; does it want encryption first?";
            return Error::new(ErrorKind::Unauthorized, message);
        }
        _ => (ErrorKind::Unreachable, "the mail server closed the connection, or does not speak SMTP here"),
    };
    let error = Error::new(kind, message).with("at", stage.as_str()).retry();
    // The server may have accepted a mail that was sent in full, even if its reply is lost.
    if stage == Stage::Content { error.ambiguous() } else { error }
}

/// The error for a refusal that concerns the whole mail.
pub(crate) fn refused(refusal: &Refusal, stage: Stage) -> Error {
    let (kind, message) = match (refusal.code, stage) {
        (421, _) => (ErrorKind::Unreachable, "the mail server is going away"),
        (_, Stage::Auth) if !refusal.is_transient() => {
            (ErrorKind::Unauthorized, "the mail server refuses user name or password")
        }
        (530, _) => (ErrorKind::Unauthorized, "the mail server wants encryption or a login first"),
        (552 | 523, _) => (ErrorKind::Rejected, "the mail is too big for the server"),
        _ if refusal.is_transient() => (ErrorKind::Unreachable, "the mail server cannot take the mail now"),
        // RFC 5321 section 4.1.1.1: a syntax error, or a parameter that is not accepted.
        (501 | 504, Stage::Connect) => {
            (ErrorKind::Rejected, "the mail server refuses the name of this machine in EHLO; set a fully qualified one")
        }
        (_, Stage::Connect) => (ErrorKind::Rejected, "the mail server refuses to talk"),
        (_, Stage::Sender) => (ErrorKind::Rejected, "the mail server refuses the sender's address"),
        _ => (ErrorKind::Rejected, "the mail server refuses the mail"),
    };
    let error = Error::new(kind, message).with("at", stage.as_str()).with("code", refusal.shown());
    if refusal.is_transient() { error.retry() } else { error }
}

/// Why a handshake failed. It may pass (certificates get renewed), so it is tried again.
fn tls(failure: &TlsError, stage: Stage) -> String {
    let certificate = match failure {
        TlsError::InvalidCertificate(fault) => fault,
        TlsError::InvalidMessage(_) if stage == Stage::StartTls => {
            return "what follows the mail server's consent to STARTTLS is no TLS; something in between may change it"
                .to_owned();
        }
        TlsError::InvalidMessage(_) => {
            return "the mail server does not encrypt from the first byte on this port; does it want `start_tls`?"
                .to_owned();
        }
        TlsError::AlertReceived(_) => return "the mail server broke off the TLS handshake".to_owned(),
        TlsError::PeerIncompatible(_) => {
            return "the mail server and Runbell have no TLS version or cipher in common".to_owned();
        }
        _ => return "the TLS handshake with the mail server failed".to_owned(),
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the mail server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the mail server's certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the mail server's certificate is for another host; use the name it is for as `server_host`".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the mail server's certificate comes from an authority that is not trusted; name its file in {CA_FILE}, or \
             set `validate_certs` to false"
        ),
        _ => "the mail server's certificate is not one for a server, such as an authority's own; set `validate_certs` to \
              false to accept it"
            .to_owned(),
    }
}

/// An error and its causes, those inside I/O errors too, which `source` does not show.
struct Causes<'e>(Option<&'e (dyn StdError + 'static)>);

impl<'e> Iterator for Causes<'e> {
    type Item = &'e (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.0?;
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        self.0 = match wrapped {
            Some(inner) => Some(inner),
            None => current.source(),
        };
        Some(current)
    }
}

#[cfg(test)]
mod tests {
    use runbell_core::Retry;

    use super::*;

    #[test]
    fn refusals_by_code_and_stage() {
        use ErrorKind::{Rejected, Unauthorized, Unreachable};
        for (code, stage, kind, retried) in [
            (421, Stage::Connect, Unreachable, true),
            (554, Stage::Connect, Rejected, false),
            (501, Stage::Connect, Rejected, false),
            (504, Stage::Connect, Rejected, false),
            (454, Stage::Auth, Unreachable, true),
            (535, Stage::Auth, Unauthorized, false),
            (530, Stage::Sender, Unauthorized, false),
            (451, Stage::Sender, Unreachable, true),
            (550, Stage::Sender, Rejected, false),
            (552, Stage::Content, Rejected, false),
            (451, Stage::Content, Unreachable, true),
        ] {
            let error = refused(&Refusal { code, enhanced: None }, stage);
            assert_eq!((error.kind(), error.retry_advice() != Retry::Never), (kind, retried), "{code} {stage:?}");
            assert!(error.to_string().contains(&code.to_string()) && !error.is_ambiguous());
        }
    }

    #[test]
    fn only_numbers_of_a_reply_are_shown() {
        for (word, code, expected) in [
            ("5.7.8", 535, true),
            ("4.7.8", 535, false),
            ("5.7.8.1", 535, false),
            ("5.7.secret", 535, false),
            ("5.1234.1", 550, false),
            ("5", 550, false),
        ] {
            assert_eq!(is_enhanced(word, code), expected, "{word}");
        }
    }
}
