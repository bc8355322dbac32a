//! The reference that a conference is compared with: a plain account of the rules, without events and effects.

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::*;

/// What the model knows of one participant: the flags that commands decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) moderator: bool,
    pub(crate) ghost: bool,
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    pub(crate) talking: bool,
    pub(crate) floor: bool,
    pub(crate) energy: u16,
    pub(crate) hand_raised: bool,
    pub(crate) controls: Controls,
}

/// What operators set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controls {
    pub(crate) held: bool,
    pub(crate) volume_in: Volume,
    pub(crate) volume_out: Volume,
    pub(crate) energy_level: u16,
    pub(crate) agc: bool,
    pub(crate) denoise: bool,
}

impl Controls {
    pub(crate) fn of(settings: &Settings) -> Controls {
        Controls {
            held: false,
            volume_in: Volume::default(),
            volume_out: Volume::default(),
            energy_level: settings.energy_level,
            agc: settings.auto_gain,
            denoise: settings.denoise,
        }
    }

    pub(crate) fn shown(state: &ParticipantState) -> Controls {
        Controls {
            held: state.held,
            volume_in: state.volume_in,
            volume_out: state.volume_out,
            energy_level: state.energy_level,
            agc: state.agc,
            denoise: state.denoise,
        }
    }
}

/// What the model knows of a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Played {
    pub(crate) audience: Audience,
    pub(crate) sound: Sound,
    pub(crate) life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    Asked,
    Entry,
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Waits,
    Sounds,
    Over,
}

impl Played {
    fn of(audience: Audience, sound: Sound) -> Played {
        let life = Life::Waits;
        Played {
            audience,
            sound,
            life,
        }
    }

    /// Told and not over.
    pub(crate) fn is_shown(&self) -> bool {
        self.sound == Sound::Asked && self.life == Life::Sounds
    }
}

/// Where the recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    No,
    Asked,
    Yes { paused: bool, trouble: bool },
}

/// The reference: a plain account of the rules, without events and effects.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) settings: Settings,
    pub(crate) held: BTreeMap<ParticipantId, (bool, Entry)>,
    pub(crate) present: BTreeMap<ParticipantId, Flags>,
    pub(crate) records: BTreeMap<(ParticipantId, ParticipantId), Relationship>,
    /// What was asked to be played, in order; the last are the newest.
    pub(crate) plays: Vec<Played>,
    pub(crate) recording: Recorded,
    pub(crate) locked: bool,
    pub(crate) started: bool,
    pub(crate) ended: bool,
}

impl Model {
    pub(crate) fn reserve(&self, entry: Entry) -> Result<(), Refusal> {
        let limit = self.settings.max_participants.filter(|&limit| limit > 1);
        let count = self.present.values().filter(|flags| !flags.ghost).count()
            + self.held.values().filter(|(_, entry)| !entry.is_ghost()).count();
        if self.ended {
            Err(Refusal::Ended)
        } else if self.locked && !matches!(entry, Entry::DialOut { .. }) {
            Err(Refusal::Locked)
        } else if !entry.is_ghost() && limit.is_some_and(|limit| count >= limit as usize) {
            Err(Refusal::Full)
        } else {
            Ok(())
        }
    }

    pub(crate) fn join(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        let (moderator, entry) = self.held.remove(&id).ok_or(Refusal::UnknownParticipant(id))?;
        let role = if moderator {
            self.settings.moderator
        } else {
            self.settings.member
        };
        let (muted, deaf) = match entry {
            Entry::DialIn => (role.join_muted, role.join_deaf),
            Entry::DialOut { muted, deaf, .. } => (muted, deaf),
            Entry::Moved(carried) | Entry::InPlaceOf(_, carried) => (carried.muted, carried.deaf),
        };
        let ghost = entry.is_ghost();
        let mut controls = Controls::of(&self.settings);
        if let Entry::Moved(carried) | Entry::InPlaceOf(_, carried) = entry {
            controls.volume_in = carried.volume_in;
            controls.volume_out = carried.volume_out;
            controls.agc = carried.agc;
            controls.denoise = carried.denoise;
        }
        self.present.insert(
            id,
            Flags {
                moderator,
                ghost,
                muted,
                deaf,
                talking: false,
                floor: false,
                energy: 0,
                hand_raised: false,
                controls,
            },
        );
        self.started = true;
        if !ghost && self.counted() > 1 {
            self.tone(Sound::Entry);
        }
        Ok(())
    }

    pub(crate) fn with(&mut self, id: ParticipantId, change: impl FnOnce(&mut Flags)) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        self.present
            .get_mut(&id)
            .map(change)
            .ok_or(Refusal::UnknownParticipant(id))
    }

    pub(crate) fn gone(&mut self, known: bool, id: ParticipantId) -> Result<(), Refusal> {
        let refused = if self.ended {
            Refusal::Ended
        } else {
            Refusal::UnknownParticipant(id)
        };
        self.ended |= self.held.is_empty() && self.present.is_empty() && known;
        if self.ended {
            self.end_plays(|_| true);
        }
        if known { Ok(()) } else { Err(refused) }
    }

    fn counted(&self) -> usize {
        self.present.values().filter(|flags| !flags.ghost).count()
    }

    fn tone(&mut self, sound: Sound) {
        let wanted = match sound {
            Sound::Entry => self.settings.entry_tone.is_some(),
            _ => self.settings.exit_tone.is_some(),
        };
        let play = Played::of(Audience::Everybody, sound);
        if wanted && !self.plays.contains(&play) {
            self.plays.push(play);
        }
    }

    /// Somebody did not hear a play: a tone of coming or going is for him alone then, unless one of its kind is still to come for him.
    pub(crate) fn missed(&mut self, play: usize, id: ParticipantId) -> Result<(), Refusal> {
        let mut could_hear = false;
        self.with(id, |flags| could_hear = !flags.deaf && !flags.controls.held)?;
        let audience = Audience::One(id);
        if let Some(&Played { sound, .. }) = self.plays.get(play).filter(|play| {
            play.sound != Sound::Asked && play.audience == Audience::Everybody && play.life != Life::Over
        }) && could_hear
            && self.counted() > 0
            && !self.plays.contains(&Played::of(audience, sound))
        {
            self.plays.push(Played::of(audience, sound));
        }
        Ok(())
    }

    fn audience(&self, audience: Audience) -> Result<(), Refusal> {
        match audience {
            Audience::One(id) if !self.present.contains_key(&id) => Err(Refusal::UnknownParticipant(id)),
            _ => Ok(()),
        }
    }

    fn play(&mut self, audience: Audience) -> Result<(), Refusal> {
        self.audience(audience)?;
        let mine = |play: &&Played| {
            play.audience == audience && play.sound == Sound::Asked && play.life != Life::Over
        };
        if self.plays.iter().filter(mine).count() == 12 {
            return Err(Refusal::TooManyPlays);
        }
        self.plays.push(Played::of(audience, Sound::Asked));
        Ok(())
    }

    pub(crate) fn became(&mut self, play: usize, life: Life) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if let Some(play) = self.plays.get_mut(play)
            && play.life != Life::Over
        {
            play.life = life;
        }
        Ok(())
    }

    fn end_plays(&mut self, of: impl Fn(Audience) -> bool) {
        for play in self.plays.iter_mut().filter(|play| of(play.audience)) {
            play.life = Life::Over;
        }
    }

    pub(crate) fn leave(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let gone = self.present.remove(&id);
        let known = gone.is_some();
        self.end_plays(|audience| audience == Audience::One(id));
        if gone.is_some_and(|gone| !gone.ghost) && self.counted() > 0 {
            self.tone(Sound::Exit);
        }
        self.records.retain(|&(one, other), _| one != id && other != id);
        self.gone(known, id)
    }

    /// What came of a recording that was asked for.
    pub(crate) fn recorded(&mut self, began: bool) -> Result<(), Refusal> {
        self.alive()?;
        match (self.recording, began) {
            (Recorded::Asked, true) => {
                let (paused, trouble) = (false, false);
                self.recording = Recorded::Yes { paused, trouble };
            }
            (Recorded::Asked, false) => self.recording = Recorded::No,
            (_, true) => return Err(Refusal::NotRecording),
            (_, false) => {}
        }
        Ok(())
    }

    pub(crate) fn recording_trouble(&mut self, is_in_trouble: bool) -> Result<(), Refusal> {
        self.alive()?;
        if let Recorded::Yes { trouble, .. } = &mut self.recording {
            *trouble = is_in_trouble;
        }
        Ok(())
    }

    fn alive(&self) -> Result<(), Refusal> {
        if self.ended { Err(Refusal::Ended) } else { Ok(()) }
    }

    pub(crate) fn release(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let known = self.held.remove(&id).is_some();
        self.gone(known, id)
    }

    pub(crate) fn control(&mut self, control: Control) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if control == Control::End {
            return self.end();
        }
        let may_precede = matches!(control, Control::Lock | Control::Unlock) && !self.held.is_empty();
        if !self.started && !may_precede {
            return Err(Refusal::NotRunning);
        }
        let quieten = |flags: &mut Flags| {
            flags.talking = false;
            flags.floor = false;
        };
        let mute = |flags: &mut Flags| {
            flags.muted = true;
            quieten(flags);
        };
        match control {
            Control::Mute(id) => self.with(id, mute),
            Control::Unmute(id) => self.with(id, |flags| flags.muted = false),
            Control::Deaf(id) => self.with(id, |flags| flags.deaf = true),
            Control::Undeaf(id) => self.with(id, |flags| flags.deaf = false),
            Control::Kick(id) => self.leave(id),
            Control::Hold(id) => self.with(id, |flags| {
                flags.controls.held = true;
                quieten(flags);
            }),
            Control::Unhold(id) => self.with(id, |flags| flags.controls.held = false),
            Control::SetVolumeIn(id, volume) => self.with(id, |flags| flags.controls.volume_in = volume),
            Control::SetVolumeOut(id, volume) => self.with(id, |flags| flags.controls.volume_out = volume),
            Control::SetEnergy(id, level) => self.with(id, |flags| flags.controls.energy_level = level),
            Control::SetAgc(id, on) => self.with(id, |flags| flags.controls.agc = on),
            Control::SetDenoise(id, on) => self.with(id, |flags| flags.controls.denoise = on),
            Control::SendDigits(id, _) => self.with(id, |_| ()),
            Control::RaiseHand(id) => self.with(id, |flags| flags.hand_raised = true),
            Control::LowerHand(id) => self.with(id, |flags| flags.hand_raised = false),
            Control::End => unreachable!("ended above"),
            Control::Relate {
                participant,
                other,
                relationship,
            } => self.relate(participant, other, relationship),
            Control::MuteAll => self.members(mute),
            Control::UnmuteAll => self.members(|flags| flags.muted = false),
            Control::DeafAll => self.members(|flags| flags.deaf = true),
            Control::UndeafAll => self.members(|flags| flags.deaf = false),
            Control::Play { audience, .. } => self.play(audience),
            Control::StopPlay { audience, .. } => self.audience(audience),
            Control::StartRecording { .. } => {
                if self.recording == Recorded::No {
                    self.recording = Recorded::Asked;
                }
                Ok(())
            }
            Control::StopRecording => {
                self.recording = Recorded::No;
                Ok(())
            }
            Control::PauseRecording | Control::ResumeRecording => match &mut self.recording {
                Recorded::Yes { paused, .. } => {
                    *paused = control == Control::PauseRecording;
                    Ok(())
                }
                _ => Err(Refusal::NotRecording),
            },
            Control::KickAll => {
                self.present.clear();
                self.records.clear();
                self.end_plays(|audience| audience != Audience::Everybody);
                self.ended = self.held.is_empty();
                if self.ended {
                    self.end_plays(|_| true);
                }
                Ok(())
            }
            Control::Lock => {
                self.locked = true;
                Ok(())
            }
            Control::Unlock => {
                self.locked = false;
                Ok(())
            }
        }
    }

    pub(crate) fn relate(
        &mut self,
        one: ParticipantId,
        other: ParticipantId,
        relationship: Relationship,
    ) -> Result<(), Refusal> {
        self.with(other, |_| ())?;
        self.with(one, |_| ())?;
        if one == other {
            return Err(Refusal::RelatedToSelf(one));
        }
        self.records.insert((one, other), relationship);
        Ok(())
    }

    /// Returns every ordered pair of which the listener, second, does not hear the talker.
    pub(crate) fn unheard(&self) -> BTreeSet<(ParticipantId, ParticipantId)> {
        let pairs = self
            .records
            .iter()
            .filter_map(|(&(one, other), record)| match record {
                Relationship::Mute => Some((one, other)),
                Relationship::Deaf => Some((other, one)),
                Relationship::Clear => None,
            });
        pairs.collect()
    }

    pub(crate) fn members(&mut self, change: impl Fn(&mut Flags)) -> Result<(), Refusal> {
        self.present
            .values_mut()
            .filter(|flags| !flags.moderator)
            .for_each(change);
        Ok(())
    }

    pub(crate) fn pass_floor(&mut self, holder: Option<ParticipantId>) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if let Some(id) = holder.filter(|id| !self.present.contains_key(id)) {
            return Err(Refusal::UnknownParticipant(id));
        }
        for (&id, flags) in &mut self.present {
            flags.floor = Some(id) == holder && !flags.muted && !flags.controls.held && !flags.ghost;
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        self.held.clear();
        self.present.clear();
        self.end_plays(|_| true);
        self.ended = true;
        Ok(())
    }
}
