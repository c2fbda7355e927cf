//! Connections to mail servers: made, encrypted, logged in, and kept for the next mail.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::Rset;
use runbell_core::{BuildContext, CA_FILE, Egress, Error, ErrorKind, Result, Secret, text};

use tokio::net::TcpStream;
use tokio::time::timeout;

use lettre::transport::smtp::extension::ClientId;

use crate::failure::{Stage, rebuild, unreachable};
use crate::hello;
use crate::params::Encryption;
use crate::plain::Plain;

/// How long an idle connection is kept. Servers close theirs after some minutes (RFC 5321 asks for five).
const IDLE: Duration = Duration::from_secs(60);

/// How many mails are sent to one server at once, each over a connection of its own. Servers limit how many they accept from
/// one client; exim's and postfix's documentation suggest to stay well below twenty.
pub(crate) const AT_ONCE: usize = 4;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the greeting and the answer to it may take. Servers that fight spam let strangers wait for some seconds.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a kept connection may take to show that it still works; then a new one is made.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The settings of a connection. Mails with the same settings share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Login {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    pub(crate) validate_certs: bool,
    /// PEM text of authorities to trust in addition to the system's.
    pub(crate) authorities: String,
    pub(crate) credentials: Option<(String, Secret<String>)>,
}

/// The mail servers of a process, in its type map.
#[derive(Default)]
pub(crate) struct Servers(Mutex<HashMap<Login, Arc<Server>>>);

/// One mail server.
pub(crate) struct Server {
    login: Login,
    egress: Arc<Egress>,
    tls: OnceLock<TlsParameters>,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.login.host).field("port", &self.login.port).finish_non_exhaustive()
    }
}

impl Server {
    /// The server of this login, shared if one exists. Does not connect.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when the authorities are no certificates.
    pub(crate) fn shared(login: Login, cx: &BuildContext) -> Result<Arc<Self>> {
        if !login.authorities.trim().is_empty() {
            certificates(&login.authorities)?;
        }
        let servers = cx.shared.get_or_init(Servers::default);
        let mut servers = servers.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(servers.entry(login.clone()).or_insert_with(|| {
            let egress = cx.shared.get_or_init(Egress::default);
            Arc::new(Server { login, egress, tls: OnceLock::new(), idle: Mutex::default() })
        })))
    }

    /// `host:port`.
    pub(crate) fn destination(&self) -> String {
        format!("{}:{}", self.login.host, self.login.port)
    }

    /// A connection that is ready for a mail: one that was kept, if it still answers, or a new one.
    pub(crate) async fn connection(&self) -> Result<AsyncSmtpConnection> {
        while let Some((mut kept, since)) = self.take() {
            // It answers, and the reset ends any unfinished transaction.
            if since.elapsed() < IDLE
                && let Ok(Ok(_)) = timeout(PROBE_TIMEOUT, kept.command(Rset)).await
            {
                return Ok(kept);
            }
        }
        self.connect().await
    }

    fn take(&self) -> Option<(AsyncSmtpConnection, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a connection for the next mail.
    pub(crate) fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < AT_ONCE && !connection.has_broken() {
            idle.push((connection, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection> {
        let Login { host, port, .. } = &self.login;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, *port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|_| {
                let message = format!("the mail server's name `{}` cannot be resolved", text::one_line(bare, 100));
                Error::new(ErrorKind::Unreachable, message).retry()
            })?
            .collect();
        // The rules apply to the address that is connected to, not to the name.
        let allowed = self.egress.filter(found, SocketAddr::ip)?;
        let mut failed = Error::new(ErrorKind::Unreachable, "the mail server's name has no address").retry();
        for address in allowed {
            let hello = hello::of_this_machine(address).await;
            match self.greet(address, &hello).await {
                Ok(connection) => return self.prepare(connection, &hello).await,
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Connects to one address, up to the answer to EHLO.
    async fn greet(&self, address: SocketAddr, hello: &ClientId) -> Result<AsyncSmtpConnection> {
        let greeting = async {
            if self.login.encryption == Encryption::Implicit {
                let tls = self.tls()?;
                let begun = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), hello, Some(tls), None);
                return begun.await.map_err(|error| rebuild(&error, Stage::Connect));
            }
            let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(unreachable(&error)),
                Err(_) => {
                    return Err(Error::new(ErrorKind::Timeout, "connecting to the mail server took too long").retry());
                }
            };
            let begun = AsyncSmtpConnection::connect_with_transport(Box::new(Plain::new(stream)), hello);
            begun.await.map_err(|error| rebuild(&error, Stage::Connect))
        };
        timeout(GREETING_TIMEOUT, greeting).await.unwrap_or_else(|_| {
            let message = match self.login.encryption {
                Encryption::Implicit => "the mail server says nothing; does it want `start_tls` (port 587)?",
                _ => "the mail server says nothing; does it encrypt from the first byte on (`use_tls`, port 465)?",
            };
            Err(Error::new(ErrorKind::Timeout, message).retry())
        })
    }

    /// Encrypts and logs in.
    async fn prepare(&self, mut connection: AsyncSmtpConnection, hello: &ClientId) -> Result<AsyncSmtpConnection> {
        match self.login.encryption {
            Encryption::StartTls if !connection.can_starttls() => {
                let message =
                    "the mail server offers no STARTTLS, so nothing is sent; does it want `use_tls` (port 465)?";
                return Err(Error::new(ErrorKind::Unreachable, message).retry());
            }
            Encryption::StartTls | Encryption::Opportunistic if connection.can_starttls() => {
                let tls = self.tls()?;
                connection.starttls(tls, hello).await.map_err(|error| rebuild(&error, Stage::StartTls))?;
            }
            _ => {}
        }
        if let Some((username, password)) = &self.login.credentials {
            if !connection.is_encrypted() && self.login.encryption != Encryption::None {
                let message = "the mail server offers no encryption, so the password is not sent; set both `use_tls` and \
                               `start_tls` to false to send it all the same";
                return Err(Error::new(ErrorKind::Unauthorized, message));
            }
            let credentials = Credentials::new(username.clone(), password.reveal().clone());
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(|error| rebuild(&error, Stage::Auth))?;
        }
        Ok(connection)
    }

    /// The TLS settings, made on first use: reading the system's authorities takes milliseconds.
    fn tls(&self) -> Result<TlsParameters> {
        if let Some(made) = self.tls.get() {
            return Ok(made.clone());
        }
        let name = self.login.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut builder = TlsParameters::builder(name).dangerous_accept_invalid_certs(!self.login.validate_certs);
        builder = builder.dangerous_accept_invalid_hostnames(!self.login.validate_certs);
        if !self.login.authorities.trim().is_empty() {
            builder = builder.add_root_certificate(certificates(&self.login.authorities)?);
        }
        let made = builder
            .build_rustls()
            .map_err(|_| Error::new(ErrorKind::Internal, "encryption for mail cannot be set up"))?;
        Ok(self.tls.get_or_init(|| made).clone())
    }
}

fn certificates(pem: &str) -> Result<Certificate> {
    // An empty file would be read as no certificates at all.
    let invalid = |fault: &str| Error::new(ErrorKind::ParamsInvalid, format!("{CA_FILE}: the file it names {fault}"));
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(invalid("holds no certificate in PEM form"));
    }
    Certificate::from_pem(pem.as_bytes()).map_err(|_| invalid("holds a malformed certificate"))
}
