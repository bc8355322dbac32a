//! Owns finding the action and its arguments in a request, in every wrapping that clients use. Never runs an action.

use confab_documents::Violation;
use serde_json::{Map, Value};

use crate::arguments;
use crate::body::Envelope;
use crate::error::ApiError;
use crate::query::Query;

/// The actions of one kind of resource. `T` is what an action means there.
#[derive(Debug)]
pub(crate) struct Actions<T: 'static> {
    /// Those that this version carries out.
    pub(crate) built: &'static [(&'static str, T)],
    /// Those that this version refuses because running conferences do not carry them out yet, though it knows what they
    /// mean.
    pub(crate) prepared: &'static [(&'static str, T)],
    /// Those that clients may ask for and that this version refuses.
    pub(crate) refused: &'static [&'static str],
}

impl<T: Copy> Actions<T> {
    fn knows(&self, name: &str) -> bool {
        self.refuses(name) || self.meaning(name).is_some()
    }

    fn refuses(&self, name: &str) -> bool {
        self.refused.contains(&name) || self.prepared.iter().any(|(known, _)| *known == name)
    }

    /// Returns the action's name and what it means.
    fn meaning(&self, name: &str) -> Option<(&'static str, T)> {
        self.built.iter().find(|(known, _)| *known == name).copied()
    }

    /// Returns the names of what this version carries out.
    pub(crate) fn names(&self) -> Value {
        self.built.iter().map(|(name, _)| *name).collect()
    }
}

/// An action as a request asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requested<T> {
    /// What it means.
    pub(crate) action: T,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its arguments; `None` when the request has no place for them.
    pub(crate) arguments: Option<Map<String, Value>>,
}

/// Where an action was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    TopLevel,
    Data,
    Query,
}

/// Finds the action: at the top level of the body, then in `data`, then in the query; the first that names a known
/// action wins. Its arguments are `data.data`, else `data` itself.
pub(crate) fn resolve<T: Copy>(
    envelope: &Envelope,
    query: &Query,
    actions: &Actions<T>,
) -> Result<Requested<T>, ApiError> {
    envelope.check_data()?;
    let data = envelope.get("data").and_then(Value::as_object);
    let from_query = query.get("action").map(|action| Value::String(action.to_owned()));
    let candidates = [
        (Place::TopLevel, envelope.get("action")),
        (Place::Data, data.and_then(|data| data.get("action"))),
        (Place::Query, from_query.as_ref()),
    ];
    let mut named = candidates
        .iter()
        .filter_map(|(place, value)| Some((*place, (*value)?)));
    let known = named
        .clone()
        .find(|(_, value)| value.as_str().is_some_and(|name| actions.knows(name)));
    let Some((place, value)) = known.or_else(|| named.next()) else {
        return Err(Violation::required("action").into());
    };
    let Some((name, action)) = value.as_str().and_then(|name| actions.meaning(name)) else {
        return Err(refusal(value, actions));
    };
    if arguments::schema_of(name).is_some() {
        check_form(envelope)?;
    }
    Ok(Requested {
        action,
        name,
        arguments: arguments(data, place),
    })
}

/// Checks that what stands where an action's arguments stand is an object. An empty list is none at all: some clients write an
/// empty object so.
fn check_form(envelope: &Envelope) -> Result<(), ApiError> {
    let is_wrong = |value: &Value| match value {
        Value::Object(_) | Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let outer = envelope.get("data");
    let inner = outer.and_then(|data| data.get("data"));
    for (field, value) in [("data", outer), ("data.data", inner)] {
        if let Some(value) = value.filter(|value| is_wrong(value)) {
            return Err(Violation::wrong_type(field, "object", value).into());
        }
    }
    Ok(())
}

fn refusal<T: Copy>(value: &Value, actions: &Actions<T>) -> ApiError {
    let mut violation = Violation::not_in_list("action", actions.names(), value);
    if value.as_str().is_some_and(|name| actions.refuses(name)) {
        violation = violation.with_cause("not in this version".into());
    }
    violation.into()
}

fn arguments(data: Option<&Map<String, Value>>, place: Place) -> Option<Map<String, Value>> {
    let data = data?;
    if let Some(Value::Object(inner)) = data.get("data") {
        return Some(inner.clone());
    }
    let mut arguments = data.clone();
    arguments.shift_remove("ui_metadata");
    if place == Place::Data {
        arguments.shift_remove("action");
        return (!arguments.is_empty()).then_some(arguments);
    }
    // The key `action` within data is an argument of its own when the action was named elsewhere (record).
    Some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use proptest::prelude::*;
    use serde_json::json;

    const ACTIONS: Actions<&str> = Actions {
        built: &[
            ("mute", "mute"),
            ("play", "play"),
            ("record", "record"),
            ("dial", "dial"),
        ],
        prepared: &[("hold", "hold")],
        refused: &["relate"],
    };

    fn run(body: &Value, query: &str) -> Result<Requested<&'static str>, ApiError> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let envelope = Envelope::parse(&HeaderMap::new(), body.as_bytes()).unwrap();
        resolve(&envelope, &Query::parse(Some(query)), &ACTIONS)
    }

    #[test]
    fn c091_c092_c139_every_wrapping_is_understood() {
        let table = [
            (
                json!({"action": "play", "data": {"media_id": "M"}}),
                "",
                "play",
                Some(json!({"media_id": "M"})),
            ),
            (
                json!({"action": "play", "data": {"data": {"media_id": "M"}}}),
                "",
                "play",
                Some(json!({"media_id": "M"})),
            ),
            (
                json!({"data": {"action": "play", "data": {"media_id": "M"}}}),
                "",
                "play",
                Some(json!({"media_id": "M"})),
            ),
            (
                json!({"data": {"action": "play", "media_id": "M"}}),
                "",
                "play",
                Some(json!({"media_id": "M"})),
            ),
            (
                json!({"action": "dial", "data": {"custom_application_vars": {}, "data": {"endpoints": ["e"]}}}),
                "",
                "dial",
                Some(json!({"endpoints": ["e"]})),
            ),
            (
                json!({"action": "record", "data": {"action": "start"}}),
                "",
                "record",
                Some(json!({"action": "start"})),
            ),
            (
                json!({"data": {"action": "record", "data": {"action": "stop"}}}),
                "",
                "record",
                Some(json!({"action": "stop"})),
            ),
            (
                json!({"data": {"action": "start"}}),
                "action=record",
                "record",
                Some(json!({"action": "start"})),
            ),
            (json!({"data": {"action": "mute"}}), "", "mute", None),
            (
                json!({"data": {"action": "mute", "ui_metadata": {"x": 1}}}),
                "",
                "mute",
                None,
            ),
            (json!({"action": "mute", "data": {}}), "", "mute", Some(json!({}))),
            (json!({"action": "mute"}), "", "mute", None),
            (json!({"Action": "mute"}), "", "mute", None),
            (
                json!({"action": "play", "data": {"ui_metadata": {"x": 1}}}),
                "",
                "play",
                Some(json!({})),
            ),
            (
                json!({"action": "nonsense", "data": {"action": "mute"}}),
                "",
                "mute",
                None,
            ),
            (json!({"data": []}), "action=mute", "mute", None),
            (json!(null), "action=mute", "mute", None),
        ];
        for (body, query, action, arguments) in table {
            let requested = run(&body, query).unwrap_or_else(|error| panic!("{body}: {error:?}"));
            assert_eq!(requested.action, action, "{body}");
            assert_eq!(requested.arguments.map(Value::Object), arguments, "{body}");
        }
    }

    #[test]
    fn arguments_that_are_no_object_are_told_so() {
        for (body, field) in [
            (json!({"action": "play", "data": [1]}), "data"),
            (json!({"action": "play", "data": {"data": [1]}}), "data.data"),
            (json!({"data": {"action": "play", "data": "M"}}), "data.data"),
            (json!({"data": {"action": "play", "data": 5}}), "data.data"),
        ] {
            let broken = detail(body.clone());
            assert_eq!(broken[field]["type"]["target"], "object", "{body}: {broken}");
        }
        for body in [
            json!({"action": "play", "data": []}),
            json!({"data": {"action": "play", "data": []}}),
            json!({"data": {"action": "play", "data": null}}),
            // These take none, so nobody looks.
            json!({"action": "mute", "data": [1]}),
            json!({"data": {"action": "mute", "data": [1]}}),
        ] {
            run(&body, "").unwrap_or_else(|error| panic!("{body}: {error:?}"));
        }
    }

    fn detail(body: Value) -> Value {
        match run(&body, "") {
            Err(ApiError::Validation(violations)) => Value::Object(violations.to_json()),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn c087_c093_what_names_no_action_is_told_what_there_is() {
        let built = json!(["mute", "play", "record", "dial"]);
        let message = "Value not found in enumerated list of values";
        for (body, value) in [
            (json!({"action": "dance"}), json!("dance")),
            (json!({"data": {"action": "start"}}), json!("start")),
            (
                json!({"action": "dance", "data": {"action": "start"}}),
                json!("dance"),
            ),
            (json!({"action": 5}), json!(5)),
            (json!({"action": null}), json!(null)),
        ] {
            let expected = json!({"action": {"enum": {"message": message, "target": built, "value": value}}});
            assert_eq!(detail(body), expected);
        }
        for later in ["relate", "hold"] {
            assert_eq!(
                detail(json!({"action": later}))["action"]["enum"]["cause"],
                "not in this version"
            );
        }
        assert!(detail(json!({"data": {}}))["action"]["required"].is_object());
        assert!(detail(json!({}))["data"]["required"].is_object());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(json!("mute")),
            Just(json!("record")),
            Just(json!("relate")),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![Just("action".to_owned()), Just("data".to_owned()), ".{0,4}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_the_resolver_panic(data in any_json(), top in any_json(), query in ".{0,20}") {
            let _ = run(&json!({"data": data, "action": top}), &query);
            let _ = run(&json!({"data": data}), &query);
        }
    }
}
