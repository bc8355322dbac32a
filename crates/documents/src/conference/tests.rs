//! What conference documents mean, told as examples.

use super::*;
use crate::document::{MAX_DEPTH, Revision};
use confab_conference::{AccountId, GregorianSeconds, KeyAction, KeyMap, MediaName, Sounds};
use serde_json::json;

fn body(value: Value) -> Body {
    value.as_object().unwrap().clone()
}

fn document(value: Value) -> Document {
    Document {
        account_id: AccountId::from("a"),
        kind: Kind::Conference,
        id: "c".into(),
        revision: Revision::of("c", 1, ""),
        created: GregorianSeconds(0),
        modified: GregorianSeconds(0),
        body: prepare(Kind::Conference, "", body(value)).unwrap(),
    }
}

fn violations(value: Value) -> Vec<(String, &'static str)> {
    let violations = prepare(Kind::Conference, "", body(value)).unwrap_err();
    violations
        .iter()
        .map(|violation| (violation.field.clone(), violation.rule.name()))
        .collect()
}

#[test]
fn c044_an_empty_document_gets_exactly_the_schema_defaults() {
    assert_eq!(
        Value::Object(prepare(Kind::Conference, "", Body::new()).unwrap()),
        json!({
            "conference_numbers": [],
            "member": {"join_deaf": false, "join_muted": true, "numbers": [], "pins": []},
            "moderator": {"join_deaf": false, "join_muted": false, "numbers": [], "pins": []},
            "play_name": false
        })
    );
}

#[test]
fn c048_to_c064_every_constraint_has_its_field_and_rule() {
    let id31 = "0".repeat(31);
    let table = [
        (json!({"name": "x".repeat(129)}), "name", "maxLength"),
        (json!({"name": ""}), "name", "minLength"),
        (json!({"name": 5}), "name", "type"),
        (json!({"name": null}), "name", "type"),
        (json!({"owner_id": id31}), "owner_id", "minLength"),
        (json!({"owner_id": format!("{id31}00")}), "owner_id", "maxLength"),
        (json!({"member": {"pins": ["12a"]}}), "member.pins.0", "pattern"),
        (json!({"member": {"pins": ["1", 1234]}}), "member.pins.1", "type"),
        (
            json!({"conference_numbers": ["+1"]}),
            "conference_numbers.0",
            "pattern",
        ),
        (
            json!({"moderator": {"numbers": ["1", "2", "1"]}}),
            "moderator.numbers",
            "uniqueItems",
        ),
        (json!({"max_participants": 1.5}), "max_participants", "type"),
        (json!({"max_participants": "many"}), "max_participants", "type"),
        (json!({"profile": {"rate": 11025}}), "profile.rate", "enum"),
        (
            json!({"profile": {"comfort-noise": 10001}}),
            "profile.comfort-noise",
            "maximum",
        ),
        (
            json!({"profile": {"comfort-noise": -1}}),
            "profile.comfort-noise",
            "minimum",
        ),
        (
            json!({"profile": {"energy-level": 1801}}),
            "profile.energy-level",
            "maximum",
        ),
        (json!({"profile": {"interval": 9}}), "profile.interval", "minimum"),
        (
            json!({"profile": {"interval": 121}}),
            "profile.interval",
            "maximum",
        ),
        (
            json!({"profile": {"max-members": 1}}),
            "profile.max-members",
            "minimum",
        ),
        (json!({"profile": {"duck-db": 31}}), "profile.duck-db", "maximum"),
        (
            json!({"profile": {"comfort-noise": "loud"}}),
            "profile.comfort-noise",
            "type",
        ),
        (
            json!({"profile": {"comfort-noise": "10001"}}),
            "profile.comfort-noise",
            "maximum",
        ),
        (json!({"profile": []}), "profile", "type"),
        (json!({"play_entry_tone": {}}), "play_entry_tone", "type"),
        (json!({"play_exit_tone": 5}), "play_exit_tone", "type"),
        (json!({"flags": [1]}), "flags.0", "type"),
        (json!({"controls": "x"}), "controls", "type"),
    ];
    for (value, field, rule) in table {
        assert_eq!(violations(value.clone()), [(field.to_owned(), rule)], "{value}");
    }
}

#[test]
fn all_violations_come_together() {
    let found = violations(json!({"name": "", "member": {"pins": ["x"]}, "profile": {"rate": 1}}));
    assert_eq!(found.len(), 3);
}

#[test]
fn c047_c064_c065_what_is_allowed_passes() {
    for value in [
        json!({"play_entry_tone": true, "play_exit_tone": "tone_stream://%(500,0,440)"}),
        json!({"member": {"join_muted": "false", "pins": ["1", "1"]}}),
        json!({"controls": [{"action": "mute", "digits": "0"}]}),
        json!({"max_participants": 0}),
        json!({"custom": {"a": [1, null]}, "ui_metadata": {"ui": "x"}, "pin_timeout": 1}),
        json!({"name": "ä".repeat(128), "profile": {"rate": "8000", "channels": 2}}),
    ] {
        prepare(Kind::Conference, "", body(value.clone()))
            .unwrap_or_else(|violations| panic!("{value}: {violations:?}"));
    }
}

#[test]
fn c066_read_only_keys_are_ignored() {
    let stored = prepare(
        Kind::Conference,
        "",
        body(json!({"focus": 5, "_read_only": {"x": 1}, "id": 7, "name": "n"})),
    )
    .unwrap();
    assert_eq!(stored.get("name"), Some(&json!("n")));
    assert!(
        ["focus", "_read_only", "id"]
            .iter()
            .all(|key| !stored.contains_key(*key))
    );
}

#[test]
fn a_document_nested_too_deep_is_refused() {
    let mut value = json!(1);
    for _ in 0..MAX_DEPTH {
        value = json!({ "a": value });
    }
    assert_eq!(
        violations(json!({ "custom": value })),
        [("data".to_owned(), "invalid")]
    );
}

#[test]
fn key_precedence_of_settings() {
    let of = |value| settings(&document(value));
    assert_eq!(
        of(json!({})),
        Settings {
            sounds: Sounds::speaking("en-us"),
            ..Settings::default()
        }
    );
    let full = of(json!({
        "name": "Board", "max_participants": 5,
        "member": {"join_muted": false, "join_deaf": true}, "moderator": {"join_muted": true},
        "profile": {
            "max-members": 9, "rate": 16000, "interval": 30, "energy-level": 0, "comfort-noise": 0, "duck-db": 12,
            "auto-gain": true, "denoise": true
        }
    }));
    assert_eq!(full.name, "Board");
    assert_eq!(full.max_participants, Some(5));
    assert_eq!(
        full.member,
        RoleSettings {
            join_muted: false,
            join_deaf: true
        }
    );
    assert_eq!(
        full.moderator,
        RoleSettings {
            join_muted: true,
            join_deaf: false
        }
    );
    assert_eq!(
        (full.rate_hz, full.interval_ms, full.energy_level),
        (Some(16000), 30, 0)
    );
    assert_eq!((full.comfort_noise, full.duck_db), (0, 12));
    assert!(full.auto_gain && full.denoise);
    let table = [
        (json!({"profile": {"max-members": 9}}), Some(9)),
        (
            json!({"max_participants": 1, "profile": {"max-members": 9}}),
            None,
        ),
        (json!({"max_participants": -3}), None),
        (json!({"max_participants": 2}), Some(2)),
        (json!({"max_participants": 1e300}), Some(u32::MAX)),
    ];
    for (value, limit) in table {
        assert_eq!(of(value.clone()).max_participants, limit, "{value}");
    }
    assert_eq!(of(json!({"profile": {"interval": 25}})).interval_ms, 20);
    for (value, noise) in [
        (json!(true), 1),
        (json!(false), 0),
        (json!("true"), 1),
        (json!("700"), 700),
        (json!(700.0), 700),
    ] {
        let settings = of(json!({"profile": {"comfort-noise": value}}));
        assert_eq!(settings.comfort_noise, noise, "{value}");
    }
    assert_eq!(of(json!({"profile_name": "page"})).rate_hz, Some(8000));
    assert_eq!(of(json!({"profile_name": "other"})).rate_hz, None);
    assert_eq!(of(json!({"profile_name": "page", "profile": {}})).rate_hz, None);
}

#[test]
fn key_precedence_of_named_profiles() {
    let configuration = Document {
        kind: Kind::Configuration,
        id: crate::CONFERENCES_CONFIGURATION.into(),
        body: body(json!({"profiles": {
            "default": {"rate": 16000, "energy-level": 7, "enter-sound": "d"},
            "board": {"rate": 32000, "enter-sound": "b"},
            "broken": 5
        }})),
        ..document(json!({}))
    };
    let of = |value| {
        let settings = settings_with(
            &document(value),
            AccountDefaults {
                configuration: Some(&configuration),
                language: None,
            },
        );
        let tone = settings.entry_tone.map(|tone| tone.as_str().to_owned());
        (settings.rate_hz, settings.energy_level, tone)
    };
    let built_in = Settings::default();
    let text = |text: &str| Some(text.to_owned());
    let default_tone = text(MediaName::ENTRY_TONE);
    let table = [
        (json!({}), (Some(16000), 7, text("prompt:en-us/d"))),
        (
            json!({"profile_name": "board"}),
            (Some(32000), built_in.energy_level, text("prompt:en-us/b")),
        ),
        (
            json!({"profile_name": "nobody's"}),
            (Some(16000), 7, text("prompt:en-us/d")),
        ),
        (
            json!({"profile_name": "broken"}),
            (Some(16000), 7, text("prompt:en-us/d")),
        ),
        (
            json!({"profile_name": "page"}),
            (Some(8000), 20, text("silence_stream://1")),
        ),
        // What an inline profile leaves out is the default profile's, but for sounds.
        (
            json!({"profile_name": "board", "profile": {"rate": 48000}}),
            (Some(48000), 7, default_tone),
        ),
        (
            json!({"play_entry_tone": "y"}),
            (Some(16000), 7, text("prompt:en-us/y")),
        ),
    ];
    for (value, expected) in table {
        assert_eq!(of(value.clone()), expected, "{value}");
    }
}

#[test]
fn key_precedence_of_tones() {
    let default = Some(MediaName::ENTRY_TONE);
    let table = [
        (json!({}), default),
        (json!({"play_entry_tone": true}), default),
        (json!({"play_entry_tone": "true"}), default),
        (json!({"play_entry_tone": false}), None),
        (json!({"play_entry_tone": "false"}), None),
        (json!({"play_entry_tone": ""}), None),
        (json!({"play_entry_tone": "%(1,1,1)"}), Some("%(1,1,1)")),
        (json!({"profile": {}}), default),
        (json!({"profile": {"enter-sound": "x"}}), Some("prompt:en-us/x")),
        (json!({"profile": {"enter-sound": ""}}), None),
        (
            json!({"play_entry_tone": true, "profile": {"enter-sound": "x"}}),
            Some("prompt:en-us/x"),
        ),
        (
            json!({"play_entry_tone": false, "profile": {"enter-sound": "x"}}),
            None,
        ),
        (
            json!({"play_entry_tone": "y", "profile": {"enter-sound": "x"}}),
            Some("prompt:en-us/y"),
        ),
        (json!({"profile_name": "page"}), Some("silence_stream://1")),
        (
            json!({"profile_name": "page", "play_entry_tone": "y"}),
            Some("prompt:en-us/y"),
        ),
        (json!({"profile_name": "page", "profile": {}}), default),
    ];
    for (value, expected) in table {
        let entry = settings(&document(value.clone())).entry_tone;
        assert_eq!(entry.as_ref().map(MediaName::as_str), expected, "{value}");
        let text = value
            .to_string()
            .replace("entry", "exit")
            .replace("enter", "exit");
        let exit = settings(&document(serde_json::from_str(&text).unwrap())).exit_tone;
        let expected = if expected == default {
            Some(MediaName::EXIT_TONE)
        } else {
            expected
        };
        assert_eq!(exit.as_ref().map(MediaName::as_str), expected, "{text}");
    }
}

fn configured(value: Value) -> Document {
    Document {
        kind: Kind::Configuration,
        id: crate::CONFERENCES_CONFIGURATION.into(),
        body: body(value),
        ..document(json!({}))
    }
}

/// What a document means in an account whose configuration says this, in its language.
fn in_account(value: Value, configuration: Value, language: Option<&str>) -> Settings {
    let configuration = configured(configuration);
    let account = AccountDefaults {
        configuration: Some(&configuration),
        language,
    };
    settings_with(&document(value), account)
}

#[test]
fn key_precedence_of_languages() {
    let alone = |value: Value, language| {
        let sounds = in_account(value, json!({}), language).sounds;
        sounds.alone.map(|name| name.as_str().to_owned())
    };
    let text = |text: &str| Some(text.to_owned());
    for (value, language, expected) in [
        (json!({}), None, text("prompt:en-us/conf-alone")),
        (json!({}), Some("DE-de"), text("prompt:de-de/conf-alone")),
        (
            json!({"language": "fr_FR"}),
            Some("de-de"),
            text("prompt:fr-fr/conf-alone"),
        ),
        (json!({}), Some("not a language"), text("prompt:en-us/conf-alone")),
        (json!({"profile": {}}), None, None),
        (json!({"profile": {"alone-sound": ""}}), None, None),
        (
            json!({"profile": {"alone-sound": "own-words"}, "language": "fr"}),
            None,
            text("prompt:fr/own-words"),
        ),
        (
            json!({"profile": {"alone-sound": "say:number:3"}}),
            None,
            text("prompt:en-us/say:number:3"),
        ),
        (
            json!({"profile": {"alone-sound": "prompt:de-de/conf-alone"}}),
            None,
            text("prompt:de-de/conf-alone"),
        ),
        (
            json!({"profile": {"alone-sound": "https://a/b"}}),
            None,
            text("https://a/b"),
        ),
        (json!({"profile_name": "page"}), None, None),
    ] {
        assert_eq!(alone(value.clone(), language), expected, "{value}");
    }
    assert_eq!(
        violations(json!({"language": "a b"})),
        [("language".to_owned(), "pattern")]
    );
}

#[test]
fn moderators_may_have_tones_of_their_own() {
    let account = || json!({"entry_tone": "%(1,0,1)", "moderator_entry_tone": "%(1,0,2)"});
    let tones = |value: Value| {
        let settings = in_account(value, account(), None);
        [settings.entry_tone, settings.sounds.moderator_entry]
            .map(|tone| tone.map_or(String::new(), |tone| tone.as_str().to_owned()))
    };
    for (value, expected) in [
        (json!({}), ["%(1,0,1)", "%(1,0,2)"]),
        (json!({"play_entry_tone": true}), ["%(1,0,1)", "%(1,0,2)"]),
        (
            json!({"profile": {"enter-sound": "%(1,0,3)"}}),
            ["%(1,0,3)", "%(1,0,2)"],
        ),
        (json!({"play_entry_tone": "%(1,0,4)"}), ["%(1,0,4)", ""]),
    ] {
        assert_eq!(tones(value.clone()), expected, "{value}");
    }
    assert_eq!(
        in_account(json!({"play_entry_tone": false}), account(), None).entry_tone,
        None
    );
}

#[test]
fn key_precedence_of_moderator_rules() {
    let rules = |value: Value| {
        let settings = settings(&document(value));
        (settings.wait_for_moderator, settings.require_moderator)
    };
    for (value, expected) in [
        (json!({}), (false, false)),
        (json!({"wait_for_moderator": true}), (true, false)),
        (json!({"require_moderator": true}), (false, true)),
        (
            json!({"profile": {"conference-flags": "audio-always|wait-mod"}}),
            (true, false),
        ),
        (
            json!({"wait_for_moderator": false, "profile": {"conference-flags": "wait-mod"}}),
            (false, false),
        ),
    ] {
        assert_eq!(rules(value.clone()), expected, "{value}");
    }
    let grace =
        |milliseconds| in_account(json!({}), json!({"moderator_grace_ms": milliseconds}), None).end_grace_ms;
    assert_eq!(grace(250), 250);
}

#[test]
fn key_precedence_of_controls() {
    let one = |action: KeyAction| {
        let mut map = KeyMap::none();
        map.bind("0", action);
        map
    };
    let binding = |action: &str| json!([{"action": action, "digits": "0"}]);
    let account = || {
        json!({
            "controls": {"default": binding("count"), "shared": binding("lock")},
            "moderator-controls": {"shared": binding("end")},
            "profiles": {"quiet": {"caller-controls": "none"}, "own": {"caller-controls": "shared"}}
        })
    };
    let default = KeyMap::default;
    let table = [
        // Document, configuration, members, moderators.
        (json!({}), json!({}), default(), default()),
        (
            json!({"caller_controls": "none"}),
            json!({}),
            KeyMap::none(),
            default(),
        ),
        (
            json!({"moderator_controls": "nobody's"}),
            json!({}),
            default(),
            KeyMap::none(),
        ),
        (
            json!({"controls": binding("hangup")}),
            account(),
            one(KeyAction::HangUp),
            one(KeyAction::HangUp),
        ),
        (
            json!({"controls": {"default": binding("hangup"), "x": binding("mute")}, "moderator_controls": "x"}),
            account(),
            one(KeyAction::HangUp),
            one(KeyAction::Mute),
        ),
        (json!({}), account(), one(KeyAction::Count), one(KeyAction::Count)),
        (
            json!({"caller_controls": "shared", "moderator_controls": "shared"}),
            account(),
            one(KeyAction::Lock),
            one(KeyAction::End),
        ),
        (
            json!({"profile_name": "quiet"}),
            account(),
            KeyMap::none(),
            one(KeyAction::Count),
        ),
        (
            json!({"profile_name": "own", "caller_controls": "default"}),
            account(),
            one(KeyAction::Count),
            one(KeyAction::Count),
        ),
        (
            json!({"profile_name": "page"}),
            json!({}),
            KeyMap::none(),
            KeyMap::none(),
        ),
    ];
    for (value, configuration, members, moderators) in table {
        let settings = in_account(value.clone(), configuration, None);
        assert_eq!(settings.member_keys, members, "{value}");
        assert_eq!(settings.moderator_keys, moderators, "{value}");
    }
}

#[test]
fn what_is_wrong_with_controls_is_told() {
    let table = [
        (json!([5]), "controls.0", "type"),
        (json!([{"action": "mute"}]), "controls.0.digits", "required"),
        (json!([{"digits": "1"}]), "controls.0.action", "required"),
        (
            json!([{"digits": "1", "action": "fly"}]),
            "controls.0.action",
            "enum",
        ),
        (
            json!([{"digits": "1", "action": "transfer"}]),
            "controls.0.data",
            "required",
        ),
        (
            json!([{"digits": "1", "action": "transfer", "data": "2000 XML default"}, {"digits": "2", "action": "transfer", "data": "the lobby"}]),
            "controls.1.data",
            "invalid",
        ),
        (
            json!([{"digits": 1, "action": "mute"}]),
            "controls.0.digits",
            "type",
        ),
        (
            json!([{"digits": "1x", "action": "mute"}]),
            "controls.0.digits",
            "pattern",
        ),
        (
            json!([{"digits": "", "action": "mute"}]),
            "controls.0.digits",
            "pattern",
        ),
        (
            json!([{"digits": "a", "action": "mute"}, {"digits": "A", "action": "deaf"}]),
            "controls.1.digits",
            "invalid",
        ),
        (
            json!([{"digits": "1", "action": "event", "data": 5}]),
            "controls.0.data",
            "type",
        ),
        (
            json!({"a.b": [{"digits": "1"}]}),
            "controls.a%2Eb.0.action",
            "required",
        ),
        (json!({"x": 5}), "controls.x", "type"),
    ];
    for (controls, field, rule) in table {
        let found = violations(json!({"controls": controls}));
        assert_eq!(found, [(field.to_owned(), rule)], "{controls}");
    }
    let many: Vec<_> = (0..129)
        .map(|n| json!({"action": "mute", "digits": format!("{n}")}))
        .collect();
    assert_eq!(
        violations(json!({"controls": many})),
        [("controls".to_owned(), "maxItems")]
    );
    let configuration = body(json!({"caller-controls": {"g": [{"action": "fly", "digits": "1"}]}}));
    let wrong = prepare(
        Kind::Configuration,
        crate::CONFERENCES_CONFIGURATION,
        configuration,
    )
    .unwrap_err();
    assert_eq!(wrong.iter().next().unwrap().field, "caller-controls.g.0.action");
}
