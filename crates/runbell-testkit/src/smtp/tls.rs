//! Certificates that only tests trust.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use runbell_core::{CA_FILE, Env};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority of a test's own.
pub struct TestCa(CertifiedIssuer<'static, KeyPair>);

impl Default for TestCa {
    fn default() -> Self {
        TestCa::new()
    }
}

impl TestCa {
    /// A new authority, unlike any other.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        TestCa(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its certificate, to be trusted.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// An environment that names this authority as one to trust, and holds nothing else.
    pub fn env(&self) -> Arc<dyn Env> {
        Arc::new(Trusting(self.pem()))
    }

    /// A certificate for `name`, and its key, as PEM: for servers that are programs of their own.
    ///
    /// # Panics
    /// When `name` is no host's name.
    pub fn certificate(&self, name: &str) -> (String, String) {
        let (key, params) = (KeyPair::generate().expect("a key"), named(name));
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Accepts encrypted connections with a certificate for `name`.
    ///
    /// # Panics
    /// When `name` is no host's name.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (key, params) = (KeyPair::generate().expect("a key"), named(name));
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a host's name")
}

/// The authorities of an environment, as PEM.
#[derive(Debug)]
struct Trusting(String);

impl Env for Trusting {
    fn var(&self, name: &str) -> Option<String> {
        (name == CA_FILE).then(|| "ca.pem".to_owned())
    }

    fn read_file(&self, _path: &str) -> io::Result<String> {
        Ok(self.0.clone())
    }
}
