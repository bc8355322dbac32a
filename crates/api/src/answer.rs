//! Owns turning what an operation returns into an HTTP response: the envelope, the headers, 304. Never decides what is
//! returned.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use crate::download::Download;
use crate::rate_limit::Budget;
use crate::timestamp::iso8601;

/// Sent with every response to a browser and with every error.
const CORS_HEADERS: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "content-type, depth, user-agent, x-http-method-override, x-file-size, x-requested-with, if-modified-since, \
         x-file-name, cache-control, x-auth-token, x-kazoo-cluster-id, if-match",
    ),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "content-type, x-auth-token, x-request-id, x-kazoo-cluster-id, location, etag",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// What an operation returns.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) data: Value,
    /// The error id, for an error.
    pub(crate) error: Option<&'static str>,
    /// The document's revision.
    pub(crate) revision: Option<String>,
    /// The entity tag without quotes.
    pub(crate) etag: Option<String>,
    /// Where a document was made.
    pub(crate) location: Option<String>,
    /// Live data beside the document.
    pub(crate) metadata: Option<Value>,
    /// Which part of a list this is.
    pub(crate) page: Option<PageInfo>,
    /// A token made by a login.
    pub(crate) new_token: Option<String>,
    /// Sent as it is, without an envelope.
    pub(crate) bare: bool,
    /// Which bytes of a file this is, as `Content-Range` says it.
    pub(crate) content_range: Option<String>,
    /// Bytes of a file, sent in the place of the envelope.
    pub(crate) download: Option<Download>,
}

/// Which part of a list an answer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageInfo {
    pub(crate) page_size: usize,
    pub(crate) start_key: Option<String>,
    pub(crate) next_start_key: Option<String>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, data: Value) -> Answer {
        Answer {
            status,
            data,
            error: None,
            revision: None,
            etag: None,
            location: None,
            metadata: None,
            page: None,
            new_token: None,
            bare: false,
            content_range: None,
            download: None,
        }
    }

    pub(crate) fn ok(data: impl Into<Value>) -> Answer {
        Answer::new(StatusCode::OK, data.into())
    }

    /// Returns the answer to an action that was taken.
    pub(crate) fn accepted() -> Answer {
        Answer::new(StatusCode::ACCEPTED, "ok".into())
    }
}

/// What is known about a request besides its answer. Filled in as the request is understood.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) request_id: String,
    pub(crate) node: String,
    pub(crate) version: String,
    /// Seconds since 1970.
    pub(crate) unix: u64,
    /// The token that was good, once it was found so.
    pub(crate) token: Option<String>,
    pub(crate) budget: Option<Budget>,
    pub(crate) pretty: bool,
    /// The request came from a browser's page.
    pub(crate) cross_origin: bool,
    /// The methods of the path, as an `Allow` header lists them.
    pub(crate) allow: String,
    /// The request reads: its answer carries an entity tag and may be 304.
    pub(crate) reads: bool,
    pub(crate) if_none_match: Vec<String>,
}

impl Frame {
    /// Turns an answer into the response.
    pub(crate) fn respond(&self, mut answer: Answer) -> Response {
        let download = answer.download.take();
        let etag = answer.etag.as_ref().map(|tag| format!("\"{tag}\""));
        let unchanged = self.reads && etag.as_ref().is_some_and(|tag| self.knows(tag));
        let mut response = if unchanged {
            StatusCode::NOT_MODIFIED.into_response()
        } else if let Some(download) = download {
            download.respond(answer.status)
        } else {
            let text = self.text(&answer);
            (answer.status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
        };
        let headers = response.headers_mut();
        set(headers, HeaderName::from_static("x-request-id"), &self.request_id);
        if let Some(etag) = etag {
            set(headers, header::ETAG, &etag);
        }
        if self.reads {
            set(headers, header::CACHE_CONTROL, "no-cache");
        }
        if let Some(location) = &answer.location {
            set(headers, header::LOCATION, location);
        }
        if let Some(range) = answer.content_range.as_ref().filter(|_| !unchanged) {
            set(headers, header::CONTENT_RANGE, range);
        }
        if answer.status == StatusCode::METHOD_NOT_ALLOWED {
            set(headers, header::ALLOW, &self.allow);
        }
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            set(headers, header::RETRY_AFTER, "5");
        }
        if self.cross_origin || answer.error.is_some() {
            self.set_cors(headers);
        }
        response
    }

    /// Returns the response to OPTIONS.
    pub(crate) fn options(&self) -> Response {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        set(headers, HeaderName::from_static("x-request-id"), &self.request_id);
        set(headers, header::ALLOW, &self.allow);
        self.set_cors(headers);
        response
    }

    fn set_cors(&self, headers: &mut HeaderMap) {
        let_browsers_in(headers, &self.allow);
    }

    /// Returns whether the client holds the entity of this tag (RFC 9110 §13.1.2: weak comparison).
    fn knows(&self, etag: &str) -> bool {
        self.if_none_match
            .iter()
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
    }

    fn text(&self, answer: &Answer) -> String {
        let value = if answer.bare {
            answer.data.clone()
        } else {
            self.envelope(answer)
        };
        let text = if self.pretty {
            serde_json::to_string_pretty(&value)
        } else {
            serde_json::to_string(&value)
        };
        text.expect("a JSON value with text keys prints")
    }

    fn envelope(&self, answer: &Answer) -> Value {
        let mut envelope = Map::new();
        let mut put = |key: &str, value: Value| envelope.insert(key.to_owned(), value);
        let token = answer.new_token.as_ref().or(self.token.as_ref());
        if let Some(token) = token {
            put("auth_token", token.as_str().into());
        }
        if let Some(page) = &answer.page {
            put("page_size", page.page_size.into());
            if let Some(key) = &page.start_key {
                put("start_key", key.as_str().into());
            }
            if let Some(key) = &page.next_start_key {
                put("next_start_key", key.as_str().into());
            }
        }
        if let Some(error) = answer.error {
            put("error", answer.status.as_str().into());
            put("message", error.into());
        }
        put("data", answer.data.clone());
        if let Some(metadata) = &answer.metadata {
            put("metadata", metadata.clone());
        }
        put(
            "status",
            if answer.error.is_some() {
                "error"
            } else {
                "success"
            }
            .into(),
        );
        put("request_id", self.request_id.as_str().into());
        if let Some(revision) = &answer.revision {
            put("revision", revision.as_str().into());
        }
        put("node", self.node.as_str().into());
        put("timestamp", iso8601(self.unix).into());
        if token.is_some() {
            put("version", self.version.as_str().into());
        }
        if let Some(budget) = self.budget {
            put(
                "tokens",
                json!({ "consumed": budget.consumed, "remaining": budget.remaining }),
            );
        }
        Value::Object(envelope)
    }
}

/// Lets pages of any origin read a response of a path that takes these methods.
pub(crate) fn let_browsers_in(headers: &mut HeaderMap, allow: &str) {
    for (name, value) in CORS_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, allow);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Values are ids and lists of ours, or were header text in the request: they always fit.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The keys whose values change by themselves with time. They are left out of entity tags.
const EVER_CHANGING: [&str; 4] = ["duration", "run_time", "current_energy", "quality"];

/// Collects what an entity tag stands for.
#[derive(Default)]
pub(crate) struct TagBuilder {
    hash: Md5,
}

impl TagBuilder {
    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> TagBuilder {
        self.hash.update(text.len().to_be_bytes());
        self.hash.update(text);
        self
    }

    /// Adds live data, what changes by itself left out.
    pub(crate) fn live(self, value: &Value) -> TagBuilder {
        let steady = steady(value).to_string();
        self.text(&steady)
    }

    /// Returns the tag: 32 hex characters.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

fn steady(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, _)| !EVER_CHANGING.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), steady(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(steady).collect()),
        value => value.clone(),
    }
}
