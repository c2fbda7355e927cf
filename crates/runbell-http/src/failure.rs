//! Says in Runbell's own words why a request got no answer.
//!
//! The HTTP library's errors are never passed on: they quote the URL, and the URL is a secret.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use runbell_core::{CA_FILE, Error, ErrorKind, text};
use rustls::{CertificateError, Error as TlsError};

use crate::resolve::Refused;

/// The inputs of the message in addition to the error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// The request may have left.
    pub(crate) written: bool,
    /// A proxy is configured.
    pub(crate) proxied: bool,
    /// The system has no certificate authorities installed.
    pub(crate) no_roots: bool,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
}

/// Rebuilds a transport error. It is marked ambiguous if the request may have arrived all the same.
pub(crate) fn rebuild(error: &reqwest::Error, circumstances: Circumstances, host: &str) -> Error {
    if error.is_builder() {
        return Error::new(ErrorKind::ParamsInvalid, "the request cannot be sent over HTTP as it is");
    }
    if error.is_connect() {
        return connecting(error, circumstances, host);
    }
    let (kind, message) = match error.is_timeout() {
        true => (ErrorKind::Timeout, "the connection went silent before the target answered"),
        false if circumstances.written => {
            (ErrorKind::Unreachable, "the connection broke off before the target answered")
        }
        false => (ErrorKind::Unreachable, "the connection broke off before the request was sent"),
    };
    let error = Error::new(kind, message).retry();
    if circumstances.written { error.ambiguous() } else { error }
}

fn connecting(error: &reqwest::Error, circumstances: Circumstances, host: &str) -> Error {
    let causes = || Causes(Some(error));
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return Error::new(ErrorKind::ParamsInvalid, refused.0.clone());
    }
    if let Some(failure) = causes().find_map(|cause| cause.downcast_ref::<TlsError>()) {
        return Error::new(ErrorKind::Unreachable, tls(failure, circumstances.no_roots)).retry();
    }
    if error.is_timeout() {
        return Error::new(ErrorKind::Timeout, "connecting to the target took too long")
            .with("limit", format_args!("{}s", circumstances.connect_timeout.as_secs()))
            .retry();
    }
    let whom = |target: &'static str, proxy: &'static str| if circumstances.proxied { proxy } else { target };
    if error.is_dns() {
        // Of a target's URL the path is the secret; the host is what was misspelt.
        let host = text::one_line(host, 100);
        let message = match circumstances.proxied {
            true => format!("the proxy's name or the target's, `{host}`, cannot be resolved"),
            false => format!("the target's name `{host}` cannot be resolved"),
        };
        return Error::new(ErrorKind::Unreachable, message).retry();
    }
    let io = causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).next();
    let message = match io {
        Some(io::ErrorKind::ConnectionRefused) => {
            whom("the target refuses connections", "the proxy or the target refuses connections")
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "there is no route to the target",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => whom(
            "the target closed the connection while it was being set up",
            "the proxy or the target closed the connection while it was being set up",
        ),
        _ => whom("connecting to the target failed", "connecting through the proxy failed"),
    };
    Error::new(ErrorKind::Unreachable, message).retry()
}

/// Why a handshake failed. It may pass (certificates get renewed), so it is tried again.
fn tls(failure: &TlsError, no_roots: bool) -> String {
    let certificate = match failure {
        TlsError::InvalidCertificate(fault) => fault,
        TlsError::InvalidMessage(_) => {
            return "the target does not speak TLS on this port; is it http:// rather than https://?".to_owned();
        }
        TlsError::AlertReceived(_) => return "the target broke off the TLS handshake".to_owned(),
        TlsError::PeerIncompatible(_) => {
            return "the target and Runbell have no TLS version or cipher in common".to_owned();
        }
        _ => return "the TLS handshake with the target failed".to_owned(),
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the target's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the target's certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the target's certificate is for another host".to_owned()
        }
        CertificateError::Revoked => "the target's certificate has been revoked".to_owned(),
        // A bad signature is one by another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature if no_roots => format!(
            "this system has no certificate authorities, so the target's certificate cannot be checked; install \
             the package ca-certificates, or name a file of authorities in {CA_FILE}"
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the target's certificate comes from an authority that is not trusted; name its file in {CA_FILE}, or \
             set `verify_ssl` to false where the kind has it"
        ),
        // webpki's word for what `openssl req -x509` makes by default. It has no variant of its own, and naming it as
        // an authority does not help.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the target shows an authority's own certificate (CA:TRUE), which counts for no server; give it one that is \
             no authority's, or set `verify_ssl` to false where the kind has it"
                .to_owned()
        }
        _ => "the target's certificate is not valid".to_owned(),
    }
}

/// An error and its causes, looking into I/O errors too, which hide what they wrap from `source`.
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
