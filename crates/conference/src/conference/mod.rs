//! Owns one running conference: its roster, its reservations, its lock and its event sequence. Never performs the
//! effects it asks for.

mod control;
mod playing;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::play::{Occasion, Plays};
use crate::relation::Relations;
use crate::{
    Caller, Carried, Command, Effect, Entry, Event, EventKind, GregorianSeconds, Identity, LeaveCause,
    MediaName, Output, ParticipantId, ParticipantIds, ParticipantState, Refusal, Reply, Role, Settings,
    Snapshot, Volume,
};

/// Where an instance stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reservations only; nothing was announced.
    Forming,
    /// From the first join on.
    Running { started: GregorianSeconds },
    /// Over; every command is refused.
    Ended,
}

/// A place held for somebody about to join.
#[derive(Clone, Debug)]
struct Reservation {
    caller: Caller,
    role: Role,
    entry: Entry,
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
}

/// One instance of a conference.
///
/// Every mutation may queue outputs: drain [`Conference::poll_output`] after each.
pub struct Conference {
    identity: Identity,
    settings: Settings,
    ids: Box<dyn ParticipantIds>,
    phase: Phase,
    locked: bool,
    sequence: u64,
    reservations: BTreeMap<ParticipantId, Reservation>,
    roster: BTreeMap<ParticipantId, ParticipantState>,
    relations: Relations,
    plays: Plays,
    outputs: VecDeque<Output>,
}

impl Conference {
    /// Returns an instance without participants. `ids` must never give an id that was used in this server run.
    pub fn new(identity: Identity, settings: Settings, ids: Box<dyn ParticipantIds>) -> Conference {
        Conference {
            identity,
            settings,
            ids,
            phase: Phase::Forming,
            locked: false,
            sequence: 0,
            reservations: BTreeMap::new(),
            roster: BTreeMap::new(),
            relations: Relations::default(),
            plays: Plays::default(),
            outputs: VecDeque::new(),
        }
    }

    // Getters.

    /// Returns which instance this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the settings that the next joiner meets.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns whether the instance is over.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Returns the ids of everybody on the roster, ascending.
    pub fn participants(&self) -> impl Iterator<Item = ParticipantId> {
        self.roster.keys().copied()
    }

    /// Returns how a participant would enter another conference that he is moved to.
    pub fn moving(&self, id: ParticipantId) -> Result<(Caller, Role, Entry), Refusal> {
        self.running()?;
        let state = self.roster.get(&id).ok_or(Refusal::UnknownParticipant(id))?;
        let carried = Carried {
            muted: state.muted,
            deaf: state.deaf,
            ghost: state.ghost,
            volume_in: state.volume_in,
            volume_out: state.volume_out,
            agc: state.agc,
            denoise: state.denoise,
        };
        Ok((state.caller.clone(), state.role, Entry::Moved(carried)))
    }

    /// Returns whether the listener's relations and the talker's let him hear the talker. Mute, deaf and hold are not
    /// asked.
    pub fn hears(&self, listener: ParticipantId, talker: ParticipantId) -> bool {
        self.relations.hears(listener, talker)
    }

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

    /// Returns a reading of the state.
    ///
    /// Refused with [`Refusal::NotRunning`] before the first join and with [`Refusal::Ended`] at the end.
    pub fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let started = self.running()?;
        Ok(Snapshot {
            account_id: self.identity.account_id.clone(),
            conference_id: self.identity.conference_id.clone(),
            instance_id: self.identity.instance_id.clone(),
            sequence: self.sequence,
            started,
            locked: self.locked,
            participants: self.roster.values().cloned().collect(),
            media: BTreeMap::new(),
        })
    }

    // What arrives.

    /// Carries out `command`, or refuses it and changes nothing.
    pub fn apply(&mut self, wall: GregorianSeconds, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Reserve { caller, role, entry } => {
                self.reserve(caller, role, entry).map(Reply::Reserved)
            }
            Command::Join { participant } => self.join(wall, participant).map(Reply::Joined),
            Command::Release { participant } => self.release(wall, participant).map(|()| Reply::Done),
            Command::Leave { participant, cause } => {
                self.leave(wall, participant, cause).map(|()| Reply::Done)
            }
            Command::Control(control) => self.control(wall, control).map(|()| Reply::Done),
            Command::Talking { participant, talking } => {
                self.talking(wall, participant, talking).map(|()| Reply::Done)
            }
            Command::Energy { participant, score } => self.energy(participant, score).map(|()| Reply::Done),
            Command::Floor { holder } => self.pass_floor(wall, holder).map(|()| Reply::Done),
            Command::DigitsSent { participant } => self.digits_sent(wall, participant).map(|()| Reply::Done),
            Command::KeyPressed { participant, key } => {
                self.key_pressed(wall, participant, key).map(|()| Reply::Done)
            }
            Command::PlayStarted { play } => self.play_started(wall, play).map(|()| Reply::Done),
            Command::PlayEnded { play } => self.play_ended(wall, play).map(|()| Reply::Done),
            Command::PlayFailed { play, failure } => {
                self.play_failed(wall, play, failure).map(|()| Reply::Done)
            }
            Command::Update(settings) => self.update(settings).map(|()| Reply::Done),
            Command::Snapshot => self.snapshot().map(Reply::Snapshot),
            Command::End { cause } => self.end(wall, cause).map(|()| Reply::Done),
        }
    }

    /// Holds a place under a new participant id.
    ///
    /// A locked conference refuses whoever dials in, moderators too; a full one refuses everybody but ghosts. Places
    /// held count as taken. The reservation stands until [`Conference::join`] or [`Conference::release`]: a lock that
    /// comes later does not undo it.
    pub fn reserve(&mut self, caller: Caller, role: Role, entry: Entry) -> Result<ParticipantId, Refusal> {
        self.admits(entry)?;
        let id = self.ids.next_id();
        self.reservations.insert(id, Reservation { caller, role, entry });
        Ok(id)
    }

    /// Says whether [`Conference::reserve`] would hold a place, without holding one.
    pub fn admits(&self, entry: Entry) -> Result<(), Refusal> {
        self.alive()?;
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

    /// Turns the reservation `id` into a participant and returns his state. The first join starts the instance.
    pub fn join(&mut self, wall: GregorianSeconds, id: ParticipantId) -> Result<ParticipantState, Refusal> {
        self.alive()?;
        let reservation = self
            .reservations
            .remove(&id)
            .ok_or(Refusal::UnknownParticipant(id))?;
        if self.phase == Phase::Forming {
            self.phase = Phase::Running { started: wall };
            self.publish(wall, EventKind::ConferenceCreate, None);
            if self.locked {
                self.publish(wall, EventKind::Lock, None);
            }
        }
        let state = self.entering(id, reservation, wall);
        self.roster.insert(id, state.clone());
        self.ask_for_what_joins_differently(&state);
        self.publish(wall, EventKind::AddMember, Some(state.clone()));
        if !state.ghost && self.counted() > 1 {
            self.sound(Occasion::Entry);
        }
        Ok(state)
    }

    /// Gives the reservation `id` back. The instance ends when it was the last thing that kept it.
    pub fn release(&mut self, wall: GregorianSeconds, id: ParticipantId) -> Result<(), Refusal> {
        self.alive()?;
        self.reservations
            .remove(&id)
            .ok_or(Refusal::UnknownParticipant(id))?;
        self.end_if_empty(wall);
        Ok(())
    }

    /// Takes a participant off the roster whose call has ended by itself.
    pub fn leave(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        cause: LeaveCause,
    ) -> Result<(), Refusal> {
        self.alive()?;
        let gone = self.remove(wall, id, cause)?;
        self.sound_exit(&gone);
        self.end_if_empty(wall);
        Ok(())
    }

    /// Takes note that a participant started or stopped talking. Reports about a participant who is muted or held, and
    /// reports of what is known, change nothing.
    pub fn talking(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        talking: bool,
    ) -> Result<(), Refusal> {
        self.alive()?;
        let participant = self.find(id)?;
        if participant.talking == talking || (talking && participant.is_silenced()) {
            return Ok(());
        }
        participant.talking = talking;
        let state = participant.clone();
        let kind = if talking {
            EventKind::StartTalking
        } else {
            EventKind::StopTalking
        };
        self.publish(wall, kind, Some(state));
        Ok(())
    }

    /// Takes note of a participant's last energy score. No event announces it.
    pub fn energy(&mut self, id: ParticipantId, score: u16) -> Result<(), Refusal> {
        self.alive()?;
        self.find(id)?.current_energy = score;
        Ok(())
    }

    /// Takes note that the floor has passed, by the mixer's judgement, to `holder`. Neither somebody muted or held nor a
    /// ghost can have it: reported for him, the floor is free.
    pub fn pass_floor(
        &mut self,
        wall: GregorianSeconds,
        holder: Option<ParticipantId>,
    ) -> Result<(), Refusal> {
        self.alive()?;
        let fit = holder
            .map(|id| self.find(id).map(|participant| participant.may_have_floor()))
            .transpose()?;
        let holder = holder.filter(|_| fit == Some(true));
        self.show_floor(wall, holder);
        Ok(())
    }

    /// Replaces the settings. Join states apply to later joiners, the limit to later reservations; nobody who is in is
    /// touched. What the running mix was made with (rate, interval, energy level, noise, ducking) stays for this instance.
    pub fn update(&mut self, settings: Settings) -> Result<(), Refusal> {
        self.alive()?;
        let Settings {
            energy_level,
            rate_hz,
            interval_ms,
            comfort_noise,
            duck_db,
            ..
        } = self.settings;
        self.settings = Settings {
            energy_level,
            rate_hz,
            interval_ms,
            comfort_noise,
            duck_db,
            ..settings
        };
        Ok(())
    }

    /// Ends the instance: reservations lapse, everybody is hung up with `cause`.
    pub fn end(&mut self, wall: GregorianSeconds, cause: LeaveCause) -> Result<(), Refusal> {
        self.alive()?;
        self.reservations.clear();
        self.expel_all(wall, cause);
        self.end_if_empty(wall);
        Ok(())
    }

    // What to do next.

    /// Returns the next output, `None` when all have been drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    // Inside.

    fn alive(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Forming | Phase::Running { .. } => Ok(()),
            Phase::Ended => Err(Refusal::Ended),
        }
    }

    fn running(&self) -> Result<GregorianSeconds, Refusal> {
        match self.phase {
            Phase::Forming => Err(Refusal::NotRunning),
            Phase::Running { started } => Ok(started),
            Phase::Ended => Err(Refusal::Ended),
        }
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

    /// Participants on the roster, ghosts not counted.
    fn counted(&self) -> usize {
        let participants = self.roster.values();
        participants.filter(|participant| !participant.ghost).count()
    }

    fn flags(&self, reservation: &Reservation) -> JoinFlags {
        match reservation.entry {
            Entry::DialIn => {
                let role = self.settings.role(reservation.role);
                JoinFlags {
                    muted: role.join_muted,
                    deaf: role.join_deaf,
                    ghost: false,
                }
            }
            Entry::DialOut { muted, deaf, ghost }
            | Entry::Moved(Carried {
                muted, deaf, ghost, ..
            }) => JoinFlags { muted, deaf, ghost },
        }
    }

    fn entering(
        &self,
        id: ParticipantId,
        reservation: Reservation,
        wall: GregorianSeconds,
    ) -> ParticipantState {
        let JoinFlags { muted, deaf, ghost } = self.flags(&reservation);
        let Reservation { caller, role, entry } = reservation;
        let brought = match entry {
            Entry::DialIn | Entry::DialOut { .. } => Carried {
                agc: self.settings.auto_gain,
                denoise: self.settings.denoise,
                ..Carried::default()
            },
            Entry::Moved(carried) => carried,
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
            waiting: false,
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

    fn find(&mut self, id: ParticipantId) -> Result<&mut ParticipantState, Refusal> {
        self.roster.get_mut(&id).ok_or(Refusal::UnknownParticipant(id))
    }

    fn remove(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        cause: LeaveCause,
    ) -> Result<ParticipantState, Refusal> {
        self.find(id)?;
        self.end_plays_of(wall, id);
        let gone = self.roster.remove(&id).ok_or(Refusal::UnknownParticipant(id))?;
        self.relations.forget(id);
        self.publish(wall, EventKind::DelMember(cause), Some(gone.clone()));
        Ok(gone)
    }

    fn expel(
        &mut self,
        wall: GregorianSeconds,
        id: ParticipantId,
        cause: LeaveCause,
    ) -> Result<ParticipantState, Refusal> {
        let state = self.find(id)?.clone();
        self.ask(Effect::HangUp {
            participant: id,
            cause,
        });
        let kind = match cause {
            LeaveCause::Kicked => EventKind::KickMember,
            _ => EventKind::HupMember,
        };
        self.publish(wall, kind, Some(state));
        self.remove(wall, id, cause)
    }

    fn expel_all(&mut self, wall: GregorianSeconds, cause: LeaveCause) {
        while let Some((&id, _)) = self.roster.first_key_value() {
            self.expel(wall, id, cause)
                .expect("the id was just read from the roster");
        }
    }

    /// Gives the floor to `holder`, or to nobody, and announces it when it moved.
    fn show_floor(&mut self, wall: GregorianSeconds, holder: Option<ParticipantId>) {
        let mut moved = false;
        for (&id, state) in &mut self.roster {
            let has = Some(id) == holder;
            moved |= state.floor != has;
            state.floor = has;
        }
        if moved {
            let holder = holder.and_then(|id| self.roster.get(&id).cloned());
            self.publish(wall, EventKind::FloorChange, holder);
        }
    }

    fn end_if_empty(&mut self, wall: GregorianSeconds) {
        if !self.roster.is_empty() || !self.reservations.is_empty() || self.phase == Phase::Ended {
            return;
        }
        if self.phase != Phase::Forming {
            self.end_plays_of_all(wall);
            self.publish(wall, EventKind::ConferenceDestroy, None);
        }
        self.ask(Effect::Destroy);
        self.phase = Phase::Ended;
    }

    fn publish(&mut self, at: GregorianSeconds, kind: EventKind, participant: Option<ParticipantState>) {
        self.publish_with(at, kind, participant, None);
    }

    fn publish_with(
        &mut self,
        at: GregorianSeconds,
        kind: EventKind,
        participant: Option<ParticipantState>,
        file: Option<MediaName>,
    ) {
        self.sequence += 1;
        self.outputs.push_back(Output::Event(Arc::new(Event {
            sequence: self.sequence,
            account: self.identity.account_id.clone(),
            conference: self.identity.conference_id.clone(),
            instance_id: self.identity.instance_id.clone(),
            at,
            kind,
            participant,
            file,
        })));
    }

    fn ask(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Effect(effect));
    }
}

impl fmt::Debug for Conference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conference")
            .field("identity", &self.identity)
            .field("phase", &self.phase)
            .field("locked", &self.locked)
            .field("sequence", &self.sequence)
            .field("participants", &self.roster.len())
            .field("reservations", &self.reservations.len())
            .finish_non_exhaustive()
    }
}
