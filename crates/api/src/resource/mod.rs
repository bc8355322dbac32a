//! Owns the operations, one module per kind of resource. Never checks who asks: that is done before.

mod auth;
pub(crate) mod conference;
pub(crate) mod participant;
mod websocket;

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
        Operation::LoginWithApiKey => auth::login_with_api_key(call).await,
        Operation::ShowToken => auth::show_token(call).await,
        Operation::RevokeToken => auth::revoke_token(call),
        Operation::ListConferences => conference::list(call).await,
        Operation::CreateConference => conference::create(call).await,
        Operation::ShowConference => conference::show(call).await,
        Operation::ReplaceConference => conference::replace(call).await,
        Operation::PatchConference => conference::patch(call).await,
        Operation::DeleteConference => conference::delete(call).await,
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
