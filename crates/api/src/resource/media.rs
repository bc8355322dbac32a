//! Owns the files of media documents as resources: taking them in, and sending them. Never plays one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use confab_documents::{Kind, MAX_MEDIA_BYTES, Rule, Violation};
use confab_recording::{AudioKind, ImportError, ImportLimits, import};
use tokio::time::timeout;

use super::document::{show as show_document, told};
use super::recording;
use crate::answer::Answer;
use crate::dispatch::Call;
use crate::download::{Download, Source, Wanted, wants_audio};
use crate::error::{ApiError, save_error};
use crate::upload::{self, File};
use crate::{download, state::ApiState};

/// What the file of a media document may take: who plays one may count on that.
pub const MEDIA_LIMITS: ImportLimits = ImportLimits {
    bytes: MAX_MEDIA_BYTES,
    duration: Duration::from_secs(600),
};

/// How long an upload waits for others to be decoded.
const DECODER_TIMEOUT: Duration = Duration::from_secs(20);

/// `GET /media/{M}`: the document, or for who takes audio rather, its file.
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    match wants_audio(call.headers) {
        true => download(call, false).await,
        false => show_document(call, Kind::Media).await,
    }
}

/// `GET` and `HEAD` on `/media/{M}/raw`.
pub(super) async fn download(call: &Call<'_>, head_only: bool) -> Result<Answer, ApiError> {
    let id = call.document_id(Kind::Media)?;
    let found = call.state.store.media_file(call.account()?, &id).await?;
    let Some(file) = found else {
        return send_recording(call, &id, None, head_only).await;
    };
    let (etag, length, content_type) = (file.sha256.clone(), file.length, file.content_type.clone());
    let source = Source::Store(call.state.store.clone(), file);
    send(call, source, (etag, length, content_type), head_only)
}

/// Sends a file of a recording; without a name the first of its mix.
pub(super) async fn send_recording(
    call: &Call<'_>,
    id: &str,
    name: Option<&str>,
    head_only: bool,
) -> Result<Answer, ApiError> {
    let opened = call.state.recordings.open(call.account()?, id, name).await;
    let opened = opened.map_err(|error| {
        tracing::warn!(recording = id, %error, "a recording cannot be read");
        ApiError::Internal
    })?;
    let file = opened.ok_or_else(|| ApiError::UnknownId(name.unwrap_or(id).to_owned()))?;
    let told = (file.etag, file.length, file.content_type.to_owned());
    send(call, Source::Disk(Arc::new(file.file)), told, head_only)
}

fn send(
    call: &Call<'_>,
    source: Source,
    (etag, length, content_type): (String, u64, String),
    head_only: bool,
) -> Result<Answer, ApiError> {
    // Ranges are for GET alone (RFC 9110 §14.2).
    let wanted = match head_only {
        true => Wanted::Whole,
        false => Wanted::of(call.headers, &etag, length),
    };
    let (status, range) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => return Err(ApiError::RangeNotSatisfiable(length)),
    };
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, length));
    let download = Download {
        source,
        content_type,
        range,
        head_only,
    };
    Ok(Answer {
        etag: Some(etag),
        content_range,
        download: Some(download),
        ..Answer::new(status, serde_json::Value::Null)
    })
}

/// `POST` of a file on `/media/{M}/raw` and `/media/{M}`.
pub(super) async fn upload(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.document_id(Kind::Media)?);
    let (form, body) = call.upload.ok_or(ApiError::Internal)?;
    let store = &call.state.store;
    // Nothing is decoded for a document that is not there.
    let Some(document) = store.document(account, Kind::Media, &id).await? else {
        return Err(ApiError::UnknownId(id));
    };
    if recording::is_recording(&document) && document.body.contains_key("recording") {
        let message = "A recording keeps what was recorded: make another medium";
        return Err(Violation::new("media_source", Rule::Invalid, message).into());
    }
    let file = File::find(form, call.headers, body).await?;
    let content_type = file.type_to_keep(AudioKind::of(&file.bytes))?;
    check(call.state, file.bytes.clone()).await?;
    let saved = store
        .put_media_bytes(account, &id, content_type, &file.bytes, &call.expected())
        .await;
    let document = saved.map_err(|error| save_error(&id, error))?;
    told(call, &document).await
}

/// Checks that a file can be played, by decoding all of it beside the runtime.
async fn check(state: &ApiState, bytes: Bytes) -> Result<(), ApiError> {
    let leave = timeout(DECODER_TIMEOUT, Arc::clone(&state.decoding).acquire_owned()).await;
    let Ok(Ok(leave)) = leave else {
        return Err(ApiError::NoRoom);
    };
    let decoding = tokio::task::spawn_blocking(move || {
        // Held by the decoder itself: it works on when nobody waits for it any more.
        let _leave = leave;
        import(&bytes, MEDIA_LIMITS).map(drop)
    });
    match decoding.await {
        Ok(decoded) => decoded.map_err(|error| unplayable(&error)),
        Err(error) => {
            tracing::error!(%error, "a decoder broke down");
            Err(ApiError::Internal)
        }
    }
}

fn unplayable(error: &ImportError) -> ApiError {
    let message = format!("The file cannot be played: {error}");
    Violation::new("file", Rule::Invalid, message).into()
}

/// Reads arbitrary bytes as what media are asked for with, and sent as.
#[doc(hidden)]
pub fn fuzz_media(data: &[u8]) {
    upload::fuzz_upload(data);
    download::fuzz_range(data);
}
