//! Owns the operations, one module per kind of resource. Never checks who asks: that is done before.

mod account;
mod auth;
pub(crate) mod conference;
mod configuration;
mod device;
pub(crate) mod dial;
mod document;
mod media;
pub(crate) mod participant;
mod recording;
mod schema;
mod trunk;
mod webhook;
mod websocket;

pub use self::media::{MEDIA_LIMITS, fuzz_media};

use confab_documents::Kind;

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::openapi;
use crate::route::Operation;

/// Runs an operation.
pub(crate) async fn run(operation: Operation, call: &Call<'_>) -> Result<Answer, ApiError> {
    match operation {
        Operation::ApiDocument => Ok(Answer {
            bare: true,
            etag: Some(openapi::tag().into()),
            ..Answer::ok(openapi::document().clone())
        }),
        Operation::ListSchemas => Ok(schema::list()),
        Operation::ShowSchema => schema::show(call),
        Operation::LoginWithCredentials => auth::login_with_credentials(call).await,
        Operation::ShowLogin => auth::show_login(call).await,
        Operation::CreateAccount | Operation::CreateChildAccount => account::create(call).await,
        Operation::ListChildren => account::children(call).await,
        Operation::ListDescendants => account::descendants(call).await,
        Operation::ListParents => account::parents(call).await,
        Operation::ShowApiKey => account::show_api_key(call).await,
        Operation::RenewApiKey => account::renew_api_key(call).await,
        Operation::ListUserDevices => document::list_of_user(call).await,
        Operation::ShowWebhookAttempts => webhook::attempts(call).await,
        Operation::ShowDeviceStatus => device::status(call).await,
        Operation::ShowResourceStatus => trunk::status(call),
        Operation::List(kind) => document::list(call, kind).await,
        Operation::Create(kind) => document::create(call, kind).await,
        Operation::Show(Kind::Media) => media::show(call).await,
        Operation::DownloadMedia => media::download(call, false).await,
        Operation::MeasureMedia => media::download(call, true).await,
        Operation::UploadMedia => media::upload(call).await,
        Operation::Show(kind) => document::show(call, kind).await,
        Operation::Replace(kind) => document::replace(call, kind).await,
        Operation::Patch(kind) => document::patch(call, kind).await,
        Operation::Delete(kind) => document::delete(call, kind).await,
        Operation::LoginWithApiKey => auth::login_with_api_key(call).await,
        Operation::ShowToken => auth::show_token(call).await,
        Operation::RevokeToken => auth::revoke_token(call),
        Operation::ListRecordings => recording::list(call).await,
        Operation::ShowRecording => recording::show(call).await,
        Operation::DeleteRecording => recording::delete(call).await,
        Operation::DownloadRecording => recording::file(call, false).await,
        Operation::MeasureRecording => recording::file(call, true).await,
        Operation::ListConferences => conference::list(call).await,
        Operation::CreateConference => conference::create(call).await,
        Operation::ShowConference => conference::show(call).await,
        Operation::ReplaceConference => conference::replace(call).await,
        Operation::PatchConference => conference::patch(call).await,
        Operation::DeleteConference => document::delete(call, Kind::Conference).await,
        Operation::ControlConference => conference::control(call).await,
        Operation::ListParticipants => participant::list(call).await,
        Operation::ControlParticipants => participant::control_all(call).await,
        Operation::ShowParticipant => participant::show(call).await,
        Operation::ControlParticipant => participant::control_one(call).await,
        Operation::ListBindings => Ok(websocket::bindings()),
        Operation::ListWebSockets => websocket::list(call),
        Operation::ShowWebSocket => websocket::show(call),
    }
}
