//! Owns the files of media documents as resources: taking them in, and sending them. Never plays one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use confab_documents::{Kind, MAX_MEDIA_BYTES, MediaFile, Rule, Violation};
use confab_recording::{AudioKind, ImportError, ImportLimits, import};
use tokio::time::timeout;

use super::document::{show as show_document, told};
use crate::answer::Answer;
use crate::dispatch::Call;
use crate::download::{Download, Wanted, wants_audio};
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
    let file = file(call).await?;
    let etag = file.sha256.clone();
    // Ranges are for GET alone (RFC 9110 §14.2).
    let wanted = match head_only {
        true => Wanted::Whole,
        false => Wanted::of(call.headers, &etag, file.length),
    };
    let (status, range) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..file.length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => return Err(ApiError::RangeNotSatisfiable(file.length)),
    };
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, file.length));
    let download = Download {
        store: call.state.store.clone(),
        file,
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

async fn file(call: &Call<'_>) -> Result<MediaFile, ApiError> {
    let id = call.document_id(Kind::Media)?;
    let file = call.state.store.media_file(call.account()?, &id).await?;
    file.ok_or(ApiError::UnknownId(id))
}

/// `POST` of a file on `/media/{M}/raw` and `/media/{M}`.
pub(super) async fn upload(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.document_id(Kind::Media)?);
    let (form, body) = call.upload.ok_or(ApiError::Internal)?;
    let store = &call.state.store;
    // Nothing is decoded for a document that is not there.
    if store.document(account, Kind::Media, &id).await?.is_none() {
        return Err(ApiError::UnknownId(id));
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
