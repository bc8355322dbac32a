//! Owns the rules a document must keep, read from JSON Schema text. Never changes a document by itself: repair and
//! defaults are asked for by name.
//!
//! The keywords are those the contract has a rule name for: `type`, `properties`, `required`, `items`, `enum`,
//! `minLength`, `maxLength`, `minimum`, `maximum`, `minItems`, `maxItems`, `uniqueItems`, `pattern`, `format` (`email`),
//! `default`, and `additionalProperties` with a schema for the keys that `properties` does not name. A schema that uses another constraint does not compile, so no rule is ever silently skipped.

mod check;
mod repair;
mod violation;

use regex::Regex;
use serde_json::{Map, Value};
use thiserror::Error;

pub use violation::{MAX_VIOLATIONS, Rule, Violation, Violations};

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    types: Vec<JsonType>,
    properties: Vec<(String, Schema)>,
    /// Of the keys that `properties` does not name.
    others: Option<Box<Schema>>,
    required: Vec<String>,
    items: Option<Box<Schema>>,
    allowed: Vec<Value>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique_items: bool,
    pattern: Option<Regex>,
    is_email: bool,
    default: Option<Value>,
}

/// The type names of JSON Schema that documents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonType {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

impl JsonType {
    const ALL: [(&'static str, JsonType); 6] = [
        ("array", JsonType::Array),
        ("boolean", JsonType::Boolean),
        ("integer", JsonType::Integer),
        ("number", JsonType::Number),
        ("object", JsonType::Object),
        ("string", JsonType::String),
    ];

    fn parse(name: &str) -> Option<JsonType> {
        Self::ALL
            .iter()
            .find(|(text, _)| *text == name)
            .map(|(_, kind)| *kind)
    }

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(text, _)| *text)
    }

    fn matches(self, value: &Value) -> bool {
        match self {
            JsonType::Array => value.is_array(),
            JsonType::Boolean => value.is_boolean(),
            JsonType::Integer => is_integer(value),
            JsonType::Number => value.is_number(),
            JsonType::Object => value.is_object(),
            JsonType::String => value.is_string(),
        }
    }
}

/// Returns whether `value` is a whole number; `5.0` is one.
fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

/// The text is no schema this module understands.
#[derive(Debug, Error)]
#[error("schema at {path}: {problem}")]
pub struct SchemaError {
    /// Where in the schema, as a dotted path; empty at the root.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

/// Keywords that describe and constrain nothing.
const ANNOTATIONS: [&str; 6] = [
    "$schema",
    "description",
    "readOnly",
    "writeOnly",
    "x-extension",
    "title",
];

impl Schema {
    /// Compiles a schema.
    pub fn compile(schema: &Value) -> Result<Schema, SchemaError> {
        compile(schema, "")
    }

    /// Converts values whose schema type is boolean, integer or number from text, in place. Nothing is converted to
    /// text, and what cannot be converted stays for [`Schema::check`] to find.
    pub fn repair(&self, value: &mut Value) {
        repair::repair(self, value);
    }

    /// Adds every default of the schema whose key is absent, in place, objects recursively.
    pub fn fill_defaults(&self, value: &mut Value) {
        repair::fill_defaults(self, value);
    }

    /// Collects every rule that `value` breaks, up to [`MAX_VIOLATIONS`].
    pub fn check(&self, value: &Value, violations: &mut Violations) {
        check::check(self, value, &mut Vec::new(), violations);
    }

    /// Returns the keys of an object that have a schema, with it.
    fn keys<'a>(&'a self, map: &'a Map<String, Value>) -> impl Iterator<Item = (&'a str, &'a Schema)> {
        let named = self
            .properties
            .iter()
            .map(|(key, schema)| (key.as_str(), schema))
            .filter(|(key, _)| map.contains_key(*key));
        let others = self.others.iter().flat_map(move |schema| {
            let named = |key: &str| self.properties.iter().any(|(known, _)| known == key);
            map.keys()
                .filter(move |key| !named(key))
                .map(move |key| (key.as_str(), &**schema))
        });
        named.chain(others)
    }

    fn type_names(&self) -> String {
        self.types
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn compile(schema: &Value, path: &str) -> Result<Schema, SchemaError> {
    let error = |problem: String| SchemaError {
        path: path.to_owned(),
        problem,
    };
    let map = schema.as_object().ok_or_else(|| error("is no object".into()))?;
    let mut compiled = Schema {
        types: Vec::new(),
        properties: Vec::new(),
        others: None,
        required: Vec::new(),
        items: None,
        allowed: Vec::new(),
        min_length: None,
        max_length: None,
        minimum: None,
        maximum: None,
        min_items: None,
        max_items: None,
        unique_items: false,
        pattern: None,
        is_email: false,
        default: None,
    };
    for (keyword, value) in map {
        let malformed = || error(format!("{keyword} has a value of the wrong form"));
        match keyword.as_str() {
            "type" => compiled.types = types(value).ok_or_else(malformed)?,
            "properties" => compiled.properties = properties(value.as_object().ok_or_else(malformed)?, path)?,
            "additionalProperties" => {
                compiled.others = Some(Box::new(compile(value, &format!("{path}.*"))?));
            }
            "format" if value == "email" => compiled.is_email = true,
            "required" => compiled.required = strings(value).ok_or_else(malformed)?,
            "items" => compiled.items = Some(Box::new(compile(value, &format!("{path}.[]"))?)),
            "enum" => compiled.allowed = value.as_array().ok_or_else(malformed)?.clone(),
            "minLength" => compiled.min_length = Some(value.as_u64().ok_or_else(malformed)?),
            "maxLength" => compiled.max_length = Some(value.as_u64().ok_or_else(malformed)?),
            "minimum" => compiled.minimum = Some(value.as_i64().ok_or_else(malformed)?),
            "maximum" => compiled.maximum = Some(value.as_i64().ok_or_else(malformed)?),
            "minItems" => compiled.min_items = Some(value.as_u64().ok_or_else(malformed)?),
            "maxItems" => compiled.max_items = Some(value.as_u64().ok_or_else(malformed)?),
            "uniqueItems" => compiled.unique_items = value.as_bool().ok_or_else(malformed)?,
            "pattern" => {
                let source = value.as_str().ok_or_else(malformed)?;
                compiled.pattern = Some(Regex::new(source).map_err(|problem| error(problem.to_string()))?);
            }
            "default" => compiled.default = Some(value.clone()),
            annotation if ANNOTATIONS.contains(&annotation) => {}
            unknown => return Err(error(format!("keyword {unknown} is not known"))),
        }
    }
    Ok(compiled)
}

fn types(value: &Value) -> Option<Vec<JsonType>> {
    match value {
        Value::String(name) => Some(vec![JsonType::parse(name)?]),
        Value::Array(_) => strings(value)?.iter().map(|name| JsonType::parse(name)).collect(),
        _ => None,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn properties(map: &Map<String, Value>, path: &str) -> Result<Vec<(String, Schema)>, SchemaError> {
    map.iter()
        .map(|(key, schema)| Ok((key.clone(), compile(schema, &format!("{path}.{key}"))?)))
        .collect()
}

#[cfg(test)]
mod tests;
