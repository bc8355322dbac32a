//! Owns what trunks have beside their documents as resources: whether their gateways are there.

use serde_json::{Value, json};

use crate::answer::{Answer, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::live::GatewayState;

/// `GET /resources/status`: the trunks that are switched on, and what is known of their gateways.
pub(super) fn status(call: &Call<'_>) -> Result<Answer, ApiError> {
    let trunks = call.state.trunks.of(call.account()?);
    let items: Vec<Value> = trunks
        .iter()
        .map(|(id, gateways)| {
            let gateways: Vec<Value> = gateways.iter().map(shown).collect();
            json!({ "resource_id": id, "gateways": gateways })
        })
        .collect();
    let tag = TagBuilder::default().text(&Value::from(items.clone()).to_string());
    Ok(Answer {
        etag: Some(tag.finish()),
        ..Answer::ok(items)
    })
}

fn shown(gateway: &GatewayState) -> Value {
    let state = match gateway.answers {
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    let mut shown = json!({ "server": gateway.server, "state": state });
    if let Some(registration) = gateway.registration {
        shown["registration"] = registration.into();
    }
    if let Some(refusal) = gateway.refusal {
        shown["refusal"] = refusal.into();
    }
    shown
}
