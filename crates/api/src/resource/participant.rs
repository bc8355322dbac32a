//! Owns the participants of a running conference as resources, and the actions on them. Never keeps one.

use confab_conference::{Control, ParticipantId, ParticipantState, Snapshot};

use crate::action::{self, Actions};
use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::live::ControlError;

/// What can be done to one participant.
pub(crate) const ACTIONS: Actions<fn(ParticipantId) -> Control> = Actions {
    built: &[
        ("mute", Control::Mute),
        ("unmute", Control::Unmute),
        ("deaf", Control::Deaf),
        ("undeaf", Control::Undeaf),
        ("kick", Control::Kick),
    ],
    refused: &[
        "play",
        "volume_in",
        "volume_out",
        "energy",
        "agc",
        "denoise",
        "stop_play",
        "hold",
        "unhold",
        "move",
        "raise_hand",
        "lower_hand",
        "dtmf",
    ],
};

/// What can be done to all participants at once.
pub(crate) const BULK_ACTIONS: Actions<Control> = Actions {
    built: &[
        ("mute", Control::MuteAll),
        ("unmute", Control::UnmuteAll),
        ("deaf", Control::DeafAll),
        ("undeaf", Control::UndeafAll),
        ("kick", Control::KickAll),
    ],
    refused: &["play", "relate"],
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
    let control = (action::resolve(call.envelope, call.query, &ACTIONS)?.action)(id);
    match call
        .state
        .conferences
        .control(call.account()?, &call.conference_id(), control)
        .await
    {
        Ok(()) => Ok(Answer::accepted()),
        // The conference ended since the look above, and its participants with it.
        Err(ControlError::NotRunning) => Err(ApiError::UnknownId(id.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// `PUT …/participants`: an action on everybody. Mute and deaf leave moderators alone; kick does not.
pub(super) async fn control_all(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.conference().await?;
    let control = action::resolve(call.envelope, call.query, &BULK_ACTIONS)?.action;
    match call
        .state
        .conferences
        .control(call.account()?, &call.conference_id(), control)
        .await
    {
        Ok(()) | Err(ControlError::NotRunning) => Ok(Answer::accepted()),
        Err(error) => Err(error.into()),
    }
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
        .ok_or_else(|| ApiError::UnknownId(text.to_owned()))
}
