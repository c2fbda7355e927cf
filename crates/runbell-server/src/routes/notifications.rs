//! A run's notifications: register, push, explain.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use runbell_core::{Timestamp, Value, shown_detail};
use runbell_runtime::Explained;
use runbell_store::RunKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Detail, Problem};
use crate::body::{Document, Query};
use crate::state::App;

/// The longest wait of a push for the first attempt of each of its deliveries.
const PUSH: Duration = Duration::from_secs(60);

/// A run's notifications.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NotificationsBody {
    /// The whole list; an empty list removes all notifications.
    #[schema(value_type = Vec<Object>)]
    notifications: Value,
}

/// Replace a run's registered notifications.
///
/// An equal list changes nothing. Another list supersedes the unfinished deliveries of the old one.
#[utoipa::path(put, path = "/projects/{project}/runs/{uid}/notifications", tag = "notifications",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)), request_body = NotificationsBody,
    responses((status = 200, description = "Registered", body = Object), (status = 404, description = "No such run", body = Detail)))]
pub(crate) async fn set(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
    body: Document,
) -> Answer<Json<serde_json::Value>> {
    let key = RunKey { project, uid, iteration: query.iteration()? };
    let body: NotificationsBody = body.fields()?;
    app.dispatcher.set_notifications(&key, &body.notifications).await?;
    Ok(Json(serde_json::json!({})))
}

/// Work that goes on after the answer, in MLRun's shape.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskBody {
    /// Always `BackgroundTask`.
    kind: &'static str,
    metadata: TaskMetadata,
    /// Empty.
    #[schema(value_type = Object)]
    spec: serde_json::Map<String, serde_json::Value>,
    status: TaskStatus,
}

/// The task's name, project and time.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskMetadata {
    name: String,
    project: String,
    /// The time at which the task began.
    #[schema(format = "date-time")]
    created: String,
}

/// The state of the task.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskStatus {
    /// `running` or `succeeded`.
    state: &'static str,
    /// Always null: failures are found in the deliveries.
    error: Option<String>,
}

fn task_body(project: &str, name: &str, created: Timestamp, is_done: bool) -> TaskBody {
    TaskBody {
        kind: "BackgroundTask",
        metadata: TaskMetadata { name: name.to_owned(), project: project.to_owned(), created: created.to_string() },
        spec: serde_json::Map::new(),
        status: TaskStatus { state: if is_done { "succeeded" } else { "running" }, error: None },
    }
}

/// Send a run's registered notifications for its current state.
///
/// Finished deliveries are not repeated. The task succeeds once each delivery was attempted, or after a minute.
#[utoipa::path(post, path = "/projects/{project}/runs/{uid}/push-notifications", tag = "notifications",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    responses((status = 200, description = "No notification is sent", body = TaskBody),
        (status = 202, description = "The notifications are being sent; poll the task", body = TaskBody),
        (status = 404, description = "No such run", body = Detail)))]
pub(crate) async fn push(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
) -> Answer<(StatusCode, Json<TaskBody>)> {
    let key = RunKey { project: project.clone(), uid, iteration: query.iteration()? };
    let taken = app.dispatcher.push(&key).await?;
    let name = uuid::Uuid::new_v4().to_string();
    let is_done = taken.deliveries.is_empty();
    let task = app.dispatcher.store().put_task(&project, &name, taken.deliveries).await?;
    let status = if is_done { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(task_body(&project, &name, task.created_at, is_done))))
}

/// Read the state of a background task.
#[utoipa::path(get, path = "/projects/{project}/background-tasks/{name}", tag = "notifications",
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TaskBody), (status = 404, description = "No such task", body = Detail)))]
pub(crate) async fn task(
    State(app): State<App>,
    Path((project, name)): Path<(String, String)>,
) -> Answer<Json<TaskBody>> {
    let task = app.dispatcher.store().task(&project, &name).await?.ok_or_else(|| Problem::not_found("the task"))?;
    let is_done = task.untried == 0 || task.age >= PUSH;
    Ok(Json(task_body(&project, &name, task.created_at, is_done)))
}

/// The decisions about a run's notifications, with their reasons.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplainBody {
    /// The run.
    uid: String,
    /// The run's current state.
    state: String,
    /// The decision about each notification if it is pushed now.
    notifications: Vec<ExplainedBody>,
    /// The past decisions, the latest first.
    history: Vec<DecisionBody>,
}

/// The present decision about a notification.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplainedBody {
    notification: String,
    kind: String,
    /// `send`, `skip`, or `error` when its configuration is invalid.
    verdict: &'static str,
    /// The rule that decided; for an error, its kind.
    reason: String,
    /// Details, if there are any.
    detail: Option<String>,
}

/// The decision about a notification.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionBody {
    notification: String,
    /// The state the run entered.
    state: String,
    /// The rule that decided.
    reason: String,
    /// Details, if there are any.
    detail: Option<String>,
    /// The time of the decision.
    #[schema(format = "date-time")]
    at: String,
    /// The delivery; null after a skip, and once the delivery is pruned.
    delivery: Option<FollowedBody>,
}

/// The delivery after a decision to send.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowedBody {
    id: i64,
    /// `pending`, `leased`, `retry`, `sent`, `failed` or `superseded`.
    status: &'static str,
    /// The reason of the last failed attempt.
    reason: Option<String>,
}

/// Explain why a run's notifications were or were not sent.
#[utoipa::path(get, path = "/projects/{project}/runs/{uid}/explain", tag = "notifications",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    responses((status = 200, body = ExplainBody), (status = 404, description = "No such run", body = Detail)))]
pub(crate) async fn explain(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
) -> Answer<Json<ExplainBody>> {
    let key = RunKey { project, uid, iteration: query.iteration()? };
    let Explained { state, now, history } = app.dispatcher.explain(&key).await?;
    let notifications = now.into_iter().map(|(explanation, kind)| ExplainedBody {
        notification: explanation.notification,
        kind,
        verdict: explanation.verdict,
        reason: explanation.reason,
        detail: explanation.detail,
    });
    let history = history.into_iter().map(|decision| DecisionBody {
        notification: decision.notification,
        state: decision.state.to_string(),
        reason: decision.reason,
        detail: shown_detail(decision.detail.as_deref(), decision.why.as_deref()),
        at: decision.at.to_string(),
        delivery: decision.delivery.map(|(id, status, reason)| FollowedBody { id, status: status.as_str(), reason }),
    });
    Ok(Json(ExplainBody { uid: key.uid, state, notifications: notifications.collect(), history: history.collect() }))
}
