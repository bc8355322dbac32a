//! Owns recordings as resources: media documents of that source, under a path of their own, with their files. Never records.

use axum::http::StatusCode;
use confab_documents::{Document, Kind, ListOrder, ListScope};
use serde_json::Value;

use super::document::{Walk, delete_of, told};
use super::media;
use crate::answer::{Answer, TagBuilder};
use crate::dispatch::Call;
use crate::download::wants_audio;
use crate::error::ApiError;
use crate::list::ListRequest;
use crate::view;

/// Returns whether a media document is that of a recording.
pub(super) fn is_recording(document: &Document) -> bool {
    document.kind == Kind::Media
        && document.body.get("media_source").and_then(Value::as_str) == Some("recording")
}

/// `GET /recordings`.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let scope = ListScope::Account(call.account()?.clone());
    let mut request = ListRequest::parse_with(call.query, ListOrder::Descending)?;
    request.only("media_source", "recording");
    let mut walk = Walk::new(request, &scope, Kind::Media, None);
    let (mut items, mut tag) = (Vec::new(), TagBuilder::default());
    while let Some(documents) = walk.next(call).await? {
        for document in &documents {
            items.push(item(document));
            tag = tag.text(&document.id).text(&document.revision.to_string());
        }
    }
    let (page, tag) = walk.over(tag);
    Ok(Answer {
        etag: Some(tag.finish()),
        page,
        ..Answer::ok(items)
    })
}

/// Returns a recording's item in a list: that of its document, and what is known of it but for its files.
fn item(document: &Document) -> Value {
    let mut item = view::document_item(document);
    if let (Value::Object(item), Some(Value::Object(known))) = (&mut item, document.body.get("recording")) {
        for (key, value) in known
            .iter()
            .filter(|(key, _)| *key != "files" && *key != "timeline")
        {
            item.insert(key.clone(), value.clone());
        }
    }
    item
}

/// `GET /recordings/{R}`: the document, or for who takes audio rather, its mix.
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (id, document) = found(call).await?;
    if !wants_audio(call.headers) {
        return told(call, &document).await;
    }
    media::send_recording(call, &id, None, false).await
}

/// `GET` and `HEAD` on `/recordings/{R}/files/{F}`.
pub(super) async fn file(call: &Call<'_>, head_only: bool) -> Result<Answer, ApiError> {
    let (id, _) = found(call).await?;
    let name = call.matched.parameter("file_name");
    media::send_recording(call, &id, Some(name), head_only).await
}

/// `DELETE /recordings/{R}`.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (id, _) = found(call).await?;
    delete_of(call, Kind::Media, id).await
}

async fn found(call: &Call<'_>) -> Result<(String, std::sync::Arc<Document>), ApiError> {
    let id = call.matched.parameter("recording_id").to_owned();
    let document = call
        .state
        .store
        .document(call.account()?, Kind::Media, &id)
        .await?;
    match document.filter(is_recording) {
        Some(document) => Ok((id, document.into())),
        None => Err(ApiError::UnknownId(id)),
    }
}

/// What became of an action on a recording, as clients of the contract expect it.
pub(super) fn answer(did: &'static str) -> Answer {
    Answer::new(StatusCode::ACCEPTED, did.into())
}
