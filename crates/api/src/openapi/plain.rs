//! Owns the description of the routes beside `/v2`, which have no envelope. Never serves one.

use serde_json::{Map, Value, json};

use super::describe;

/// A route beside `/v2`; all of them take GET alone.
pub(super) struct Plain {
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    summary: &'static str,
    /// The media type of its answer.
    media_type: &'static str,
    /// Its answers besides 200, as the names of components and as texts.
    otherwise: &'static [(&'static str, &'static str)],
}

/// The routes beside `/v2`.
pub(super) const ROUTES: &[Plain] = &[
    Plain {
        path: "/health/live",
        id: "checkLiveness",
        summary: "Answers 200 while the process runs.",
        media_type: "text/plain",
        otherwise: &[],
    },
    Plain {
        path: "/health/ready",
        id: "checkReadiness",
        summary: "Answers 200 while the server takes calls and requests, else 503 with the reason.",
        media_type: "text/plain",
        otherwise: &[("503", "")],
    },
    Plain {
        path: "/metrics",
        id: "readMetrics",
        summary: "Prometheus metrics; here for the master account's token only.",
        media_type: "application/openmetrics-text",
        otherwise: &[
            ("401", "Unauthorized"),
            ("403", "Forbidden"),
            ("429", "TooMany"),
            ("503", "Unavailable"),
        ],
    },
    Plain {
        path: "/openapi.json",
        id: "showApiDocumentAtRoot",
        summary: "This document.",
        media_type: "application/json",
        otherwise: &[],
    },
    Plain {
        path: "/docs",
        id: "showApiPage",
        summary: "This document as a page to read and to try, which needs nothing from elsewhere.",
        media_type: "text/html",
        otherwise: &[],
    },
];

/// Returns the descriptions by path.
pub(super) fn paths() -> Map<String, Value> {
    ROUTES
        .iter()
        .map(|route| (route.path.to_owned(), describe_route(route)))
        .collect()
}

fn describe_route(route: &Plain) -> Value {
    let schema = match route.media_type {
        "application/json" => json!({ "type": "object" }),
        _ => json!({ "type": "string" }),
    };
    let mut content = Map::new();
    content.insert(route.media_type.into(), json!({ "schema": schema }));
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "Done.", "content": content }),
    );
    for (status, component) in route.otherwise {
        let response = match *component {
            "" => json!({ "description": "Not now.", "content": content }),
            name => json!({ "$ref": format!("#/components/responses/{name}") }),
        };
        responses.insert((*status).into(), response);
    }
    let is_open = !route.otherwise.iter().any(|(status, _)| *status == "401");
    let security = if is_open { json!([]) } else { describe::security() };
    json!({ "get": {
        "operationId": route.id,
        "summary": route.summary,
        "tags": ["server"],
        "security": security,
        "responses": responses,
    } })
}
