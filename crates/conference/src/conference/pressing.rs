//! Owns what the keys of a phone do in a conference: the same as the controls of the interface, by the same ways.

use std::sync::Arc;

use super::Conference;
use crate::{
    Control, Effect, EventKind, GregorianSeconds, KeyAction, LeaveCause, Moment, ParticipantId,
    ParticipantState, Refusal, Role, Volume,
};

/// What one key changes of a talk gate's threshold, and how far that goes.
const ENERGY_STEP: u16 = 200;
const MOST_ENERGY: u16 = 1800;

impl Conference {
    /// Takes note that a participant has pressed a key of his phone, at the time that was told last, and does what it means: nothing, where
    /// it is sent on to the others. A key that he owes from before he joined means nothing, and no event tells it, unless it
    /// begins several that mean something together.
    pub fn key_pressed(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        key: char,
    ) -> Result<(), Refusal> {
        self.alive()?;
        let state = self.find(id)?.clone();
        let role = state.role;
        let now = self.now;
        if let Some(person) = self.persons.get_mut(&id)
            && let Some((owed, until)) = person.owes.take()
            && now <= until
            && owed.is(key)
        {
            let begins = owed.yields() && !person.distributes_keys;
            if begins && person.keys.press_owed(self.settings.keys(role), key, now) {
                self.publish(wall, EventKind::KeyMember(key), Some(state));
            }
            return Ok(());
        }
        self.publish(wall, EventKind::KeyMember(key), Some(state));
        if let Some(person) = self
            .persons
            .get_mut(&id)
            .filter(|person| !person.distributes_keys)
        {
            let actions = person.keys.press(self.settings.keys(role), key, now);
            self.act(wall, id, actions);
        }
        Ok(())
    }

    /// Does what is decided by nobody's having pressed a further key until `due`.
    pub(super) fn decide_keys(&mut self, wall: GregorianSeconds, due: Moment) {
        let late = self.persons.iter_mut();
        let late = late.filter(|(_, person)| person.keys.deadline().is_some_and(|until| until <= due));
        let mut decided = Vec::new();
        for (&id, person) in late {
            let role = self.roster.get(&id).map_or(Role::Member, |state| state.role);
            decided.push((id, person.keys.expire(self.settings.keys(role))));
        }
        for (id, actions) in decided {
            self.act(wall, id, actions);
        }
    }

    fn act(&mut self, wall: GregorianSeconds, id: ParticipantId, actions: Vec<KeyAction>) {
        for action in actions {
            // The one before may have ended his call, or all.
            let Some(state) = self.roster.get(&id).cloned() else {
                return;
            };
            // Nothing that a participant does to himself is refused.
            let _ = self.act_once(wall, &state, action);
        }
    }

    fn act_once(
        &mut self,
        wall: GregorianSeconds,
        who: &ParticipantState,
        action: KeyAction,
    ) -> Result<(), Refusal> {
        let id = who.id;
        match action {
            KeyAction::Mute => self.press_mute(wall, who, !who.muted),
            KeyAction::MuteOn => self.press_mute(wall, who, true),
            KeyAction::MuteOff => self.press_mute(wall, who, false),
            KeyAction::DeafMute => {
                let both = !who.muted;
                self.press_deaf(wall, who, both)?;
                self.press_mute(wall, who, both)
            }
            KeyAction::Deaf => self.press_deaf(wall, who, !who.deaf),
            KeyAction::DeafOn => self.press_deaf(wall, who, true),
            KeyAction::DeafOff => self.press_deaf(wall, who, false),
            KeyAction::EnergyUp => {
                let level = who.energy_level.saturating_add(ENERGY_STEP).min(MOST_ENERGY);
                self.control(wall, Control::SetEnergy(id, level))
            }
            KeyAction::EnergyEqual => {
                let level = self.settings.energy_level;
                self.control(wall, Control::SetEnergy(id, level))
            }
            KeyAction::EnergyDown => {
                let level = who.energy_level.saturating_sub(ENERGY_STEP);
                self.control(wall, Control::SetEnergy(id, level))
            }
            KeyAction::TalkUp | KeyAction::TalkDown => {
                let louder = action == KeyAction::TalkUp;
                self.tell_volume(id, Some(louder));
                self.control(wall, Control::SetVolumeIn(id, who.volume_in.step(louder)))
            }
            KeyAction::TalkZero => {
                self.tell_volume(id, None);
                self.control(wall, Control::SetVolumeIn(id, Volume::default()))
            }
            KeyAction::ListenUp | KeyAction::ListenDown => {
                let louder = action == KeyAction::ListenUp;
                self.tell_volume(id, Some(louder));
                self.control(wall, Control::SetVolumeOut(id, who.volume_out.step(louder)))
            }
            KeyAction::ListenZero => {
                self.tell_volume(id, None);
                self.control(wall, Control::SetVolumeOut(id, Volume::default()))
            }
            KeyAction::HangUp => self.press_hang_up(wall, who),
            KeyAction::Lock => self.press_lock(wall, who),
            KeyAction::Floor => self.press_floor(wall, who),
            KeyAction::Event(data) => {
                let state = Some(who.clone());
                self.publish_with(wall, EventKind::KeyEventMember, state, (None, Some(data)));
                Ok(())
            }
            KeyAction::Transfer(number) => {
                self.ask(Effect::Transfer {
                    participant: id,
                    number,
                });
                Ok(())
            }
            KeyAction::Execute(data) => {
                let state = Some(who.clone());
                self.publish_with(
                    wall,
                    EventKind::KeyEventMember,
                    state,
                    (None, Some(Arc::clone(&data))),
                );
                self.ask(Effect::Execute {
                    participant: id,
                    application: data,
                });
                Ok(())
            }
            KeyAction::HoldMusic => {
                self.music.is_off = !self.music.is_off;
                self.settle_music();
                Ok(())
            }
            KeyAction::RaiseHand if who.hand_raised => {
                self.tell_prompt(id, "conf-hand_lowered");
                self.control(wall, Control::LowerHand(id))
            }
            KeyAction::RaiseHand => {
                self.tell_prompt(id, "conf-hand_raised");
                self.control(wall, Control::RaiseHand(id))
            }
            KeyAction::Count => {
                self.tell_count(id);
                Ok(())
            }
            KeyAction::MuteAll => self.press_mute_all(wall, who),
            KeyAction::End if self.may_lead(who) => self.control(wall, Control::End),
            KeyAction::End | KeyAction::Nothing => Ok(()),
        }
    }

    /// Tells a participant that the number of a transfer leads nowhere (`None`), or why he may not go there: he stays.
    pub fn transfer_failed(&mut self, id: ParticipantId, why: Option<&Refusal>) -> Result<(), Refusal> {
        self.alive()?;
        self.find(id)?;
        let prompt = match why {
            None => "conf-bad_conf",
            Some(Refusal::Locked) => "conf-locked",
            Some(Refusal::Full) => "conf-max_participants",
            Some(_) => "conf-not_allowed",
        };
        self.tell_prompt(id, prompt);
        Ok(())
    }

    fn press_mute(
        &mut self,
        wall: GregorianSeconds,
        who: &ParticipantState,
        muted: bool,
    ) -> Result<(), Refusal> {
        let control = if muted {
            Control::Mute(who.id)
        } else {
            Control::Unmute(who.id)
        };
        self.control(wall, control)
    }

    fn press_deaf(
        &mut self,
        wall: GregorianSeconds,
        who: &ParticipantState,
        deaf: bool,
    ) -> Result<(), Refusal> {
        let control = if deaf {
            Control::Deaf(who.id)
        } else {
            Control::Undeaf(who.id)
        };
        self.control(wall, control)
    }

    fn press_hang_up(&mut self, wall: GregorianSeconds, who: &ParticipantState) -> Result<(), Refusal> {
        let (participant, cause) = (who.id, LeaveCause::HungUp);
        self.ask(crate::Effect::HangUp {
            participant,
            cause,
            farewell: None,
        });
        self.leave(wall, participant, cause)
    }

    fn press_lock(&mut self, wall: GregorianSeconds, who: &ParticipantState) -> Result<(), Refusal> {
        if who.waiting {
            self.tell_prompt(who.id, "conf-not_allowed");
            return Ok(());
        }
        let (control, prompt) = if self.locked {
            (Control::Unlock, "conf-now_unlocked")
        } else {
            (Control::Lock, "conf-now_locked")
        };
        self.tell_prompt(who.id, prompt);
        self.control(wall, control)
    }

    fn press_floor(&mut self, wall: GregorianSeconds, who: &ParticipantState) -> Result<(), Refusal> {
        if !self.may_lead(who) || !who.may_have_floor() {
            self.tell_prompt(who.id, "conf-not_allowed");
            return Ok(());
        }
        let takes = self.floor_taken != Some(who.id);
        if takes {
            self.floor_taken = Some(who.id);
            self.show_floor(wall, self.floor_taken);
        } else {
            self.give_floor_back(wall);
        }
        let prompt = if takes {
            "conf-floor_taken"
        } else {
            "conf-floor_released"
        };
        self.tell_prompt(who.id, prompt);
        Ok(())
    }

    fn press_mute_all(&mut self, wall: GregorianSeconds, who: &ParticipantState) -> Result<(), Refusal> {
        if !self.may_lead(who) {
            return Ok(());
        }
        let mut members = self.roster.values().filter(|state| state.role == Role::Member);
        let (control, prompt) = if members.any(|state| !state.muted) {
            (Control::MuteAll, "conf-mute_all_on")
        } else {
            (Control::UnmuteAll, "conf-mute_all_off")
        };
        self.tell_prompt(who.id, prompt);
        self.control(wall, control)
    }

    /// Returns whether he leads; tells him otherwise that he may not.
    fn may_lead(&mut self, who: &ParticipantState) -> bool {
        let leads = who.role == Role::Moderator;
        if !leads {
            self.tell_prompt(who.id, "conf-not_allowed");
        }
        leads
    }

    fn tell_volume(&mut self, id: ParticipantId, louder: Option<bool>) {
        let prompt = match louder {
            Some(true) => "conf-louder",
            Some(false) => "conf-quieter",
            None => "conf-volume_normal",
        };
        self.tell_prompt(id, prompt);
    }
}
