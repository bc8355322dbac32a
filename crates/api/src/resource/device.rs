//! Owns what devices have beside their documents as resources: which are registered.

use serde_json::{Value, json};

use crate::answer::{Answer, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;

/// `GET /devices/status`: the registered devices, and no others.
pub(super) async fn status(call: &Call<'_>) -> Result<Answer, ApiError> {
    let registered = call.state.registrations.registered(call.account()?).await;
    let mut tag = TagBuilder::default();
    for id in &registered {
        tag = tag.text(id);
    }
    let items: Vec<Value> = registered
        .iter()
        .map(|id| json!({ "device_id": id, "registered": true }))
        .collect();
    Ok(Answer {
        etag: Some(tag.finish()),
        ..Answer::ok(items)
    })
}
