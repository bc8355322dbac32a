//! Owns how a command that was carried out looks in JSON: the broker's names, normalised. Never carries one out.

use confab_conference::{AccountId, Audience, ConferenceId, Control, ParticipantId, Relationship, StopPlay};
use serde_json::{Map, Value};

use super::message::{Command, Origin};

/// Returns the command as `conference.command` listeners get it. A command about all members names no participant. Digits are left out:
/// they may be a PIN.
pub(super) fn of_command(
    origin: &Origin,
    account: &AccountId,
    conference: &ConferenceId,
    command: &Command,
) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.into(), value));
    let told = match command {
        Command::Control(control) => name(control),
        Command::Dial(_) => "dial",
    };
    put("application_name", told.into());
    put("account_id", account.as_str().into());
    put("conference_id", conference.as_str().into());
    match command {
        Command::Control(control) => put_control(control, put),
        Command::Dial(arguments) => body.extend(arguments.clone()),
    }
    let ends = [
        ("event_category", "conference"),
        ("event_name", "command"),
        ("node", &origin.node),
        ("app_name", &origin.app_name),
        ("app_version", &origin.app_version),
    ];
    body.extend(ends.map(|(key, text)| (key.to_owned(), text.into())));
    Value::Object(body)
}

fn put_control(control: &Control, mut put: impl FnMut(&str, Value)) {
    if let Some(id) = participant(control) {
        put("participant_id", id.get().into());
    }
    match control {
        Control::Relate {
            other, relationship, ..
        } => {
            put("other_participant", other.get().into());
            let name = match relationship {
                Relationship::Mute => "mute",
                Relationship::Deaf => "deaf",
                Relationship::Clear => "clear",
            };
            put("relationship", name.into());
        }
        Control::SetVolumeIn(_, volume) | Control::SetVolumeOut(_, volume) => {
            put("volume_db", (f64::from(volume.tenths_db()) / 10.0).into());
        }
        Control::SetEnergy(_, level) => put("energy_level", (*level).into()),
        Control::SetAgc(_, on) | Control::SetDenoise(_, on) => put("enabled", (*on).into()),
        Control::Play { media, .. } => put("media_name", media.as_str().into()),
        Control::StartRecording { tracks: Some(tracks) } => put("tracks", (*tracks).into()),
        Control::StopPlay { which, .. } => {
            let affects = match which {
                StopPlay::Current => "current",
                StopPlay::All => "all",
            };
            put("affects", affects.into());
        }
        _ => {}
    }
}

fn name(control: &Control) -> &'static str {
    match control {
        Control::Mute(_) | Control::MuteAll => "mute_participant",
        Control::Unmute(_) | Control::UnmuteAll => "unmute_participant",
        Control::Deaf(_) | Control::DeafAll => "deaf_participant",
        Control::Undeaf(_) | Control::UndeafAll => "undeaf_participant",
        Control::Kick(_) | Control::KickAll => "kick",
        Control::Hold(_) => "hold_participant",
        Control::Unhold(_) => "unhold_participant",
        Control::SetVolumeIn(..) => "participant_volume_in",
        Control::SetVolumeOut(..) => "participant_volume_out",
        Control::SetEnergy(..) => "participant_energy",
        Control::SetAgc(..) => "participant_agc",
        Control::SetDenoise(..) => "participant_denoise",
        Control::SendDigits(..) => "participant_dtmf",
        Control::RaiseHand(_) => "raise_hand_participant",
        Control::LowerHand(_) => "lower_hand_participant",
        Control::End => "end",
        Control::Relate { .. } => "relate_participants",
        Control::Play { .. } => "play",
        Control::StopPlay { .. } => "stop_play",
        Control::StartRecording { .. } => "record",
        Control::StopRecording => "recordstop",
        Control::PauseRecording => "recordpause",
        Control::ResumeRecording => "recordresume",
        Control::Lock => "lock",
        Control::Unlock => "unlock",
    }
}

fn participant(control: &Control) -> Option<ParticipantId> {
    match control {
        Control::Mute(id)
        | Control::Unmute(id)
        | Control::Deaf(id)
        | Control::Undeaf(id)
        | Control::Kick(id)
        | Control::Hold(id)
        | Control::Unhold(id)
        | Control::SetVolumeIn(id, _)
        | Control::SetVolumeOut(id, _)
        | Control::SetEnergy(id, _)
        | Control::SetAgc(id, _)
        | Control::SetDenoise(id, _)
        | Control::SendDigits(id, _)
        | Control::RaiseHand(id)
        | Control::LowerHand(id)
        | Control::Relate { participant: id, .. } => Some(*id),
        Control::Play { audience, .. } | Control::StopPlay { audience, .. } => match audience {
            Audience::One(id) => Some(*id),
            Audience::Everybody | Audience::Waiting => None,
        },
        Control::MuteAll
        | Control::UnmuteAll
        | Control::DeafAll
        | Control::UndeafAll
        | Control::KickAll
        | Control::End
        | Control::StartRecording { .. }
        | Control::StopRecording
        | Control::PauseRecording
        | Control::ResumeRecording
        | Control::Lock
        | Control::Unlock => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_has_the_names_of_the_broker() {
        let id = ParticipantId::new(7).unwrap();
        let other = ParticipantId::new(8).unwrap();
        let rows = [
            (Control::Lock, json!({"application_name": "lock"})),
            (
                Control::Mute(id),
                json!({"application_name": "mute_participant", "participant_id": 7}),
            ),
            (Control::MuteAll, json!({"application_name": "mute_participant"})),
            (
                Control::Play {
                    media: "m".into(),
                    audience: Audience::One(id),
                },
                json!({"application_name": "play", "participant_id": 7, "media_name": "m"}),
            ),
            (
                Control::StopPlay {
                    audience: Audience::Everybody,
                    which: StopPlay::All,
                },
                json!({"application_name": "stop_play", "affects": "all"}),
            ),
            (
                Control::Relate {
                    participant: id,
                    other,
                    relationship: Relationship::Deaf,
                },
                json!({
                    "application_name": "relate_participants", "participant_id": 7, "other_participant": 8,
                    "relationship": "deaf"
                }),
            ),
            (
                Control::SendDigits(id, "1234".parse().unwrap()),
                json!({"application_name": "participant_dtmf", "participant_id": 7}),
            ),
        ];
        let common = json!({
            "account_id": "a", "conference_id": "c", "event_category": "conference", "event_name": "command",
            "node": "confab", "app_name": "confab", "app_version": env!("CARGO_PKG_VERSION"),
        });
        for (control, own) in rows {
            let told = of_command(
                &Origin::default(),
                &AccountId::from("a"),
                &ConferenceId::from("c"),
                &Command::Control(control.clone()),
            );
            let mut expected = common.clone();
            for (key, value) in own.as_object().unwrap() {
                expected[key] = value.clone();
            }
            assert_eq!(told, expected, "{control:?}");
        }
        let arguments = json!({"endpoints": ["sip:bob@b.example"], "timeout": 5});
        let told = of_command(
            &Origin::default(),
            &AccountId::from("a"),
            &ConferenceId::from("c"),
            &Command::Dial(arguments.as_object().unwrap().clone()),
        );
        let mut expected = common;
        expected["application_name"] = "dial".into();
        expected["endpoints"] = arguments["endpoints"].clone();
        expected["timeout"] = 5.into();
        assert_eq!(told, expected);
    }
}
