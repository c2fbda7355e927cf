//! A project's secrets, by name. No answer holds a value.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use runbell_core::{Value, text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Problem};
use crate::body::{Document, Query};
use crate::state::App;

/// The prefix of internal secrets' names, in MLRun and here. The API neither makes, lists nor deletes them by name.
const INTERNAL: &str = "mlrun.";

/// The longest name of a secret: that of a key in a Kubernetes secret.
const LONGEST: usize = 253;

/// The largest size of all secrets in a request: that of a Kubernetes secret.
const LARGEST: usize = 1024 * 1024;

/// Secrets to store.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SecretsBody {
    /// `kubernetes`, as MLRun's SDK sends; the secrets are kept in the server's store all the same.
    provider: Option<String>,
    /// Values by name, each a text.
    #[schema(value_type = Object)]
    secrets: BTreeMap<String, Value>,
}

/// The names of a project's secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysBody {
    provider: &'static str,
    secret_keys: Vec<String>,
}

fn provider(given: Option<&str>) -> Answer<()> {
    match given {
        None | Some("kubernetes") => Ok(()),
        Some(_) => Err(Problem::bad("provider: must be kubernetes")),
    }
}

fn not_internal(name: &str) -> Answer<()> {
    if name.starts_with(INTERNAL) {
        let name = text::one_line(name, 80);
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("secrets.{name}: names with `{INTERNAL}` are internal"),
        ));
    }
    Ok(())
}

/// Store secrets of a project; they replace those with the same names.
#[utoipa::path(post, path = "/projects/{project}/secrets", tag = "secrets", params(("project" = String, Path)),
    request_body = SecretsBody, responses((status = 201, description = "Kept")))]
pub(crate) async fn create(State(app): State<App>, Path(project): Path<String>, body: Document) -> Answer<StatusCode> {
    let body: SecretsBody = body.fields()?;
    provider(body.provider.as_deref())?;
    let mut secrets = BTreeMap::new();
    for (name, value) in body.secrets {
        not_internal(&name)?;
        let shown = text::one_line(&name, 80);
        if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
            return Err(Problem::bad(format!("secrets.{shown}: a name must have 1 to {LONGEST} bytes")));
        }
        let Value::String(text) = value else {
            return Err(Problem::bad(format!("secrets.{shown}: must be a text, not {}", value.type_name())));
        };
        secrets.insert(name, text);
    }
    if secrets.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>() > LARGEST {
        return Err(Problem::bad(format!("secrets: must be at most {LARGEST} bytes in all")));
    }
    app.dispatcher.put_secrets(&project, &secrets).await?;
    Ok(StatusCode::CREATED)
}

/// List the names of a project's secrets.
#[utoipa::path(get, path = "/projects/{project}/secret-keys", tag = "secrets",
    params(("project" = String, Path), ("provider" = Option<String>, Query)), responses((status = 200, body = KeysBody)))]
pub(crate) async fn keys(State(app): State<App>, Path(project): Path<String>, query: Query) -> Answer<Json<KeysBody>> {
    provider(query.get("provider"))?;
    let mut secret_keys = app.dispatcher.store().secret_names(&project).await?;
    secret_keys.retain(|name| !name.starts_with(INTERNAL));
    Ok(Json(KeysBody { provider: "kubernetes", secret_keys }))
}

/// Delete secrets of a project: the named ones, or all.
#[utoipa::path(delete, path = "/projects/{project}/secrets", tag = "secrets",
    params(("project" = String, Path), ("provider" = Option<String>, Query), ("secret" = Option<Vec<String>>, Query)),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete(State(app): State<App>, Path(project): Path<String>, query: Query) -> Answer<StatusCode> {
    provider(query.get("provider"))?;
    let names = query.all("secret");
    names.iter().try_for_each(|name| not_internal(name))?;
    let names = (!names.is_empty()).then_some(names);
    app.dispatcher.store().delete_secrets(&project, names).await?;
    Ok(StatusCode::NO_CONTENT)
}
