//! Owns finding the envelope's parts in a request's body. Never looks into `data`.

use axum::http::{HeaderMap, header};
use confab_documents::{Rule, Violation};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The largest body taken.
pub(crate) const MAX_BODY_BYTES: usize = 8_000_000;

/// A request body: the top-level keys, lower case with underscores. Empty for an empty body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Envelope {
    keys: Map<String, Value>,
    /// The body was not empty.
    present: bool,
}

impl Envelope {
    /// Parses a body. One that begins with `{` is JSON whatever its type says: curl labels it as a form.
    pub(crate) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Envelope, ApiError> {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
        if text.is_empty() {
            return Ok(Envelope::default());
        }
        if !text.starts_with(b"{") {
            let kind = content_type(headers);
            let known = [
                "",
                "application/json",
                "application/x-json",
                "application/x-www-form-urlencoded",
            ];
            if !known.contains(&kind.as_str()) {
                return Err(ApiError::UnsupportedMediaType(kind));
            }
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| invalid_json(&error.to_string()))?;
        let Value::Object(map) = value else {
            return Err(invalid_json("the body must be a JSON object"));
        };
        let keys = map
            .into_iter()
            .map(|(key, value)| (key.to_lowercase().replace('-', "_"), value))
            .collect();
        Ok(Envelope { keys, present: true })
    }

    /// Returns a top-level key's value.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Returns a top-level key's text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Returns whether it has no keys at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks that `data` is there where it must be: in every body that is not empty and names no action.
    pub(crate) fn check_data(&self) -> Result<(), ApiError> {
        match self.get("data") {
            Some(Value::Object(_) | Value::Array(_)) => Ok(()),
            None | Some(Value::Null) if !self.present || self.keys.contains_key("action") => Ok(()),
            None | Some(Value::Null) => Err(Violation::required("data").into()),
            Some(other) => Err(Violation::wrong_type("data", "object, array", other).into()),
        }
    }

    /// Returns `data` as an object, empty when there is none.
    pub(crate) fn data_object(&self) -> Result<Map<String, Value>, ApiError> {
        self.check_data()?;
        match self.get("data") {
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(list @ Value::Array(_)) => Err(Violation::wrong_type("data", "object", list).into()),
            _ => Ok(Map::new()),
        }
    }
}

/// Returns the media type without parameters, lower case; empty when none is given.
fn content_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    let text = text.unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_lowercase()
}

fn invalid_json(problem: &str) -> ApiError {
    Violation::new("json", Rule::Invalid, problem)
        .with_target("body".into())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(kind: &str, body: &str) -> Result<Envelope, ApiError> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        Envelope::parse(&headers, body.as_bytes())
    }

    fn rule(error: ApiError) -> String {
        match error {
            ApiError::Validation(violations) => {
                let first = violations.iter().next().unwrap();
                format!("{}.{}", first.field, first.rule.name())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_json_whatever_its_label_says() {
        for kind in [
            "",
            "application/json",
            "application/json; charset=utf-8",
            "application/x-json",
            "application/x-www-form-urlencoded",
            "text/plain",
            "image/png",
        ] {
            let envelope = parse(kind, " \n{\"Data\":{},\"Auth-Token\":\"T\"}").unwrap();
            assert_eq!(envelope.get("data"), Some(&json!({})), "{kind}");
            assert_eq!(envelope.text("auth_token"), Some("T"));
        }
        assert_eq!(parse("image/png", "").unwrap(), Envelope::default());
        assert_eq!(parse("", "\u{feff} ").unwrap(), Envelope::default());
    }

    #[test]
    fn what_is_no_json_object_is_refused_by_its_label() {
        let table = [
            ("", "[]", "json.invalid"),
            ("application/json", "{\"a\"", "json.invalid"),
            ("application/x-www-form-urlencoded", "a=b", "json.invalid"),
            ("image/png", "\u{1}PNG", "UnsupportedMediaType(\"image/png\")"),
            ("", "5", "json.invalid"),
        ];
        for (kind, body, expected) in table {
            assert_eq!(rule(parse(kind, body).unwrap_err()), expected, "{kind} {body}");
        }
    }

    #[test]
    fn data_must_be_there_unless_the_body_is_empty_or_names_an_action() {
        let table = [
            ("", Ok(())),
            ("{\"data\":{}}", Ok(())),
            ("{\"action\":\"mute\"}", Ok(())),
            ("{}", Err("data.required")),
            ("{\"data\":null}", Err("data.required")),
            ("{\"data\":5}", Err("data.type")),
            ("{\"data\":[]}", Err("data.type")),
        ];
        for (body, expected) in table {
            let found = parse("", body).unwrap().data_object().map(drop).map_err(rule);
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        }
        assert!(parse("", "{\"data\":[]}").unwrap().check_data().is_ok());
    }

    #[test]
    fn a_depth_bomb_is_an_error_and_no_overflow() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let body = format!(
                "{{\"data\":{}1{}}}",
                open.repeat(1_000_000),
                close.repeat(1_000_000)
            );
            assert_eq!(rule(parse("", &body).unwrap_err()), "json.invalid");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(kind in ".{0,30}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(kind) = kind.parse() {
                headers.insert(header::CONTENT_TYPE, kind);
            }
            if let Ok(envelope) = Envelope::parse(&headers, &bytes) {
                let _ = envelope.data_object();
            }
        }
    }
}
