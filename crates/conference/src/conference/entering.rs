//! Owns how somebody gets in: places that are held, flags to join with, and what a join brings about.

use super::{Conference, Person, Phase};
use crate::{
    Caller, Carried, Effect, Entry, EventKind, GregorianSeconds, MediaName, OwedKey, ParticipantId,
    ParticipantState, Refusal, Role, Volume,
};

/// A place held for somebody about to join.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub(super) caller: Caller,
    pub(super) role: Role,
    pub(super) entry: Entry,
    /// What he may press yet when he has joined.
    pub(super) owes: Option<OwedKey>,
}

/// How a participant enters the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinFlags {
    /// He is not heard from his first frame on.
    pub muted: bool,
    /// He hears silence from his first frame on.
    pub deaf: bool,
    /// He never has the floor.
    pub ghost: bool,
    /// He is out of the mix from his first frame on: he waits for a moderator.
    pub waiting: bool,
}

impl Conference {
    /// Returns the flags with which the reservation `id` would join, so that its leg can be put into the
    /// mix before the join is announced.
    pub fn join_flags(&self, id: ParticipantId) -> Result<JoinFlags, Refusal> {
        self.alive()?;
        let reservation = self
            .reservations
            .get(&id)
            .ok_or(Refusal::UnknownParticipant(id))?;
        Ok(self.flags(reservation))
    }

    /// Holds a place under a new participant id.
    ///
    /// A locked conference refuses whoever dials in, moderators too; a full one refuses everybody but ghosts. Places
    /// held count as taken. One that needs company is refused while nobody is in. The reservation stands until [`Conference::join`] or [`Conference::release`]: a lock that
    /// comes later does not undo it.
    pub fn reserve(&mut self, caller: Caller, role: Role, entry: Entry) -> Result<ParticipantId, Refusal> {
        self.admits(entry)?;
        let id = self.ids.next_id();
        let reservation = Reservation {
            caller,
            role,
            entry,
            owes: None,
        };
        self.reservations.insert(id, reservation);
        Ok(id)
    }

    /// Says whether [`Conference::reserve`] would hold a place, without holding one.
    pub fn admits(&self, entry: Entry) -> Result<(), Refusal> {
        self.alive()?;
        if entry.needs_company() {
            self.running()?;
        }
        if let Entry::InPlaceOf(before, _) = entry {
            // He counts for the one who leaves.
            self.running()?;
            let is_there = self.roster.contains_key(&before);
            return is_there.then_some(()).ok_or(Refusal::UnknownParticipant(before));
        }
        if self.locked && entry.heeds_lock() {
            return Err(Refusal::Locked);
        }
        if !entry.is_ghost()
            && self
                .settings
                .participant_limit()
                .is_some_and(|limit| self.taken() >= limit)
        {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Gives the reservation `id` the name that is announced when its caller comes and goes.
    pub fn name(&mut self, id: ParticipantId, name: MediaName) -> Result<(), Refusal> {
        self.alive()?;
        let reservation = self.reservations.get_mut(&id);
        let reservation = reservation.ok_or(Refusal::UnknownParticipant(id))?;
        reservation.caller.spoken_name = Some(name);
        Ok(())
    }

    /// Says who takes the place of the reservation `id`: of those who are called for it, the first one who answers.
    pub fn identify(&mut self, id: ParticipantId, caller: Caller) -> Result<(), Refusal> {
        self.alive()?;
        let reservation = self.reservations.get_mut(&id);
        reservation.ok_or(Refusal::UnknownParticipant(id))?.caller = caller;
        Ok(())
    }

    /// Takes note that the caller of the reservation `id` may press a key yet that is no action of the conference.
    pub fn owes(&mut self, id: ParticipantId, key: OwedKey) -> Result<(), Refusal> {
        self.alive()?;
        let reservation = self.reservations.get_mut(&id);
        reservation.ok_or(Refusal::UnknownParticipant(id))?.owes = Some(key);
        Ok(())
    }

    /// Turns the reservation `id` into a participant and returns his state. The first join starts the instance, unless he joins
    /// only others: then his place is gone, and the refusal is [`Refusal::NotRunning`].
    pub fn join(&mut self, wall: GregorianSeconds, id: ParticipantId) -> Result<ParticipantState, Refusal> {
        self.alive()?;
        let reservation = self
            .reservations
            .remove(&id)
            .ok_or(Refusal::UnknownParticipant(id))?;
        if reservation.entry.needs_company() && self.roster.is_empty() {
            self.end_if_empty(wall);
            return Err(Refusal::NotRunning);
        }
        let is_first = self.phase == Phase::Forming;
        if is_first {
            self.phase = Phase::Running { started: wall };
            self.publish(wall, EventKind::ConferenceCreate, None);
            if self.locked {
                self.publish(wall, EventKind::Lock, None);
            }
        }
        let person = Person {
            no_hold_music: reservation.entry.declines_hold_music(),
            distributes_keys: reservation.entry.distributes_keys(),
            owes: reservation
                .owes
                .map(|key| (key, self.now.after_ms(OwedKey::WAIT_MS))),
            ..Person::default()
        };
        let state = self.entering(id, reservation, wall);
        self.roster.insert(id, state.clone());
        if person.distributes_keys {
            self.ask(Effect::DistributeKeys { participant: id });
        }
        self.persons.insert(id, person);
        self.ask_for_what_joins_differently(&state);
        self.publish(wall, EventKind::AddMember, Some(state.clone()));
        self.tell_waiting(&state);
        // Who has waited for him hears him come, and who was alone is not told so any more.
        self.settle(wall);
        self.announce_entry(&state);
        self.tell_joiner(&state);
        self.tell_recorded(&state);
        if is_first {
            self.record_by_itself();
        }
        Ok(state)
    }

    /// Another caller is on the leg of a participant from now on: his name and number are shown. The call id stays, by which the participant
    /// is known to whoever follows him.
    pub fn change_caller(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        caller: Caller,
    ) -> Result<(), Refusal> {
        self.running()?;
        let state = self.find(id)?;
        let before = std::mem::take(&mut state.caller);
        state.caller = Caller {
            call_id: before.call_id,
            application_vars: before.application_vars,
            ..caller
        };
        let state = state.clone();
        self.publish(wall, EventKind::ReplaceMember, Some(state));
        Ok(())
    }

    /// Places taken or held, ghosts not counted.
    fn taken(&self) -> usize {
        let held = self
            .reservations
            .values()
            .filter(|reservation| !reservation.entry.is_ghost())
            .count();
        self.counted() + held
    }

    fn flags(&self, reservation: &Reservation) -> JoinFlags {
        let role = self.settings.role(reservation.role);
        let (muted, deaf, ghost) = match reservation.entry {
            Entry::DialIn => (role.join_muted, role.join_deaf, false),
            Entry::DialOut {
                muted, deaf, ghost, ..
            }
            | Entry::Moved(Carried {
                muted, deaf, ghost, ..
            })
            | Entry::InPlaceOf(
                _,
                Carried {
                    muted, deaf, ghost, ..
                },
            ) => (muted, deaf, ghost),
        };
        JoinFlags {
            muted,
            deaf,
            ghost,
            waiting: reservation.role == Role::Member && !ghost && self.awaits_moderator(),
        }
    }

    fn entering(
        &self,
        id: ParticipantId,
        reservation: Reservation,
        wall: GregorianSeconds,
    ) -> ParticipantState {
        let JoinFlags {
            muted,
            deaf,
            ghost,
            waiting,
        } = self.flags(&reservation);
        let Reservation {
            caller, role, entry, ..
        } = reservation;
        let brought = match entry {
            Entry::DialIn | Entry::DialOut { .. } => Carried {
                agc: self.settings.auto_gain,
                denoise: self.settings.denoise,
                ..Carried::default()
            },
            Entry::Moved(carried) | Entry::InPlaceOf(_, carried) => carried,
        };
        ParticipantState {
            id,
            caller,
            role,
            join_time: wall,
            muted,
            deaf,
            talking: false,
            floor: false,
            energy_level: self.settings.energy_level,
            current_energy: 0,
            ghost,
            waiting,
            held: false,
            volume_in: brought.volume_in,
            volume_out: brought.volume_out,
            agc: brought.agc,
            denoise: brought.denoise,
            hand_raised: false,
        }
    }

    /// A leg enters the mix without gains, automatic gain and noise suppression.
    fn ask_for_what_joins_differently(&mut self, state: &ParticipantState) {
        let participant = state.id;
        let unchanged = Volume::default();
        if state.volume_in != unchanged {
            let volume = state.volume_in;
            self.ask(Effect::SetVolumeIn { participant, volume });
        }
        if state.volume_out != unchanged {
            let volume = state.volume_out;
            self.ask(Effect::SetVolumeOut { participant, volume });
        }
        if state.agc {
            self.ask(Effect::SetAgc {
                participant,
                on: true,
            });
        }
        if state.denoise {
            self.ask(Effect::SetDenoise {
                participant,
                on: true,
            });
        }
    }
}
