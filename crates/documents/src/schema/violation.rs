//! Owns how broken rules are named and told: the flat dotted keys of the HTTP contract. Never finds one itself.

use serde_json::{Map, Value, json};

/// The most violations collected for one document: an answer stays small whatever was sent.
pub const MAX_VIOLATIONS: usize = 100;

/// The longest text and the largest list echoed as an offending value; what is larger is cut.
const ECHO_CHARS: usize = 1000;
const ECHO_ITEMS: usize = 64;

/// The name of a rule, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The key must be there.
    Required,
    /// The value must be of one of the types.
    Type,
    /// The value must be one of a list.
    Enum,
    /// The text must be at least so long.
    MinLength,
    /// The text must be at most so long.
    MaxLength,
    /// The number must be at least so large.
    Minimum,
    /// The number must be at most so large.
    Maximum,
    /// The list must have at least so many items.
    MinItems,
    /// The list must have at most so many items.
    MaxItems,
    /// The list must not name an item twice.
    UniqueItems,
    /// The text must match a regular expression.
    Pattern,
    /// The value must not be in use elsewhere.
    Unique,
    /// The value must name something that exists.
    NotFound,
    /// The value must have a form that no regular expression tells.
    WrongFormat,
    /// Any other rule.
    Invalid,
}

impl Rule {
    /// Returns the name clients see.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Required => "required",
            Rule::Type => "type",
            Rule::Enum => "enum",
            Rule::MinLength => "minLength",
            Rule::MaxLength => "maxLength",
            Rule::Minimum => "minimum",
            Rule::Maximum => "maximum",
            Rule::MinItems => "minItems",
            Rule::MaxItems => "maxItems",
            Rule::UniqueItems => "uniqueItems",
            Rule::Pattern => "pattern",
            Rule::Unique => "unique",
            Rule::NotFound => "not_found",
            Rule::WrongFormat => "wrong_format",
            Rule::Invalid => "invalid",
        }
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The flat dotted key, array indexes included; a dot within a name is `%2E`.
    pub field: String,
    /// Which rule.
    pub rule: Rule,
    /// A sentence for people.
    pub message: String,
    /// What the rule asks for, where that can be said in a value.
    pub target: Option<Value>,
    /// The offending value.
    pub value: Option<Value>,
    /// What caused it, where that is more than the value.
    pub cause: Option<Value>,
}

impl Violation {
    /// Returns a violation without target, value and cause.
    pub fn new(field: impl Into<String>, rule: Rule, message: impl Into<String>) -> Violation {
        Violation {
            field: field.into(),
            rule,
            message: message.into(),
            target: None,
            value: None,
            cause: None,
        }
    }

    /// Returns the violation of a key that is missing.
    pub fn required(field: impl Into<String>) -> Violation {
        Violation::new(field, Rule::Required, "Field is required but missing")
    }

    /// Returns the violation of a value that is none of `allowed`.
    pub fn not_in_list(field: impl Into<String>, allowed: Value, value: &Value) -> Violation {
        Violation::new(field, Rule::Enum, "Value not found in enumerated list of values")
            .with_target(allowed)
            .with_value(value)
    }

    /// Returns the violation of a value of another type than the named ones.
    pub fn wrong_type(field: impl Into<String>, types: &str, value: &Value) -> Violation {
        Violation::new(field, Rule::Type, format!("Value did not match type(s): {types}"))
            .with_target(types.into())
            .with_value(value)
    }

    /// Returns the violation of a text with fewer than `least` characters.
    pub fn too_short(field: impl Into<String>, least: u64, value: &Value) -> Violation {
        Violation::new(
            field,
            Rule::MinLength,
            format!("String must be at least {least} characters"),
        )
        .with_target(least.into())
        .with_value(value)
        .with_cause(echo(value))
    }

    /// Returns the violation of a text with more than `most` characters.
    pub fn too_long(field: impl Into<String>, most: u64, value: &Value) -> Violation {
        Violation::new(
            field,
            Rule::MaxLength,
            format!("String must not be more than {most} characters"),
        )
        .with_target(most.into())
        .with_value(value)
        .with_cause(echo(value))
    }

    /// Adds what the rule asks for.
    #[must_use]
    pub fn with_target(mut self, target: Value) -> Violation {
        self.target = Some(target);
        self
    }

    /// Adds the offending value, cut when it is very large.
    #[must_use]
    pub fn with_value(mut self, value: &Value) -> Violation {
        self.value = Some(echo(value));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Value) -> Violation {
        self.cause = Some(cause);
        self
    }
}

/// Returns `value`, or what is left of it after cutting long text and large lists.
fn echo(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().nth(ECHO_CHARS).is_some() => {
            let cut: String = text.chars().take(ECHO_CHARS).collect();
            Value::String(cut + "…")
        }
        Value::Array(_) | Value::Object(_) if items(value, ECHO_ITEMS).is_none() => Value::String("…".into()),
        Value::Array(values) => Value::Array(values.iter().map(echo).collect()),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), echo(value)))
                .collect(),
        ),
        value => value.clone(),
    }
}

/// Returns how many more items than those in `value` fit into `budget`, `None` when not even those do.
fn items(value: &Value, budget: usize) -> Option<usize> {
    match value {
        Value::Array(values) => values
            .iter()
            .try_fold(budget.checked_sub(1)?, |left, value| items(value, left)),
        Value::Object(map) => map
            .values()
            .try_fold(budget.checked_sub(1)?, |left, value| items(value, left)),
        _ => budget.checked_sub(1),
    }
}

/// The rules a document breaks, in document order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Violations {
    list: Vec<Violation>,
}

impl Violations {
    /// Returns whether nothing is broken.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether no more violations are taken.
    pub fn is_full(&self) -> bool {
        self.list.len() >= MAX_VIOLATIONS
    }

    /// Adds one, unless [`MAX_VIOLATIONS`] are there.
    pub fn push(&mut self, violation: Violation) {
        if !self.is_full() {
            self.list.push(violation);
        }
    }

    /// Iterates over them.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.list.iter()
    }

    /// Returns the error data of the contract: `{field: {rule: {message, target, value, cause}}}`, absent parts left
    /// out.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        for violation in &self.list {
            let mut detail = json!({ "message": violation.message });
            let parts = [
                ("target", &violation.target),
                ("value", &violation.value),
                ("cause", &violation.cause),
            ];
            for (key, part) in parts {
                if let Some(part) = part {
                    detail[key] = part.clone();
                }
            }
            let rules = fields.entry(violation.field.clone()).or_insert_with(|| json!({}));
            rules[violation.rule.name()] = detail;
        }
        fields
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Violations {
        Violations {
            list: vec![violation],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_one_field_stand_beside_each_other() {
        let mut violations = Violations::default();
        violations.push(Violation::too_short("name", 1, &json!("")));
        violations.push(Violation::new("name", Rule::Invalid, "no"));
        violations.push(Violation::required("member"));
        assert_eq!(
            Value::Object(violations.to_json()),
            json!({
                "name": {
                    "minLength": {"message": "String must be at least 1 characters", "target": 1, "value": "", "cause": ""},
                    "invalid": {"message": "no"}
                },
                "member": {"required": {"message": "Field is required but missing"}}
            })
        );
    }

    #[test]
    fn an_answer_stays_small_whatever_was_sent() {
        let mut violations = Violations::default();
        let long = json!("ä".repeat(5_000_000));
        let wide = json!(vec![7; 1_000_000]);
        violations.push(Violation::too_long("a", 1, &long));
        violations.push(Violation::wrong_type("b", "string", &wide));
        for _ in 0..10_000 {
            violations.push(Violation::required("c"));
        }
        assert!(violations.is_full());
        assert_eq!(violations.iter().count(), MAX_VIOLATIONS);
        assert!(serde_json::to_string(&violations.to_json()).unwrap().len() < 10_000);
    }
}
