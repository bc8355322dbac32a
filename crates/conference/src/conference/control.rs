//! Owns what operators can do to a running conference. Judges no rights.

use super::{Conference, Phase};
use crate::{
    Control, Effect, EventKind, GregorianSeconds, LeaveCause, ParticipantId, ParticipantState, Refusal,
    Relationship, Role, Volume,
};

impl Conference {
    /// Performs an operator's control.
    ///
    /// While callers are on their way and nobody has joined yet, it can be locked and unlocked: they keep their places, and the
    /// lock is announced when the first has joined.
    pub fn control(&mut self, wall: GregorianSeconds, control: Control) -> Result<(), Refusal> {
        if self.phase == Phase::Forming
            && !self.reservations.is_empty()
            && matches!(control, Control::Lock | Control::Unlock)
        {
            self.locked = control == Control::Lock;
            return Ok(());
        }
        if control == Control::End {
            return self.end(wall, LeaveCause::ConferenceEnded);
        }
        self.running()?;
        match control {
            Control::Mute(id) => self.set_muted(wall, id, true)?,
            Control::Unmute(id) => self.set_muted(wall, id, false)?,
            Control::Deaf(id) => self.set_deaf(wall, id, true)?,
            Control::Undeaf(id) => self.set_deaf(wall, id, false)?,
            Control::Kick(id) => {
                let gone = self.expel(wall, id, LeaveCause::Kicked)?;
                self.announce_exit(&gone);
            }
            Control::Hold(id) => self.set_held(wall, id, true)?,
            Control::Unhold(id) => self.set_held(wall, id, false)?,
            Control::SetVolumeIn(id, volume) => self.set_volume_in(wall, id, volume)?,
            Control::SetVolumeOut(id, volume) => self.set_volume_out(wall, id, volume)?,
            Control::SetEnergy(id, level) => self.set_energy(wall, id, level)?,
            Control::SetAgc(id, on) => self.set_agc(wall, id, on)?,
            Control::SetDenoise(id, on) => self.set_denoise(wall, id, on)?,
            Control::RaiseHand(id) => self.set_hand(wall, id, true)?,
            Control::LowerHand(id) => self.set_hand(wall, id, false)?,
            Control::Relate {
                participant,
                other,
                relationship,
            } => self.relate(participant, other, relationship)?,
            Control::Play { media, audience } => self.play(audience, media)?,
            Control::StopPlay { audience, which } => self.stop_play(audience, which)?,
            Control::SendDigits(id, digits) => {
                self.find(id)?;
                self.ask(Effect::SendDigits {
                    participant: id,
                    digits,
                });
            }
            Control::StartRecording { tracks } => self.record(tracks),
            Control::StopRecording => self.stop_recording(wall),
            Control::PauseRecording => self.pause_recording(wall, true)?,
            Control::ResumeRecording => self.pause_recording(wall, false)?,
            Control::MuteAll
            | Control::UnmuteAll
            | Control::DeafAll
            | Control::UndeafAll
            | Control::KickAll
            | Control::End
            | Control::Lock
            | Control::Unlock => self.control_all(wall, &control)?,
        }
        self.settle(wall);
        Ok(())
    }

    /// Performs a control that names no participant.
    fn control_all(&mut self, wall: GregorianSeconds, control: &Control) -> Result<(), Refusal> {
        match control {
            Control::MuteAll => {
                for id in self.members_with(|state| !state.muted) {
                    self.set_muted(wall, id, true)?;
                }
            }
            Control::UnmuteAll => {
                for id in self.members_with(|state| state.muted) {
                    self.set_muted(wall, id, false)?;
                }
            }
            Control::DeafAll => {
                for id in self.members_with(|state| !state.deaf) {
                    self.set_deaf(wall, id, true)?;
                }
            }
            Control::UndeafAll => {
                for id in self.members_with(|state| state.deaf) {
                    self.set_deaf(wall, id, false)?;
                }
            }
            Control::KickAll => self.expel_all(wall, LeaveCause::Kicked),
            Control::Lock => {
                self.locked = true;
                self.publish(wall, EventKind::Lock, None);
            }
            Control::Unlock => {
                self.locked = false;
                self.publish(wall, EventKind::Unlock, None);
            }
            _ => {}
        }
        Ok(())
    }

    fn members_with(&self, wanted: impl Fn(&ParticipantState) -> bool) -> Vec<ParticipantId> {
        self.roster
            .values()
            .filter(|state| state.role == Role::Member && wanted(state))
            .map(|state| state.id)
            .collect()
    }

    pub(super) fn set_muted(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        muted: bool,
    ) -> Result<(), Refusal> {
        let kind = if muted {
            EventKind::MuteMember
        } else {
            EventKind::UnmuteMember
        };
        let effect = Effect::SetMuted {
            participant: id,
            muted,
        };
        self.change(wall, id, kind, Some(effect), |state| {
            std::mem::replace(&mut state.muted, muted) != muted
        })?;
        self.tell_muted(id, muted);
        Ok(())
    }

    fn set_held(&mut self, wall: GregorianSeconds, id: ParticipantId, held: bool) -> Result<(), Refusal> {
        let kind = if held {
            EventKind::HoldMember
        } else {
            EventKind::UnholdMember
        };
        let waits = self.find(id)?.waiting;
        let effect = Effect::SetHeld {
            participant: id,
            held,
        };
        // Who waits is out of the mix either way.
        self.change(wall, id, kind, Some(effect).filter(|_| !waits), |state| {
            std::mem::replace(&mut state.held, held) != held
        })
        .map(drop)
    }

    pub(super) fn set_deaf(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        deaf: bool,
    ) -> Result<(), Refusal> {
        let kind = if deaf {
            EventKind::DeafMember
        } else {
            EventKind::UndeafMember
        };
        let effect = Effect::SetDeaf {
            participant: id,
            deaf,
        };
        self.change(wall, id, kind, Some(effect), |state| {
            std::mem::replace(&mut state.deaf, deaf) != deaf
        })?;
        self.tell_deaf(id, deaf);
        Ok(())
    }

    fn set_volume_in(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        volume: Volume,
    ) -> Result<(), Refusal> {
        let effect = Effect::SetVolumeIn {
            participant: id,
            volume,
        };
        self.change(wall, id, EventKind::VolumeInMember, Some(effect), |state| {
            std::mem::replace(&mut state.volume_in, volume) != volume
        })
        .map(drop)
    }

    fn set_volume_out(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        volume: Volume,
    ) -> Result<(), Refusal> {
        let effect = Effect::SetVolumeOut {
            participant: id,
            volume,
        };
        self.change(wall, id, EventKind::VolumeOutMember, Some(effect), |state| {
            std::mem::replace(&mut state.volume_out, volume) != volume
        })
        .map(drop)
    }

    fn set_energy(&mut self, wall: GregorianSeconds, id: ParticipantId, level: u16) -> Result<(), Refusal> {
        let effect = Effect::SetEnergyLevel {
            participant: id,
            level,
        };
        self.change(wall, id, EventKind::EnergyLevelMember, Some(effect), |state| {
            std::mem::replace(&mut state.energy_level, level) != level
        })
        .map(drop)
    }

    fn set_agc(&mut self, wall: GregorianSeconds, id: ParticipantId, on: bool) -> Result<(), Refusal> {
        let effect = Effect::SetAgc { participant: id, on };
        self.change(wall, id, EventKind::AgcMember, Some(effect), |state| {
            std::mem::replace(&mut state.agc, on) != on
        })
        .map(drop)
    }

    fn set_denoise(&mut self, wall: GregorianSeconds, id: ParticipantId, on: bool) -> Result<(), Refusal> {
        let effect = Effect::SetDenoise { participant: id, on };
        self.change(wall, id, EventKind::DenoiseMember, Some(effect), |state| {
            std::mem::replace(&mut state.denoise, on) != on
        })
        .map(drop)
    }

    /// A raised hand changes nothing of what is heard.
    fn set_hand(&mut self, wall: GregorianSeconds, id: ParticipantId, raised: bool) -> Result<(), Refusal> {
        let participant = self.find(id)?;
        participant.hand_raised = raised;
        let state = participant.clone();
        let kind = if raised {
            EventKind::RaiseHandMember
        } else {
            EventKind::LowerHandMember
        };
        self.publish(wall, kind, Some(state));
        Ok(())
    }

    /// Takes note that digits were sent to a participant's far end, which takes them.
    pub fn digits_sent(&mut self, wall: GregorianSeconds, id: ParticipantId) -> Result<(), Refusal> {
        self.alive()?;
        let state = self.find(id)?.clone();
        self.publish(wall, EventKind::DtmfMember, Some(state));
        Ok(())
    }

    /// Performs a `change` and announces it, and what follows when it silenced a talker. Asks for its effect when it
    /// returned that something changed, and returns that.
    fn change(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        kind: EventKind,
        effect: Option<Effect>,
        change: impl FnOnce(&mut ParticipantState) -> bool,
    ) -> Result<bool, Refusal> {
        let participant = self.find(id)?;
        let changed = change(participant);
        let silenced = participant.is_silenced();
        let stops = silenced && std::mem::replace(&mut participant.talking, false);
        let state = participant.clone();
        if let Some(effect) = effect.filter(|_| changed) {
            self.ask(effect);
        }
        self.publish(wall, kind, Some(state.clone()));
        if stops {
            self.publish(wall, EventKind::StopTalking, Some(state.clone()));
        }
        if silenced && state.floor {
            self.give_floor_back(wall);
        }
        Ok(changed)
    }

    /// Replaces one participant's record about another. No event tells it, and no flag of theirs shows it.
    fn relate(
        &mut self,
        participant: ParticipantId,
        other: ParticipantId,
        relationship: Relationship,
    ) -> Result<(), Refusal> {
        // When both are unknown the other one is told of.
        for id in [other, participant] {
            self.find(id)?;
        }
        if participant == other {
            return Err(Refusal::RelatedToSelf(participant));
        }
        for hearing in self.relations.set(participant, other, relationship) {
            self.ask(Effect::SetHeard(hearing));
        }
        Ok(())
    }
}
