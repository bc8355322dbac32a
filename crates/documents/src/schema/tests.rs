use proptest::prelude::*;
use serde_json::json;

use super::*;

fn broken(schema: &Value, value: &Value) -> Value {
    let mut violations = Violations::default();
    Schema::compile(schema).unwrap().check(value, &mut violations);
    let fields = violations.to_json();
    json!(
        fields
            .iter()
            .map(|(field, rules)| {
                (
                    field.clone(),
                    rules.as_object().unwrap().keys().cloned().collect::<Vec<_>>(),
                )
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    )
}

#[test]
fn every_rule_is_found_under_its_dotted_name() {
    let table = [
        (json!({"type": "string"}), json!(5), json!({"": ["type"]})),
        (json!({"type": "integer"}), json!(5.5), json!({"": ["type"]})),
        (json!({"type": "integer"}), json!(5.0), json!({})),
        (json!({"type": "number"}), json!(5.5), json!({})),
        (json!({"type": "number"}), json!("5.5"), json!({"": ["type"]})),
        (
            json!({"type": ["boolean", "string"]}),
            json!({}),
            json!({"": ["type"]}),
        ),
        (json!({"type": "object"}), json!([]), json!({"": ["type"]})),
        (json!({"enum": [1, "a"]}), json!("b"), json!({"": ["enum"]})),
        (json!({"enum": [8000]}), json!(8000.0), json!({})),
        (
            json!({"minLength": 2, "maxLength": 3}),
            json!("a"),
            json!({"": ["minLength"]}),
        ),
        (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!({})),
        (
            json!({"minLength": 2, "maxLength": 3}),
            json!("abcd"),
            json!({"": ["maxLength"]}),
        ),
        (
            json!({"minimum": 0, "maximum": 9}),
            json!(-1),
            json!({"": ["minimum"]}),
        ),
        (
            json!({"minimum": 0, "maximum": 9}),
            json!(1e300),
            json!({"": ["maximum"]}),
        ),
        (
            json!({"minimum": 0, "maximum": 9}),
            json!(u64::MAX),
            json!({"": ["maximum"]}),
        ),
        (
            json!({"minItems": 1, "maxItems": 1}),
            json!([]),
            json!({"": ["minItems"]}),
        ),
        (
            json!({"minItems": 1, "maxItems": 1}),
            json!([1, 2]),
            json!({"": ["maxItems"]}),
        ),
        (
            json!({"uniqueItems": true}),
            json!(["a", "b", "a"]),
            json!({"": ["uniqueItems"]}),
        ),
        (json!({"uniqueItems": false}), json!(["a", "a"]), json!({})),
        (
            json!({"pattern": "^[0-9]+$"}),
            json!("12a"),
            json!({"": ["pattern"]}),
        ),
        (
            json!({"pattern": "^[0-9]+$"}),
            json!(""),
            json!({"": ["pattern"]}),
        ),
        (
            json!({"pattern": "^[0-9]+$"}),
            json!("12\n"),
            json!({"": ["pattern"]}),
        ),
        (
            json!({"required": ["a.b"]}),
            json!({}),
            json!({"a%2Eb": ["required"]}),
        ),
        (
            json!({"properties": {"m": {"properties": {"p": {"items": {"type": "string"}}}}}}),
            json!({"m": {"p": ["1", 2, "3", null]}}),
            json!({"m.p.1": ["type"], "m.p.3": ["type"]}),
        ),
    ];
    for (schema, value, expected) in table {
        assert_eq!(broken(&schema, &value), expected, "schema {schema} value {value}");
    }
}

#[test]
fn messages_and_targets_are_those_clients_know() {
    let schema = Schema::compile(&json!({"properties": {
        "n": {"maximum": 5}, "t": {"type": "string"}, "e": {"enum": ["x"]}, "p": {"pattern": "^a$"}, "l": {"minItems": 2}
    }}));
    let mut violations = Violations::default();
    schema.unwrap().check(
        &json!({"n": 6, "t": 1, "e": "y", "p": "b", "l": []}),
        &mut violations,
    );
    assert_eq!(
        Value::Object(violations.to_json()),
        json!({
            "n": {"maximum": {"message": "Value must be at most 5", "target": 5, "value": 6}},
            "t": {"type": {"message": "Value did not match type(s): string", "target": "string", "value": 1}},
            "e": {"enum": {"message": "Value not found in enumerated list of values", "target": ["x"], "value": "y"}},
            "p": {"pattern": {"message": "Failed to match pattern '^a$'", "target": "^a$", "value": "b"}},
            "l": {"minItems": {"message": "The list must have at least 2 items", "target": 2, "value": []}}
        })
    );
}

#[test]
fn repair_converts_towards_boolean_and_number_only() {
    let schema = json!({"properties": {
        "flag": {"type": "boolean"}, "count": {"type": "integer"}, "ratio": {"type": "number"},
        "name": {"type": "string"}, "tone": {"type": ["boolean", "string"]}, "list": {"items": {"type": "integer"}}
    }});
    let schema = Schema::compile(&schema).unwrap();
    let table = [
        (json!({"flag": "true"}), json!({"flag": true})),
        (json!({"flag": "false"}), json!({"flag": false})),
        (json!({"flag": "yes"}), json!({"flag": "yes"})),
        (json!({"flag": 1}), json!({"flag": 1})),
        (json!({"count": " 5 "}), json!({"count": 5})),
        (json!({"count": "-5"}), json!({"count": -5})),
        (json!({"count": "5.5"}), json!({"count": "5.5"})),
        (json!({"count": 5.0}), json!({"count": 5})),
        (json!({"count": 1e300}), json!({"count": 1e300})),
        (
            json!({"count": "99999999999999999999"}),
            json!({"count": "99999999999999999999"}),
        ),
        (json!({"ratio": "5.5"}), json!({"ratio": 5.5})),
        (json!({"ratio": "inf"}), json!({"ratio": "inf"})),
        (json!({"name": 5}), json!({"name": 5})),
        (json!({"tone": "true"}), json!({"tone": "true"})),
        (json!({"list": ["1", 2, "x"]}), json!({"list": [1, 2, "x"]})),
        (json!({"unknown": "5"}), json!({"unknown": "5"})),
        (json!([]), json!([])),
    ];
    for (mut value, expected) in table {
        schema.repair(&mut value);
        assert_eq!(value, expected);
    }
}

#[test]
fn defaults_fill_gaps_and_nothing_else() {
    let schema = json!({"properties": {
        "a": {"default": 1}, "m": {"default": {}, "properties": {"x": {"default": true}, "y": {}}}
    }});
    let schema = Schema::compile(&schema).unwrap();
    let table = [
        (json!({}), json!({"a": 1, "m": {"x": true}})),
        (json!({"a": null}), json!({"a": null, "m": {"x": true}})),
        (
            json!({"m": {"x": false, "z": 1}}),
            json!({"m": {"x": false, "z": 1}, "a": 1}),
        ),
        (json!({"m": 5}), json!({"m": 5, "a": 1})),
        (json!(5), json!(5)),
    ];
    for (mut value, expected) in table {
        schema.fill_defaults(&mut value);
        assert_eq!(value, expected);
    }
}

#[test]
fn a_schema_with_an_unknown_rule_does_not_compile() {
    for schema in [
        json!(5),
        json!({"multipleOf": 2}),
        json!({"type": "null"}),
        json!({"type": 5}),
        json!({"pattern": "("}),
        json!({"properties": {"a": {"minimum": "x"}}}),
    ] {
        assert!(Schema::compile(&schema).is_err(), "{schema}");
    }
}

/// Any JSON value of bounded size, biased towards the words schemas know.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("true"), Just("5"), Just("3000"), Just(""), Just("12a")].prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec(
                (
                    prop_oneof![
                        Just("member".to_owned()),
                        Just("profile".to_owned()),
                        Just("pins".to_owned()),
                        Just("numbers".to_owned()),
                        Just("conference_numbers".to_owned()),
                        Just("rate".to_owned()),
                        Just("name".to_owned()),
                        ".{0,8}"
                    ],
                    inner
                ),
                0..8
            )
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_the_conference_schema_panic(mut value in any_json()) {
        let schema = crate::Kind::Conference.schema("");
        schema.repair(&mut value);
        schema.fill_defaults(&mut value);
        let mut violations = Violations::default();
        schema.check(&value, &mut violations);
        let once = value.clone();
        schema.repair(&mut value);
        schema.fill_defaults(&mut value);
        prop_assert_eq!(once, value, "repair and defaults are idempotent");
    }

    #[test]
    fn whatever_passes_can_be_stored_patched_and_run(document in any_json(), change in any_json()) {
        let (Value::Object(document), Value::Object(change)) = (document, change) else { return Ok(()) };
        let Ok(mut body) = crate::prepare::prepare(crate::Kind::Conference, "", document) else { return Ok(()) };
        let again = crate::prepare::prepare(crate::Kind::Conference, "", body.clone());
        prop_assert_eq!(again.as_ref(), Ok(&body), "what passed passes again");
        let text = Value::Object(body.clone()).to_string();
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        crate::document::merge(&mut body, change);
        let Ok(body) = crate::prepare::prepare(crate::Kind::Conference, "", body) else { return Ok(()) };
        let settings = crate::settings(&crate::Document {
            kind: crate::Kind::Conference,
            account_id: "a".into(),
            id: "c".into(),
            revision: crate::Revision::of("c", 1, ""),
            created: Default::default(),
            modified: Default::default(),
            body,
        });
        prop_assert!((10..=120).contains(&settings.interval_ms) && settings.energy_level <= 1800);
    }
}
