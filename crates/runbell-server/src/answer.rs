//! Error answers: a status and `{"detail": …}`, as in MLRun's API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runbell_core::Findings;
use runbell_runtime::EventError;
use runbell_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// The result of most handlers.
pub(crate) type Answer<T> = Result<T, Problem>;

/// The body of every error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Detail {
    /// The fault and its remedy.
    detail: String,
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// The value of Retry-After, in seconds.
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
        tracing::warn!(%error, "the store does not answer a request");
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
