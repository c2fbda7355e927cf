//! Deliveries: list, show with attempts, replay, cancel.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use runbell_store::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::state_of;
use crate::answer::{Answer, Detail, Problem};
use crate::body::{Document, Query};
use crate::page::{Page, Pagination};
use crate::state::App;

/// The most deliveries that one request replays.
const REPLAYED: usize = 10_000;

/// A delivery.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryBody {
    id: i64,
    /// Sent as `webhook-id`, `Message-ID` or a comment's marker: the same key means the same news.
    key: String,
    project: String,
    /// The run's uid; empty for a delivery without a run, such as an alarm.
    uid: String,
    iteration: i64,
    notification: String,
    kind: String,
    /// The state the run entered.
    state: String,
    /// `pending`, `leased`, `retry`, `sent`, `failed` or `superseded`.
    status: &'static str,
    attempt_count: u32,
    /// The reason of the last failed attempt.
    reason: Option<String>,
    /// The time at which a waiting delivery is due.
    #[schema(format = "date-time")]
    due_at: Option<String>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
}

impl From<DeliveryRecord> for DeliveryBody {
    fn from(record: DeliveryRecord) -> Self {
        DeliveryBody {
            id: record.id,
            key: record.key,
            project: record.project,
            uid: record.run.as_ref().map(|run| run.uid.clone()).unwrap_or_default(),
            iteration: record.run.map_or(0, |run| run.iteration),
            notification: record.notification,
            kind: record.kind,
            state: record.state.to_string(),
            status: record.status.as_str(),
            attempt_count: record.attempts,
            reason: record.reason,
            due_at: record.due_at.map(|at| at.to_string()),
            created_at: record.created_at.to_string(),
            finished_at: record.finished_at.map(|at| at.to_string()),
        }
    }
}

/// An attempt.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptBody {
    number: u32,
    #[schema(format = "date-time")]
    started_at: String,
    #[schema(format = "date-time")]
    ended_at: String,
    /// `sent`, `retry`, `failed`, or `lost` when the process ended during it.
    outcome: String,
    /// The error's reason, or the target's answer.
    reason: String,
    /// Whether a failed message may have arrived.
    ambiguous: bool,
}

impl From<AttemptRecord> for AttemptBody {
    fn from(record: AttemptRecord) -> Self {
        AttemptBody {
            number: record.number,
            started_at: record.started_at.to_string(),
            ended_at: record.ended_at.to_string(),
            outcome: record.outcome,
            reason: record.reason,
            ambiguous: record.ambiguous,
        }
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveriesBody {
    /// Deliveries, the youngest first.
    deliveries: Vec<DeliveryBody>,
    pagination: Pagination,
}

/// One delivery.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneBody {
    data: DeliveryBody,
}

/// One delivery with its attempts.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownBody {
    data: Shown,
}

/// A delivery with its attempts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shown {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// The attempts, the oldest first.
    attempts: Vec<AttemptBody>,
}

fn status_of(word: &str) -> Answer<DeliveryState> {
    DeliveryState::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| {
        let known: Vec<&str> = DeliveryState::ALL.iter().map(|known| known.as_str()).collect();
        Problem::bad(format!("status: must be one of {}", known.join(", ")))
    })
}

/// List deliveries, the youngest first.
#[utoipa::path(get, path = "/projects/{project}/deliveries", tag = "deliveries",
    params(("project" = String, Path), ("uid" = Option<String>, Query), ("notification" = Option<String>, Query),
        ("kind" = Option<String>, Query), ("status" = Option<String>, Query), ("state" = Option<String>, Query),
        ("page" = Option<u64>, Query), ("page-size" = Option<u64>, Query), ("page-token" = Option<String>, Query)),
    responses((status = 200, body = DeliveriesBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    Path(project): Path<String>,
    query: Query,
) -> Answer<Json<DeliveriesBody>> {
    let page = Page::of(query, app.limits.page_size)?;
    let query = &page.query;
    let filter = DeliveryFilter {
        project: Some(project),
        uid: query.text("uid")?,
        notification: query.text("notification")?,
        kind: query.text("kind")?,
        state: query.get("state").map(state_of).transpose()?,
        status: query.get("status").map(status_of).transpose()?,
        before: page.before,
    };
    let skipped = page.skip * page.size;
    let mut found = app.dispatcher.store().deliveries(&filter, skipped + page.size + 1).await?;
    let has_more = found.len() > skipped + page.size;
    found.truncate(skipped + page.size);
    let shown: Vec<DeliveryRecord> = found.into_iter().skip(skipped).collect();
    let next = shown.last().filter(|_| has_more).map(|last| last.id);
    let deliveries = shown.into_iter().map(DeliveryBody::from).collect();
    Ok(Json(DeliveriesBody { deliveries, pagination: page.next(next) }))
}

/// Show a delivery with its attempts.
#[utoipa::path(get, path = "/projects/{project}/deliveries/{id}", tag = "deliveries",
    params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 200, body = ShownBody), (status = 404, description = "No such delivery", body = Detail)))]
pub(crate) async fn show(
    State(app): State<App>,
    Path((project, id)): Path<(String, String)>,
) -> Answer<Json<ShownBody>> {
    let (delivery, attempts) = one(&app, &project, number(&id)?).await?;
    let attempts = attempts.into_iter().map(AttemptBody::from).collect();
    Ok(Json(ShownBody { data: Shown { delivery: delivery.into(), attempts } }))
}

async fn one(app: &App, project: &str, id: i64) -> Answer<(DeliveryRecord, Vec<AttemptRecord>)> {
    let found = app.dispatcher.store().delivery(project, id).await?;
    found.ok_or_else(|| Problem::not_found("the delivery"))
}

fn number(id: &str) -> Answer<i64> {
    id.parse().map_err(|_| Problem::bad("id: must be a whole number"))
}

/// Options of a replay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// Whether to use a new key, so that the target does not drop the message as a repetition. Default false.
    #[schema(value_type = Option<bool>)]
    new_key: bool,
}

/// Replay a finished delivery.
#[utoipa::path(post, path = "/projects/{project}/deliveries/{id}/replay", tag = "deliveries",
    params(("project" = String, Path), ("id" = i64, Path)), request_body = Option<ReplayBody>,
    responses((status = 200, description = "The delivery is due", body = OneBody), (status = 404, description = "No such delivery", body = Detail),
        (status = 409, description = "The delivery is not finished", body = Detail)))]
pub(crate) async fn replay(
    State(app): State<App>,
    Path((project, id)): Path<(String, String)>,
    body: Document,
) -> Answer<Json<OneBody>> {
    let (id, ReplayBody { new_key }) = (number(&id)?, body.optional_fields()?);
    let made = app.dispatcher.store().replay(&project, id, new_key).await?;
    let Some(made) = made else {
        let (found, _) = one(&app, &project, id).await?;
        return Err(conflict(format!(
            "the delivery is {}; only a finished one can be replayed",
            found.status.as_str()
        )));
    };
    Ok(Json(OneBody { data: one(&app, &project, made).await?.0.into() }))
}

fn conflict(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

/// Filters and options of a replay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayAllBody {
    /// `failed`, `sent` or `superseded`. Default `failed`.
    status: Option<String>,
    uid: Option<String>,
    notification: Option<String>,
    kind: Option<String>,
    /// The state the run entered.
    state: Option<String>,
    /// Whether to use new keys. Default false.
    #[schema(value_type = Option<bool>)]
    new_key: bool,
}

/// The number of replayed deliveries.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReplayedBody {
    replayed: usize,
}

/// Replay finished deliveries: the youngest 10,000 that match.
#[utoipa::path(post, path = "/projects/{project}/deliveries/replay", tag = "deliveries",
    params(("project" = String, Path)), request_body = Option<ReplayAllBody>,
    responses((status = 200, body = ReplayedBody)))]
pub(crate) async fn replay_all(
    State(app): State<App>,
    Path(project): Path<String>,
    body: Document,
) -> Answer<Json<ReplayedBody>> {
    let body: ReplayAllBody = body.optional_fields()?;
    let status = body.status.as_deref().map_or(Ok(DeliveryState::Failed), status_of)?;
    if !status.is_finished() {
        return Err(Problem::bad("status: must be failed, sent or superseded; unfinished deliveries need no replay"));
    }
    let filter = DeliveryFilter {
        project: Some(project),
        uid: body.uid,
        notification: body.notification,
        kind: body.kind,
        state: body.state.as_deref().map(state_of).transpose()?,
        status: Some(status),
        before: None,
    };
    let made = app.dispatcher.store().replay_all(&filter, REPLAYED, body.new_key).await?;
    Ok(Json(ReplayedBody { replayed: made.len() }))
}

/// Cancel a waiting delivery.
#[utoipa::path(post, path = "/projects/{project}/deliveries/{id}/cancel", tag = "deliveries",
    params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 200, description = "The delivery is cancelled", body = OneBody), (status = 404, description = "No such delivery", body = Detail),
        (status = 409, description = "The delivery is not waiting", body = Detail)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Path((project, id)): Path<(String, String)>,
) -> Answer<Json<OneBody>> {
    let id = number(&id)?;
    let is_cancelled = app.dispatcher.store().cancel(&project, id).await?;
    let (found, _) = one(&app, &project, id).await?;
    if !is_cancelled {
        return Err(conflict(format!(
            "the delivery is {}; only a waiting one can be cancelled",
            found.status.as_str()
        )));
    }
    Ok(Json(OneBody { data: found.into() }))
}
