//! Owns the routes that machines watch: liveness, readiness, metrics. Of the store it asks only
//! whether it is there; never asks a conference.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::state::{ApiState, Probes, Readiness};

/// The content type of the Prometheus text format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Time for the store to show that it is there.
const STORE_TIME: Duration = Duration::from_secs(2);

/// Returns the routes `/health/live` and `/health/ready`.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

/// Returns the router of the administrators' address: `/metrics` without a token, and the health routes.
pub fn admin_router(state: ApiState) -> Router {
    routes().route("/metrics", get(admin_metrics)).with_state(state)
}

/// Answers 200 as long as the process runs its event loop.
async fn live() -> Response {
    answer(StatusCode::OK, "live\n".into())
}

/// Answers 200 while the server takes calls and requests, else 503 with the reason.
async fn ready(State(state): State<ApiState>) -> Response {
    match (state.probes.readiness)() {
        Readiness::Ready if !is_reachable(&state).await => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: datastore_unreachable\n".into(),
        ),
        Readiness::Ready => answer(StatusCode::OK, "ready\n".into()),
        Readiness::NotReady(reason) => {
            answer(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
        }
    }
}

/// Returns whether the store answers in time.
async fn is_reachable(state: &ApiState) -> bool {
    let asked = tokio::time::timeout(STORE_TIME, state.store.ping()).await;
    matches!(asked, Ok(Ok(())))
}

async fn admin_metrics(State(state): State<ApiState>) -> Response {
    metrics(&state.probes)
}

/// Returns the metrics page.
pub(crate) fn metrics(probes: &Probes) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (probes.metrics)()).into_response()
}

fn answer(status: StatusCode, text: String) -> Response {
    (
        status,
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}
