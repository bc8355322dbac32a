//! Owns the two changes a document gets before it is checked: types repaired, defaults filled. Never refuses anything.

use serde_json::{Map, Value};

use super::{JsonType, Schema};

/// Converts text to the boolean, integer or number its schema asks for, recursively.
pub(super) fn repair(schema: &Schema, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(converted) = convert(schema, text) {
                *value = converted;
            }
        }
        Value::Number(number) if takes_whole_numbers_only(schema) => {
            // A whole number written as 5.0 is stored as 5.
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = whole.into();
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| repair(schema, item));
            }
        }
        Value::Object(map) => {
            for (key, schema) in &schema.properties {
                if let Some(value) = map.get_mut(key) {
                    repair(schema, value);
                }
            }
            if let Some(others) = &schema.others {
                let named = |key: &str| schema.properties.iter().any(|(known, _)| known == key);
                map.iter_mut()
                    .filter(|(key, _)| !named(key))
                    .for_each(|(_, value)| repair(others, value));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn takes_whole_numbers_only(schema: &Schema) -> bool {
    schema.types.contains(&JsonType::Integer) && !schema.types.contains(&JsonType::Number)
}

fn convert(schema: &Schema, text: &str) -> Option<Value> {
    let text = text.trim();
    // A schema that takes text takes it as it is: play_entry_tone "true" stays text.
    if schema.types.contains(&JsonType::String) {
        return None;
    }
    schema.types.iter().find_map(|kind| convert_to(*kind, text))
}

fn convert_to(kind: JsonType, text: &str) -> Option<Value> {
    match kind {
        JsonType::Boolean => match text {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        JsonType::Integer => text.parse::<i64>().ok().map(Value::from),
        JsonType::Number => text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::from),
        JsonType::Array | JsonType::Object | JsonType::String => None,
    }
}

/// Returns the integer that `number` is, when it is one that a double holds exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Adds the defaults of absent keys, recursively. A value that is no object where the schema has properties is left
/// alone.
pub(super) fn fill_defaults(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, property) in &schema.properties {
                fill_default(map, key, property);
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| fill_defaults(schema, item));
            }
        }
        _ => {}
    }
}

fn fill_default(map: &mut Map<String, Value>, key: &str, property: &Schema) {
    if let Some(default) = &property.default
        && !map.contains_key(key)
    {
        map.insert(key.to_owned(), default.clone());
    }
    if let Some(value) = map.get_mut(key) {
        fill_defaults(property, value);
    }
}
