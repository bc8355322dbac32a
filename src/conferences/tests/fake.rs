//! A media plane of nothing: it writes down what it is told, holds joins back on demand and refuses on demand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use confab_conference::{DigitString, MediaState, Quality};
use confab_media::{
    ConferenceAudioId, ConferenceMedia, ControlError, JoinOptions, Lane, LegId, Play, PlayId, RecordingTaps,
    StopPlay, TrackChoice,
};
use tokio::sync::Semaphore;

use crate::conferences::media::{LegSetting, MixPlane, To};

/// What was done to the plane, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Created(ConferenceAudioId),
    Closed(ConferenceAudioId),
    Joined {
        leg: LegId,
        muted: bool,
        deaf: bool,
    },
    /// Told beside the other.
    JoinedOnHold(LegId),
    Left(LegId),
    Muted(LegId, bool),
    Deaf(LegId, bool),
    Set(LegId, LegSetting),
    Digits(LegId, DigitString),
    Played {
        leg: Option<LegId>,
        play: PlayId,
    },
    Stopped(Option<LegId>, StopPlay),
    Heard {
        mix: ConferenceAudioId,
        talker: LegId,
        listener: LegId,
        heard: bool,
    },
}

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Act>>>);

impl Log {
    fn push(&self, act: Act) {
        self.0.lock().unwrap().push(act);
    }

    pub(super) fn take(&self) -> Vec<Act> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(super) struct FakePlane {
    pub(super) log: Log,
    /// A join takes one permit; tests that hold joins back take them away.
    pub(super) joins: Arc<Semaphore>,
    pub(super) refuse_conferences: AtomicBool,
    mixes: AtomicU64,
    legs: AtomicU64,
    plays: Arc<AtomicU64>,
    /// What was played: how long each sound is, in milliseconds; 0 for ever.
    pub(super) sounds: Arc<Mutex<Vec<Vec<u128>>>>,
}

pub(super) struct FakeMix {
    id: ConferenceAudioId,
    plays: Arc<AtomicU64>,
    sounds: Arc<Mutex<Vec<Vec<u128>>>>,
    log: Log,
}

pub(super) struct FakeLeg {
    pub(super) id: LegId,
    log: Log,
    joins: Arc<Semaphore>,
    /// Every command finds the leg closed.
    pub(super) closed: AtomicBool,
    /// Its peer takes no telephone-events.
    pub(super) keyless: AtomicBool,
}

impl Drop for FakeMix {
    fn drop(&mut self) {
        self.log.push(Act::Closed(self.id));
    }
}

impl FakePlane {
    pub(super) fn new() -> FakePlane {
        FakePlane {
            log: Log::default(),
            joins: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            refuse_conferences: AtomicBool::new(false),
            mixes: AtomicU64::new(0),
            legs: AtomicU64::new(0),
            plays: Arc::default(),
            sounds: Arc::default(),
        }
    }

    pub(super) fn leg(&self) -> Arc<FakeLeg> {
        Arc::new(FakeLeg {
            id: LegId(1 + self.legs.fetch_add(1, Ordering::Relaxed)),
            log: self.log.clone(),
            joins: Arc::clone(&self.joins),
            closed: AtomicBool::new(false),
            keyless: AtomicBool::new(false),
        })
    }
}

impl FakeLeg {
    async fn told(&self, act: Act) -> Result<(), ControlError> {
        // The real plane may wait here as well; let others run.
        tokio::task::yield_now().await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(ControlError::LegClosed);
        }
        self.log.push(act);
        Ok(())
    }
}

fn one(to: To<'_, FakeLeg>) -> Option<LegId> {
    match to {
        To::One(leg) => Some(leg.id),
        To::Everybody | To::Waiting => None,
    }
}

impl MixPlane for FakePlane {
    type Mix = FakeMix;
    type Leg = FakeLeg;

    fn create_conference(&self, _: ConferenceMedia) -> Result<FakeMix, ControlError> {
        if self.refuse_conferences.load(Ordering::Relaxed) {
            return Err(ControlError::Full);
        }
        let id = ConferenceAudioId(1 + self.mixes.fetch_add(1, Ordering::Relaxed));
        self.log.push(Act::Created(id));
        Ok(FakeMix {
            id,
            plays: Arc::clone(&self.plays),
            sounds: Arc::clone(&self.sounds),
            log: self.log.clone(),
        })
    }

    fn mix_id(mix: &FakeMix) -> ConferenceAudioId {
        mix.id
    }

    fn leg_id(leg: &FakeLeg) -> LegId {
        leg.id
    }

    async fn join(leg: &FakeLeg, _: &FakeMix, options: JoinOptions) -> Result<(), ControlError> {
        leg.joins
            .acquire()
            .await
            .expect("the semaphore is never closed")
            .forget();
        if options.held {
            leg.told(Act::JoinedOnHold(leg.id)).await?;
        }
        leg.told(Act::Joined {
            leg: leg.id,
            muted: options.muted,
            deaf: options.deaf,
        })
        .await
    }

    async fn leave(leg: &FakeLeg) -> Result<(), ControlError> {
        leg.told(Act::Left(leg.id)).await
    }

    async fn set_muted(leg: &FakeLeg, muted: bool) -> Result<(), ControlError> {
        leg.told(Act::Muted(leg.id, muted)).await
    }

    async fn set_deaf(leg: &FakeLeg, deaf: bool) -> Result<(), ControlError> {
        leg.told(Act::Deaf(leg.id, deaf)).await
    }

    async fn set(leg: &FakeLeg, setting: LegSetting) -> Result<(), ControlError> {
        leg.told(Act::Set(leg.id, setting)).await
    }

    fn media_state(_: &FakeLeg) -> MediaState {
        MediaState {
            codec: Some("PCMU"),
            quality: Quality::default(),
        }
    }

    async fn send_digits(leg: &FakeLeg, digits: DigitString) -> Result<(), ControlError> {
        if leg.keyless.load(Ordering::Relaxed) {
            return Err(ControlError::NoTelephoneEvents);
        }
        leg.told(Act::Digits(leg.id, digits)).await
    }

    async fn play(mix: &FakeMix, to: To<'_, FakeLeg>, _: Lane, asked: Play) -> Result<PlayId, ControlError> {
        let play = PlayId(1 + mix.plays.fetch_add(1, Ordering::Relaxed));
        let lengths = asked
            .sounds
            .iter()
            .map(|sound| sound.duration().unwrap_or_default().as_millis());
        mix.sounds.lock().unwrap().push(lengths.collect());
        let leg = one(to);
        mix.log.push(Act::Played { leg, play });
        Ok(play)
    }

    async fn stop_play(mix: &FakeMix, to: To<'_, FakeLeg>, what: StopPlay) -> Result<(), ControlError> {
        mix.log.push(Act::Stopped(one(to), what));
        Ok(())
    }

    async fn record(_: &FakeMix, _: TrackChoice) -> Result<RecordingTaps, ControlError> {
        Err(ControlError::Stopped)
    }

    async fn set_heard(
        mix: &FakeMix,
        talker: &FakeLeg,
        listener: &FakeLeg,
        heard: bool,
    ) -> Result<(), ControlError> {
        let act = Act::Heard {
            mix: mix.id,
            talker: talker.id,
            listener: listener.id,
            heard,
        };
        listener.told(act).await
    }
}
