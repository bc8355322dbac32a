//! The outside's grip on a conference's audio: when it runs, at what rate, with room for how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use confab_mixer::{MixFormat, Room};
use tokio::sync::Mutex;

use super::leg::{Encoding, LegHandle};
use crate::config::ConferenceMedia;
use crate::control::{PlaneShared, ShardControl};
use crate::error::ControlError;
use crate::event::ConferenceAudioId;
use crate::keeper::Task;
use crate::playback::{Hearers, Lane, Play, PlayId, StopPlay};
use crate::shard::bus::{RateSet, prepare_rates};
use crate::shard::command::Command;
use crate::shard::conference::{ConferenceAudio, ConferenceStorage, RateChange};
use crate::shard::key::ConferenceKey;

/// Legs that a conference has room for at first; doubled when more come.
const INITIAL_LEGS: usize = 8;

/// Mixing interval in place of one that cannot be mixed, in milliseconds.
const DEFAULT_INTERVAL_MS: u16 = 20;

/// A leg's being counted in its conference.
pub(super) struct Attendance(Arc<ConferenceControl>);

impl Attendance {
    /// See [`ConferenceControl::suit`].
    pub(super) async fn suit(&self, encoding: Encoding) -> Result<u32, ControlError> {
        self.0.suit(encoding).await
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.legs.fetch_sub(1, Relaxed);
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
    state: Mutex<ConferenceState>,
}

struct ConferenceState {
    /// What it mixes in since its first leg joined.
    format: Option<MixFormat>,
    /// What it mixed in before its rate was last raised.
    format_before: Option<MixFormat>,
    /// Legs that it has room for.
    capacity: usize,
    /// Pairs of which one does not hear the other, counted as if none of them had left.
    relations: usize,
    /// Relations that there was last made room for.
    relation_room: usize,
    /// Rates of all legs that were ever in it.
    rates: RateSet,
    media: ConferenceMedia,
}

impl ConferenceState {
    /// Makes storage for the shard, which may not have raised the rate yet.
    fn storage(&self, format: MixFormat, capacity: usize, relations: usize) -> Box<ConferenceStorage> {
        let storage = ConferenceStorage::new(format, self.format_before, capacity, relations);
        Box::new(storage)
    }
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
        let format = self.run(&mut state, encoding).await?;
        let legs = self.legs.fetch_add(1, Relaxed) + 1;
        let attendance = Attendance(Arc::clone(self));
        if legs > state.capacity {
            let capacity = (state.capacity * 2).min(confab_mixer::MAX_SLOTS);
            if legs > capacity {
                return Err(ControlError::Full);
            }
            let storage = state.storage(format, capacity, state.relation_room);
            self.shard()
                .command(Command::Grow { at: self.at, storage })
                .await?;
            state.capacity = capacity;
        }
        Ok((attendance, format.rate_hz()))
    }

    /// Makes room for as many relations as there may be.
    async fn make_room(&self, state: &mut ConferenceState) -> Result<(), ControlError> {
        let Some(format) = state.format.filter(|_| state.relations > state.relation_room) else {
            return Ok(());
        };
        let relations = state.relations * 2;
        let storage = state.storage(format, state.capacity, relations);
        let command = Command::Grow { at: self.at, storage };
        self.shard().command(command).await?;
        state.relation_room = relations;
        Ok(())
    }

    /// Raises the rate when a leg that is in it changes to a coding that deserves more. Returns the rate of the mix in Hz.
    async fn suit(&self, encoding: Encoding) -> Result<u32, ControlError> {
        let mut state = self.state.lock().await;
        let format = self.run(&mut state, encoding).await?;
        Ok(format.rate_hz())
    }

    /// Starts the conference, or raises its rate, when that has to be.
    async fn run(&self, state: &mut ConferenceState, encoding: Encoding) -> Result<MixFormat, ControlError> {
        let rate_hz = self.fixed_rate_hz.unwrap_or(encoding.coding.bandwidth_rate_hz());
        state.rates = state.rates.union(encoding.rates);
        if let Some(format) = state.format.filter(|format| format.rate_hz() >= rate_hz) {
            prepare_rates(format.rate_hz(), encoding.rates, None);
            return Ok(format);
        }
        let format = MixFormat::new(rate_hz, self.interval_ms).ok_or(ControlError::Full)?;
        prepare_rates(rate_hz, state.rates, state.format.map(MixFormat::rate_hz));
        let command = if state.format.is_none() {
            let conference = ConferenceAudio::new(self.id, format, &state.media, state.capacity);
            Command::AddConference {
                at: self.at,
                conference: Box::new(conference),
            }
        } else {
            Command::RaiseRate {
                at: self.at,
                change: Box::new(RateChange::new(format, state.capacity, state.relation_room)),
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
            state: Mutex::new(ConferenceState {
                format: None,
                format_before: None,
                capacity: INITIAL_LEGS,
                relations: 0,
                relation_room: Room::for_participants(INITIAL_LEGS).relations,
                rates: RateSet::default(),
                media,
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
            control.make_room(&mut state).await?;
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
        let _ = (to, lane, play);
        Ok(PlayId(self.control.plane.next_id()))
    }

    /// Stops plays of these hearers, faded out within 20 ms from the next tick on. What is not there is left out.
    ///
    /// # Errors
    /// [`ControlError::NotInConference`] for [`Hearers::One`] in none or in another, [`ControlError::Stopped`].
    pub async fn stop_play(&self, to: Hearers<'_>, what: StopPlay) -> Result<(), ControlError> {
        let _ = (to, what);
        Ok(())
    }

    /// Ends the conference's audio, as dropping the handle does.
    pub fn close(self) {}
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
