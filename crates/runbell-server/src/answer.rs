//! What goes wrong, as an answer: a status and `{"detail": …}`, MLRun's shape.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runbell_core::Findings;
use runbell_runtime::EventError;
use runbell_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// What most handlers return.
pub(crate) type Answer<T> = Result<T, Problem>;

/// The body of every answer that is no success.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Detail {
    /// What is wrong, and what would be right.
    detail: String,
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Seconds after which to ask again.
    retry_after: Option<u16>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} is not there"))
    }

    pub(crate) fn faults(found: &Findings) -> Self {
        let faults: Vec<String> = found.faults().map(ToString::to_string).collect();
        Self::bad(faults.join("; "))
    }

    fn unavailable(detail: impl Into<String>) -> Self {
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, detail: detail.into(), retry_after: Some(1) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request finds no store");
        Self::unavailable(error.to_string())
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Invalid(found) => Self::faults(&found),
            EventError::NoRun => Self::not_found("the run"),
            EventError::Ended { from, to } => Self::new(
                StatusCode::CONFLICT,
                format!(
                    "status.state: the run has ended ({from}) and cannot enter `{to}`, unless status.retry_count rises"
                ),
            ),
            EventError::Store(error) => error.into(),
            EventError::Internal(error) => {
                tracing::error!(%error, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.reason())
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Detail { detail: self.detail })).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"runbell\""));
        }
        response
    }
}
