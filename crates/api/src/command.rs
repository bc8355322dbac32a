//! Commands that come by a message broker: their names and keys translated into what the HTTP interface's actions are made of, so
//! that one and the same check and meaning holds for both. Knows no broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use confab_conference::{AccountId, Audience, ConferenceId, Control, ParticipantId};
use confab_documents::Store;
use serde_json::{Map, Value};

use crate::arguments::{Arguments, Named};
use crate::dialling::{DialAnswer, Dialer};
use crate::error::ApiError;
use crate::live::{LiveConferences, MediaProblem};
use crate::resource::conference;
use crate::resource::dial::{DialDesk, DialGiven};

/// A command for a conference, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerCommand {
    /// `None` when the message names none: that of the running conference.
    account: Option<AccountId>,
    conference: ConferenceId,
    order: Order,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    /// Of a running conference.
    Control(Box<Control>),
    /// Others are to be called; the arguments keep the rules of the action's schema.
    Dial(Map<String, Value>),
}

/// Whom commands are carried out by: the same as requests over HTTP.
#[derive(Clone)]
pub struct CommandDesk {
    /// The conferences that run.
    pub conferences: Arc<dyn LiveConferences>,
    /// Accounts and documents.
    pub store: Store,
    /// Who calls others.
    pub dialer: Arc<dyn Dialer>,
}

impl BrokerCommand {
    /// Reads a command from a message's keys, which are in lower case with underscores.
    ///
    /// # Errors
    /// What is missing or wrong, for a log; never what the message said.
    pub fn read(mut keys: Map<String, Value>) -> Result<BrokerCommand, String> {
        let has_account = keys.contains_key("account_id");
        let mut text = |key: &str| match keys.shift_remove(key) {
            Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => Ok(text),
            _ => Err(format!("{key} is missing or no text")),
        };
        let account = match text("account_id") {
            Ok(id) => Some(AccountId::from(id)),
            Err(_) if !has_account => None,
            Err(why) => return Err(why),
        };
        let conference = ConferenceId::from(text("conference_id")?);
        let name = text("application_name")?;
        let order = match name.as_str() {
            "dial" => Arguments::new("dial", Some(keys)).dial().map(Order::Dial),
            _ => Ok(Order::Control(Box::new(control(&name, keys)?))),
        };
        Ok(BrokerCommand {
            account,
            conference,
            order: order.map_err(|error| told(&error))?,
        })
    }

    /// Whether it takes as long as others take to answer a call. Such a one keeps no other waiting.
    pub fn is_lengthy(&self) -> bool {
        matches!(self.order, Order::Dial(_))
    }

    /// Carries the command out. What is not running takes no effect and is no error, as over HTTP; a dial starts it.
    ///
    /// # Errors
    /// Why nothing was done, for a log.
    pub async fn carry_out(self, desk: &CommandDesk) -> Result<(), String> {
        let BrokerCommand {
            account,
            conference,
            order,
        } = self;
        let conferences = &*desk.conferences;
        let account = match account {
            Some(account) => account,
            None => {
                let account = conferences.account_of(&conference).await;
                account.ok_or("account_id is missing, and no conference of this id runs, or several do")?
            }
        };
        let control = match order {
            Order::Control(control) => *control,
            Order::Dial(arguments) => return desk.dial(&account, &conference, arguments).await,
        };
        if let Control::Play { media, .. } = &control {
            match conferences.check_media(&account, media).await {
                Ok(()) => {}
                Err(MediaProblem::Unknown) => return Err("unknown media".to_owned()),
                Err(MediaProblem::Invalid(why)) => return Err(why),
            }
        }
        let done = conferences.control(&account, &conference, control).await;
        done.map_err(|error| error.to_string())
    }
}

impl CommandDesk {
    async fn dial(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        arguments: Map<String, Value>,
    ) -> Result<(), String> {
        let known = self.store.account(account).await;
        let known = known.map_err(|error| error.to_string())?;
        // Who has logged in over HTTP has shown as much.
        if !known.is_some_and(|account| account.enabled) {
            return Err("account_id is that of nobody, or of an account that is switched off".to_owned());
        }
        let desk = DialDesk {
            store: &self.store,
            conferences: &*self.conferences,
            dialer: &*self.dialer,
        };
        let given = DialGiven {
            arguments,
            outer: None,
            vars: BTreeMap::new(),
        };
        match desk.dial(account, conference, given).await {
            Ok(DialAnswer::Endpoints(_)) => Ok(()),
            Ok(DialAnswer::NoServer) => Err("no calls are placed while the server ends".to_owned()),
            Err(error) => Err(told(&error)),
        }
    }
}

/// Returns the control that an application's name and keys mean.
fn control(name: &str, mut keys: Map<String, Value>) -> Result<Control, String> {
    let whom = keys.get("participant_id").cloned();
    let audience = match &whom {
        Some(id) => Audience::One(id_of(id)?),
        None => Audience::Everybody,
    };
    // The names of keys where they are not those of the HTTP interface.
    for (theirs, ours) in [
        ("media_name", "media_id"),
        ("energy_level", "level"),
        ("volume_in_level", "level"),
        ("volume_out_level", "level"),
    ] {
        if let Some(value) = keys.shift_remove(theirs) {
            keys.insert(ours.to_owned(), value);
        }
    }
    let made = match (name, audience) {
        ("lock", _) => Ok(Control::Lock),
        ("unlock", _) => Ok(Control::Unlock),
        ("end", _) => Ok(Control::End),
        ("kick", Audience::Everybody) => Ok(Control::KickAll),
        ("kick", Audience::One(id)) => Ok(Control::Kick(id)),
        ("mute_participant", Audience::One(id)) => Ok(Control::Mute(id)),
        ("unmute_participant", Audience::One(id)) => Ok(Control::Unmute(id)),
        ("deaf_participant", Audience::One(id)) => Ok(Control::Deaf(id)),
        ("undeaf_participant", Audience::One(id)) => Ok(Control::Undeaf(id)),
        ("mute_participant", Audience::Everybody) => Ok(Control::MuteAll),
        ("unmute_participant", Audience::Everybody) => Ok(Control::UnmuteAll),
        ("deaf_participant", Audience::Everybody) => Ok(Control::DeafAll),
        ("undeaf_participant", Audience::Everybody) => Ok(Control::UndeafAll),
        ("play", audience) => conference::play(audience, Arguments::new("play", Some(keys))),
        ("stop_play", audience) => {
            // The broker's word for a play of one participant: those of another are not asked for.
            conference::stop_play(audience, Arguments::new("stop_play", Some(keys)))
        }
        ("relate_participants", _) => relate(keys),
        ("participant_energy", Audience::One(id)) => Arguments::new("energy", Some(keys))
            .energy_level()
            .map(|level| Control::SetEnergy(id, level)),
        ("participant_volume_in", Audience::One(id)) => Arguments::new("volume_in", Some(keys))
            .volume()
            .map(|volume| Control::SetVolumeIn(id, volume)),
        ("participant_volume_out", Audience::One(id)) => Arguments::new("volume_out", Some(keys))
            .volume()
            .map(|volume| Control::SetVolumeOut(id, volume)),
        ("participant_energy" | "participant_volume_in" | "participant_volume_out", _) => {
            return Err("participant_id is missing".to_owned());
        }
        ("record", _) => {
            // The broker's word names no action: it starts.
            keys.entry("action").or_insert_with(|| "start".into());
            Arguments::new("record", Some(keys)).record()
        }
        ("recordstop", _) => Ok(Control::StopRecording),
        ("say" | "tts" | "tones" | "set", _) => {
            return Err(format!("{name} is not in this version"));
        }
        _ => return Err("application_name names no command".to_owned()),
    };
    made.map_err(|error| told(&error))
}

fn relate(keys: Map<String, Value>) -> Result<Control, ApiError> {
    let related = Arguments::new("relate", Some(keys)).related()?;
    let known = |named: Named| named.id.ok_or(ApiError::UnknownParticipant(named.given));
    Ok(Control::Relate {
        other: known(related.other)?,
        participant: known(related.participant)?,
        relationship: related.relationship,
    })
}

fn id_of(value: &Value) -> Result<ParticipantId, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    text.parse()
        .map_err(|_| "participant_id is the number of nobody".to_owned())
}

fn told(error: &ApiError) -> String {
    match error {
        ApiError::Validation(violations) => {
            let rules = violations
                .iter()
                .map(|wrong| format!("{}: {}", wrong.field, wrong.rule.name()));
            rules.collect::<Vec<_>>().join(", ")
        }
        _ => "its arguments are not understood".to_owned(),
    }
}

/// Reads arbitrary bytes as a command, for fuzzing.
pub fn fuzz_broker_command(data: &[u8]) {
    if let Ok(Value::Object(keys)) = serde_json::from_slice(data) {
        let _ = BrokerCommand::read(keys);
    }
}

#[cfg(test)]
mod tests {
    use confab_conference::{Relationship, StopPlay, Volume};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ordered(keys: &Value) -> Result<Order, String> {
        let mut all = json!({"account_id": "a", "conference_id": "c"});
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        BrokerCommand::read(all.as_object().unwrap().clone()).map(|command| command.order)
    }

    fn read(keys: &Value) -> Result<Control, String> {
        ordered(keys).map(|order| match order {
            Order::Control(control) => *control,
            Order::Dial(arguments) => panic!("a dial: {arguments:?}"),
        })
    }

    #[test]
    fn a_dial_has_the_arguments_and_rules_of_the_http_interface() {
        let dial = json!({
            "application_name": "dial", "endpoints": ["1001"], "timeout": 5, "caller_id_name": "Ann",
            "participant_flags": ["mute"], "custom_application_vars": {"My-Key": "v"},
        });
        let Ok(Order::Dial(arguments)) = ordered(&dial) else {
            panic!("no dial: {:?}", ordered(&dial))
        };
        assert_eq!(arguments["endpoints"], json!(["1001"]));
        assert_eq!(arguments["custom_application_vars"], json!({"My-Key": "v"}));
        assert!(!arguments.contains_key("account_id") && !arguments.contains_key("application_name"));
        for (key, value, words) in [
            ("endpoints", json!([]), "endpoints: minItems"),
            ("endpoints", Value::Null, "endpoints: "),
            ("timeout", json!("soon"), "timeout: type"),
            ("participant_flags", json!(["dance"]), "participant_flags"),
        ] {
            let mut wrong = dial.clone();
            wrong[key] = value;
            let why = ordered(&wrong).unwrap_err();
            assert!(why.contains(words), "{key}: {why}");
        }
    }

    #[test]
    fn commands_become_the_controls_of_the_http_interface() {
        let id = ParticipantId::new(7).unwrap();
        let other = ParticipantId::new(8).unwrap();
        let volume = Volume::from_level(2).unwrap();
        let play = |audience| Control::Play {
            media: "http://x/y.wav".into(),
            audience,
        };
        let rows = [
            (json!({"application_name": "lock"}), Control::Lock),
            (
                json!({"application_name": "unlock", "msg_id": "x"}),
                Control::Unlock,
            ),
            (json!({"application_name": "kick"}), Control::KickAll),
            (
                json!({"application_name": "kick", "participant_id": 7}),
                Control::Kick(id),
            ),
            (
                json!({"application_name": "mute_participant", "participant_id": "7"}),
                Control::Mute(id),
            ),
            (
                json!({"application_name": "undeaf_participant"}),
                Control::UndeafAll,
            ),
            (
                json!({"application_name": "play", "media_name": "http://x/y.wav"}),
                play(Audience::Everybody),
            ),
            (
                json!({"application_name": "play", "media_name": "http://x/y.wav", "participant_id": 7}),
                play(Audience::One(id)),
            ),
            (
                json!({"application_name": "stop_play", "affects": "current"}),
                Control::StopPlay {
                    audience: Audience::Everybody,
                    which: StopPlay::Current,
                },
            ),
            (
                json!({"application_name": "relate_participants", "participant_id": 7, "other_participant": 8, "relationship": "mute"}),
                Control::Relate {
                    participant: id,
                    other,
                    relationship: Relationship::Mute,
                },
            ),
            (
                json!({"application_name": "participant_energy", "participant_id": 7, "energy_level": 200}),
                Control::SetEnergy(id, 200),
            ),
            (
                json!({"application_name": "participant_volume_in", "participant_id": 7, "volume_in_level": 2}),
                Control::SetVolumeIn(id, volume),
            ),
            (
                json!({"application_name": "participant_volume_out", "participant_id": 7, "volume_out_level": "2"}),
                Control::SetVolumeOut(id, volume),
            ),
            (
                json!({"application_name": "record", "tracks": true}),
                Control::StartRecording { tracks: Some(true) },
            ),
            (json!({"application_name": "recordstop"}), Control::StopRecording),
        ];
        for (keys, control) in rows {
            assert_eq!(read(&keys), Ok(control), "{keys}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_repeating_it() {
        for (keys, words) in [
            (json!({}), "application_name is missing"),
            (json!({"application_name": "dance"}), "names no command"),
            (json!({"application_name": "dial"}), "endpoints: required"),
            (
                json!({"application_name": "record", "action": "begin"}),
                "data.action: enum",
            ),
            (json!({"application_name": "play"}), "data.media_id: required"),
            (
                json!({"application_name": "kick", "participant_id": {}}),
                "the number of nobody",
            ),
            (
                json!({"application_name": "kick", "participant_id": -1}),
                "the number of nobody",
            ),
            (
                json!({"application_name": "participant_energy"}),
                "participant_id is missing",
            ),
            (
                json!({"application_name": "participant_energy", "participant_id": 7, "energy_level": 1801}),
                "level: maximum",
            ),
            (
                json!({"application_name": "lock", "account_id": 5}),
                "account_id is missing",
            ),
            (
                json!({"application_name": "lock", "conference_id": "a\u{0}b"}),
                "conference_id is missing",
            ),
        ] {
            let why = read(&keys).unwrap_err();
            assert!(why.contains(words), "{keys}: {why}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_message_makes_the_reader_panic(
            name in prop_oneof![
                Just("play"), Just("dial"), Just("kick"), Just("relate_participants"), Just("participant_energy"),
                Just("participant_volume_in"), Just("stop_play"), Just("")
            ],
            keys in prop::collection::vec(
                (prop_oneof![
                    Just("participant_id"), Just("other_participant"), Just("media_name"), Just("energy_level"),
                    Just("volume_in_level"), Just("affects"), Just("relationship"), Just("level"), Just("db"),
                    Just("endpoints"), Just("timeout"), Just("custom_application_vars")
                ], any_value()),
                0..6,
            ),
        ) {
            let mut message = json!({"application_name": name});
            for (key, value) in keys {
                message[key] = value;
            }
            let _ = ordered(&message);
        }
    }
}
