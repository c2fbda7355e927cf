//! The application: every route with its middleware.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::Problem;
use crate::state::App;
use crate::{auth, openapi, routes as r};

/// The path of the API.
const BASE: &str = "/api/v1";

/// The longest error text of the framework that is read, in bytes.
const DETAIL: usize = 16 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Builds the whole API as a service, with its description. It is one long function, because the order of routes and layers
/// is read as a whole.
pub(crate) fn build(app: App) -> Router {
    let seconds = Duration::from_secs(app.limits.request_secs);
    let in_time = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, seconds);
    let open = OpenApiRouter::new()
        .routes(routes!(r::operations::client_spec))
        .routes(routes!(r::operations::healthz))
        .routes(routes!(r::operations::readyz))
        .route_layer(in_time);
    let projects = OpenApiRouter::new()
        .routes(routes!(r::events::events))
        .routes(routes!(r::events::heartbeat))
        .routes(routes!(r::runs::store, r::runs::update, r::runs::read, r::runs::delete))
        .routes(routes!(r::runs::list))
        .routes(routes!(r::notifications::set))
        .routes(routes!(r::notifications::push))
        .routes(routes!(r::notifications::explain))
        .routes(routes!(r::notifications::task))
        .routes(routes!(r::deliveries::list))
        .routes(routes!(r::deliveries::replay_all))
        .routes(routes!(r::deliveries::show))
        .routes(routes!(r::deliveries::replay))
        .routes(routes!(r::deliveries::cancel))
        .routes(routes!(r::projects::create))
        .routes(routes!(r::projects::get, r::projects::put))
        .routes(routes!(r::secrets::create, r::secrets::delete))
        .routes(routes!(r::secrets::keys))
        .routes(routes!(r::operations::kinds))
        .routes(routes!(r::operations::metrics))
        .route_layer((in_time, from_fn_with_state(app.clone(), auth::projects)));
    let administration = OpenApiRouter::new()
        .routes(routes!(r::tokens::list, r::tokens::create))
        .routes(routes!(r::tokens::revoke))
        .route_layer((in_time, from_fn_with_state(app.clone(), auth::administrators)));
    // Copying a large store takes long; other requests do not wait for it, so it has no time limit.
    let unhurried = OpenApiRouter::new()
        .routes(routes!(r::operations::backup))
        .route_layer(from_fn_with_state(app.clone(), auth::administrators));
    let all = open.merge(projects).merge(administration).merge(unhurried);
    let (router, described) = OpenApiRouter::with_openapi(openapi::Api::openapi()).nest(BASE, all).split_for_parts();
    let described: Arc<str> = openapi::complete(described).to_json().unwrap_or_default().into();
    let describe = move || {
        let described = Arc::clone(&described);
        async move { ([("content-type", "application/json")], described.to_string()) }
    };
    router
        .route(&format!("{BASE}/openapi.json"), axum::routing::get(describe))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method")
        })
        // The first is the outermost. One tuple: a router boxes each layer that is added by itself, again for every request.
        .layer((
            SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid),
            PropagateRequestIdLayer::new(REQUEST_ID),
            TraceLayer::new_for_http().make_span_with(span),
            from_fn_with_state(app.clone(), measure),
            from_fn(explain),
            CatchPanicLayer::custom(|_panic: Box<dyn std::any::Any + Send>| {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; it is logged").into_response()
            }),
            DefaultBodyLimit::max(app.limits.body_bytes),
            from_fn_with_state(app.clone(), auth::only_this_machine),
        ))
        .with_state(app)
}

/// The log span of a request: without its query and headers, because callers put secrets there.
fn span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    // A caller chooses its request id freely, so it is cut.
    let id = runbell_core::text::one_line(id, 64);
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    tracing::debug_span!("request", method = %request.method(), route, id)
}

/// Counts requests by route, not by path: paths hold the names of projects and runs.
async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.metrics.answered(method_label(&method), route, response.status().as_u16(), started.elapsed());
    response
}

/// A method as a label. A caller may invent methods, and a label for each would fill the memory.
fn method_label(method: &Method) -> &'static str {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let labels = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.iter().zip(labels).find(|(known, _)| *known == method).map_or("other", |(_, label)| label)
}

/// Gives every error answer its `{"detail": …}`: those that the framework makes by itself are plain text, or empty.
async fn explain(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), DETAIL).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let detail = match said.trim() {
        "" => status.canonical_reason().unwrap_or("the request failed").to_lowercase(),
        said => runbell_core::text::one_line(said, 500),
    };
    Problem::new(status, detail).into_response()
}
