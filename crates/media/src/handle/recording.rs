//! The outside's grip on a recording: which taps it has, and how those of legs that join later come to it. What is in them is written on the
//! conference's shard; what becomes of them is decided elsewhere.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::conference::ConferenceControl;
use crate::control::lock;
use crate::event::LegId;
use crate::shard::conference::{Recording, Track};
use crate::shard::key::LegKey;
use crate::tap::{self, HIGHEST_RATE_HZ, Tap, TapSource};

/// Legs that may wait to be taken by [`TrackTaps::next_leg`], beside those that were in the conference at the start.
const WAITING_LEGS: usize = 256;

/// Bounds of what the taps of a recording hold, in milliseconds: no less than two blocks of the longest kind.
const ROOM_MS: (usize, usize) = (250, 10_000);

/// What a recording takes out of a mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackChoice {
    /// The full mix alone.
    Mix,
    /// The full mix, what the server adds to it, and what each leg does.
    MixAndTracks,
}

/// The taps of a recording. Dropping them all ends it.
///
/// In every tick each tap is given one block, and the blocks of one tick are alike in place, rate and length; when the block of the mix can be
/// read, those of its parts can be. The clock goes on while nobody
/// is in the conference; a gap in it is time in which the shard was too late to mix (in all taps), or in which the reader was too late to
/// read (in that tap alone, counted in [`MediaMetrics::tap_blocks_dropped`](crate::MediaMetrics::tap_blocks_dropped)).
#[derive(Debug)]
pub struct RecordingTaps {
    /// The full mix before its limiter: what a leg hears that is silent itself, hears everybody and has nothing played to it alone. With
    /// all gains, fades and lowering of music, and the comfort noise where it is all there is. Saturated to 16 bits.
    pub mix: Tap,
    /// Its parts, with [`TrackChoice::MixAndTracks`]. Their sum, saturated to 16 bits, is the full mix, sample for sample.
    pub tracks: Option<TrackTaps>,
}

/// The taps of what a mix is made of.
#[derive(Debug)]
pub struct TrackTaps {
    /// What the server adds: clips, tones and music for everybody, and the comfort noise where it is all there is.
    pub server: Tap,
    legs: Receiver<LegTap>,
    missed: Arc<AtomicU64>,
}

/// The tap of what one leg adds to the mix, as it is added: after muting, gate, gains and noise suppression.
#[derive(Debug)]
pub struct LegTap {
    /// Whose it is. A leg that comes back has another tap.
    pub leg: LegId,
    /// From its first tick in the conference, or in the recording, until it leaves; then [`Tap::is_over`]. One that left before its first
    /// tick has nothing in it.
    pub tap: Tap,
}

impl TrackTaps {
    /// Takes the next of the legs that were in the conference at the start, or joined since; `None` when there is none now. It is here before
    /// the first block of the mix that it has a part in.
    pub fn next_leg(&mut self) -> Option<LegTap> {
        self.legs.try_recv().ok()
    }

    /// Returns how many legs have no tap because 256 waited to be taken.
    pub fn legs_missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

/// How the taps of a recording are made.
#[derive(Debug, Clone)]
pub(super) struct TapMaker {
    room_ms: usize,
    /// The highest rate that the mix may have, in Hz.
    rate_hz: u32,
    /// Blocks that found no room, of all taps.
    dropped: Arc<AtomicU64>,
}

impl TapMaker {
    /// `rate_hz` is that of a mix whose rate never changes.
    pub(super) fn new(room: Duration, rate_hz: Option<u32>, dropped: &Arc<AtomicU64>) -> Self {
        let (least, most) = ROOM_MS;
        TapMaker {
            room_ms: usize::try_from(room.as_millis())
                .unwrap_or(most)
                .clamp(least, most),
            rate_hz: rate_hz.unwrap_or(HIGHEST_RATE_HZ),
            dropped: Arc::clone(dropped),
        }
    }

    fn tap(&self) -> (Tap, Box<TapSource>) {
        tap::tap(self.room_ms, self.rate_hz, Arc::clone(&self.dropped))
    }
}

/// Hands the legs of a conference on to who records it with tracks.
pub(super) struct Tracks {
    maker: TapMaker,
    legs: SyncSender<LegTap>,
    missed: Arc<AtomicU64>,
    /// Nobody takes them any more.
    is_over: bool,
}

impl Tracks {
    /// Makes a leg's tap, and lets the recorder have its reading end.
    fn track(&mut self, leg: LegId, at: LegKey) -> Option<Box<Track>> {
        if self.is_over {
            return None;
        }
        let (tap, source) = self.maker.tap();
        match self.legs.try_send(LegTap { leg, tap }) {
            Ok(()) => Some(Track::new(at, source)),
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Relaxed);
                None
            }
            Err(TrySendError::Disconnected(_)) => {
                self.is_over = true;
                None
            }
        }
    }
}

/// Makes a recording of those who are in a conference. What it returns last is to be kept while it runs, for those who join.
pub(super) fn recording(
    choice: TrackChoice,
    maker: TapMaker,
    present: &Roster,
) -> (RecordingTaps, Box<Recording>, Option<Tracks>) {
    let (mix, mix_source) = maker.tap();
    if choice == TrackChoice::Mix {
        let recording = Box::new(Recording::new(mix_source, None));
        return (RecordingTaps { mix, tracks: None }, recording, None);
    }
    let (server, server_source) = maker.tap();
    let mut recording = Box::new(Recording::new(mix_source, Some(server_source)));
    let present = present.all();
    let (sender, legs) = sync_channel(present.len() + WAITING_LEGS);
    let missed = Arc::new(AtomicU64::new(0));
    let mut tracks = Tracks {
        maker,
        legs: sender,
        missed: Arc::clone(&missed),
        is_over: false,
    };
    for Present { leg, at, .. } in present {
        if let Some(track) = tracks.track(leg, at) {
            recording.add(track);
        }
    }
    let taps = TrackTaps { server, legs, missed };
    let taps = RecordingTaps {
        mix,
        tracks: Some(taps),
    };
    (taps, recording, Some(tracks))
}

/// A leg that was told to join.
#[derive(Debug, Clone, Copy)]
struct Present {
    /// Number of its attendance.
    number: u64,
    leg: LegId,
    at: LegKey,
}

/// The legs of a conference: those that were told to join and not to leave.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Vec<Present>>);

impl Roster {
    fn all(&self) -> Vec<Present> {
        lock(&self.0).clone()
    }

    fn enter(&self, present: Present) {
        lock(&self.0).push(present);
    }

    /// Strikes off the leg of an attendance that has ended, if it had come so far.
    pub(super) fn strike(&self, number: u64) {
        lock(&self.0).retain(|present| present.number != number);
    }
}

impl ConferenceControl {
    /// Enters a leg that is about to be told to join; to be called while the conference's state is held, until it was told. Returns what
    /// records it, where that is wanted.
    pub(super) fn enter(
        &self,
        tracks: &mut Option<Tracks>,
        number: u64,
        leg: LegId,
        at: LegKey,
    ) -> Option<Box<Track>> {
        self.roster.enter(Present { number, leg, at });
        let track = tracks.as_mut()?.track(leg, at);
        tracks.take_if(|tracks| tracks.is_over);
        track
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: usize) -> LegKey {
        LegKey {
            index: index as u32,
            generation: 1,
        }
    }

    #[test]
    fn legs_that_nobody_takes_are_bounded_and_counted_and_who_went_away_gets_none() {
        let roster = Roster::default();
        for number in 0..3 {
            roster.enter(Present {
                number,
                leg: LegId(number),
                at: at(number as usize),
            });
        }
        roster.strike(1);
        let maker = TapMaker::new(Duration::from_millis(250), Some(8000), &Arc::default());
        let (taps, _, tracks) = recording(TrackChoice::MixAndTracks, maker, &roster);
        let (mut taps, mut tracks) = (taps.tracks.unwrap(), tracks.unwrap());
        let join = |tracks: &mut Tracks, leg: u64| tracks.track(LegId(leg), at(leg as usize)).is_some();
        assert!((10..10 + WAITING_LEGS as u64).all(|leg| join(&mut tracks, leg)));
        assert!(!join(&mut tracks, 1000) && !join(&mut tracks, 1001));
        assert_eq!(taps.legs_missed(), 2);
        let first = [(); 3].map(|()| taps.next_leg().unwrap().leg);
        assert_eq!(first, [LegId(0), LegId(2), LegId(10)]);
        assert!(join(&mut tracks, 1002));
        let mut rest = std::iter::from_fn(|| taps.next_leg());
        assert_eq!(rest.by_ref().last().map(|last| last.leg), Some(LegId(1002)));
        assert!((0..300).any(|leg| !join(&mut tracks, leg)), "full again");
        drop(taps);
        assert!(!join(&mut tracks, 1003) && tracks.is_over);
    }

    #[test]
    fn a_tap_holds_what_was_asked_for_at_the_highest_rate_that_may_come() {
        let dropped = Arc::default();
        for (rate_hz, expected) in [(None, 48_000), (Some(8000), 8000), (Some(44_100), 44_100)] {
            let (mut tap, mut source) = TapMaker::new(Duration::from_millis(500), rate_hz, &dropped).tap();
            let block = vec![7; expected as usize / 50];
            (0..30).for_each(|tick| source.put(20 * tick, expected, &block));
            let mut samples = Vec::new();
            let held = std::iter::from_fn(|| tap.next(&mut samples)).count();
            assert!(
                (25..=27).contains(&held),
                "{held} blocks of 20 ms at {expected} Hz"
            );
        }
        assert!(dropped.load(Relaxed) >= 9);
    }
}
