//! Owns what documents say about the keys of phones: groups of controls, which of them a conference has, and what is wrong with
//! one. Performs nothing.

use confab_conference::{KeyAction, KeyMap, MOST_KEYS, Role};
use serde_json::{Value, json};

use super::profile::Profile;
use crate::document::Body;
use crate::schema::{Rule, Violation, Violations};

/// Bindings of one group, at most.
const MOST_BINDINGS: usize = 128;

/// Returns what keys do that somebody of a role presses. The document names the group, else the profile; a group is what the document
/// says, else the account's configuration, else that of the built-in name `default`. Any other name means no keys, as `none` does.
pub(super) fn keys(body: &Body, profile: &Profile<'_>, configuration: Option<&Body>, role: Role) -> KeyMap {
    let (key, of_profile) = match role {
        Role::Member => ("caller_controls", "caller-controls"),
        Role::Moderator => ("moderator_controls", "moderator-controls"),
    };
    let named = body.get(key).and_then(Value::as_str);
    let name = named.or_else(|| profile.name(of_profile)).unwrap_or("default");
    if name == "none" {
        return KeyMap::none();
    }
    let configured = |key: &str| configuration?.get(key)?.get(name);
    let group = match body.get("controls") {
        // One list is every group's.
        Some(list @ Value::Array(_)) => Some(list),
        groups => groups.and_then(|groups| groups.get(name)),
    };
    let group = group
        .or_else(|| configured(of_profile))
        .or_else(|| configured("controls"))
        .and_then(Value::as_array);
    match group {
        Some(group) => map(group),
        None if name == "default" => KeyMap::default(),
        None => KeyMap::none(),
    }
}

/// Returns a group as a map; what is no binding was refused when the document was stored.
fn map(group: &[Value]) -> KeyMap {
    let mut map = KeyMap::none();
    for binding in group {
        let text = |key: &str| binding.get(key).and_then(Value::as_str);
        if let (Some(name), Some(digits)) = (text("action"), text("digits"))
            && let Some(action) = KeyAction::parse(name, text("data"))
        {
            map.bind(digits, action);
        }
    }
    map
}

/// Says what is wrong with the groups of controls under these keys.
pub(crate) fn check(keys: &[&str], body: &Body, found: &mut Violations) {
    for key in keys {
        match body.get(*key) {
            Some(Value::Array(group)) => check_group(key, group, found),
            Some(Value::Object(groups)) => {
                for (name, group) in groups {
                    let field = format!("{key}.{}", name.replace('.', "%2E"));
                    match group {
                        Value::Array(group) => check_group(&field, group, found),
                        other => found.push(Violation::wrong_type(field, "array", other)),
                    }
                }
            }
            // For the schema to judge.
            _ => {}
        }
    }
}

fn check_group(field: &str, group: &[Value], found: &mut Violations) {
    if group.len() > MOST_BINDINGS {
        let message = format!("The list must have at most {MOST_BINDINGS} items");
        found.push(Violation::new(field, Rule::MaxItems, message).with_target(MOST_BINDINGS.into()));
        return;
    }
    let mut map = KeyMap::none();
    let mut bound = Vec::new();
    for (index, binding) in group.iter().enumerate() {
        let at = |key: &str| format!("{field}.{index}.{key}");
        let Value::Object(binding) = binding else {
            found.push(Violation::wrong_type(
                format!("{field}.{index}"),
                "object",
                binding,
            ));
            continue;
        };
        let data = binding.get("data");
        if let Some(other) = data.filter(|data| !data.is_string()) {
            found.push(Violation::wrong_type(at("data"), "string", other));
        }
        let action = match binding.get("action") {
            None => {
                found.push(Violation::required(at("action")));
                None
            }
            Some(Value::String(name)) => {
                let action = KeyAction::parse(name, data.and_then(Value::as_str));
                if action.is_none() {
                    let value = Value::from(name.as_str());
                    found.push(Violation::not_in_list(
                        at("action"),
                        json!(KeyAction::NAMES),
                        &value,
                    ));
                } else if KeyAction::needs_data(name) && data.is_none() {
                    found.push(Violation::required(at("data")));
                } else if let Some(KeyAction::Transfer(number)) = &action
                    && data.is_some_and(Value::is_string)
                    && !names_a_number(number)
                {
                    let wrong = Violation::new(at("data"), Rule::Invalid, "begins with no telephone number");
                    found.push(wrong.with_value(&Value::from(number.as_ref())));
                }
                action
            }
            Some(other) => {
                found.push(Violation::wrong_type(at("action"), "string", other));
                None
            }
        };
        match binding.get("digits") {
            None => found.push(Violation::required(at("digits"))),
            Some(value @ Value::String(digits)) => {
                let action = action.unwrap_or(KeyAction::Nothing);
                if !map.bind(digits, action) {
                    let pattern = format!("^[0-9*#A-Da-d]{{1,{MOST_KEYS}}}$");
                    let message = format!("Failed to match pattern '{pattern}'");
                    let violation = Violation::new(at("digits"), Rule::Pattern, message);
                    found.push(violation.with_target(pattern.into()).with_value(value));
                } else if bound.contains(&digits.to_ascii_uppercase()) {
                    let message = "The same digits do something else before";
                    found.push(Violation::new(at("digits"), Rule::Invalid, message).with_value(value));
                } else {
                    bound.push(digits.to_ascii_uppercase());
                }
            }
            Some(other) => found.push(Violation::wrong_type(at("digits"), "string", other)),
        }
    }
}

/// Returns whether what a transfer goes to begins with something that can be dialled.
fn names_a_number(data: &str) -> bool {
    let number = data.split_whitespace().next().unwrap_or_default();
    let dialled = |key: char| key.is_ascii_digit() || "+*#-.()".contains(key);
    number.chars().all(dialled) && number.contains(|key: char| key.is_ascii_digit())
}
