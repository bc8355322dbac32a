//! Owns how an event looks in JSON: the names of the contract. Never decides who gets it.

use confab_conference::{Event, EventKind, ParticipantState};
use serde_json::{Map, Value};

use super::key::subject;
use super::message::Origin;
use crate::view::state_keys;

/// Returns what kind of message an event is.
pub(super) fn name(event: &Event) -> &'static str {
    if event.kind.is_about_leg() {
        "participant_event"
    } else {
        "event"
    }
}

/// Returns an id that no other event has.
pub(super) fn id(event: &Event) -> String {
    format!("{}-{}", event.instance_id, event.sequence)
}

/// Returns the event with all its keys: the flags flat and once more in `conference_channel_vars`, as the participant's resource has
/// them.
pub(super) fn of_event(origin: &Origin, event: &Event) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.into(), value));
    put("event", event.kind.name().into());
    if event.kind.is_about_leg() {
        put("call_id", subject(event).into());
    }
    put("account_id", event.account.as_str().into());
    put("conference_id", event.conference.as_str().into());
    if event.is_of_run() {
        put("instance_id", event.instance_id.as_str().into());
        put("sequence", event.sequence.into());
    }
    put("timestamp", event.at.0.into());
    match event.kind {
        EventKind::FloorChange => {
            let holder = event.participant.as_ref().map(|state| state.id.get());
            put("participant_id", holder.into());
        }
        EventKind::DelMember(cause) => put("reason", cause.as_str().into()),
        EventKind::PlayFileFailed(failure) | EventKind::PlayFileMemberFailed(failure) => {
            put("reason", failure.as_str().into());
        }
        EventKind::KeyMember(key) => {
            put("direction", "received".into());
            put("dtmf_key", key.to_string().into());
        }
        // What was sent may be a PIN.
        EventKind::DtmfMember => put("direction", "sent".into()),
        EventKind::PinGuardBlock { seconds } => put("blocked_s", seconds.into()),
        _ => {}
    }
    if let Some(data) = &event.data {
        let is_source = matches!(event.kind, EventKind::PinGuardBlock { .. });
        put(if is_source { "source" } else { "data" }, data.as_ref().into());
    }
    if let Some(file) = &event.file {
        put("file", file.as_str().into());
    }
    if let Some(state) = event.participant.as_ref().filter(|_| event.kind.is_about_leg()) {
        put("channel_presence_id", presence_id(state).into());
        body.extend(state_keys(state));
    }
    let ends = [
        ("focus", origin.node.as_str()),
        ("event_category", "conference"),
        ("event_name", name(event)),
        ("routing_key", name(event)),
        ("msg_id", &id(event)),
        ("node", &origin.node),
        ("app_name", &origin.app_name),
        ("app_version", &origin.app_version),
    ];
    body.extend(ends.map(|(key, text)| (key.to_owned(), text.into())));
    Value::Object(body)
}

/// Returns under which name the caller's presence is shown: what his channel says, else what is known of him.
fn presence_id(state: &ParticipantState) -> String {
    let known = |key: &str| state.caller.channel_vars.get(key);
    match (known("presence_id"), known("username"), known("realm")) {
        (Some(presence_id), ..) => presence_id.clone(),
        (None, Some(username), Some(realm)) => format!("{username}@{realm}"),
        _ => state.caller.caller_id_number.clone(),
    }
}
