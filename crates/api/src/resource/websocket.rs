//! Owns WebSocket sessions as resources. Never talks to one.

use serde_json::{Value, json};

use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;

/// `GET /v2/websockets`: what can be bound to.
pub(super) fn bindings() -> Answer {
    Answer::ok(json!({
        "conference": [
            "conference.event.{CONFERENCE_ID}.{CALL_ID}",
            "conference.event.{EVENT}.{CONFERENCE_ID}.{CALL_ID}",
            "conference.command.{CONFERENCE_ID}",
        ]
    }))
}

/// `GET /websockets`: the sessions that the account's tokens have opened.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let sessions = call.state.sockets.of(call.account()?);
    let mut tag = TagBuilder::default();
    for session in &sessions {
        tag = tag.text(&session.to_string());
    }
    let page = PageInfo {
        page_size: sessions.len(),
        start_key: None,
        next_start_key: None,
    };
    Ok(Answer {
        etag: Some(tag.finish()),
        page: Some(page),
        ..Answer::ok(sessions)
    })
}

/// `GET /websockets/{id}`: one of them.
pub(super) fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let id = call.matched.parameter("websocket_id");
    let sessions = call.state.sockets.of(call.account()?);
    let session: Option<Value> = sessions
        .into_iter()
        .find(|session| session["websocket_session_id"] == id);
    let session = session.ok_or_else(|| ApiError::UnknownId(id.to_owned()))?;
    let etag = TagBuilder::default().text(&session.to_string()).finish();
    Ok(Answer {
        etag: Some(etag),
        ..Answer::ok(session)
    })
}
