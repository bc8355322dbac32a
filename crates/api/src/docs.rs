//! Owns the description of the interface for people: a page that needs nothing from elsewhere, and the document it shows.
//! Never describes an operation itself.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::openapi;
use crate::state::ApiState;

/// The page: markup, style and script in one.
const PAGE: &str = include_str!("../docs/page.html");

/// What the page may do: run itself and ask this server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the routes `/docs` and `/openapi.json`.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/", get(page))
        .route("/openapi.json", get(document))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(PAGE)).into_response()
}

async fn document(request: Request) -> Response {
    let tag = format!("\"{}\"", openapi::tag());
    let known = crate::dispatch::list_header(request.headers(), &header::IF_NONE_MATCH);
    let headers = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    if known.contains(&tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (headers, kind, openapi::document().to_string()).into_response()
}
