//! Owns the description of a participant of a running conference. Never shows one.

use serde_json::{Map, Value, json};

use super::schemas::typed;

/// Describes a participant as the interface shows him.
pub(super) fn participant_schema() -> Value {
    let flags = [
        "floor",
        "hear",
        "speak",
        "talking",
        "mute_detect",
        "video",
        "is_moderator",
    ];
    let numbers = [
        "participant_id",
        "join_time",
        "duration",
        "energy_level",
        "current_energy",
    ];
    let texts = [
        "call_id",
        "conference_name",
        "conference_uuid",
        "switch_hostname",
        "caller_id_name",
        "caller_id_number",
    ];
    let mut properties = typed(&texts, "string");
    properties.extend(typed(&numbers, "integer"));
    properties.extend(typed(&flags, "boolean"));
    let objects = [
        "conference_channel_vars",
        "custom_channel_vars",
        "custom_application_vars",
    ];
    properties.extend(typed(&objects, "object"));
    for (key, what) in [("volume_in", "comes from"), ("volume_out", "goes to")] {
        let description = format!("Gain of what {what} the participant, in dB, -40 to 20.");
        properties.insert(
            key.into(),
            json!({ "type": "number", "description": description, "x-extension": true }),
        );
    }
    for (key, description) in [
        (
            "energy_level",
            "Threshold of the participant's talk gate, 0 to 1800: a mean of absolute 16-bit samples.",
        ),
        (
            "current_energy",
            "Mean of the absolute 16-bit samples of the last packet that was told, 0 to 32768.",
        ),
        ("join_time", "Gregorian seconds."),
        ("duration", "Seconds since then."),
    ] {
        properties[key]["description"] = description.into();
    }
    let mut required: Vec<&str> = texts.to_vec();
    required.extend(numbers.iter().chain(&flags).chain(&objects));
    properties.insert(
        "hand_raised".into(),
        json!({ "type": "boolean", "description": "Asks for the floor.", "x-extension": true }),
    );
    properties.insert(
        "waiting".into(),
        json!({
            "type": "boolean",
            "description": "Neither hears the others nor is heard until the first moderator is there, whatever hear and speak say.",
            "x-extension": true,
        }),
    );
    properties.insert("codec".into(), codec_schema());
    properties.insert("quality".into(), quality_schema());
    json!({ "type": "object", "required": required, "properties": properties })
}

fn codec_schema() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "What the participant sends, as SDP names it.",
        "x-extension": true,
    })
}

fn quality_schema() -> Value {
    let rows = [
        (
            "loss",
            "number",
            "Packets that never came or came too late, 0 to 100 percent.",
        ),
        ("jitter_ms", "number", "Interarrival jitter (RFC 3550)."),
        (
            "delay_ms",
            "number",
            "From the participant to the mix: half the round trip, where it is known, and the jitter buffer.",
        ),
        ("concealed_ms", "integer", "Audio that was made up."),
        (
            "skew_ppm",
            "integer",
            "Speed of the participant's clock; null for the first minute.",
        ),
        (
            "mos",
            "number",
            "Opinion score of the last five seconds with audio, 1 to 4.5 (ITU-T G.107); null before.",
        ),
    ];
    let properties: Map<String, Value> = rows
        .into_iter()
        .map(|(key, kind, description)| {
            let kind = match key {
                "skew_ppm" | "mos" => json!([kind, "null"]),
                _ => json!(kind),
            };
            (
                key.to_owned(),
                json!({ "type": kind, "description": description }),
            )
        })
        .collect();
    json!({
        "type": "object",
        "description": "How the participant is heard. Changes without an event, and is no part of entity tags.",
        "x-extension": true,
        "properties": properties,
    })
}

/// Describes a WebSocket session.
pub(super) fn websocket_schema() -> Value {
    let mut properties = typed(
        &["id", "websocket_session_id", "source", "destination", "name"],
        "string",
    );
    properties.extend(typed(&["timestamp"], "integer"));
    properties.insert(
        "bindings".into(),
        json!({ "type": "array", "items": { "type": "string" } }),
    );
    properties.insert("metadata".into(), json!({}));
    let required = [
        "websocket_session_id",
        "bindings",
        "source",
        "destination",
        "timestamp",
    ];
    json!({ "type": "object", "required": required, "properties": properties })
}
