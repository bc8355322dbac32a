//! Owns the participants of a running conference as resources, and the actions on them. Never keeps one.

use axum::http::StatusCode;
use confab_conference::{Audience, Control, ParticipantId, ParticipantState, Settings, Snapshot};
use confab_documents::{Rule, Violation};
use serde_json::json;

use crate::action::{self, Actions};
use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::arguments::{Arguments, Named, Related};
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::live::ControlError;
use crate::resource::conference::{play, stop_play};

/// What an action does to one participant.
#[derive(Clone, Copy)]
pub(crate) enum OnOne {
    /// A control, made of his id and the arguments.
    Control(fn(ParticipantId, Arguments) -> Result<Control, ApiError>),
    /// He goes on in another conference.
    Move,
}

use OnOne::Control as Does;

/// What can be done to one participant.
pub(crate) const ACTIONS: Actions<OnOne> = Actions {
    built: &[
        ("mute", Does(|id, _| Ok(Control::Mute(id)))),
        ("unmute", Does(|id, _| Ok(Control::Unmute(id)))),
        ("deaf", Does(|id, _| Ok(Control::Deaf(id)))),
        ("undeaf", Does(|id, _| Ok(Control::Undeaf(id)))),
        ("kick", Does(|id, _| Ok(Control::Kick(id)))),
        (
            "volume_in",
            Does(|id, arguments| Ok(Control::SetVolumeIn(id, arguments.volume()?))),
        ),
        (
            "volume_out",
            Does(|id, arguments| Ok(Control::SetVolumeOut(id, arguments.volume()?))),
        ),
        (
            "energy",
            Does(|id, arguments| Ok(Control::SetEnergy(id, arguments.energy_level()?))),
        ),
        (
            "agc",
            Does(|id, arguments| Ok(Control::SetAgc(id, arguments.enabled()?))),
        ),
        (
            "denoise",
            Does(|id, arguments| Ok(Control::SetDenoise(id, arguments.enabled()?))),
        ),
        (
            "dtmf",
            Does(|id, arguments| Ok(Control::SendDigits(id, arguments.digits()?))),
        ),
        ("hold", Does(|id, _| Ok(Control::Hold(id)))),
        ("unhold", Does(|id, _| Ok(Control::Unhold(id)))),
        ("raise_hand", Does(|id, _| Ok(Control::RaiseHand(id)))),
        ("lower_hand", Does(|id, _| Ok(Control::LowerHand(id)))),
        ("move", OnOne::Move),
        ("play", Does(|id, arguments| play(Audience::One(id), arguments))),
        (
            "stop_play",
            Does(|id, arguments| stop_play(Audience::One(id), arguments)),
        ),
    ],
    prepared: &[],
    refused: &[],
};

/// What an action makes of its arguments and of who is there.
type OnMany = fn(Arguments, Option<&Snapshot>) -> Result<Control, ApiError>;

/// What can be done to all participants at once, or to more than one.
pub(crate) const BULK_ACTIONS: Actions<OnMany> = Actions {
    built: &[
        ("mute", |_, _| Ok(Control::MuteAll)),
        ("unmute", |_, _| Ok(Control::UnmuteAll)),
        ("deaf", |_, _| Ok(Control::DeafAll)),
        ("undeaf", |_, _| Ok(Control::UndeafAll)),
        ("kick", |_, _| Ok(Control::KickAll)),
        ("relate", |arguments, snapshot| {
            relate(arguments.related()?, snapshot)
        }),
        ("play", |arguments, _| play(Audience::Everybody, arguments)),
    ],
    prepared: &[],
    refused: &[],
};

/// `GET …/participants`: empty while the conference is not running.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (_, snapshot) = call.conference().await?;
    let participants = snapshot.map_or_else(Vec::new, |snapshot| call.viewpoint().participants(&snapshot));
    let page = PageInfo {
        page_size: participants.len(),
        ..PageInfo::default()
    };
    let page = (!call.query.says("paginate", false)).then_some(page);
    let data = participants.into();
    let etag = TagBuilder::default().live(&data).finish();
    Ok(Answer {
        etag: Some(etag),
        page,
        ..Answer::ok(data)
    })
}

/// `GET …/participants/{P}`.
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (_, snapshot) = call.conference().await?;
    let (snapshot, state) = participant(call, snapshot.as_ref())?;
    let data = call.viewpoint().participant(snapshot, state);
    let etag = TagBuilder::default().live(&data).finish();
    Ok(Answer {
        etag: Some(etag),
        ..Answer::ok(data)
    })
}

/// `PUT …/participants/{P}`: an action on one participant, moderators included.
pub(super) async fn control_one(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (_, snapshot) = call.conference().await?;
    let id = participant(call, snapshot.as_ref())?.1.id;
    let requested = action::resolve(call.envelope, call.query, &ACTIONS)?;
    let arguments = Arguments::new(requested.name, requested.arguments);
    let control = match requested.action {
        OnOne::Control(control) => control(id, arguments)?,
        OnOne::Move => return move_to(call, id, arguments).await,
    };
    match call.carry_out(control).await? {
        Ok(()) => Ok(Answer::accepted()),
        // The conference ended since the look above, and its participants with it.
        Err(ControlError::NotRunning) => Err(gone(id)),
        Err(error) => Err(error.into()),
    }
}

/// Moves a participant to the conference that the arguments name; the answer tells who he is there.
async fn move_to(call: &Call<'_>, id: ParticipantId, arguments: Arguments) -> Result<Answer, ApiError> {
    let to = arguments.conference()?;
    let (account, from) = (call.account()?, call.conference_id());
    let document = call.state.store.conference(account, &to).await?;
    if document.is_none() && call.state.conferences.snapshot(account, &to).await.is_none() {
        return Err(ApiError::UnknownId(to.to_string()));
    }
    let settings = match &document {
        Some(document) => call.state.store.settings(document).await?,
        None => Settings::default(),
    };
    let moved = call
        .state
        .conferences
        .move_participant(account, &from, id, &to, settings)
        .await;
    let not_there = |message: &str, cause: &str| {
        let violation = Violation::new("conference_id", Rule::Invalid, message);
        Err(violation
            .with_value(&to.as_str().into())
            .with_cause(cause.into())
            .into())
    };
    match moved {
        Ok(participant) => Ok(Answer::new(
            StatusCode::ACCEPTED,
            json!({ "conference_id": to.as_str(), "participant_id": participant.get() }),
        )),
        Err(ControlError::Locked) => not_there("The conference is locked", "locked"),
        Err(ControlError::Full) => not_there("The conference is full", "full"),
        Err(ControlError::MovedToSame(_)) => {
            not_there("The participant is in this conference already", "same")
        }
        Err(ControlError::NotRunning | ControlError::UnknownParticipant(_)) => Err(gone(id)),
        Err(error) => Err(error.into()),
    }
}

/// `PUT …/participants`: an action on everybody, or a relation of two. Mute and deaf leave moderators alone; kick does
/// not.
pub(super) async fn control_all(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (_, snapshot) = call.conference().await?;
    let requested = action::resolve(call.envelope, call.query, &BULK_ACTIONS)?;
    let arguments = Arguments::new(requested.name, requested.arguments);
    let control = (requested.action)(arguments, snapshot.as_ref())?;
    let (related, answer) = match control {
        Control::Relate { other, .. } => {
            let answer = Answer::new(StatusCode::ACCEPTED, "relating participants".into());
            (Some(other), answer)
        }
        _ => (None, Answer::accepted()),
    };
    match call.carry_out(control).await? {
        Ok(()) => Ok(answer),
        Err(ControlError::NotRunning) => match related {
            // The conference ended since the look above, and its participants with it.
            Some(other) => Err(gone(other)),
            None => Ok(answer),
        },
        Err(ControlError::UnknownParticipant(id)) => Err(gone(id)),
        Err(error) => Err(error.into()),
    }
}

/// Returns the control that relates two participants who are in the conference; of two unknown the other one is told.
fn relate(related: Related, snapshot: Option<&Snapshot>) -> Result<Control, ApiError> {
    let find = |named: Named| {
        snapshot
            .zip(named.id)
            .and_then(|(snapshot, id)| Some(snapshot.participant(id)?.id))
            .ok_or(ApiError::UnknownParticipant(named.given))
    };
    let other = find(related.other)?;
    let participant = find(related.participant)?;
    Ok(Control::Relate {
        participant,
        other,
        relationship: related.relationship,
    })
}

/// Returns the error of a participant who has just left.
fn gone(id: ParticipantId) -> ApiError {
    ApiError::UnknownParticipant(id.get().into())
}

/// Returns the participant that the path names.
fn participant<'a>(
    call: &Call<'_>,
    snapshot: Option<&'a Snapshot>,
) -> Result<(&'a Snapshot, &'a ParticipantState), ApiError> {
    let text = call.matched.parameter("participant_id");
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = if digits {
        text.parse::<ParticipantId>().ok()
    } else {
        None
    };
    snapshot
        .zip(id)
        .and_then(|(snapshot, id)| Some((snapshot, snapshot.participant(id)?)))
        .ok_or_else(|| ApiError::UnknownParticipant(id.map_or_else(|| text.into(), |id| id.get().into())))
}

#[cfg(test)]
mod tests {
    use confab_conference::*;
    use serde_json::Value;

    use super::*;

    fn control(action: &str, arguments: &Value) -> Result<Control, ApiError> {
        let id = ParticipantId::new(7).unwrap();
        let (name, meaning) = ACTIONS
            .prepared
            .iter()
            .chain(ACTIONS.built)
            .find(|(name, _)| *name == action)
            .copied()
            .unwrap();
        match meaning {
            OnOne::Control(control) => control(id, Arguments::new(name, arguments.as_object().cloned())),
            OnOne::Move => panic!("{action} is no control"),
        }
    }

    #[test]
    fn actions_become_controls() {
        let id = ParticipantId::new(7).unwrap();
        let volume = Volume::from_level(-2).unwrap();
        let rows = [
            ("mute", json!(null), Control::Mute(id)),
            ("kick", json!({"level": 99}), Control::Kick(id)),
            ("hold", json!(null), Control::Hold(id)),
            ("unhold", json!({}), Control::Unhold(id)),
            ("raise_hand", json!(null), Control::RaiseHand(id)),
            ("lower_hand", json!({}), Control::LowerHand(id)),
            (
                "volume_in",
                json!({"level": -2}),
                Control::SetVolumeIn(id, volume),
            ),
            (
                "volume_out",
                json!({"db": -4.4}),
                Control::SetVolumeOut(id, volume),
            ),
            ("energy", json!({"level": 300}), Control::SetEnergy(id, 300)),
            ("agc", json!({"enabled": true}), Control::SetAgc(id, true)),
            (
                "denoise",
                json!({"enabled": false}),
                Control::SetDenoise(id, false),
            ),
            (
                "dtmf",
                json!({"digits": "12w#"}),
                Control::SendDigits(id, "12w#".parse().unwrap()),
            ),
        ];
        for (action, arguments, expected) in rows {
            assert_eq!(control(action, &arguments).unwrap(), expected, "{action}");
        }
        for action in ["volume_in", "volume_out", "energy", "agc", "denoise", "dtmf"] {
            assert!(
                matches!(control(action, &json!(null)), Err(ApiError::Validation(_))),
                "{action}"
            );
        }
    }

    #[test]
    fn c150_only_participants_of_the_conference_are_related() {
        let identity = Identity {
            account_id: AccountId::from("a"),
            conference_id: ConferenceId::from("c"),
            instance_id: InstanceId::from("i"),
        };
        let mut conference =
            Conference::new(identity, Settings::default(), Box::new(SequentialIds::default()));
        let [one, other] = ["1", "2"].map(|call| {
            let id = conference
                .reserve(Caller::new(call), Role::Member, Entry::DialIn)
                .unwrap();
            conference.join(GregorianSeconds(0), id).unwrap().id
        });
        let snapshot = conference.snapshot().unwrap();
        let related = |participant: i64, other: i64| {
            let arguments =
                json!({"participant_id": participant, "other_participant": other, "relationship": "deaf"});
            let arguments = Arguments::new("relate", arguments.as_object().cloned());
            arguments.related().unwrap()
        };
        assert_eq!(
            relate(related(1, 2), Some(&snapshot)).unwrap(),
            Control::Relate {
                participant: one,
                other,
                relationship: Relationship::Deaf
            }
        );
        for (participant, other, told) in [(1, 99, 99), (99, 1, 99), (98, 99, 99), (0, 1, 0), (1, -2, -2)] {
            let error = relate(related(participant, other), Some(&snapshot));
            assert!(
                matches!(&error, Err(ApiError::UnknownParticipant(id)) if *id == json!(told)),
                "{error:?}"
            );
        }
        assert!(
            matches!(relate(related(1, 2), None), Err(ApiError::UnknownParticipant(id)) if id == 2),
            "nobody is in a conference that is not running"
        );
    }
}
