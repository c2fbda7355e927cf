//! Access tokens, for administrators.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use runbell_store::TokenRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Detail, Problem};
use crate::body::Document;
use crate::state::App;
use crate::tokens;

/// The longest name of a token, and of a project in its list.
const LONGEST: usize = 253;

/// The most projects of a token.
const PROJECTS: usize = 1_000;

/// An access token, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenBody {
    id: String,
    name: String,
    /// Whether the token allows every action.
    admin: bool,
    /// The projects that the token may use; `*` means every project.
    projects: Vec<String>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    revoked_at: Option<String>,
}

impl From<TokenRecord> for TokenBody {
    fn from(record: TokenRecord) -> Self {
        TokenBody {
            id: record.id,
            name: record.name,
            admin: record.admin,
            projects: record.projects,
            created_at: record.created_at.to_string(),
            revoked_at: record.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// All access tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensBody {
    tokens: Vec<TokenBody>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewBody {
    /// A name for the token's use.
    name: String,
    /// The projects that the token may use; `*` means every project.
    #[serde(default)]
    projects: Vec<String>,
    /// Whether the token allows every action. Default false.
    #[serde(default)]
    admin: bool,
}

/// A new token with its secret, which is shown only once.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeBody {
    token: String,
    #[serde(flatten)]
    about: TokenBody,
}

/// List access tokens, including revoked ones.
#[utoipa::path(get, path = "/tokens", tag = "tokens", responses((status = 200, body = TokensBody)))]
pub(crate) async fn list(State(app): State<App>) -> Answer<Json<TokensBody>> {
    let tokens = app.dispatcher.store().tokens().await?;
    Ok(Json(TokensBody { tokens: tokens.into_iter().map(TokenBody::from).collect() }))
}

/// Make an access token. After the first one every request needs a token.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewBody,
    responses((status = 201, description = "Made; the token is shown only once", body = MadeBody)))]
pub(crate) async fn create(State(app): State<App>, body: Document) -> Answer<(StatusCode, Json<MadeBody>)> {
    let NewBody { name, projects, admin } = body.fields()?;
    let fits = |text: &str| !text.trim().is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
    if !fits(&name) {
        return Err(Problem::bad(format!("name: must be a text of 1 to {LONGEST} bytes")));
    }
    if projects.len() > PROJECTS || !projects.iter().all(|project| fits(project)) {
        return Err(Problem::bad(format!(
            "projects: must be at most {PROJECTS} names of 1 to {LONGEST} bytes, or `*`"
        )));
    }
    if !admin && projects.is_empty() {
        return Err(Problem::bad("projects: must name a project, or `*` for any; or admin must be true"));
    }
    if !admin && !app.tokens.are_used() {
        return Err(Problem::bad("admin: must be true for the first token; only an administrator can make more"));
    }
    let made = tokens::make(&name, admin, projects, app.clock.now());
    let (token, record) =
        made.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no randomness"))?;
    app.dispatcher.store().put_token(record.clone()).await?;
    app.tokens.load(app.dispatcher.store().as_ref()).await?;
    Ok((StatusCode::CREATED, Json(MadeBody { token, about: record.into() })))
}

/// Revoke an access token; this cannot be undone.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), (status = 404, description = "No such token", body = Detail)))]
pub(crate) async fn revoke(State(app): State<App>, Path(id): Path<String>) -> Answer<StatusCode> {
    if !app.dispatcher.store().revoke_token(&id).await? {
        return Err(Problem::not_found("the token"));
    }
    app.tokens.load(app.dispatcher.store().as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
