use serde_json::{Value, json};

use super::*;

fn body(value: Value) -> Body {
    value.as_object().unwrap().clone()
}

fn broken(kind: Kind, value: Value) -> Vec<(String, &'static str)> {
    let violations = prepare(kind, "", body(value)).unwrap_err();
    violations
        .iter()
        .map(|violation| (violation.field.clone(), violation.rule.name()))
        .collect()
}

#[test]
fn line_185_to_194_every_constraint_has_its_field_and_rule() {
    let name = || json!("x");
    let table = [
        (Kind::Device, json!({}), "name", "required"),
        (Kind::Device, json!({"name": ""}), "name", "minLength"),
        (
            Kind::Device,
            json!({"name": "x".repeat(129)}),
            "name",
            "maxLength",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"password": "1234"}}),
            "sip.password",
            "minLength",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"username": "x"}}),
            "sip.username",
            "minLength",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"invite_format": "x"}}),
            "sip.invite_format",
            "enum",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"method": "x"}}),
            "sip.method",
            "enum",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"realm": "a b.c"}}),
            "sip.realm",
            "pattern",
        ),
        (
            Kind::Device,
            json!({"name": name(), "owner_id": "x"}),
            "owner_id",
            "minLength",
        ),
        (
            Kind::Device,
            json!({"name": name(), "media": {"audio": {"codecs": ["PCMU", "MP3"]}}}),
            "media.audio.codecs.1",
            "enum",
        ),
        (
            Kind::Device,
            json!({"name": name(), "media": {"audio": {"codecs": ["PCMU", "PCMU"]}}}),
            "media.audio.codecs",
            "uniqueItems",
        ),
        (
            Kind::Device,
            json!({"name": name(), "call_forward": {"number": "1".repeat(36)}}),
            "call_forward.number",
            "maxLength",
        ),
        (
            Kind::Device,
            json!({"name": name(), "caller_id": {"external": {"name": "1".repeat(36)}}}),
            "caller_id.external.name",
            "maxLength",
        ),
        (Kind::User, json!({"first_name": "A"}), "last_name", "required"),
        (Kind::User, json!({"last_name": "A"}), "first_name", "required"),
        (
            Kind::User,
            json!({"first_name": "A", "last_name": "B", "email": "nobody"}),
            "email",
            "wrong_format",
        ),
        (
            Kind::User,
            json!({"first_name": "A", "last_name": "B", "password": "secret"}),
            "username",
            "required",
        ),
        (
            Kind::User,
            json!({"first_name": "A", "last_name": "B", "username": "a b"}),
            "username",
            "pattern",
        ),
        (
            Kind::User,
            json!({"first_name": "A", "last_name": "B", "priv_level": "x"}),
            "priv_level",
            "enum",
        ),
        (Kind::Media, json!({}), "name", "required"),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"custom_sip_headers": {"out": {"X-A": "b\r\nX-Evil: 1"}}}}),
            "sip.custom_sip_headers.out.X-A",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "t", "gateways": [{"server": "h\r\nX: y"}]}),
            "gateways.0.server",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": "127.0.0.1"}),
            "realm",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": "LocalHost"}),
            "realm",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": "a.example."}),
            "realm",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": ".."}),
            "realm",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": "-"}),
            "realm",
            "invalid",
        ),
        (
            Kind::Account,
            json!({"name": "a", "realm": "127.1"}),
            "realm",
            "invalid",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"realm": "localhost"}}),
            "sip.realm",
            "invalid",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"custom_sip_headers": {"out": {"X\r\nEvil": "b"}}}}),
            "sip.custom_sip_headers.out.X??Evil",
            "invalid",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"method": "ip"}}),
            "sip.ip",
            "required",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"ip": "1.2.3.4:5060"}}),
            "sip.ip",
            "invalid",
        ),
        (
            Kind::Device,
            json!({"name": name(), "sip": {"invite_format": "route"}}),
            "sip.route",
            "required",
        ),
        (
            Kind::Webhook,
            json!({"name": "w", "uri": "http://[::1", "hook": "all"}),
            "uri",
            "invalid",
        ),
        (
            Kind::Webhook,
            json!({"name": "w", "uri": "http://h:99999/", "hook": "all"}),
            "uri",
            "invalid",
        ),
        (
            Kind::Webhook,
            json!({"name": "w", "uri": "http://a b/", "hook": "all"}),
            "uri",
            "invalid",
        ),
        (
            Kind::Conference,
            json!({"ui": "x".repeat(MAX_BYTES)}),
            "data",
            "invalid",
        ),
        (
            Kind::Media,
            json!({"name": "m", "media_source": "x"}),
            "media_source",
            "enum",
        ),
        (
            Kind::Media,
            json!({"name": "m", "content_type": "text/plain"}),
            "content_type",
            "enum",
        ),
        (
            Kind::Media,
            json!({"name": "m", "content_length": 0}),
            "content_length",
            "minimum",
        ),
        (
            Kind::Media,
            json!({"name": "m", "content_length": 11_534_337}),
            "content_length",
            "maximum",
        ),
        (
            Kind::Media,
            json!({"name": "m", "prompt_id": "a/b"}),
            "prompt_id",
            "pattern",
        ),
        (Kind::Account, json!({}), "name", "required"),
        (
            Kind::Account,
            json!({"name": "n", "realm": "a b.c"}),
            "realm",
            "pattern",
        ),
        (Kind::Resource, json!({"name": "n"}), "gateways", "required"),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": []}),
            "gateways",
            "minItems",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{}]}),
            "gateways.0.server",
            "required",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s"}], "rules": ["^1$", "("]}),
            "rules.1",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s"}], "rules": ["(\\d{1000}){1000}"]}),
            "rules.0",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s"}], "weight_cost": 101}),
            "weight_cost",
            "maximum",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "gw.example"}, {"server": "sip:gw.example"}]}),
            "gateways.1.server",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s", "register": true, "username": "u"}]}),
            "gateways.0.password",
            "required",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "a b"}]}),
            "gateways.0.server",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "gw.example:0"}]}),
            "gateways.0.server",
            "invalid",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s", "invite_format": "route"}]}),
            "gateways.0.route",
            "required",
        ),
        (
            Kind::Resource,
            json!({"name": "n", "gateways": [{"server": "s", "invite_format": "route", "route": "tel:+1"}]}),
            "gateways.0.route",
            "invalid",
        ),
        (
            Kind::Webhook,
            json!({"name": "n", "hook": "all"}),
            "uri",
            "required",
        ),
    ];
    for (kind, value, field, rule) in table {
        assert_eq!(
            broken(kind, value.clone()),
            [(field.to_owned(), rule)],
            "{kind:?} {value}"
        );
    }
}

#[test]
fn a_device_gets_the_defaults_of_the_contract() {
    let stored = prepare(Kind::Device, "", body(json!({"name": "Phone", "custom": 1}))).unwrap();
    assert_eq!(
        Value::Object(stored),
        json!({
            "name": "Phone", "custom": 1, "enabled": true, "device_type": "sip_device",
            "call_restriction": {}, "caller_id": {}, "contact_list": {}, "dial_plan": {},
            "media": {"audio": {}, "encryption": {"enforce_security": false, "methods": []}, "video": {"codecs": []}},
            "music_on_hold": {}, "mwi_unsolicited_updates": true, "register_overwrite_notify": false, "ringtones": {},
            "sip": {"expire_seconds": 300, "invite_format": "contact", "method": "password"},
            "suppress_unregister_notifications": false
        })
    );
}

#[test]
fn mail_addresses_are_told_from_others() {
    let check = |email: &str| {
        let user = json!({"first_name": "A", "last_name": "B", "email": email});
        prepare(Kind::User, "", body(user)).is_ok()
    };
    for email in ["a@b", "a.b+c@example.com", "ä@ö.example", "o'neil@x-y.example"] {
        assert!(check(email), "{email}");
    }
    for email in ["a@", "@bc", "a b@c", "a@b..c", "a@b@c", "abc", "a@.c", "a\u{0}@b"] {
        assert!(!check(email), "{email}");
    }
}

#[test]
fn a_configuration_of_conferences_has_rules_and_others_have_none() {
    let with_profile = || body(json!({"profiles": {"board": {"rate": "8000", "energy-level": 5000}}}));
    let violations = prepare(Kind::Configuration, "conferences", with_profile()).unwrap_err();
    let first = violations.iter().next().unwrap();
    assert_eq!(first.field, "profiles.board.energy-level");
    let stored = prepare(Kind::Configuration, "other", with_profile()).unwrap();
    assert_eq!(stored, with_profile());
    let repaired = prepare(
        Kind::Configuration,
        "conferences",
        body(
            json!({"profiles": {"board": {"rate": "8000"}}, "controls": {"g": [{"action": "mute", "digits": "1"}]}}),
        ),
    );
    assert_eq!(repaired.unwrap()["profiles"]["board"]["rate"], 8000);
    let entry = json!({"controls": {"g": [{"action": "mute"}]}});
    let violations = prepare(Kind::Configuration, "conferences", body(entry)).unwrap_err();
    assert_eq!(violations.iter().next().unwrap().field, "controls.g.0.digits");
}

#[test]
fn a_prompt_keeps_what_its_id_is_made_of() {
    let prepared = |id: &str, value: Value| prepare(Kind::Media, id, body(value)).is_ok();
    let id = "0123456789abcdef0123456789abcdef";
    let prompt = |language: &str| json!({"name": "m", "prompt_id": "conf-welcome", "language": language});
    assert!(prepared("", prompt("fr-fr")) && prepared("fr-fr/conf-welcome", prompt("FR-fr")));
    assert!(!prepared("en-us/conf-welcome", prompt("fr-fr")) && !prepared(id, prompt("en-us")));
    assert!(prepared(id, json!({"name": "m"})) && !prepared("en-us/conf-welcome", json!({"name": "m"})));
}

#[test]
fn a_device_in_its_accounts_realm_names_none_and_its_username_is_unique_there() {
    let mut device = body(json!({"sip": {"realm": "A.Example", "username": "Alice"}}));
    drop_own_realm(&mut device, "a.example");
    assert_eq!(device["sip"], json!({"username": "Alice"}));
    let keys = unique_keys(Kind::Device, &device, "a.example");
    assert_eq!(
        keys,
        [UniqueKey {
            name: DEVICE_USERNAME,
            scope: "a.example".into(),
            value: "alice".into()
        }]
    );
    let by_ip = |ip: &str, method: &str| {
        let device = body(json!({"sip": {"ip": ip, "method": method}}));
        unique_keys(Kind::Device, &device, "")
            .into_iter()
            .map(|key| key.value)
            .collect::<Vec<_>>()
    };
    assert_eq!(by_ip("::ffff:10.0.0.1", "ip"), ["10.0.0.1"]);
    assert_eq!(by_ip("Host\0", "ip"), ["host\u{fffd}"]);
    assert_eq!(by_ip("10.0.0.1", "password"), [""; 0]);
}

#[test]
fn every_secret_is_found_where_it_stands() {
    let mut found = Vec::new();
    let mut trunk =
        body(json!({"gateways": [{"password": "a"}, {}, {"password": "b"}, 5], "password": "no"}));
    let visit = |path: &str, text: &mut String| {
        found.push(format!("{path}={text}"));
        text.push('!');
        Ok::<(), ()>(())
    };
    secrets(Kind::Resource, &mut trunk, visit).unwrap();
    assert_eq!(found, ["gateways.0.password=a", "gateways.2.password=b"]);
    assert_eq!(trunk["gateways"][2]["password"], "b!");
}

#[test]
fn names_of_accounts_compare_by_letters_and_digits() {
    assert_eq!(name_key("Acme, Inc. 2 "), "acmeinc2");
}
