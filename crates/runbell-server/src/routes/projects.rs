//! Projects, as MLRun's SDK makes and reads them. The server itself needs none: it stores them for the SDK.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use runbell_core::{Map, Value, text, value};
use runbell_store::RunFilter;

use crate::answer::{Answer, Detail, Problem};
use crate::body::Document;
use crate::state::App;
use crate::tokens::Caller;

/// The longest name of a project.
const LONGEST: usize = 253;

/// Make a project.
#[utoipa::path(post, path = "/projects", tag = "projects",
    request_body(content = Object, description = "The project's document; `metadata.name` is required"),
    responses((status = 201, description = "Made", body = Object), (status = 409, description = "The project exists", body = Detail)))]
pub(crate) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Document,
) -> Answer<(StatusCode, Json<Value>)> {
    let document = body.object()?;
    let name = document.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    let name = name.ok_or_else(|| Problem::bad("metadata.name: is required"))?.to_owned();
    let fits = !name.is_empty() && name.len() <= LONGEST && !name.starts_with('_');
    if !fits || name.chars().any(|character| character.is_control() || character == '/') {
        return Err(Problem::bad(format!(
            "metadata.name: must be a text of 1 to {LONGEST} bytes without slashes and control characters, and not begin with \
             an underscore"
        )));
    }
    if !caller.may_use(&name) {
        let name = text::one_line(&name, 80);
        return Err(Problem::new(StatusCode::FORBIDDEN, format!("the token is not for project `{name}`")));
    }
    if app.dispatcher.store().project(&name).await?.is_some() {
        return Err(Problem::new(StatusCode::CONFLICT, "the project exists already"));
    }
    Ok((StatusCode::CREATED, Json(keep(&app, &name, document).await?)))
}

/// Store a project's document.
#[utoipa::path(put, path = "/projects/{project}", tag = "projects", params(("project" = String, Path)),
    request_body(content = Object, description = "The project's document"),
    responses((status = 200, description = "Kept", body = Object)))]
pub(crate) async fn put(State(app): State<App>, Path(project): Path<String>, body: Document) -> Answer<Json<Value>> {
    Ok(Json(keep(&app, &project, body.object()?).await?))
}

async fn keep(app: &App, name: &str, mut document: Map) -> Answer<Value> {
    match document.get_mut("metadata") {
        Some(Value::Map(metadata)) => {
            if metadata.get("name").is_some_and(|given| given.as_str() != Some(name)) {
                return Err(Problem::bad("metadata.name: must be the name in the path"));
            }
            metadata.insert("name".to_owned(), Value::from(name));
        }
        Some(Value::Null) | None => {
            let metadata = Map::from_iter([("name".to_owned(), Value::from(name))]);
            document.insert("metadata".to_owned(), metadata.into());
        }
        Some(_) => return Err(Problem::bad("metadata: must be an object")),
    }
    // MLRun's SDK waits for a project to be online.
    match document.get_mut("status") {
        Some(Value::Map(status)) => {
            status.insert("state".to_owned(), Value::from("online"));
        }
        _ => {
            let status = Map::from_iter([("state".to_owned(), Value::from("online"))]);
            document.insert("status".to_owned(), status.into());
        }
    }
    let kept = app.dispatcher.clean(document.into());
    app.dispatcher.store().put_project(name, &kept.to_json()).await?;
    Ok(kept)
}

/// Read a project. A project that was never made but has runs is found too.
#[utoipa::path(get, path = "/projects/{project}", tag = "projects", params(("project" = String, Path)),
    responses((status = 200, description = "The project's document", body = Object),
        (status = 404, description = "No such project", body = Detail)))]
pub(crate) async fn get(State(app): State<App>, Path(project): Path<String>) -> Answer<Json<Value>> {
    let store = app.dispatcher.store();
    if let Some(document) = store.project(&project).await? {
        let document = value::read(&document).map_err(|_| Problem::not_found("a readable document of the project"))?;
        return Ok(Json(document));
    }
    let has_runs = RunFilter { project: project.clone(), ..RunFilter::default() };
    if store.runs(&has_runs, 1).await?.is_empty() {
        return Err(Problem::not_found("the project"));
    }
    let document = serde_json::json!({ "kind": "project", "metadata": { "name": project }, "spec": {}, "status": { "state": "online" } });
    Ok(Json(document.into()))
}
