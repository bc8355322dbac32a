//! Owns finding broken rules. Never changes the value.

use std::collections::HashSet;

use serde_json::Value;

use super::{Rule, Schema, Violation, Violations};

/// Collects what `value` breaks of `schema`. `path` names the place of `value`, parts already escaped.
pub(super) fn check(schema: &Schema, value: &Value, path: &mut Vec<String>, found: &mut Violations) {
    if found.is_full() {
        return;
    }
    if !schema.types.is_empty() && !schema.types.iter().any(|kind| kind.matches(value)) {
        found.push(Violation::wrong_type(dotted(path), &schema.type_names(), value));
        return;
    }
    if !schema.allowed.is_empty() && !schema.allowed.iter().any(|allowed| same(allowed, value)) {
        found.push(Violation::not_in_list(
            dotted(path),
            Value::Array(schema.allowed.clone()),
            value,
        ));
    }
    match value {
        Value::String(text) => check_text(schema, value, text, path, found),
        Value::Number(_) => check_number(schema, value, path, found),
        Value::Array(items) => check_list(schema, value, items, path, found),
        Value::Object(map) => {
            for key in schema.required.iter().filter(|key| !map.contains_key(*key)) {
                path.push(escaped(key));
                found.push(Violation::required(dotted(path)));
                path.pop();
            }
            for (key, property) in schema.keys(map) {
                path.push(escaped(key));
                check(property, &map[key], path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_text(schema: &Schema, value: &Value, text: &str, path: &[String], found: &mut Violations) {
    let length = text.chars().count() as u64;
    if let Some(least) = schema.min_length.filter(|least| length < *least) {
        found.push(Violation::too_short(dotted(path), least, value));
    }
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        found.push(Violation::too_long(dotted(path), most, value));
    }
    if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let message = format!("Failed to match pattern '{pattern}'");
        let violation = Violation::new(dotted(path), Rule::Pattern, message);
        found.push(violation.with_target(pattern.as_str().into()).with_value(value));
    }
    if schema.is_email && !is_email(text) {
        let violation = Violation::new(dotted(path), Rule::WrongFormat, "The text is no mail address");
        found.push(violation.with_target("email".into()).with_value(value));
    }
}

/// Returns whether a text can be a mail address: one `@` between a local part and a domain, of printable characters.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let printable = |c: char| !c.is_control() && !c.is_whitespace();
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    !local.is_empty() && local.chars().all(printable) && !local.contains('@') && domain.split('.').all(label)
}

fn check_number(schema: &Schema, value: &Value, path: &[String], found: &mut Violations) {
    // Bounds are small integers: a double compares them exactly, and orders what lies beyond 64 bits as well.
    let Some(number) = value.as_f64() else { return };
    if let Some(least) = schema.minimum.filter(|least| number < *least as f64) {
        let violation = Violation::new(
            dotted(path),
            Rule::Minimum,
            format!("Value must be at least {least}"),
        );
        found.push(violation.with_target(least.into()).with_value(value));
    }
    if let Some(most) = schema.maximum.filter(|most| number > *most as f64) {
        let violation = Violation::new(
            dotted(path),
            Rule::Maximum,
            format!("Value must be at most {most}"),
        );
        found.push(violation.with_target(most.into()).with_value(value));
    }
}

fn check_list(
    schema: &Schema,
    value: &Value,
    items: &[Value],
    path: &mut Vec<String>,
    found: &mut Violations,
) {
    let count = items.len() as u64;
    if let Some(least) = schema.min_items.filter(|least| count < *least) {
        let message = format!("The list must have at least {least} items");
        let violation = Violation::new(dotted(path), Rule::MinItems, message);
        found.push(violation.with_target(least.into()).with_value(value));
    }
    if let Some(most) = schema.max_items.filter(|most| count > *most) {
        let message = format!("The list must have at most {most} items");
        let violation = Violation::new(dotted(path), Rule::MaxItems, message);
        found.push(violation.with_target(most.into()).with_value(value));
    }
    if schema.unique_items && repeats(items) {
        let violation = Violation::new(dotted(path), Rule::UniqueItems, "List of items is not unique");
        found.push(violation.with_target(true.into()).with_value(value));
    }
    if let Some(schema) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            path.push(index.to_string());
            check(schema, item, path, found);
            path.pop();
        }
    }
}

/// Returns whether two items are equal, in time linear in the list's length.
fn repeats(items: &[Value]) -> bool {
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().any(|item| !seen.insert(item))
}

/// Returns whether two values are equal, `8000` and `8000.0` counting as the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

fn escaped(key: &str) -> String {
    key.replace('.', "%2E")
}

fn dotted(path: &[String]) -> String {
    path.join(".")
}
