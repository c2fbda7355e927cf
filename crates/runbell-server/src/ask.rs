//! The API without a network, for whoever owns the store's file.

use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use tower::ServiceExt as _;

use crate::app;
use crate::instance::Instance;

/// An answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The status code, as over HTTP.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Instance {
    /// Asks the API, as the owner of the store: no token is needed. `path` is the whole path with its query, such as
    /// `/api/v1/tokens`.
    ///
    /// The answer is held in memory; for a copy of the store there is [`backup`](Self::backup).
    ///
    /// # Errors
    /// When method or path are none of HTTP's. What the API refuses is an answer.
    pub async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Asked> {
        let request = Request::builder().method(method).uri(path).body(Body::from(body))?;
        let response = match app::build(self.app.clone()).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await?;
        Ok(Asked { status, body: body.into() })
    }

    /// Copies the whole store into `file`, which must not be there yet; only its owner reads it.
    ///
    /// # Errors
    /// When `file` is there, or the disk does not take it; then a part of it may be left.
    pub async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        Ok(self.app.dispatcher.store().backup(file).await?)
    }
}
