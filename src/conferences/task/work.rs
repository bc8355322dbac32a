//! What an effect means for one leg. Performed beside other work, in no order.

use std::sync::Arc;

use confab_conference::{Effect, LeaveCause, ParticipantState};
use confab_media::JoinOptions;

use super::{Member, note};
use crate::conferences::media::{LegSetting, MixPlane};
use crate::conferences::seat::HangUp;

/// What is to be done to one leg.
pub(super) enum Work<M: MixPlane> {
    SetMuted(Arc<M::Leg>, bool),
    SetDeaf(Arc<M::Leg>, bool),
    Set(Arc<M::Leg>, LegSetting),
    SetHeard {
        mix: Arc<M::Mix>,
        talker: Arc<M::Leg>,
        listener: Arc<M::Leg>,
        heard: bool,
    },
    HangUp(Member<M>, LeaveCause),
}

impl<M: MixPlane> Work<M> {
    pub(super) async fn perform(self) {
        match self {
            Work::SetMuted(leg, muted) => note(M::set_muted(&leg, muted).await),
            Work::SetDeaf(leg, deaf) => note(M::set_deaf(&leg, deaf).await),
            Work::Set(leg, setting) => note(M::set(&leg, setting).await),
            Work::SetHeard {
                mix,
                talker,
                listener,
                heard,
            } => note(M::set_heard(&mix, &talker, &listener, heard).await),
            Work::HangUp(member, cause) => {
                note(M::leave(&member.leg).await);
                // Full or closed: the call is ending already.
                let _ = member.hang_up.try_send(HangUp { cause });
            }
        }
    }
}

/// Returns whether an effect has to keep its order among others.
pub(super) fn has_its_turn(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Play { .. }
            | Effect::CancelPlay { .. }
            | Effect::StopPlay { .. }
            | Effect::SendDigits { .. }
            | Effect::Transfer { .. }
            | Effect::Execute { .. }
            | Effect::StartRecording(_)
            | Effect::PauseRecording(_)
            | Effect::StopRecording
    )
}

/// Brings a leg to the state it joined with, should the settings have changed on its way.
pub(super) async fn correct<M: MixPlane>(leg: &M::Leg, options: JoinOptions, state: &ParticipantState) {
    if options.muted != state.muted {
        note(M::set_muted(leg, state.muted).await);
    }
    if options.deaf != state.deaf {
        note(M::set_deaf(leg, state.deaf).await);
    }
    if options.held != state.is_out_of_mix() {
        note(M::set(leg, LegSetting::Held(state.is_out_of_mix())).await);
    }
}
