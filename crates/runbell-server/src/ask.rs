//! The API without a network, for the owner of the store's file.

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
    /// Calls the API as the owner of the store, without a token. `path` is the whole path with its query, such as
    /// `/api/v1/tokens`.
    ///
    /// The answer is held in memory; to copy the store, use [`backup`](Self::backup).
    ///
    /// # Errors
    /// When method or path are not valid in HTTP. A refusal of the API is an answer, not an error.
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

    /// Copies the whole store into `file`, which must not exist; only its owner can read it.
    ///
    /// # Errors
    /// When `file` exists, or the disk is full; a part of it may then remain.
    pub async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        Ok(self.app.dispatcher.store().backup(file).await?)
    }
}
