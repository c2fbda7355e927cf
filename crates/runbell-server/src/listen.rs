//! Listening, and stopping.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use runbell_core::Registry;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::instance::{Instance, Use};
use crate::{app, upkeep};

/// The default address.
const LISTEN: &str = "127.0.0.1:8080";

/// The time that open requests get when the server stops.
const REQUESTS: Duration = Duration::from_secs(10);

/// The time that attempts under way get when the server stops. Unfinished ones are repeated after the next start.
const ATTEMPTS: Duration = Duration::from_secs(15);

/// The time that the store gets to close.
const CLOSING: Duration = Duration::from_secs(1);

/// The time that a caller gets to send the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// The requests of one HTTP/2 connection that are answered at once.
const STREAMS: u32 = 128;

/// The pause after which an HTTP/2 caller is asked whether it is still there, and the time it gets to answer.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// Serves until SIGTERM or SIGINT. `ready` is called with the address once requests are answered, as `http://127.0.0.1:8080`.
///
/// # Errors
/// When the configuration is wrong, the address or the store cannot be used, or listening ends by itself.
pub async fn serve(config: &Config, registry: Registry, ready: impl FnOnce(&str)) -> anyhow::Result<()> {
    let wanted = config.listen.as_deref().unwrap_or(LISTEN);
    let wanted = wanted.replacen("localhost:", "127.0.0.1:", 1);
    let wanted: SocketAddr =
        wanted.parse().ok().context("listen: must be an address and a port, such as 127.0.0.1:8080 or [::]:8080")?;
    let tls = match &config.tls {
        Some(tls) => Some(RustlsConfig::from_pem_file(&tls.cert, &tls.key).await.map_err(|error| {
            anyhow::anyhow!("tls: certificate and key cannot be used ({}); both must be PEM files", error.kind())
        })?),
        None => None,
    };
    // Before the store: a second server on the same address must not end the first one's leases.
    let listener = match TcpListener::bind(wanted) {
        Ok(listener) => listener,
        Err(error) => bail!("listen: {wanted} cannot be used: {}", error.kind()),
    };
    listener.set_nonblocking(true)?;
    // A limit on the size of files is a full disk to the store; the signal it sends would end this process.
    let _handled = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let address = listener.local_addr()?;
    let instance = Instance::open_for(config, registry, Use::Serving(address)).await?;
    let app = instance.app.clone();
    app.dispatcher.deliver();
    let upkeep = tokio::spawn(upkeep::keep_up(app.clone(), config.retention()));
    let handle = Handle::new();
    tokio::spawn(stop_on_signal(handle.clone()));
    raise_file_limit();
    let service = app::build(app).into_make_service();
    let scheme = if tls.is_some() { "https" } else { "http" };
    ready(&format!("{scheme}://{address}"));
    let served = match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).first_request_timeout(HEAD);
            limit(server.http_builder());
            server.serve(service).await
        }
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle).first_request_timeout(HEAD);
            limit(server.http_builder());
            server.serve(service).await
        }
    };
    upkeep.abort();
    instance.stop(ATTEMPTS).await;
    // The last owner of the store closes it, which leaves one file instead of three.
    let store = Arc::downgrade(instance.app.dispatcher.store());
    drop((instance, upkeep.await));
    let closed = async {
        while store.strong_count() > 0 {
            tokio::time::sleep(CLOSING / 100).await;
        }
    };
    if tokio::time::timeout(CLOSING, closed).await.is_err() {
        tracing::warn!("the store is still in use; the operating system closes it");
    }
    served.context("listening ended")
}

/// Limits what a caller can hold open without a token: silent connections, half a head, streams.
fn limit(builder: &mut Builder<TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let (pause, answer) = PING;
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    builder.http2().keep_alive_interval(pause).keep_alive_timeout(answer);
}

/// Raises the limit of open files to the most that is allowed: every connection and every attempt takes one.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::info!(open_files = limit.maximum.unwrap_or(u64::MAX), "limits"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

async fn stop_on_signal(handle: Handle<SocketAddr>) {
    let (Ok(mut terminated), Ok(mut interrupted)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be waited for; only SIGKILL ends this process");
        return;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    tracing::info!("stopping");
    handle.graceful_shutdown(Some(REQUESTS));
}
