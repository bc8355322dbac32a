//! Owns what webhooks have beside their documents as resources: what became of the requests to them.

use confab_documents::{Body, Kind};
use serde_json::Value;

use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;

/// `GET /webhooks/{W}/attempts`.
pub(super) async fn attempts(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.matched.parameter("webhook_id"));
    if call
        .state
        .store
        .document(account, Kind::Webhook, id)
        .await?
        .is_none()
    {
        return Err(ApiError::UnknownId(id.to_owned()));
    }
    let attempts = call.state.webhooks.attempts(account, id);
    let page = PageInfo {
        page_size: attempts.len(),
        ..PageInfo::default()
    };
    let data = Value::from(attempts);
    Ok(Answer {
        etag: Some(TagBuilder::default().live(&data).finish()),
        page: (!call.query.says("paginate", false)).then_some(page),
        ..Answer::ok(data)
    })
}

/// Takes away why a webhook was disabled from a change that enables it.
pub(super) fn forget_why_disabled(change: &mut Body, whole: bool) {
    let enabled = change.get("enabled");
    if whole && enabled.is_none_or(|enabled| enabled == true || enabled == "true") {
        change.shift_remove("disable_message");
    } else if enabled.is_some_and(|enabled| enabled == true || enabled == "true") {
        change.insert("disable_message".to_owned(), Value::Null);
    }
}
