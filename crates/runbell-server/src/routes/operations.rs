//! The server itself, for operators and clients.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runbell_core::Place;
use serde::Serialize;
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use crate::answer::{Answer, Problem};
use crate::state::App;

/// The version of MLRun whose API this server has; MLRun's SDK compares it with its own.
const MLRUN_VERSION: &str = "1.12.1";

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The versions and settings that clients need.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientSpecBody {
    /// The version of MLRun whose API this server has.
    version: &'static str,
    /// The version of Runbell.
    runbell_version: &'static str,
    /// The URL of the UI that messages link to.
    ui_url: Option<String>,
}

/// Return the versions and settings that clients need.
#[utoipa::path(get, path = "/client-spec", tag = "operations", security(()), responses((status = 200, body = ClientSpecBody)))]
pub(crate) async fn client_spec(State(app): State<App>) -> Json<ClientSpecBody> {
    let runbell_version = env!("CARGO_PKG_VERSION");
    Json(ClientSpecBody { version: MLRUN_VERSION, runbell_version, ui_url: app.ui_url.clone() })
}

/// The state of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthBody {
    status: &'static str,
}

/// Check that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = HealthBody)))]
pub(crate) async fn healthz() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

/// Check that events are accepted: write to the store.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses((status = 200, body = HealthBody)))]
pub(crate) async fn readyz(State(app): State<App>) -> Answer<Json<HealthBody>> {
    app.dispatcher.store().check().await?;
    Ok(Json(HealthBody { status: "ok" }))
}

/// The kinds of notification this server can send.
#[derive(Serialize, ToSchema)]
pub(crate) struct KindsBody {
    kinds: Vec<KindBody>,
}

/// A kind.
#[derive(Serialize, ToSchema)]
pub(crate) struct KindBody {
    kind: &'static str,
    aliases: &'static [&'static str],
    /// `anywhere`, or `here_only` if only the runner's own process sends it.
    #[schema(value_type = String)]
    place: Place,
    package: &'static str,
    version: &'static str,
    /// JSON Schema of its params.
    #[schema(value_type = Object)]
    schema: serde_json::Value,
}

/// List the kinds of notification.
#[utoipa::path(get, path = "/kinds", tag = "operations", responses((status = 200, body = KindsBody)))]
pub(crate) async fn kinds(State(app): State<App>) -> Json<KindsBody> {
    let kinds = app.dispatcher.registry().kinds().map(|kind| {
        let registration = kind.registration();
        KindBody {
            kind: registration.kind,
            aliases: registration.aliases,
            place: registration.place,
            package: registration.package,
            version: registration.version,
            schema: kind.schema().clone(),
        }
    });
    Json(KindsBody { kinds: kinds.collect() })
}

/// Return metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(app): State<App>) -> Answer<Response> {
    let backlog = app.dispatcher.store().backlog().await.ok();
    let text = app.metrics.text(backlog);
    let text = text.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}

/// Copy the whole store into one SQLite file, while the server works.
#[utoipa::path(get, path = "/backup", tag = "operations",
    responses((status = 200, description = "A SQLite database", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(crate) async fn backup(State(app): State<App>) -> Answer<Response> {
    let failed = |error: std::io::Error| {
        tracing::error!(%error, "a backup failed");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("a backup cannot be made: {}", error.kind()))
    };
    // Beside the store, because it is as large and as secret.
    let folder = tempfile::Builder::new().prefix(".runbell-backup-").tempdir_in(&app.folder).map_err(failed)?;
    let copy = folder.path().join("runbell.db");
    app.dispatcher.store().backup(&copy).await?;
    let file = tokio::fs::File::open(&copy).await.map_err(failed)?;
    // The open file stays readable until it is sent.
    folder.close().map_err(failed)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"runbell.db\""),
    ];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024))).into_response())
}
