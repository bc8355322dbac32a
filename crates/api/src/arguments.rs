//! Owns the arguments of actions: their schemas and what they mean. Never finds them in a request, never acts on them.

use std::sync::LazyLock;

use confab_conference::{
    ConferenceId, Control, DigitString, MediaName, ParticipantId, Relationship, StopPlay, Volume,
};
use confab_documents::{Rule, Schema, Violation, Violations};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The schemas of all actions that take arguments.
struct Schemas {
    relate: Takes,
    volume: Takes,
    energy: Takes,
    switch: Takes,
    play: Takes,
    stop_play: Takes,
    record: Takes,
    digits: Takes,
    moves: Takes,
    dial: Takes,
}

/// What an action takes.
struct Takes {
    schema: Schema,
    json: Value,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let mut all: Value = serde_json::from_str(include_str!("../schemas/arguments.json"))
        .expect("the embedded schemas are JSON");
    let mut takes = |name: &str| {
        let json = all[name].take();
        let schema = Schema::compile(&json).expect("the embedded schemas use known keywords only");
        Takes { schema, json }
    };
    Schemas {
        relate: takes("relate"),
        volume: takes("volume"),
        energy: takes("energy"),
        switch: takes("switch"),
        play: takes("play"),
        stop_play: takes("stop_play"),
        record: takes("record"),
        digits: takes("digits"),
        moves: takes("move"),
        dial: takes("dial"),
    }
});

/// Returns the schema of what an action takes; `None` when it takes nothing.
pub(crate) fn schema_of(action: &str) -> Option<&'static Value> {
    let takes = match action {
        "relate" => &SCHEMAS.relate,
        "volume_in" | "volume_out" => &SCHEMAS.volume,
        "energy" => &SCHEMAS.energy,
        "agc" | "denoise" => &SCHEMAS.switch,
        "play" => &SCHEMAS.play,
        "stop_play" => &SCHEMAS.stop_play,
        "record" => &SCHEMAS.record,
        "dtmf" => &SCHEMAS.digits,
        "move" => &SCHEMAS.moves,
        "dial" => &SCHEMAS.dial,
        _ => return None,
    };
    Some(&takes.json)
}

/// What can be done about a recording.
const RECORD_ACTIONS: [&str; 4] = ["start", "stop", "pause", "resume"];

/// The field of a play's media, as errors name it.
pub(crate) const MEDIA_ID: &str = "data.media_id";

/// The arguments of one request.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    action: &'static str,
    /// `None` when the request has no place for them.
    values: Option<Map<String, Value>>,
}

/// A participant as the arguments name him.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    /// `None` when nobody can have the number.
    pub(crate) id: Option<ParticipantId>,
    /// The number as it was given, for telling it back.
    pub(crate) given: Value,
}

impl Named {
    fn new(given: &Value) -> Named {
        let id = whole(given).and_then(|id| u64::try_from(id).ok());
        Named {
            id: id.and_then(ParticipantId::new),
            given: given.clone(),
        }
    }
}

/// What is to be related.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Related {
    /// Whose record.
    pub(crate) participant: Named,
    /// About whom; never the same.
    pub(crate) other: Named,
    pub(crate) relationship: Relationship,
}

impl Arguments {
    pub(crate) fn new(action: &'static str, values: Option<Map<String, Value>>) -> Arguments {
        Arguments { action, values }
    }

    /// Returns the gain that `level` or `db` gives.
    pub(crate) fn volume(self) -> Result<Volume, ApiError> {
        let values = self.checked(&SCHEMAS.volume)?;
        match (values.get("level"), values.get("db")) {
            (Some(level), None) => whole(level).and_then(Volume::from_level),
            (None, Some(db)) => db.as_f64().and_then(Volume::from_db),
            (None, None) => return Err(Violation::required("level").into()),
            (Some(_), Some(db)) => {
                let message = "Only one of level and db can be given";
                return Err(Violation::new("db", Rule::Invalid, message).with_value(db).into());
            }
        }
        .ok_or(ApiError::Internal) // the schema has the same bounds
    }

    /// Returns the threshold that `level` gives.
    pub(crate) fn energy_level(self) -> Result<u16, ApiError> {
        let values = self.checked(&SCHEMAS.energy)?;
        values
            .get("level")
            .and_then(whole)
            .and_then(|level| u16::try_from(level).ok())
            .ok_or(ApiError::Internal)
    }

    /// Returns what `enabled` says.
    pub(crate) fn enabled(self) -> Result<bool, ApiError> {
        let values = self.checked(&SCHEMAS.switch)?;
        values
            .get("enabled")
            .and_then(Value::as_bool)
            .ok_or(ApiError::Internal)
    }

    /// Returns what `media_id` names.
    pub(crate) fn media(self) -> Result<MediaName, ApiError> {
        // The contract has a field name and a sentence of its own for this one.
        if let Some(values) = &self.values
            && matches!(values.get("media_id"), None | Some(Value::Null))
        {
            let message = format!("action '{}' requires a media ID or URL", self.action);
            return Err(Violation::new(MEDIA_ID, Rule::Required, message).into());
        }
        let values = self.values_or_refused()?;
        match values.get("media_id") {
            Some(Value::String(text)) if text.is_empty() => {
                Err(Violation::too_short(MEDIA_ID, 1, &text.as_str().into()).into())
            }
            Some(Value::String(text)) => Ok(MediaName::from(text.as_str())),
            other => {
                let value = other.cloned().unwrap_or_default();
                Err(Violation::wrong_type(MEDIA_ID, "string", &value).into())
            }
        }
    }

    /// Returns what a dial was given, its types as they came: nothing is repaired.
    pub(crate) fn dial(self) -> Result<Map<String, Value>, ApiError> {
        let values = Value::Object(self.values_or_refused()?);
        let mut violations = Violations::default();
        SCHEMAS.dial.schema.check(&values, &mut violations);
        match values {
            Value::Object(values) if violations.is_empty() => Ok(values),
            _ => Err(ApiError::Validation(violations)),
        }
    }

    /// Returns which plays `affects` says are to be stopped.
    pub(crate) fn stop_play(mut self) -> Result<StopPlay, ApiError> {
        self.values.get_or_insert_default();
        let values = self.checked(&SCHEMAS.stop_play)?;
        Ok(match values.get("affects").and_then(Value::as_str) {
            Some("current") => StopPlay::Current,
            _ => StopPlay::All,
        })
    }

    /// Returns what is to be done about the recording.
    pub(crate) fn record(self) -> Result<Control, ApiError> {
        // The contract has a field name and a sentence of its own for this one.
        const FIELD: &str = "data.action";
        let action = self.values.as_ref().and_then(|values| values.get("action"));
        let names = || -> Value { RECORD_ACTIONS.iter().copied().collect() };
        let known = |action: &Value| {
            action
                .as_str()
                .filter(|name| RECORD_ACTIONS.contains(name))
                .is_some()
        };
        match action {
            None | Some(Value::Null) => {
                let message = "recording requires an action";
                return Err(Violation::new(FIELD, Rule::Required, message).into());
            }
            Some(action) if !known(action) => {
                return Err(Violation::not_in_list(FIELD, names(), action).into());
            }
            Some(_) => {}
        }
        let values = self.checked(&SCHEMAS.record)?;
        Ok(match values.get("action").and_then(Value::as_str) {
            Some("start") => Control::StartRecording {
                tracks: values.get("tracks").and_then(Value::as_bool),
            },
            Some("pause") => Control::PauseRecording,
            Some("resume") => Control::ResumeRecording,
            _ => Control::StopRecording,
        })
    }

    /// Returns the digits to send.
    pub(crate) fn digits(self) -> Result<DigitString, ApiError> {
        let values = self.checked(&SCHEMAS.digits)?;
        values
            .get("digits")
            .and_then(Value::as_str)
            .and_then(|digits| digits.parse().ok())
            .ok_or(ApiError::Internal) // the schema has the same rules
    }

    /// Returns the conference that `conference_id` names.
    pub(crate) fn conference(self) -> Result<ConferenceId, ApiError> {
        let values = self.checked(&SCHEMAS.moves)?;
        let id = values.get("conference_id").and_then(Value::as_str);
        id.map(ConferenceId::from).ok_or(ApiError::Internal)
    }

    /// Returns who is to be related to whom and how.
    pub(crate) fn related(mut self) -> Result<Related, ApiError> {
        // What is missing is told key by key.
        self.values.get_or_insert_default();
        let values = self.checked(&SCHEMAS.relate)?;
        let named = |key: &str| values.get(key).map(Named::new).ok_or(ApiError::Internal);
        let (participant, other) = (named("participant_id")?, named("other_participant")?);
        if participant.given == other.given || (other.id.is_some() && participant.id == other.id) {
            let message = "A participant cannot be related to himself";
            let violation = Violation::new("other_participant", Rule::Invalid, message);
            return Err(violation.with_value(&other.given).into());
        }
        let relationship = match values.get("relationship").and_then(Value::as_str) {
            Some("mute") => Relationship::Mute,
            Some("deaf") => Relationship::Deaf,
            _ => Relationship::Clear,
        };
        Ok(Related {
            participant,
            other,
            relationship,
        })
    }

    fn values_or_refused(self) -> Result<Map<String, Value>, ApiError> {
        self.values.ok_or_else(|| {
            let message = format!("action '{}' requires a data object", self.action);
            Violation::new("data", Rule::Required, message).into()
        })
    }

    /// Returns the values as they are meant, once they keep every rule.
    fn checked(self, takes: &Takes) -> Result<Map<String, Value>, ApiError> {
        let mut values = Value::Object(self.values_or_refused()?);
        takes.schema.repair(&mut values);
        let mut violations = Violations::default();
        takes.schema.check(&values, &mut violations);
        match values {
            Value::Object(values) if violations.is_empty() => Ok(values),
            _ => Err(ApiError::Validation(violations)),
        }
    }
}

/// Returns a whole number, unless it is too large to be an id or a level; `5.0` is one.
fn whole(value: &Value) -> Option<i64> {
    let from_float = || {
        let number = value.as_f64()?;
        // Ids and levels are far below where neighbouring floats are more than 1 apart.
        (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
    };
    value.as_i64().or_else(from_float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(values: &Value) -> Arguments {
        Arguments::new("try", values.as_object().cloned())
    }

    /// Returns the field and the rule of the only violation.
    fn broken<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, &'static str) {
        match result {
            Err(ApiError::Validation(violations)) => {
                let mut all = violations.iter();
                let first = all.next().expect("a violation");
                assert!(all.next().is_none(), "{violations:?}");
                (first.field.clone(), first.rule.name())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn volumes_come_as_level_or_in_decibels() {
        let good = [
            (json!({"level": 4}), 127),
            (json!({"level": "-4"}), -140),
            (json!({"level": 0, "ui_metadata": {}}), 0),
            (json!({"db": -40}), -400),
            (json!({"db": 3.16}), 32),
            (json!({"db": "20"}), 200),
            (json!({"level": 2.0}), 72),
        ];
        for (values, tenths) in good {
            let volume = arguments(&values)
                .volume()
                .unwrap_or_else(|e| panic!("{values}: {e:?}"));
            assert_eq!(volume.tenths_db(), tenths, "{values}");
        }
        let bad = [
            (json!({"level": 5}), "level", "maximum"),
            (json!({"level": -5}), "level", "minimum"),
            (json!({"level": 9999}), "level", "maximum"),
            (json!({"level": -9999}), "level", "minimum"),
            (json!({"level": "9999"}), "level", "maximum"),
            (json!({"level": 1e300}), "level", "maximum"),
            (json!({"db": 9999}), "db", "maximum"),
            (json!({"db": -9999}), "db", "minimum"),
            (json!({"level": 1.5}), "level", "type"),
            (json!({"level": "loud"}), "level", "type"),
            (json!({"level": null}), "level", "type"),
            (json!({"db": 20.1}), "db", "maximum"),
            (json!({"db": -41}), "db", "minimum"),
            (json!({"db": true}), "db", "type"),
            (json!({}), "level", "required"),
            (json!({"level": 1, "db": 1}), "db", "invalid"),
            (json!(null), "data", "required"),
        ];
        for (values, field, rule) in bad {
            assert_eq!(
                broken(arguments(&values).volume()),
                (field.to_owned(), rule),
                "{values}"
            );
        }
    }

    #[test]
    fn thresholds_and_switches_have_their_ranges() {
        for (values, level) in [(json!({"level": 0}), 0), (json!({"level": "1800"}), 1800)] {
            assert_eq!(arguments(&values).energy_level().ok(), Some(level));
        }
        for (values, rule) in [
            (json!({"level": 1801}), "maximum"),
            (json!({"level": -1}), "minimum"),
            (json!({"level": []}), "type"),
            (json!({}), "required"),
        ] {
            assert_eq!(
                broken(arguments(&values).energy_level()),
                ("level".to_owned(), rule)
            );
        }
        for (values, on) in [
            (json!({"enabled": true}), true),
            (json!({"enabled": "false"}), false),
        ] {
            assert_eq!(arguments(&values).enabled().ok(), Some(on));
        }
        for (values, rule) in [(json!({"enabled": 1}), "type"), (json!({}), "required")] {
            assert_eq!(broken(arguments(&values).enabled()), ("enabled".to_owned(), rule));
        }
        assert_eq!(broken(arguments(&json!(null)).enabled()).0, "data");
    }

    #[test]
    fn c086_c087_a_play_names_its_media() {
        for text in ["tone_stream://%(500,0,440)", "http://x/y.wav", "x"] {
            let media = arguments(&json!({"media_id": text, "ui_metadata": {}})).media();
            assert_eq!(media.ok(), Some(MediaName::from(text)));
        }
        for (values, field, rule) in [
            (json!(null), "data", "required"),
            (json!({}), "data.media_id", "required"),
            (json!({"media_id": null}), "data.media_id", "required"),
            (json!({"media_id": ""}), "data.media_id", "minLength"),
            (json!({"media_id": 5}), "data.media_id", "type"),
            (json!({"media_id": {"x": 1}}), "data.media_id", "type"),
        ] {
            let refused = broken(arguments(&values).media());
            assert_eq!(refused, (field.to_owned(), rule), "{values}");
        }
    }

    #[test]
    fn what_to_stop_has_its_form() {
        for (values, which) in [
            (json!(null), StopPlay::All),
            (json!({}), StopPlay::All),
            (json!({"affects": "all"}), StopPlay::All),
            (json!({"affects": "current"}), StopPlay::Current),
        ] {
            assert_eq!(arguments(&values).stop_play().ok(), Some(which), "{values}");
        }
        let refused = broken(arguments(&json!({"affects": "last"})).stop_play());
        assert_eq!(refused, ("affects".to_owned(), "enum"));
    }

    #[test]
    fn digits_are_text_of_known_keys() {
        for digits in ["1", "0123456789*#ABCD,wW", &"5".repeat(32)] {
            let read = arguments(&json!({"digits": digits})).digits();
            assert_eq!(read.unwrap().as_str(), digits);
        }
        for (values, rule) in [
            (json!({"digits": ""}), "minLength"),
            (json!({"digits": "5".repeat(33)}), "maxLength"),
            (json!({"digits": "12E"}), "pattern"),
            (json!({"digits": 12}), "type"),
            (json!({}), "required"),
        ] {
            assert_eq!(
                broken(arguments(&values).digits()),
                ("digits".to_owned(), rule),
                "{values}"
            );
        }
        assert_eq!(broken(arguments(&json!(null)).digits()).0, "data");
    }

    #[test]
    fn a_move_names_a_conference() {
        for text in ["0123456789abcdef0123456789abcdef", "team-call"] {
            let named = arguments(&json!({"conference_id": text, "ui_metadata": {}})).conference();
            assert_eq!(named.unwrap().as_str(), text);
        }
        for (values, rule) in [
            (json!({}), "required"),
            (json!({"conference_id": ""}), "minLength"),
            (json!({"conference_id": "x".repeat(129)}), "maxLength"),
            (json!({"conference_id": "a\u{0}b"}), "pattern"),
            (json!({"conference_id": 5}), "type"),
        ] {
            let refused = broken(arguments(&values).conference());
            assert_eq!(refused, ("conference_id".to_owned(), rule), "{values}");
        }
        assert_eq!(broken(arguments(&json!(null)).conference()).0, "data");
    }

    #[test]
    fn c149_c150_relations_name_two_participants() {
        use Relationship::{Clear, Deaf, Mute};
        let good = [
            (
                json!({"participant_id": 1, "other_participant": 2}),
                (json!(1), json!(2), Clear),
            ),
            (
                json!({"participant_id": "23", "other_participant": 2, "relationship": "mute"}),
                (json!(23), json!(2), Mute),
            ),
            (
                json!({"participant_id": 2, "other_participant": "1", "relationship": "deaf", "conference_id": "c"}),
                (json!(2), json!(1), Deaf),
            ),
            (
                json!({"participant_id": 2.0, "other_participant": 1e300, "relationship": "clear"}),
                (json!(2), json!(1e300), Clear),
            ),
        ];
        for (values, (participant, other, relationship)) in good {
            let related = arguments(&values)
                .related()
                .unwrap_or_else(|e| panic!("{values}: {e:?}"));
            let told = (
                related.participant.given,
                related.other.given,
                related.relationship,
            );
            assert_eq!(told, (participant, other, relationship));
        }
        // Numbers that nobody can have are told apart and told back as they are.
        let huge: Value = serde_json::from_str("1000000000000000000000000000000").unwrap();
        for other in [json!(-2), json!(0), json!(u64::MAX), json!(1e30), huge] {
            let related = arguments(&json!({"participant_id": 1e31, "other_participant": other})).related();
            let related = related.unwrap_or_else(|e| panic!("{other}: {e:?}"));
            assert_eq!(related.participant.id, None);
            let id = other.as_u64().and_then(ParticipantId::new);
            assert_eq!(
                (related.other.id, &related.other.given),
                (id.filter(|_| other.is_i64()), &other)
            );
        }
        let bad = [
            (json!({"participant_id": 1}), "other_participant", "required"),
            (
                json!({"participant_id": 1e30, "other_participant": 1e30}),
                "other_participant",
                "invalid",
            ),
            (
                json!({"participant_id": 2.0, "other_participant": 2}),
                "other_participant",
                "invalid",
            ),
            (json!({"other_participant": 1}), "participant_id", "required"),
            (
                json!({"participant_id": 1, "other_participant": 2, "relationship": "love"}),
                "relationship",
                "enum",
            ),
            (
                json!({"participant_id": "x", "other_participant": 2}),
                "participant_id",
                "type",
            ),
            (
                json!({"participant_id": 1.5, "other_participant": 2}),
                "participant_id",
                "type",
            ),
            (
                json!({"participant_id": 1, "other_participant": "1"}),
                "other_participant",
                "invalid",
            ),
        ];
        for (values, field, rule) in bad {
            assert_eq!(
                broken(arguments(&values).related()),
                (field.to_owned(), rule),
                "{values}"
            );
        }
        for nothing in [json!(null), json!({})] {
            let Err(ApiError::Validation(violations)) = arguments(&nothing).related() else {
                panic!("{nothing}")
            };
            assert_eq!(violations.iter().count(), 2, "both are told");
        }
    }
}
