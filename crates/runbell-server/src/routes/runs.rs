//! Runs, as MLRun's SDK stores and reads them.

use axum::Json;
use axum::extract::{Path, State};
use runbell_core::{Map, Value, value};
use runbell_store::{RunFilter, RunKey, RunRecord, StoredRun};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Detail, Problem};
use crate::body::{Document, Query};
use crate::page::{Page, Pagination};
use crate::state::App;

/// The most runs that are read for one page with a filter on labels.
const LOOKED_THROUGH: usize = 10_000;

/// One run.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunBody {
    /// The run's document.
    #[schema(value_type = Object)]
    data: Value,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunsBody {
    /// The runs' documents, the youngest first.
    #[schema(value_type = Vec<Object>)]
    runs: Vec<Value>,
    pagination: Pagination,
}

fn key(project: String, uid: String, query: &Query) -> Answer<RunKey> {
    Ok(RunKey { project, uid, iteration: query.iteration()? })
}

/// Store a run.
///
/// `spec.notifications` in the document are redacted and not registered. A run with registered notifications that enters
/// another state is a transition.
#[utoipa::path(post, path = "/projects/{project}/runs/{uid}", tag = "runs",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    request_body(content = Object, description = "The run's document"),
    responses((status = 200, description = "Stored", body = Object), (status = 409, description = "The run has ended", body = Detail)))]
pub(crate) async fn store(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
    body: Document,
) -> Answer<Json<serde_json::Value>> {
    let run = Value::Map(body.object()?);
    app.dispatcher.store_run(&key(project, uid, &query)?, run).await?;
    Ok(Json(serde_json::json!({})))
}

/// Change fields of a run, each named by its dotted path.
#[utoipa::path(patch, path = "/projects/{project}/runs/{uid}", tag = "runs",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    request_body(content = Object, description = "Such as {\"status.state\": \"completed\"}"),
    responses((status = 200, description = "Changed", body = Object), (status = 404, description = "No such run", body = Detail),
        (status = 409, description = "The run has ended", body = Detail)))]
pub(crate) async fn update(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
    body: Document,
) -> Answer<Json<serde_json::Value>> {
    let changes: Map = body.object()?;
    app.dispatcher.update_run(&key(project, uid, &query)?, &changes).await?;
    Ok(Json(serde_json::json!({})))
}

/// Read a run.
///
/// The document has the registered notifications, and the outcome of each in `status.notifications`; `format=standard` leaves
/// them out.
#[utoipa::path(get, path = "/projects/{project}/runs/{uid}", tag = "runs",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query),
        ("format" = Option<String>, Query, description = "full, notifications or standard")),
    responses((status = 200, body = RunBody), (status = 404, description = "No such run", body = Detail)))]
pub(crate) async fn read(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
) -> Answer<Json<RunBody>> {
    let key = key(project, uid, &query)?;
    let stored = app.dispatcher.store().run(&key).await?.ok_or_else(|| Problem::not_found("the run"))?;
    let enriched = match query.get("format") {
        None | Some("full" | "notifications") => true,
        Some("standard") => false,
        Some(_) => return Err(Problem::bad("format: must be full, notifications or standard")),
    };
    Ok(Json(RunBody { data: shown(&app, &key, &stored, enriched).await? }))
}

async fn shown(app: &App, key: &RunKey, stored: &StoredRun, enriched: bool) -> Answer<Value> {
    if enriched && !stored.notifications.is_empty() {
        let latest = app.dispatcher.store().latest(key).await?;
        return Ok(app.dispatcher.shown(stored, &latest)?);
    }
    value::read(&stored.document).map_err(|_| Problem::not_found("a readable document of the run"))
}

/// Delete a run, with its notifications and deliveries.
#[utoipa::path(delete, path = "/projects/{project}/runs/{uid}", tag = "runs",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    responses((status = 200, description = "Deleted, or not found", body = Object)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
) -> Answer<Json<serde_json::Value>> {
    app.dispatcher.store().delete_run(&key(project, uid, &query)?).await?;
    Ok(Json(serde_json::json!({})))
}

/// List runs, the youngest first.
#[utoipa::path(get, path = "/projects/{project}/runs", tag = "runs",
    params(("project" = String, Path), ("name" = Option<String>, Query, description = "`~part` for a part of the name"),
        ("uid" = Option<Vec<String>>, Query), ("label" = Option<Vec<String>>, Query, description = "`name` or `name=value`"),
        ("states" = Option<Vec<String>>, Query), ("state" = Option<String>, Query),
        ("iter" = Option<bool>, Query, description = "Whether child runs are listed; default true"),
        ("with-notifications" = Option<bool>, Query, description = "Only runs with registered notifications, and return them"),
        ("start_time_from" = Option<String>, Query), ("start_time_to" = Option<String>, Query),
        ("last_update_time_from" = Option<String>, Query), ("last_update_time_to" = Option<String>, Query),
        ("page" = Option<u64>, Query), ("page-size" = Option<u64>, Query), ("page-token" = Option<String>, Query)),
    responses((status = 200, body = RunsBody)))]
pub(crate) async fn list(State(app): State<App>, Path(project): Path<String>, query: Query) -> Answer<Json<RunsBody>> {
    let page = Page::of(query, app.limits.page_size)?;
    let query = &page.query;
    let labels = query.all("label");
    let with_notifications = query.flag("with-notifications")?.unwrap_or(false);
    let mut filter = RunFilter {
        project,
        uids: query.all("uid"),
        name: query.text("name")?,
        states: [query.all("states"), query.all("state")].concat(),
        top_only: !query.flag("iter")?.unwrap_or(true),
        with_notifications,
        started_from: query.time("start_time_from")?,
        started_to: query.time("start_time_to")?,
        updated_from: query.time("last_update_time_from")?,
        updated_to: query.time("last_update_time_to")?,
        before: page.before,
    };
    if filter.uids.len() + filter.states.len() + labels.len() > app.limits.page_size {
        return Err(Problem::bad(format!("uid, states, label: at most {} in all", app.limits.page_size)));
    }
    // The query asks for one more than wanted, to know whether there is more.
    let wanted = page.size * (page.skip + 1) + 1;
    let mut found: Vec<RunRecord> = Vec::new();
    let mut looked_through = 0;
    while found.len() < wanted && looked_through < LOOKED_THROUGH {
        let batch = app.dispatcher.store().runs(&filter, wanted).await?;
        let Some(last) = batch.last() else { break };
        filter.before = Some(last.id);
        let all_seen = batch.len() < wanted;
        looked_through += batch.len();
        found.extend(batch.into_iter().filter(|record| labels.iter().all(|label| has_label(record, label))));
        if all_seen {
            break;
        }
    }
    let has_more = found.len() >= wanted;
    let start = (page.skip * page.size).min(found.len());
    let page_of = found.get(start..(start + page.size).min(found.len())).unwrap_or_default();
    let ended_early = !has_more && looked_through >= LOOKED_THROUGH;
    let next = match (has_more, ended_early) {
        (true, _) => page_of.last().map(|record| record.id),
        (false, true) => filter.before,
        (false, false) => None,
    };
    let mut runs = Vec::with_capacity(page_of.len());
    for record in page_of {
        runs.push(shown(&app, &record.key, &record.run, with_notifications).await?);
    }
    Ok(Json(RunsBody { runs, pagination: page.next(next) }))
}

/// Whether a run has a label: `name`, or `name=value`.
fn has_label(record: &RunRecord, label: &str) -> bool {
    let Ok(document) = value::read(&record.run.document) else { return false };
    let (name, wanted) = label.split_once('=').map_or((label, None), |(name, value)| (name, Some(value)));
    match (document.at(&["metadata", "labels", name]), wanted) {
        (Some(_), None) => true,
        (Some(Value::String(text)), Some(wanted)) => text == wanted,
        (Some(other), Some(wanted)) => other.to_json() == wanted,
        (None, _) => false,
    }
}
