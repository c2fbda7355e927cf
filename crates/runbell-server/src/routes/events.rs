//! Transitions and heartbeats of runs.

use axum::Json;
use axum::extract::{Path, State};
use runbell_core::{RunState, Value, text, time_of};
use runbell_runtime::{Event, Taken};
use runbell_store::RunKey;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Detail, Problem};
use crate::body::{Document, Query};
use crate::state::App;

/// One transition of a run.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it describes the body; the run is large, so it is moved out of the document, not decoded"
)]
pub(crate) struct EventBody {
    /// The run's document: metadata, spec, status.
    #[schema(value_type = Object)]
    run: Value,
    /// The documents of the workflow's steps; left out, the run has none.
    #[schema(value_type = Option<Vec<Object>>)]
    steps: Option<Value>,
    /// The run's new list of notifications; left out, the registered list is used.
    #[schema(value_type = Option<Vec<Object>>)]
    notifications: Option<Value>,
    /// The state that the run entered; left out, the state in the document.
    state: Option<String>,
    /// The time of the transition; left out, the time in the document.
    #[schema(format = "date-time")]
    at: Option<String>,
}

/// The result of an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct TakenBody {
    /// The run's version after the event.
    version: i64,
    /// The ids of the deliveries that this event made; those of an earlier report of the same event are not listed.
    deliveries: Vec<i64>,
    /// The decision about each notification.
    verdicts: Vec<VerdictBody>,
}

/// The decision about a notification.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// The notification's name.
    notification: String,
    /// The rule that decided.
    reason: &'static str,
}

impl From<Taken> for TakenBody {
    fn from(taken: Taken) -> Self {
        let verdict = |(notification, reason)| VerdictBody { notification, reason };
        TakenBody {
            version: taken.version,
            deliveries: taken.deliveries,
            verdicts: taken.verdicts.into_iter().map(verdict).collect(),
        }
    }
}

/// Report that a run entered a state.
///
/// The run's version, its verdicts and its deliveries are stored before the answer. Reporting an event again changes nothing.
#[utoipa::path(post, path = "/projects/{project}/runs/{uid}/events", tag = "events",
    params(("project" = String, Path), ("uid" = String, Path)), request_body = EventBody,
    responses((status = 200, body = TakenBody), (status = 409, description = "The run has ended", body = Detail)))]
pub(crate) async fn events(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    body: Document,
) -> Answer<Json<TakenBody>> {
    let mut body = body.object()?;
    const KNOWN: [&str; 5] = ["run", "steps", "notifications", "state", "at"];
    // A misspelt `notifications` would silently notify no one.
    if let Some(unknown) = body.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let unknown = text::one_line(unknown, 40);
        return Err(Problem::bad(format!("{unknown}: is not known; known: {}", KNOWN.join(", "))));
    }
    let mut take = |field: &str| body.get_mut(field).map(std::mem::take).filter(|value| !matches!(value, Value::Null));
    let run = take("run").ok_or_else(|| Problem::bad("run: is required"))?;
    let steps = match take("steps") {
        None => Vec::new(),
        Some(Value::List(steps)) if steps.iter().all(|step| step.as_map().is_some()) => steps,
        Some(_) => return Err(Problem::bad("steps: must be a list of objects, the documents of a workflow's steps")),
    };
    let notifications = take("notifications");
    let state = take("state").map(|word| state_of(word.as_str().unwrap_or_default())).transpose()?;
    let wrong = || Problem::bad("at: must be a time such as 2026-01-31T12:00:00Z");
    let at = take("at").map(|at| time_of(at.as_str().unwrap_or_default()).ok_or_else(wrong)).transpose()?;
    let taken = app.dispatcher.take_in(Event { project, uid, run, steps, notifications, state, at }).await?;
    Ok(Json(taken.into()))
}

/// A state by its word.
pub(crate) fn state_of(word: &str) -> Answer<RunState> {
    word.parse().map_err(|_| {
        let known: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad(format!("state: must be one of {}", known.join(", ")))
    })
}

/// Report that a run is alive.
#[utoipa::path(post, path = "/projects/{project}/runs/{uid}/heartbeat", tag = "events",
    params(("project" = String, Path), ("uid" = String, Path), ("iter" = Option<u64>, Query)),
    responses((status = 200, description = "Noted", body = Object), (status = 404, description = "No such run", body = Detail)))]
pub(crate) async fn heartbeat(
    State(app): State<App>,
    Path((project, uid)): Path<(String, String)>,
    query: Query,
) -> Answer<Json<serde_json::Value>> {
    let key = RunKey { project, uid, iteration: query.iteration()? };
    if app.dispatcher.store().heartbeat(&key).await? {
        return Ok(Json(serde_json::json!({})));
    }
    Err(Problem::not_found("the run"))
}
