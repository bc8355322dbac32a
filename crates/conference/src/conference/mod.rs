//! Owns one running conference: its roster, its reservations, its lock and its event sequence. Never performs the
//! effects it asks for.

mod announcing;
mod control;
mod entering;
mod moderating;
mod music;
mod playing;
mod pressing;
mod recording;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use self::announcing::{Announcing, Crowds};
use self::entering::Reservation;
use self::music::Music;
use self::recording::Recording;
use crate::keys::Collector;
use crate::play::Plays;
use crate::relation::Relations;
use crate::{
    Caller, Carried, Command, Effect, Entry, Event, EventKind, GregorianSeconds, Identity, LeaveCause,
    MediaName, Moment, Output, OwedKey, ParticipantId, ParticipantIds, ParticipantState, PlayNumber, Refusal,
    Reply, Role, Settings, Snapshot,
};

pub use self::entering::JoinFlags;

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

/// What is known of a participant and not shown.
#[derive(Debug, Default)]
struct Person {
    /// What he has pressed.
    keys: Collector,
    /// A key that is no action, and until when it may come.
    owes: Option<(OwedKey, Moment)>,
    /// He hears no hold music while he is alone.
    no_hold_music: bool,
    /// What he presses is sent on to the others and controls nothing.
    distributes_keys: bool,
    /// What he was told last of what he, or somebody, did to him: the next takes its place.
    told: Option<PlayNumber>,
    /// What tells him that he waits.
    waits: Option<PlayNumber>,
    /// Who came and went while he was told something else.
    missed: Crowds,
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
    persons: BTreeMap<ParticipantId, Person>,
    music: Music,
    announcing: Announcing,
    /// A moderator has been in: nobody waits for one any more.
    moderated: bool,
    /// When it ends because the last moderator has left, and what says so.
    ending: Option<(Moment, Option<PlayNumber>)>,
    /// Who has taken the floor, whoever talks.
    floor_taken: Option<ParticipantId>,
    /// Who has the floor by the mixer's judgement.
    floor_heard: Option<ParticipantId>,
    recording: Recording,
    now: Moment,
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
            persons: BTreeMap::new(),
            music: Music::default(),
            announcing: Announcing::default(),
            moderated: false,
            ending: None,
            floor_taken: None,
            floor_heard: None,
            recording: Recording::None,
            now: Moment::default(),
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
            distributes_keys: self
                .persons
                .get(&id)
                .is_some_and(|person| person.distributes_keys),
        };
        Ok((state.caller.clone(), state.role, Entry::Moved(carried)))
    }

    /// Returns whether the listener's relations and the talker's let him hear the talker. Mute, deaf and hold are not
    /// asked.
    pub fn hears(&self, listener: ParticipantId, talker: ParticipantId) -> bool {
        self.relations.hears(listener, talker)
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
            recording: self.recording.state().cloned(),
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
            Command::Replace { participant, caller } => self
                .change_caller(wall, participant, caller)
                .map(|()| Reply::Done),
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
            Command::PlayMissed { play, participant } => {
                self.play_missed(play, participant).map(|()| Reply::Done)
            }
            Command::RecordingStarted { id } => self.recording_started(wall, &id).map(|()| Reply::Done),
            Command::RecordingFailed { problem } => {
                self.recording_failed(wall, &problem).map(|()| Reply::Done)
            }
            Command::RecordingTrouble { problem } => self
                .recording_trouble(wall, problem.as_deref())
                .map(|()| Reply::Done),
            Command::Update(settings) => self.update(wall, settings).map(|()| Reply::Done),
            Command::Advance { now } => self.advance(wall, now).map(|()| Reply::Done),
            Command::Owes { participant, key } => self.owes(participant, key).map(|()| Reply::Done),
            Command::Name { participant, name } => self.name(participant, name).map(|()| Reply::Done),
            Command::Identify { participant, caller } => {
                self.identify(participant, caller).map(|()| Reply::Done)
            }
            Command::Snapshot => self.snapshot().map(Reply::Snapshot),
            Command::End { cause } => self.end(wall, cause).map(|()| Reply::Done),
        }
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
        self.announce_exit(&gone);
        self.settle(wall);
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
    /// ghost can have it: reported for him, the floor is free. While somebody has taken the floor by a key, reports change nothing.
    pub fn pass_floor(
        &mut self,
        wall: GregorianSeconds,
        holder: Option<ParticipantId>,
    ) -> Result<(), Refusal> {
        self.alive()?;
        let fit = holder
            .map(|id| self.find(id).map(|participant| participant.may_have_floor()))
            .transpose()?;
        self.floor_heard = holder;
        if self.floor_taken.is_none() {
            let holder = holder.filter(|_| fit == Some(true));
            self.show_floor(wall, holder);
        }
        Ok(())
    }

    /// Replaces the settings. Join states apply to later joiners, the limit to later reservations, sounds and keys from here on; nobody
    /// who is in is touched, but for members who wait for a moderator and need not any more. What the running mix was made with (rate,
    /// interval, energy level, noise, ducking) stays for this instance.
    pub fn update(&mut self, wall: GregorianSeconds, settings: Settings) -> Result<(), Refusal> {
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
        self.settle_running(wall);
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

    /// Participants on the roster, ghosts not counted.
    fn counted(&self) -> usize {
        let participants = self.roster.values();
        participants.filter(|participant| !participant.ghost).count()
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
        self.persons.remove(&id);
        if self.floor_taken == Some(id) {
            self.floor_taken = None;
        }
        if self.floor_heard == Some(id) {
            self.floor_heard = None;
        }
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
            farewell: self
                .settings
                .sounds
                .kicked
                .clone()
                .filter(|_| cause == LeaveCause::Kicked),
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

    /// Gives the floor back that was taken by a key: it goes to whom the mixer has judged to have it meanwhile.
    fn give_floor_back(&mut self, wall: GregorianSeconds) {
        self.floor_taken = None;
        let fits = |id: &ParticipantId| {
            let state = self.roster.get(id);
            state.is_some_and(ParticipantState::may_have_floor)
        };
        let holder = self.floor_heard.filter(fits);
        self.show_floor(wall, holder);
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

    /// Brings about what follows from who is there: waiting, music, the end.
    fn settle(&mut self, wall: GregorianSeconds) {
        self.end_if_empty(wall);
        self.settle_running(wall);
    }

    fn settle_running(&mut self, wall: GregorianSeconds) {
        if let Phase::Running { .. } = self.phase {
            self.settle_moderation(wall);
            self.settle_music();
        }
    }

    fn end_if_empty(&mut self, wall: GregorianSeconds) {
        if !self.roster.is_empty() || !self.reservations.is_empty() || self.phase == Phase::Ended {
            return;
        }
        self.ending = None;
        if self.phase != Phase::Forming {
            self.stop_recording(wall);
            self.end_plays_of_all(wall);
            self.publish(wall, EventKind::ConferenceDestroy, None);
        }
        self.ask(Effect::Destroy);
        self.phase = Phase::Ended;
    }

    fn publish(&mut self, at: GregorianSeconds, kind: EventKind, participant: Option<ParticipantState>) {
        self.publish_with(at, kind, participant, (None, None));
    }

    fn publish_with(
        &mut self,
        at: GregorianSeconds,
        kind: EventKind,
        participant: Option<ParticipantState>,
        (file, data): (Option<MediaName>, Option<Arc<str>>),
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
            data,
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
