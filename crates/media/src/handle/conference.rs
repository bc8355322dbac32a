//! The outside's grip on a conference's audio: when it runs, at what rate, with room for how many.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use confab_mixer::{MixFormat, Room};
use tokio::sync::Mutex;

use super::leg::{Encoding, LegHandle, Seat};
use super::plays::{self, Plays};
use super::recording::{self, RecordingTaps, Roster, TapMaker, TrackChoice, Tracks};
use crate::config::ConferenceMedia;
use crate::control::{PlaneShared, ShardControl};
use crate::error::ControlError;
use crate::event::{ConferenceAudioId, LegId};
use crate::keeper::Task;
use crate::playback::{Asked, Hearers, Lane, Play, PlayChange, PlayId, StopPlay};
use crate::ports::LegSockets;
use crate::shard::bus::{RateSet, prepare_rates};
use crate::shard::command::{Audience, Command};
use crate::shard::conference::{ConferenceAudio, ConferenceStorage, Playing, RateChange, Track};
use crate::shard::key::{ConferenceKey, LegKey};

/// Legs that a conference has room for at first; doubled when more come.
const INITIAL_LEGS: usize = 8;

/// Rate of a conference that plays before its first leg joins, in Hz.
const LOWEST_RATE_HZ: u32 = 8000;

/// Mixing interval in place of one that cannot be mixed, in milliseconds.
const DEFAULT_INTERVAL_MS: u16 = 20;

/// A leg's being counted in its conference.
pub(super) struct Attendance {
    conference: Arc<ConferenceControl>,
    number: u64,
}

impl Attendance {
    /// See [`ConferenceControl::suit`].
    pub(super) async fn suit(&self, encoding: Encoding) -> Result<u32, ControlError> {
        self.conference.suit(encoding).await
    }

    /// Tells the conference's shard that the leg joins: by the command that is made of what records it, if anything does.
    pub(super) async fn join(
        &self,
        leg: LegId,
        at: LegKey,
        command: impl FnOnce(Option<Box<Track>>) -> Command<LegSockets>,
    ) -> Result<(), ControlError> {
        let conference = &self.conference;
        // Held until the command is in the ring: a recording that begins meanwhile comes before it or after it.
        let mut state = conference.state.lock().await;
        let track = conference.enter(&mut state.tracks, self.number, leg, at);
        conference.shard().command(command(track)).await
    }

    pub(super) fn is_of(&self, conference: &Arc<ConferenceControl>) -> bool {
        Arc::ptr_eq(&self.conference, conference)
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.conference.legs.fetch_sub(1, Relaxed);
        self.conference.roster.strike(self.number);
    }
}

/// The audio of one running conference. Dropping the handle ends it; legs still in it stop sending.
pub struct ConferenceMediaHandle {
    control: Arc<ConferenceControl>,
}

/// What a conference's handle and the handles of its legs share.
pub(super) struct ConferenceControl {
    id: ConferenceAudioId,
    pub(super) shard: usize,
    pub(super) at: ConferenceKey,
    interval_ms: u16,
    /// The rate that was asked for, in Hz; without one it follows the legs.
    fixed_rate_hz: Option<u32>,
    plane: Arc<PlaneShared>,
    /// Legs in the conference or about to join.
    legs: AtomicUsize,
    closed: AtomicBool,
    pub(super) roster: Roster,
    state: Mutex<ConferenceState>,
}

struct ConferenceState {
    /// What it mixes in since its first leg joined.
    format: Option<MixFormat>,
    /// What it mixed in before its rate was last raised.
    format_before: Option<MixFormat>,
    /// What there was last made room for.
    room: Room,
    /// Pairs of which one does not hear the other, counted as if none of them had left.
    relations: usize,
    plays: Plays,
    /// Rates of all legs that were ever in it.
    rates: RateSet,
    media: ConferenceMedia,
    /// It is recorded with tracks.
    tracks: Option<Tracks>,
}

impl ConferenceControl {
    fn shard(&self) -> &ShardControl {
        &self.plane.shards[self.shard]
    }

    /// Makes sure that the conference runs, at a rate that suits one more leg of this coding, and has room for it. Returns
    /// the rate of the mix in Hz as well.
    pub(super) async fn attend(
        self: &Arc<Self>,
        encoding: Encoding,
    ) -> Result<(Attendance, u32), ControlError> {
        if self.closed.load(Relaxed) {
            return Err(ControlError::ConferenceClosed);
        }
        let mut state = self.state.lock().await;
        let format = self
            .run(&mut state, encoding.coding.bandwidth_rate_hz(), encoding.rates)
            .await?;
        let legs = self.legs.fetch_add(1, Relaxed) + 1;
        let attendance = Attendance {
            conference: Arc::clone(self),
            number: self.plane.next_id(),
        };
        let room = state.room;
        if legs > room.participants {
            let usual = Room::for_participants(room.participants * 2);
            if legs > usual.participants {
                return Err(ControlError::Full);
            }
            let larger = Room {
                participants: usual.participants,
                relations: usual.relations.max(room.relations),
                sources: usual.sources.max(room.sources),
            };
            self.grow(&mut state, larger).await?;
        }
        Ok((attendance, format.rate_hz()))
    }

    /// Gives the mix larger room; it may not have raised its rate yet.
    async fn grow(&self, state: &mut ConferenceState, room: Room) -> Result<(), ControlError> {
        if let Some(format) = state.format {
            let storage = Box::new(ConferenceStorage::new(format, state.format_before, room));
            let command = Command::Grow { at: self.at, storage };
            self.shard().command(command).await?;
        }
        state.room = room;
        Ok(())
    }

    /// Makes room for as many relations as there may be.
    async fn make_room_for_relations(&self, state: &mut ConferenceState) -> Result<(), ControlError> {
        if state.format.is_none() || state.relations <= state.room.relations {
            return Ok(());
        }
        let relations = state.relations * 2;
        let room = Room {
            relations,
            ..state.room
        };
        self.grow(state, room).await
    }

    /// Makes room for one more play: each may have an input to the mix, even if most of them wait.
    async fn make_room_for_play(&self, state: &mut ConferenceState) -> Result<(), ControlError> {
        let plays = state.plays.count() + 1;
        if plays <= state.room.sources {
            return Ok(());
        }
        let sources = (plays * 2).min(confab_mixer::MAX_SLOTS);
        if plays > sources {
            return Err(ControlError::Full);
        }
        let room = Room {
            sources,
            ..state.room
        };
        self.grow(state, room).await
    }

    /// Raises the rate when a leg that is in it changes to a coding that deserves more. Returns the rate of the mix in Hz.
    async fn suit(&self, encoding: Encoding) -> Result<u32, ControlError> {
        let mut state = self.state.lock().await;
        let format = self
            .run(&mut state, encoding.coding.bandwidth_rate_hz(), encoding.rates)
            .await?;
        Ok(format.rate_hz())
    }

    /// Starts the conference, or raises its rate, when legs of these rates need that.
    async fn run(
        &self,
        state: &mut ConferenceState,
        rate_hz: u32,
        rates: RateSet,
    ) -> Result<MixFormat, ControlError> {
        let rate_hz = self.fixed_rate_hz.unwrap_or(rate_hz);
        state.rates = state.rates.union(rates);
        if let Some(format) = state.format.filter(|format| format.rate_hz() >= rate_hz) {
            prepare_rates(format.rate_hz(), rates, None);
            return Ok(format);
        }
        let format = MixFormat::new(rate_hz, self.interval_ms).ok_or(ControlError::Full)?;
        prepare_rates(rate_hz, state.rates, state.format.map(MixFormat::rate_hz));
        let command = if state.format.is_none() {
            let conference = ConferenceAudio::new(self.id, format, &state.media, state.room.participants);
            Command::AddConference {
                at: self.at,
                conference: Box::new(conference),
            }
        } else {
            // What plays goes on at the new rate.
            plays::convert(state.plays.clips(), rate_hz).await;
            Command::RaiseRate {
                at: self.at,
                change: Box::new(RateChange::new(format, state.room)),
            }
        };
        self.shard().command(command).await?;
        state.format_before = state.format.replace(format);
        Ok(format)
    }
}

impl ConferenceMediaHandle {
    pub(super) fn control(&self) -> &Arc<ConferenceControl> {
        &self.control
    }

    pub(crate) fn new(
        plane: Arc<PlaneShared>,
        shard: usize,
        at: ConferenceKey,
        media: ConferenceMedia,
    ) -> Self {
        let mixes = |rate_hz: u32, interval_ms| MixFormat::new(rate_hz, interval_ms).is_some();
        let control = ConferenceControl {
            id: ConferenceAudioId(plane.next_id()),
            shard,
            at,
            interval_ms: Some(media.interval_ms)
                .filter(|&interval_ms| mixes(8000, interval_ms))
                .unwrap_or(DEFAULT_INTERVAL_MS),
            fixed_rate_hz: media
                .rate_hz
                .filter(|&rate_hz| mixes(rate_hz, DEFAULT_INTERVAL_MS)),
            plane,
            legs: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            roster: Roster::default(),
            state: Mutex::new(ConferenceState {
                format: None,
                format_before: None,
                room: Room::for_participants(INITIAL_LEGS),
                relations: 0,
                plays: Plays::default(),
                rates: RateSet::default(),
                media,
                tracks: None,
            }),
        };
        ConferenceMediaHandle {
            control: Arc::new(control),
        }
    }

    /// Returns the identity of this audio, as it appears in [`MediaEvent::Floor`](crate::MediaEvent::Floor).
    pub fn id(&self) -> ConferenceAudioId {
        self.control.id
    }

    /// Sets the score above which participants are mixed, 0..=1800, from the next tick on.
    ///
    /// # Errors
    /// [`ControlError::Stopped`].
    pub async fn set_energy_level(&self, energy_level: u16) -> Result<(), ControlError> {
        let mut state = self.control.state.lock().await;
        state.media.energy_level = energy_level;
        if state.format.is_none() {
            return Ok(());
        }
        let command = Command::SetEnergyLevel {
            conference: self.control.at,
            energy_level,
        };
        self.control.shard().command(command).await
    }

    /// Lets a listener hear a talker, or not, from the next tick on and until either leaves. Without effect on legs that are
    /// not in this conference.
    ///
    /// # Errors
    /// As for [`LegHandle::set_muted`], of either leg.
    pub async fn set_heard(
        &self,
        talker: &LegHandle,
        listener: &LegHandle,
        heard: bool,
    ) -> Result<(), ControlError> {
        let control = &self.control;
        let talker = talker.place().await?;
        let listener = listener.place().await?;
        let mut state = control.state.lock().await;
        if heard {
            state.relations = state.relations.saturating_sub(1);
        } else {
            state.relations += 1;
            control.make_room_for_relations(&mut state).await?;
        }
        let command = Command::SetHeard {
            conference: control.at,
            talker,
            listener,
            heard,
        };
        control.shard().command(command).await
    }

    /// Plays something, from the next tick on or when its turn in the queue has come. A conference that nobody is in plays
    /// too. [`MediaEvent::PlayEnded`](crate::MediaEvent::PlayEnded) tells the end of every play.
    ///
    /// # Errors
    /// [`ControlError::NotInConference`] for [`Hearers::One`] in none or in another, [`ControlError::PlayQueueFull`] when
    /// [`PLAY_QUEUE`](crate::PLAY_QUEUE) plays of these hearers wait, [`ControlError::Stopped`].
    pub async fn play(&self, to: Hearers<'_>, lane: Lane, play: Play) -> Result<PlayId, ControlError> {
        let control = &self.control;
        let clips = plays::clips_of(&play.sounds);
        let mut converted_hz = None;
        loop {
            let seat = to.seat_in(control).await?;
            let mut state = control.state.lock().await;
            let format = control
                .run(&mut state, LOWEST_RATE_HZ, RateSet::default())
                .await?;
            let rate_hz = format.rate_hz();
            let audience = seat.audience();
            if lane == Lane::Queue && !state.plays.may_wait(audience) {
                return Err(ControlError::PlayQueueFull);
            }
            if converted_hz != Some(rate_hz) && clips.iter().any(|clip| clip.at(rate_hz).is_none()) {
                // It may take a while, in which everything else goes on, so look again afterwards.
                drop((seat, state));
                plays::convert(clips.clone(), rate_hz).await;
                converted_hz = Some(rate_hz);
                continue;
            }
            control.make_room_for_play(&mut state).await?;
            let id = PlayId(control.plane.next_id());
            let asked = Asked::new(play);
            state.plays.add(id, audience, lane, &asked);
            let play = Box::new(Playing::new(id, lane, seat.leg(), asked, rate_hz));
            let command = Command::Play {
                conference: control.at,
                to: audience,
                play,
            };
            control.shard().command(command).await?;
            return Ok(id);
        }
    }

    /// Stops plays of these hearers, faded out within 20 ms from the next tick on. What is not there is left out.
    ///
    /// # Errors
    /// [`ControlError::NotInConference`] for [`Hearers::One`] in none or in another, [`ControlError::Stopped`].
    pub async fn stop_play(&self, to: Hearers<'_>, what: StopPlay) -> Result<(), ControlError> {
        let control = &self.control;
        let seat = to.seat_in(control).await?;
        let mut state = control.state.lock().await;
        if state.format.is_none() {
            return Ok(());
        }
        let to = seat.audience();
        state.plays.stopped(to, what);
        let command = Command::StopPlay {
            conference: control.at,
            to,
            what,
        };
        control.shard().command(command).await
    }

    /// Changes a play of these hearers from the next tick on. Returns whether there is one, as far as is known here: it may end meanwhile.
    ///
    /// # Errors
    /// As for [`stop_play`](Self::stop_play).
    pub async fn change_play(
        &self,
        to: Hearers<'_>,
        play: PlayId,
        change: PlayChange,
    ) -> Result<bool, ControlError> {
        let control = &self.control;
        let seat = to.seat_in(control).await?;
        let state = control.state.lock().await;
        let to = seat.audience();
        if !state.plays.has(to, play) {
            return Ok(false);
        }
        let command = Command::ChangePlay {
            conference: control.at,
            to,
            play,
            change,
        };
        control.shard().command(command).await?;
        Ok(true)
    }

    /// Records the mix from the next tick on, all taps from the same tick; one that nobody is in is recorded too. What is not read within `room`
    /// (250 ms..=10 s; room is made for it now) is left out and counted
    /// ([`MediaMetrics::tap_blocks_dropped`](crate::MediaMetrics::tap_blocks_dropped)). Another recording takes the place of this one, and
    /// dropping its taps ends it.
    ///
    /// # Errors
    /// [`ControlError::Stopped`].
    pub async fn record(&self, choice: TrackChoice, room: Duration) -> Result<RecordingTaps, ControlError> {
        let control = &self.control;
        let mut state = control.state.lock().await;
        control
            .run(&mut state, LOWEST_RATE_HZ, RateSet::default())
            .await?;
        let maker = TapMaker::new(room, control.fixed_rate_hz, &control.plane.tap_blocks_dropped);
        let (taps, recording, tracks) = recording::recording(choice, maker, &control.roster);
        let command = Command::Record {
            conference: control.at,
            recording,
        };
        control.shard().command(command).await?;
        state.tracks = tracks;
        Ok(taps)
    }

    /// Ends the conference's audio, as dropping the handle does.
    pub fn close(self) {}
}

/// Hearers of a conference, who stay so while this is held.
enum Hearing<'a> {
    Everybody,
    Waiting,
    One(Seat<'a>),
}

impl<'a> Hearers<'a> {
    async fn seat_in(self, conference: &Arc<ConferenceControl>) -> Result<Hearing<'a>, ControlError> {
        Ok(match self {
            Hearers::Everybody => Hearing::Everybody,
            Hearers::Waiting => Hearing::Waiting,
            Hearers::One(leg) => Hearing::One(leg.seat_in(conference).await?),
        })
    }
}

impl Hearing<'_> {
    fn audience(&self) -> Audience {
        match self {
            Hearing::Everybody => Audience::Everybody,
            Hearing::Waiting => Audience::Waiting,
            Hearing::One(seat) => Audience::One(seat.at),
        }
    }

    fn leg(&self) -> Option<LegId> {
        match self {
            Hearing::One(seat) => Some(seat.id),
            Hearing::Everybody | Hearing::Waiting => None,
        }
    }
}

impl Drop for ConferenceMediaHandle {
    fn drop(&mut self) {
        let control = &self.control;
        control.closed.store(true, Relaxed);
        let never_ran = control.state.try_lock().is_ok_and(|state| state.format.is_none());
        if never_ran {
            control.shard().conference_left(control.at);
        } else {
            control.plane.leave_to_keeper(Task::RemoveConference {
                shard: control.shard,
                at: control.at,
            });
        }
    }
}

impl std::fmt::Debug for ConferenceMediaHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConferenceMediaHandle")
            .field("id", &self.control.id)
            .finish_non_exhaustive()
    }
}
