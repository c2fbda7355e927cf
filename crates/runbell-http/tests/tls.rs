//! Encrypted connections: who is trusted, and why a handshake failed.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use runbell_core::{BuildContext, CA_FILE, DeliveryKey, Env, Error, ErrorKind, Result, Retry, SendContext, Timestamp};
use runbell_http::{Answer, Client, HttpOptions, TargetUrl};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An environment with files.
#[derive(Debug, Default)]
struct Files(HashMap<&'static str, String>);

impl Env for Files {
    fn var(&self, name: &str) -> Option<String> {
        (name == CA_FILE).then(|| self.0.keys().next().map(|path| (*path).to_owned())).flatten()
    }

    fn read_file(&self, path: &str) -> io::Result<String> {
        match self.0.get(path) {
            Some(text) if text == "forbidden" => Err(io::ErrorKind::PermissionDenied.into()),
            Some(text) if text == "missing" => Err(io::ErrorKind::NotFound.into()),
            Some(text) => Ok(text.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn context(ca: Option<&str>) -> BuildContext {
    let files = ca.map(|text| ("/CANARY/ca.pem", text.to_owned())).into_iter().collect();
    BuildContext { env: Arc::new(Files(files)), ..BuildContext::here() }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// What a server saw.
#[derive(Default)]
struct Seen {
    alpn: Mutex<Vec<Option<Vec<u8>>>>,
}

/// Serves `204` over TLS with a certificate for `name` until the test ends.
async fn serve(authority: &CertifiedIssuer<'_, KeyPair>, name: &str, last_year: i32) -> (SocketAddr, Arc<Seen>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    if name == "authority.localhost" {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(Seen::default());
    let server = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            server.alpn.lock().expect("not poisoned").push(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
            let mut buffer = [0; 4096];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() || stream.flush().await.is_err()
                {
                    break;
                }
            }
        }
    });
    (address, seen)
}

async fn send(cx: &BuildContext, options: &HttpOptions, url: &str) -> (Result<Answer>, bool) {
    let client = Client::new(cx, options).expect("a client");
    let written = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(10);
    let attempt = SendContext::new(DeliveryKey::of(&["x"]), 1, deadline, Timestamp::UNIX_EPOCH, &written);
    let outcome = client.send(&TargetUrl::new(url).request("POST", "{}"), &attempt).await;
    (outcome, written.load(Ordering::Relaxed))
}

fn check(error: &Error, written: bool, said: &str) {
    assert!(error.to_string().contains(said), "{error}");
    assert!(!written && !error.is_ambiguous() && !error.to_string().contains("CANARY"), "{error}");
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unreachable, Retry::Backoff));
}

#[tokio::test]
async fn why_a_handshake_failed() {
    let (ours, theirs, namesake) = (authority("ours"), authority("theirs"), authority("ours"));
    let checked = HttpOptions::default();
    for (authority, name, last_day, said) in [
        (&theirs, "localhost", 2999, "an authority that is not trusted; name its file in RUNBELL_CA_FILE"),
        (&namesake, "localhost", 2999, "an authority that is not trusted; name its file in RUNBELL_CA_FILE"),
        (&ours, "other.example", 2999, "is for another host"),
        (&ours, "localhost", 2001, "has expired"),
        (&ours, "authority.localhost", 2999, "an authority's own certificate"),
    ] {
        let (address, _) = serve(authority, name, last_day).await;
        let url = format!("https://localhost:{}/CANARY", address.port());
        let (outcome, written) = send(&context(Some(&ours.pem())), &checked, &url).await;
        check(&outcome.expect_err(said), written, said);
        // With `verify_ssl: false` the certificate is not checked.
        let unchecked = HttpOptions { verify_ssl: false, ca: None };
        let (outcome, written) = send(&context(None), &unchecked, &url).await;
        assert!(outcome.is_ok() && written, "{outcome:?}");
    }
}

#[tokio::test]
async fn authorities_are_trusted_from_file_and_options() {
    let authority = authority("ours");
    let (address, seen) = serve(&authority, "localhost", 2999).await;
    let url = format!("https://localhost:{}/", address.port());
    let with_ca = HttpOptions { ca: Some(authority.pem()), ..HttpOptions::default() };
    for (cx, options) in [(context(Some(&authority.pem())), HttpOptions::default()), (context(None), with_ca)] {
        assert_eq!(send(&cx, &options, &url).await.0.expect("trusted").status(), 204);
    }
    // The target decides between the protocols that are offered; this one knows HTTP/1.1 alone.
    assert!(seen.alpn.lock().expect("not poisoned").iter().all(|chosen| chosen.as_deref() == Some(b"http/1.1")));
}

#[tokio::test]
async fn a_target_without_tls_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/CANARY", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let (outcome, written) = send(&context(None), &HttpOptions { verify_ssl: false, ca: None }, &url).await;
    check(&outcome.expect_err("no TLS"), written, "does not speak TLS on this port");
}

#[test]
fn an_unusable_file_of_authorities_is_named_by_its_variable() {
    let malformed = "-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n";
    for (text, said) in [
        ("missing", "RUNBELL_CA_FILE: the file it names does not exist"),
        ("forbidden", "RUNBELL_CA_FILE: the file it names cannot be read: permission denied"),
        ("no certificate", "RUNBELL_CA_FILE: the file it names holds no certificate in PEM form"),
        (malformed, "RUNBELL_CA_FILE: the file it names holds a malformed certificate"),
    ] {
        let error = Client::new(&context(Some(text)), &HttpOptions::default()).expect_err(said);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::ParamsInvalid, said));
    }
}
