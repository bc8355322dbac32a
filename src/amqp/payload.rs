//! What a message on the broker looks like: the event's keys in Title-Case-With-Dashes, and back. Never sends one.

use serde_json::{Map, Value};

/// Objects whose keys are the client's own.
const OF_THE_CLIENT: &str = "custom_application_vars";

/// Returns an event as it is published: `caller_id_name` becomes `Caller-ID-Name`, in objects within it as well. The keys of the
/// application's own variables stay as they are.
pub(super) fn titled(event: Value) -> Value {
    match event {
        Value::Object(keys) => {
            let titled = keys.into_iter().map(|(key, value)| {
                let value = if key == OF_THE_CLIENT {
                    value
                } else {
                    titled(value)
                };
                (title(&key), value)
            });
            Value::Object(titled.collect())
        }
        Value::Array(items) => items.into_iter().map(titled).collect(),
        other => other,
    }
}

fn title(key: &str) -> String {
    let words: Vec<String> = key.split('_').map(word).collect();
    words.join("-")
}

fn word(word: &str) -> String {
    match word {
        "id" | "dtmf" | "uuid" => word.to_ascii_uppercase(),
        _ => {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect())
                .unwrap_or_default()
        }
    }
}

/// Returns the keys of a message in lower case with underscores, in objects within it as well; those of the application's own
/// variables stay as they are.
pub(super) fn normalized(message: Map<String, Value>) -> Map<String, Value> {
    let keys = message.into_iter().map(|(key, value)| {
        let key = key.to_lowercase().replace('-', "_");
        let value = match value {
            Value::Object(inner) if key != OF_THE_CLIENT => Value::Object(normalized(inner)),
            value => value,
        };
        (key, value)
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_titled_and_can_be_read_back() {
        let event = json!({
            "event": "add-member",
            "event_category": "conference",
            "call_id": "a@b",
            "caller_id_name": "Ann",
            "participant_id": 20,
            "msg_id": "x-1",
            "dtmf_key": "5",
            "conference_channel_vars": {"is_moderator": true, "member_id": 20},
            "custom_channel_vars": {"account_id": "a1", "owner_id": "o"},
            "custom_application_vars": {"my_Key": {"in_side": 1}},
        });
        let expected = json!({
            "Event": "add-member",
            "Event-Category": "conference",
            "Call-ID": "a@b",
            "Caller-ID-Name": "Ann",
            "Participant-ID": 20,
            "Msg-ID": "x-1",
            "DTMF-Key": "5",
            "Conference-Channel-Vars": {"Is-Moderator": true, "Member-ID": 20},
            "Custom-Channel-Vars": {"Account-ID": "a1", "Owner-ID": "o"},
            "Custom-Application-Vars": {"my_Key": {"in_side": 1}},
        });
        let sent = titled(event.clone());
        assert_eq!(sent, expected);
        let Value::Object(sent) = sent else {
            panic!("an object")
        };
        assert_eq!(Value::Object(normalized(sent)), event);
    }
}
