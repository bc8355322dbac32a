//! Owns the one mapping from what went wrong to status, error id and public data. Never shows an internal cause.

use axum::http::StatusCode;
use confab_documents::{Rule, SaveError, StoreError, Violation, Violations};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::live::ControlError;
use crate::route::Verb;

/// Everything a request can fail with.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body or a parameter breaks rules.
    Validation(Violations),
    /// No token, a token never issued, or a login that is not good.
    InvalidCredentials,
    /// A token whose time is over or that was revoked.
    TokenEnded,
    /// The token's account stands not above the resource's.
    Forbidden,
    /// The account may not log in.
    Locked,
    /// No account can have this id.
    MalformedAccountId(String),
    /// No document, participant or account of this id.
    UnknownId(String),
    /// A participant named in the arguments of an action is not in the conference.
    UnknownParticipant(Value),
    /// No account has this API key.
    UnknownApiKey(String),
    /// No route of this path.
    UnknownPath,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The document is at another revision, or the id is taken.
    Conflict,
    /// The API version is no longer spoken.
    VersionGone,
    /// The body is larger than so many bytes.
    BodyTooLarge(usize),
    /// The body came too slowly.
    BodyTimeout,
    /// A recording could not be begun.
    Recording,
    /// So much is being sent at once that there is no room for the body.
    NoRoom,
    /// The connection broke within the body.
    BodyBroken,
    /// The body's type is not understood.
    UnsupportedMediaType(String),
    /// A file is sent as something that is not taken as media.
    NoAudioType(String),
    /// The range of bytes lies outside of the file, which has so many.
    RangeNotSatisfiable(u64),
    /// A play names media that there are not.
    UnknownMedia(String),
    /// As many plays wait as may, or as many digits.
    TooManyWaiting(&'static str),
    /// The client's budget is used up.
    TooManyRequests,
    /// The store does not answer.
    StoreUnavailable,
    /// The conference does not answer, or the server is going down.
    ConferenceUnavailable,
    /// A fault of the server; the cause is in the log.
    Internal,
}

impl ApiError {
    /// Returns status, error id and data.
    fn parts(&self) -> (StatusCode, &'static str, Value) {
        let message = |text: &str| json!({ "message": text });
        match self {
            ApiError::Validation(violations) => (
                StatusCode::BAD_REQUEST,
                "validation error",
                Value::Object(violations.to_json()),
            ),
            ApiError::InvalidCredentials => (
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                message("invalid credentials"),
            ),
            ApiError::TokenEnded => (StatusCode::UNAUTHORIZED, "invalid credentials", json!({})),
            ApiError::Forbidden => (StatusCode::FORBIDDEN, "forbidden", message("forbidden")),
            ApiError::Locked => (
                StatusCode::LOCKED,
                "locked",
                json!({ "account": { "disabled": { "message": "the account is disabled" } } }),
            ),
            ApiError::MalformedAccountId(id) => (
                StatusCode::NOT_FOUND,
                "bad identifier",
                message(&format!("invalid account_id '{id}'")),
            ),
            ApiError::UnknownId(id) => (
                StatusCode::NOT_FOUND,
                "bad_identifier",
                json!({ "message": "bad identifier", "cause": id }),
            ),
            ApiError::UnknownParticipant(id) => (
                StatusCode::NOT_FOUND,
                "bad_identifier",
                json!({ "message": "bad identifier", "id": id }),
            ),
            ApiError::UnknownApiKey(key) => (StatusCode::NOT_FOUND, "bad identifier", json!([key])),
            ApiError::UnknownPath => (StatusCode::NOT_FOUND, "not_found", message("not found")),
            ApiError::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_method",
                message("method not allowed"),
            ),
            ApiError::Conflict => (
                StatusCode::CONFLICT,
                "datastore_conflict",
                message("conflicting documents"),
            ),
            ApiError::VersionGone => (
                StatusCode::GONE,
                "gone",
                message("version 1 of the API is unsupported; use /v2"),
            ),
            ApiError::BodyTooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                json!({ "file": { "maxSize": {
                    "message": format!("The body must not be larger than {limit} bytes"),
                    "target": limit
                } } }),
            ),
            ApiError::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                message("the body came too slowly"),
            ),
            ApiError::BodyBroken => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                message("the body ended too early"),
            ),
            ApiError::UnsupportedMediaType(kind) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_content_type",
                message(&format!(
                    "content type '{kind}' is not supported; send application/json"
                )),
            ),
            ApiError::NoAudioType(kind) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_content_type",
                message(&format!(
                    "content type '{kind}' is not taken; send audio/wav, audio/mpeg, audio/ogg or audio/flac"
                )),
            ),
            ApiError::RangeNotSatisfiable(length) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                message(&format!("there are {length} bytes")),
            ),
            ApiError::UnknownMedia(media) => (StatusCode::NOT_FOUND, "bad identifier", json!([media])),
            ApiError::TooManyWaiting(what) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message(what))
            }
            ApiError::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                message("too many requests"),
            ),
            ApiError::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "datastore_unreachable",
                message("the document store does not answer"),
            ),
            ApiError::ConferenceUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                message("the conference does not answer"),
            ),
            ApiError::Recording => (
                StatusCode::SERVICE_UNAVAILABLE,
                "recording_failed",
                message("the recording cannot be written: the server's log says why"),
            ),
            ApiError::NoRoom => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                message(
                    "too many large bodies are being sent at once; whoever shows his token in X-Auth-Token waits less",
                ),
            ),
            ApiError::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                message("internal error"),
            ),
        }
    }

    /// Returns the answer that tells the client.
    pub(crate) fn into_answer(self) -> Answer {
        let (status, id, data) = self.parts();
        let content_range = match self {
            ApiError::RangeNotSatisfiable(length) => Some(format!("bytes */{length}")),
            _ => None,
        };
        Answer {
            error: Some(id),
            content_range,
            ..Answer::new(status, data)
        }
    }
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> ApiError {
        ApiError::Validation(violation.into())
    }
}

impl From<Violations> for ApiError {
    fn from(violations: Violations) -> ApiError {
        ApiError::Validation(violations)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::Unavailable { .. } | StoreError::Corrupt { .. } => {
                tracing::warn!(%error, "the document store does not answer");
                ApiError::StoreUnavailable
            }
            error => {
                tracing::error!(%error, "the document store failed");
                ApiError::Internal
            }
        }
    }
}

/// Returns the error of a save or delete of the document `id`.
pub(crate) fn save_error(id: &str, error: SaveError) -> ApiError {
    match error {
        SaveError::Invalid(violations) => ApiError::Validation(violations),
        SaveError::NotFound => ApiError::UnknownId(id.to_owned()),
        SaveError::Conflict => ApiError::Conflict,
        SaveError::Store(error) => error.into(),
        error => {
            tracing::error!(%error, "a document was not saved");
            ApiError::Internal
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> ApiError {
        match error {
            ControlError::UnknownParticipant(id) => ApiError::UnknownId(id.to_string()),
            ControlError::TooManyPlays => ApiError::TooManyWaiting("too many plays are waiting"),
            ControlError::TooManyDigits(_) => ApiError::TooManyWaiting("too many digits are waiting"),
            ControlError::NoTelephoneEvents(_) => {
                let message = "The participant's phone takes no digits: it has agreed to no telephone-events";
                Violation::new("digits", Rule::Invalid, message).into()
            }
            ControlError::NotRecording => {
                let message = "The conference is not recorded";
                Violation::new("data.action", Rule::Invalid, message).into()
            }
            ControlError::Recording => ApiError::Recording,
            ControlError::NotRunning
            | ControlError::Unavailable
            | ControlError::Locked
            | ControlError::Full
            | ControlError::MovedToSame(_) => ApiError::ConferenceUnavailable,
        }
    }
}

/// Returns the methods as an `Allow` header lists them.
pub(crate) fn allow_list(verbs: impl Iterator<Item = Verb>) -> String {
    let names = verbs.map(Verb::name).chain(["OPTIONS"]);
    names.collect::<Vec<_>>().join(", ")
}
