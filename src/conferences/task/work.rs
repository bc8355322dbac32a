//! What an effect means for one leg. Performed beside other work, in no order.

use std::sync::Arc;

use confab_conference::LeaveCause;

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
