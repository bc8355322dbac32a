//! Owns what a conference document means: its numbers and PINs, and what it says about a running conference, the
//! account's named profiles included. Never touches the database.

use confab_conference::{MediaName, RoleSettings, Settings};
use serde_json::Value;

use crate::document::{Body, Document};
use crate::kind::Kind;
use crate::prepare::prepare;
use crate::schema::Violations;

/// Says which rules what a client sent for a conference breaks by itself. Numbers that others have are found when it is stored.
///
/// # Errors
/// All of them together.
pub fn check(body: Body) -> Result<(), Violations> {
    prepare(Kind::Conference, "", body).map(drop)
}

/// One of the three number lists of a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberList {
    Anyone,
    Members,
    Moderators,
}

/// Returns the numbers of one list.
pub(crate) fn numbers(body: &Body, list: NumberList) -> impl Iterator<Item = &str> {
    let list = match list {
        NumberList::Anyone => body.get("conference_numbers"),
        NumberList::Members => body.get("member").and_then(|member| member.get("numbers")),
        NumberList::Moderators => body
            .get("moderator")
            .and_then(|moderator| moderator.get("numbers")),
    };
    texts(list)
}

pub(crate) fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Returns what the document says about a running conference of an account that has configured no profiles. See
/// [`settings_with`].
pub fn settings(document: &Document) -> Settings {
    settings_with(document, None)
}

/// Returns what the document says about a running conference. `configuration` is the account's
/// [`CONFERENCES_CONFIGURATION`](crate::CONFERENCES_CONFIGURATION), where its named profiles are.
///
/// A key of the document wins over the inline profile, that over the named profile, that over the built-in default.
/// A profile name that neither the account nor this server knows stands for `default`. Where there is an inline profile,
/// what it leaves out is the default profile's, except sounds. An interval that is no multiple of 10 ms counts as 20 ms.
pub fn settings_with(document: &Document, configuration: Option<&Document>) -> Settings {
    let body = &document.body;
    let defaults = Settings::default();
    let profile = Profile::of(body, configuration.map(|configuration| &configuration.body));
    Settings {
        name: body
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        max_participants: limit(body.get("max_participants"))
            .unwrap_or_else(|| limit(profile.get("max-members")).unwrap_or(defaults.max_participants)),
        member: role(body.get("member"), defaults.member),
        moderator: role(body.get("moderator"), defaults.moderator),
        energy_level: profile.integer("energy-level").unwrap_or(defaults.energy_level),
        rate_hz: profile.integer("rate").or(defaults.rate_hz),
        interval_ms: profile
            .integer("interval")
            .filter(|interval: &u16| interval.is_multiple_of(10))
            .unwrap_or(defaults.interval_ms),
        comfort_noise: match profile.flag("comfort-noise") {
            // As 1 and 0.
            Some(on) => u16::from(on),
            None => profile.integer("comfort-noise").unwrap_or(defaults.comfort_noise),
        },
        duck_db: profile.integer("duck-db").unwrap_or(defaults.duck_db),
        entry_tone: tone(
            body.get("play_entry_tone"),
            profile.text("enter-sound"),
            defaults.entry_tone,
        ),
        exit_tone: tone(
            body.get("play_exit_tone"),
            profile.text("exit-sound"),
            defaults.exit_tone,
        ),
        auto_gain: profile.flag("auto-gain").unwrap_or(defaults.auto_gain),
        denoise: profile.flag("denoise").unwrap_or(defaults.denoise),
    }
}

/// Returns the tone that a document's own key, the profile's sound and the built-in default come to. The key switches it off,
/// or names another; else the profile's sound takes the place of the default, and an empty one is none.
fn tone(key: Option<&Value>, profile: Option<&str>, default: Option<MediaName>) -> Option<MediaName> {
    let named = |name: &str| (!name.is_empty()).then(|| MediaName::from(name));
    match key {
        Some(Value::Bool(false)) => None,
        Some(Value::String(text)) if text == "false" => None,
        Some(Value::String(text)) if text != "true" => named(text),
        _ => profile.map_or(default, named),
    }
}

/// Returns `None` when the key is absent, else the limit it stands for: 1 and less mean no limit.
fn limit(value: Option<&Value>) -> Option<Option<u32>> {
    let value = value?.as_f64()?;
    // Beyond what 32 bits hold there is no conference: the cast saturates.
    Some((value > 1.0).then_some(value as u32))
}

fn role(role: Option<&Value>, defaults: RoleSettings) -> RoleSettings {
    let flag = |key| role.and_then(|role| role.get(key)).and_then(Value::as_bool);
    RoleSettings {
        join_muted: flag("join_muted").unwrap_or(defaults.join_muted),
        join_deaf: flag("join_deaf").unwrap_or(defaults.join_deaf),
    }
}

/// Where profile keys are looked up: inline first, then the account's profile, then the built-in one's own values.
pub(crate) struct Profile<'a> {
    inline: Option<&'a Value>,
    configured: Option<&'a Value>,
    built_in: &'static NamedProfile,
}

/// The values of a named profile that differ from the default profile and are built.
struct NamedProfile {
    numbers: &'static [(&'static str, i64)],
    texts: &'static [(&'static str, &'static str)],
}

static DEFAULT: NamedProfile = NamedProfile {
    numbers: &[],
    texts: &[],
};

/// For paging: no tones.
static PAGE: NamedProfile = NamedProfile {
    numbers: &[("rate", 8000), ("interval", 20), ("energy-level", 20)],
    texts: &[
        ("enter-sound", "silence_stream://1"),
        ("exit-sound", "silence_stream://1"),
    ],
};

impl<'a> Profile<'a> {
    pub(crate) fn of(body: &'a Body, configuration: Option<&'a Body>) -> Profile<'a> {
        let inline = body.get("profile").filter(|profile| profile.is_object());
        let configured = |name: &str| {
            let profiles = configuration.and_then(|configuration| configuration.get("profiles"));
            profiles
                .and_then(|profiles| profiles.get(name))
                .filter(|profile| profile.is_object())
        };
        // An inline profile takes the place of the named one; the name then only labels it.
        let name = body
            .get("profile_name")
            .and_then(Value::as_str)
            .filter(|_| inline.is_none());
        let name = name.unwrap_or("default");
        let own = configured(name);
        let built_in = if name == "page" { &PAGE } else { &DEFAULT };
        Profile {
            inline,
            // A name that nobody knows stands for the default.
            configured: own.or_else(|| configured("default").filter(|_| name != "page")),
            // The account's profile of a built-in name takes the place of the built-in one.
            built_in: if own.is_some() { &DEFAULT } else { built_in },
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        let inline = self.inline.and_then(|inline| inline.get(key));
        inline.or_else(|| self.configured?.get(key))
    }

    /// Returns whether the profile is the document's own.
    pub(crate) fn is_inline(&self) -> bool {
        self.inline.is_some()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// Returns a sound. An inline profile that names none has none of the default profile's.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        match self.inline {
            Some(inline) => inline.get(key).and_then(Value::as_str),
            None => self
                .get(key)
                .and_then(Value::as_str)
                .or_else(|| own(self.built_in.texts, key)),
        }
    }

    fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        let given = self.get(key).and_then(Value::as_i64);
        let built_in = || own(self.built_in.numbers, key);
        given.or_else(built_in).and_then(|value| T::try_from(value).ok())
    }
}

/// Returns the value of a key in a list.
fn own<T: Copy>(values: &[(&str, T)], key: &str) -> Option<T> {
    values
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{MAX_DEPTH, Revision};
    use confab_conference::{AccountId, GregorianSeconds};
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
    fn settings_follow_the_order_of_precedence() {
        let of = |value| settings(&document(value));
        assert_eq!(of(json!({})), Settings::default());
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
    fn a_profile_name_means_the_accounts_profile_then_the_built_in_one() {
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
            let settings = settings_with(&document(value), Some(&configuration));
            let tone = settings.entry_tone.map(|tone| tone.as_str().to_owned());
            (settings.rate_hz, settings.energy_level, tone)
        };
        let built_in = Settings::default();
        let text = |text: &str| Some(text.to_owned());
        let default_tone = text(MediaName::ENTRY_TONE);
        let table = [
            (json!({}), (Some(16000), 7, text("d"))),
            (
                json!({"profile_name": "board"}),
                (Some(32000), built_in.energy_level, text("b")),
            ),
            (json!({"profile_name": "nobody's"}), (Some(16000), 7, text("d"))),
            (json!({"profile_name": "broken"}), (Some(16000), 7, text("d"))),
            (
                json!({"profile_name": "page"}),
                (Some(8000), 20, text("silence_stream://1")),
            ),
            // What an inline profile leaves out is the default profile's, but for sounds.
            (
                json!({"profile_name": "board", "profile": {"rate": 48000}}),
                (Some(48000), 7, default_tone),
            ),
            (json!({"play_entry_tone": "y"}), (Some(16000), 7, text("y"))),
        ];
        for (value, expected) in table {
            assert_eq!(of(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn tones_follow_the_order_of_precedence() {
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
            (json!({"profile": {"enter-sound": "x"}}), Some("x")),
            (json!({"profile": {"enter-sound": ""}}), None),
            (
                json!({"play_entry_tone": true, "profile": {"enter-sound": "x"}}),
                Some("x"),
            ),
            (
                json!({"play_entry_tone": false, "profile": {"enter-sound": "x"}}),
                None,
            ),
            (
                json!({"play_entry_tone": "y", "profile": {"enter-sound": "x"}}),
                Some("y"),
            ),
            (json!({"profile_name": "page"}), Some("silence_stream://1")),
            (json!({"profile_name": "page", "play_entry_tone": "y"}), Some("y")),
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
}
