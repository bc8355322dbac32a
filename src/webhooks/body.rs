//! What a request says: the event and the hook's own data, as JSON or as a form. Never sends it.

use serde_json::{Map, Value};

use super::hook::Hook;

/// Returns what a hook is told of an event. Its own data take the place of keys of the same name.
pub(super) fn told(hook: &Hook, event: Value) -> Value {
    let mut body = match event {
        Value::Object(keys) => keys,
        _ => Map::new(),
    };
    body.insert("hook_event".to_owned(), hook.on.as_str().into());
    body.extend(hook.custom_data.clone());
    Value::Object(body)
}

/// Returns an object as the fields of a form; what is within other objects and lists has its place in brackets: `a[b]`, `a[0]`.
pub(super) fn fields(body: &Value) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    if let Value::Object(keys) = body {
        for (key, value) in keys {
            collect(key.clone(), value, &mut fields);
        }
    }
    fields
}

fn collect(name: String, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                collect(format!("{name}[{key}]"), value, fields);
            }
        }
        Value::Array(items) => {
            for (place, value) in items.iter().enumerate() {
                collect(format!("{name}[{place}]"), value, fields);
            }
        }
        Value::String(text) => fields.push((name, text.clone())),
        Value::Null => fields.push((name, String::new())),
        other => fields.push((name, other.to_string())),
    }
}
