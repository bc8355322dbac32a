//! One play on its way through its sounds: what the next samples are, where a fade stands, what is still to be told. Made
//! and freed outside the shard. Knows neither queues nor the mixer.

use std::sync::Arc;
use std::time::Duration;

use confab_dsp::{Resampler, ResamplerTable, ToneGenerator, TonePlace};
use confab_mixer::SourceId;

use crate::event::{ConferenceAudioId, LegId, MediaEvent};
use crate::leg::notices::EventSink;
use crate::playback::{Asked, Clip, Kind, Lane, Play, PlayChange, PlayEnd, PlayId, Repeat};
use crate::shard::bus::set_rates;

/// Length of a fade out of, or back into, what is heard, in milliseconds. Every block is as long.
const FADE_MS: u32 = 10;

/// Samples of 10 ms at the highest rate.
const PIECE: usize = 480;

/// Past samples that a converter remembers, at least.
const PAST: usize = 256;

/// A play.
pub(crate) struct Playing {
    pub(super) id: PlayId,
    pub(super) lane: Lane,
    /// Who hears it, when that is one alone.
    leg: Option<LegId>,
    asked: Arc<Asked>,
    tracks: Box<[Track]>,
    gain_db: f32,
    /// The track that is heard.
    track: usize,
    /// The next sample of its clip.
    at: usize,
    again: Again,
    /// This pass had a sample.
    sounded: bool,
    /// There is nothing more to come.
    over: bool,
    /// The rate that `at` and the tones count in.
    rate_hz: u32,
    /// Where the tones of the track were, and how many samples they have given since.
    before: Option<(TonePlace, usize)>,
    crossing: Option<Crossing>,
    fade: Fade,
    /// Where it is to go on, once it has faded out for that.
    seek: Option<Seek>,
    /// Its input to the mixer, from its first block on.
    pub(super) source: Option<SourceId>,
    leaving: Option<PlayEnd>,
    start_untold: bool,
    ended: Option<PlayEnd>,
    end_told: bool,
    pub(super) next: Option<Box<Playing>>,
}

/// A sound, ready to be played.
enum Track {
    Clip(Clip),
    /// With how long they last, unless for ever.
    Tones(Box<ToneGenerator>, Option<Duration>),
}

impl Track {
    /// Returns how many samples it has at a rate, `None` when it never ends.
    fn samples(&self, rate_hz: u32) -> Option<i128> {
        match self {
            Track::Clip(clip) => Some(clip.at(rate_hz).map_or(0, <[i16]>::len) as i128),
            Track::Tones(_, lasts) => {
                lasts.map(|lasts| (lasts.as_micros() * u128::from(rate_hz) / 1_000_000) as i128)
            }
        }
    }
}

/// Where a play is to go on, in milliseconds.
#[derive(Debug, Clone, Copy)]
enum Seek {
    /// From the beginning of its sounds.
    To(i64),
    /// From where it is.
    By(i64),
}

/// How often the sounds come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Times(u32),
    Forever,
}

/// A clip's place at the rate of before a raise: its next block is heard as a crossfade from there.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    track: usize,
    rate_hz: u32,
    at: usize,
}

/// How much of it is heard: all, nothing, or something on the way between.
#[derive(Debug, Clone, Copy)]
struct Fade {
    level: f32,
    target: f32,
}

impl Playing {
    /// Allocates a play for a mix at this rate in Hz; `leg` hears it alone, if given.
    pub(crate) fn new(id: PlayId, lane: Lane, leg: Option<LegId>, asked: Arc<Asked>, rate_hz: u32) -> Self {
        let tracks = asked.play.sounds.iter().filter_map(|sound| match &sound.0 {
            Kind::Clip(clip) if clip.samples().is_empty() => None,
            Kind::Clip(clip) => Some(Track::Clip(clip.clone())),
            Kind::Tones(script) if script.duration().is_some_and(|lasts| lasts.is_zero()) => None,
            Kind::Tones(script) => {
                let generator = ToneGenerator::new((**script).clone(), rate_hz);
                Some(Track::Tones(Box::new(generator), script.duration()))
            }
        });
        Playing {
            id,
            lane,
            leg,
            tracks: tracks.collect(),
            gain_db: asked.play.gain_db,
            track: 0,
            at: 0,
            again: match asked.play.repeat {
                Repeat::Once => Again::Times(0),
                Repeat::Times(times) => Again::Times(times.saturating_sub(1)),
                Repeat::Forever => Again::Forever,
            },
            sounded: false,
            over: false,
            rate_hz,
            before: None,
            crossing: None,
            fade: Fade {
                level: 1.0,
                target: 1.0,
            },
            seek: None,
            source: None,
            leaving: None,
            start_untold: false,
            ended: None,
            end_told: false,
            next: None,
            asked,
        }
    }

    /// Returns whether everything can be played in a mix at this rate.
    pub(super) fn is_ready(&self, rate_hz: u32) -> bool {
        self.tracks.iter().all(|track| match track {
            Track::Clip(clip) => clip.at(rate_hz).is_some(),
            Track::Tones(..) => true,
        })
    }

    /// Begins, as an input of the mixer.
    pub(super) fn begin(&mut self, source: SourceId, rate_hz: u32) {
        self.source = Some(source);
        self.rate_hz = rate_hz;
        self.start_untold = true;
        self.begin_track();
        self.jump();
    }

    /// Returns who hears it, when that is one alone.
    pub(super) fn leg(&self) -> Option<LegId> {
        self.leg
    }

    /// Returns whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.source.is_some()
    }

    /// Fades out what is heard, and ends then. The first reason counts.
    pub(super) fn leave(&mut self, how: PlayEnd) {
        self.leaving.get_or_insert(how);
        self.fade.target = 0.0;
    }

    /// Returns whether it is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Lets it fall silent, to pause, or come back, unless it is about to end.
    pub(super) fn pause(&mut self, pauses: bool) {
        self.fade.target = if pauses || self.leaving.is_some() {
            0.0
        } else {
            1.0
        };
    }

    /// Returns whether it pauses: nothing of it is heard and nothing of it passes.
    pub(super) fn is_paused(&self) -> bool {
        self.fade.level == 0.0 && self.fade.target == 0.0
    }

    /// Returns whether nothing more is heard of it.
    pub(super) fn is_over(&self) -> bool {
        self.over || (self.leaving.is_some() && self.is_paused())
    }

    /// Ends it for whatever reason holds by now: the one given, if none does.
    pub(super) fn end(&mut self, how: PlayEnd) {
        let how = self.leaving.filter(|_| !self.over).unwrap_or(how);
        self.ended.get_or_insert(how);
        self.asked.set_over();
    }

    /// Returns what was asked for.
    pub(super) fn asked(&self) -> &Play {
        &self.asked.play
    }

    /// Changes it while it waits or is heard. Returns the gain in dB that it is to have from now on, if that has changed.
    pub(super) fn change(&mut self, change: PlayChange) -> Option<f32> {
        match change {
            PlayChange::Gain(decibels) if decibels.is_nan() => None,
            PlayChange::Gain(decibels) => {
                self.gain_db = decibels;
                Some(decibels)
            }
            PlayChange::SeekTo(place) => {
                self.seek = Some(Seek::To(i64::try_from(place.as_millis()).unwrap_or(i64::MAX)));
                None
            }
            PlayChange::SeekBy(milliseconds) => {
                self.seek = Some(match self.seek {
                    Some(Seek::To(place)) => Seek::To(place.saturating_add(milliseconds).max(0)),
                    Some(Seek::By(before)) => Seek::By(before.saturating_add(milliseconds)),
                    None => Seek::By(milliseconds),
                });
                None
            }
        }
    }

    /// Returns its gain in dB.
    pub(super) fn gain_db(&self) -> f32 {
        self.gain_db
    }

    /// Writes the next samples to the beginning of `out` and returns how many: fewer than it holds when it is over or
    /// pauses.
    pub(super) fn fill(&mut self, out: &mut [i16]) -> usize {
        let seeks = self.seek.is_some() && !self.is_leaving();
        if !seeks {
            return self.fill_on(out);
        }
        let returns_to = self.fade.target;
        let mut filled = 0;
        if self.fade.level > 0.0 {
            self.fade.target = 0.0;
            filled = self.fill_on(out);
            if self.over || self.fade.level > 0.0 {
                return filled; // it has come to its end, or goes on fading in the next block
            }
        }
        self.jump();
        self.fade = Fade {
            level: 0.0,
            target: returns_to,
        };
        filled + self.fill_on(&mut out[filled..])
    }

    /// Goes on where it is to.
    fn jump(&mut self) {
        let Some(seek) = self.seek.take() else { return };
        self.crossing = None;
        let rate_hz = i128::from(self.rate_hz);
        let samples = |milliseconds: i64| i128::from(milliseconds) * rate_hz / 1000;
        let place = match seek {
            Seek::To(milliseconds) => samples(milliseconds),
            Seek::By(milliseconds) => {
                let before = self.tracks.iter().take(self.track);
                let before: i128 = before.filter_map(|track| track.samples(self.rate_hz)).sum();
                before + self.at as i128 + samples(milliseconds)
            }
        };
        let mut left = place.max(0);
        self.sounded = true; // what is left out counts as heard: the next pass is one
        for (index, track) in self.tracks.iter().enumerate() {
            let is_here = track.samples(self.rate_hz).is_none_or(|samples| left < samples);
            if is_here {
                self.track = index;
                self.begin_track();
                if matches!(self.tracks[index], Track::Clip(_)) {
                    self.at = left as usize;
                }
                return;
            }
            left -= track.samples(self.rate_hz).unwrap_or(0);
        }
        // Beyond the end of all: the next pass, or the end.
        self.track = self.tracks.len();
        self.begin_track();
        self.pass_ends();
    }

    fn fill_on(&mut self, out: &mut [i16]) -> usize {
        let length = out.len().min(self.fade.samples_left(self.rate_hz));
        let crossing = self.crossing.take_if(|_| length > 0);
        let filled = self.read(&mut out[..length]);
        if let Some(crossing) = crossing {
            self.cross(crossing, &mut out[..filled]);
        }
        self.fade.apply(&mut out[..filled], self.rate_hz);
        filled
    }

    fn read(&mut self, out: &mut [i16]) -> usize {
        self.mark();
        let mut filled = 0;
        while filled < out.len() && !self.over {
            let rest = &mut out[filled..];
            let written = match self.tracks.get_mut(self.track) {
                Some(Track::Clip(clip)) => {
                    let samples = clip.at(self.rate_hz).and_then(|samples| samples.get(self.at..));
                    let samples = samples.unwrap_or_default();
                    let length = samples.len().min(rest.len());
                    rest[..length].copy_from_slice(&samples[..length]);
                    self.at += length;
                    length
                }
                Some(Track::Tones(generator, _)) => {
                    let written = generator.fill(rest);
                    if let Some((_, since)) = &mut self.before {
                        *since += written;
                    }
                    written
                }
                None => {
                    self.next_pass();
                    continue;
                }
            };
            filled += written;
            self.sounded |= written > 0;
            if filled < out.len() {
                self.track += 1;
                self.begin_track();
            }
        }
        self.pass_ends();
        filled
    }

    /// Leaves a clip that has come to its end with this block: the next block may be another's.
    fn pass_ends(&mut self) {
        while !self.over {
            match self.tracks.get(self.track) {
                Some(Track::Clip(clip)) if clip.at(self.rate_hz).is_none_or(|clip| self.at >= clip.len()) => {
                    self.track += 1;
                    self.begin_track();
                }
                Some(_) => break,
                None => self.next_pass(),
            }
        }
    }

    /// Begins the sounds anew if they come again. A pass without a sample is the last.
    fn next_pass(&mut self) {
        if std::mem::take(&mut self.sounded) && self.again.take() {
            self.track = 0;
            self.begin_track();
        } else {
            self.over = true;
        }
    }

    fn begin_track(&mut self) {
        self.at = 0;
        self.before = None;
        if let Some(Track::Tones(generator, _)) = self.tracks.get_mut(self.track) {
            generator.rewind();
            generator.set_rate_hz(self.rate_hz);
        }
        self.mark();
    }

    /// Notes where the tones are, to come back to.
    fn mark(&mut self) {
        self.before = match self.tracks.get(self.track) {
            Some(Track::Tones(generator, _)) => Some((generator.place(), 0)),
            _ => None,
        };
    }

    /// Goes on in a mix of another rate. From now on all that goes into the mix is later by the delay of the conversion to
    /// that rate, and so is this: what was heard last and what is heard next fit together. `scratch` is working memory.
    pub(super) fn raise(&mut self, to_hz: u32, scratch: &mut [i16]) {
        let from_hz = self.rate_hz;
        if !self.has_begun() || from_hz == to_hz {
            return;
        }
        self.rate_hz = to_hz;
        let delay = ResamplerTable::built(from_hz, to_hz).map_or(0, ResamplerTable::delay_samples);
        let later = |samples: usize| {
            let converted = samples as u64 * u64::from(to_hz) / u64::from(from_hz);
            (converted as usize).saturating_sub(delay)
        };
        match self.tracks.get_mut(self.track) {
            Some(Track::Clip(_)) => {
                self.crossing = Some(Crossing {
                    track: self.track,
                    rate_hz: from_hz,
                    at: self.at,
                });
                self.at = later(self.at);
            }
            Some(Track::Tones(generator, _)) => {
                let since = self.before.take().map_or(0, |(place, since)| {
                    generator.return_to(&place);
                    since
                });
                generator.set_rate_hz(to_hz);
                let mut ahead = later(since);
                while ahead > 0 {
                    let piece = ahead.min(scratch.len());
                    if generator.fill(&mut scratch[..piece]) < piece {
                        break;
                    }
                    ahead -= piece;
                }
            }
            None => {}
        }
    }

    /// Lets a block that a clip gave at the new rate begin as what it would have been at the rate of before.
    fn cross(&self, crossing: Crossing, out: &mut [i16]) {
        let Some(Track::Clip(clip)) = self.tracks.get(crossing.track) else {
            return;
        };
        let Some(samples) = clip.at(crossing.rate_hz) else {
            return;
        };
        let at = crossing.at.min(samples.len());
        let (past, mut rest) = samples.split_at(at);
        let mut upward = Resampler::new();
        set_rates(&mut upward, crossing.rate_hz, self.rate_hz);
        upward.skip(&past[past.len().saturating_sub(PAST)..]);
        // Whole pieces of 10 ms, of which either rate has whole samples.
        let (from, to) = (crossing.rate_hz as usize / 100, self.rate_hz as usize / 100);
        let (mut lower, mut raised) = ([0; PIECE], [0; PIECE]);
        let total = out.len().max(1) as i32;
        let mut step = 0;
        for piece in out.chunks_mut(to) {
            let taken = rest.len().min(from);
            lower[..taken].copy_from_slice(&rest[..taken]);
            lower[taken..from].fill(0);
            rest = &rest[taken..];
            upward.process(&lower[..from], &mut raised[..to]);
            for (sample, &old) in piece.iter_mut().zip(&raised) {
                let sum = i32::from(old) * (total - step) + i32::from(*sample) * step;
                *sample = (sum / total) as i16; // between two samples
                step += 1;
            }
        }
    }

    /// Tells that it began, and its end, as far as there is room. Returns whether nothing is left to tell by now.
    pub(super) fn tell(&mut self, conference: ConferenceAudioId, sink: &mut impl EventSink) -> bool {
        let (leg, play) = (self.leg, self.id);
        if self.start_untold {
            let started = MediaEvent::PlayStarted {
                conference,
                leg,
                play,
            };
            if !sink.event(started) {
                return false;
            }
            self.start_untold = false;
        }
        if let Some(how) = self.ended.filter(|_| !self.end_told) {
            let ended = MediaEvent::PlayEnded {
                conference,
                leg,
                play,
                how,
            };
            self.end_told = sink.event(ended);
            return self.end_told;
        }
        true
    }

    /// Returns whether all is told and the mixer has nothing of it any more.
    pub(super) fn is_done(&self) -> bool {
        self.end_told && self.source.is_none()
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // One after the other, however long the chain is.
        let mut next = self.next.take();
        while let Some(mut playing) = next {
            next = playing.next.take();
        }
    }
}

impl Again {
    /// Uses up one time, if there is one.
    fn take(&mut self) -> bool {
        match self {
            Again::Times(0) => false,
            Again::Times(left) => {
                *left -= 1;
                true
            }
            Again::Forever => true,
        }
    }
}

impl Fade {
    fn step(rate_hz: u32) -> f32 {
        1000.0 / (rate_hz * FADE_MS) as f32
    }

    /// Returns how many samples are heard before it is silent.
    fn samples_left(&self, rate_hz: u32) -> usize {
        if self.target > 0.0 {
            return usize::MAX;
        }
        (self.level / Self::step(rate_hz)).ceil() as usize
    }

    fn apply(&mut self, samples: &mut [i16], rate_hz: u32) {
        if self.level == self.target && self.level == 1.0 {
            return;
        }
        let step = Self::step(rate_hz);
        for sample in samples {
            self.level = if self.target > self.level {
                (self.level + step).min(self.target)
            } else {
                (self.level - step).max(self.target)
            };
            let scaled = f32::from(*sample) * self.level;
            *sample = (scaled + 0.5f32.copysign(scaled)) as i16;
        }
        // What is left below half a step is rounding.
        if self.target == 0.0 && self.level < step / 2.0 {
            self.level = 0.0;
        }
    }
}
