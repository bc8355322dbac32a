//! The synthesis of one lost stretch: the residual's last period repeated, filtered and faded. Knows no ring and no frame.

use super::pitch::{Pitch, find_pitch};
use super::prediction::{ORDER, predict, predictor, window};
use super::{Times, product};

/// What the synthesis of steady speech with a pitch loses in its first 20 ms, in dB.
const FIRST_FADING_DB: f32 = 7.0;

/// What that of a sound without pitch loses in them, in dB.
const PITCHLESS_FADING_DB: f32 = 9.0;

/// The most it loses in them, in dB.
const MOST_FADING_DB: f32 = 20.0;

/// Speech that was falling goes on to fall by as much, in dB, but rising speech does not rise by more than this.
const MOST_RISE_DB: f32 = 10.0;

/// What it loses in each 20 ms after them, in dB.
const FADING_DB: f32 = 2.0;

/// Below this likeness two periods are repeated in turn, so that a weak pitch is not made a strong one.
const WEAK: f32 = 0.6;

/// The part of a period over which the synthesis is blended into the first good frame, and what is added to it for a frame that is
/// like its continuation.
const BLEND: f32 = 0.25;
const BLEND_MORE: f32 = 0.2;

/// The part of the longest period over which a synthesis without pitch is blended.
const PITCHLESS_BLEND: f32 = 0.1;

/// Samples of the residual that are kept before the period, and of its start behind it: what lies between samples is made of
/// four, and a growing period begins a little earlier.
const LEAD: usize = 4;
const TRAIL: usize = 2;

/// How many samples earlier than at first a grown period may begin.
const MOST_GROWTH: f32 = 2.0;

/// One lost stretch, frozen at its start.
#[derive(Debug)]
pub(crate) struct Synthesis {
    times: Times,
    /// Samples made in this loss.
    made: usize,
    /// What is repeated, in samples, and what it grows by from one repetition to the next.
    period: f32,
    growth: f32,
    has_pitch: bool,
    gain: f32,
    /// What the gain changes by from sample to sample, at first and later.
    fading: [f32; 2],
    /// The residual that is repeated, between its lead and its trail.
    cycle: Box<[f32]>,
    /// Samples of `cycle` without lead and trail: the period, rounded up.
    len: usize,
    /// Where the next sample is made of `cycle`: four of its samples from here on, and the share of each.
    at: usize,
    weights: [f32; 4],
    /// How far beyond the second of them it lies.
    fraction: f32,
    /// The filter.
    coefficients: [f32; ORDER],
    /// The newest samples made, not faded, oldest first.
    past: [f32; ORDER],
    /// The newest samples before the loss.
    before: Box<[f32]>,
    /// What the samples are weighed with for the filter.
    window: Box<[f32]>,
    /// Room for the searches.
    scratch: Box<[f32]>,
}

impl Clone for Synthesis {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.times);
        copy.copy_from(self);
        copy
    }
}

impl Synthesis {
    pub(super) fn new(times: Times) -> Self {
        let zeros = |len| vec![0.0; len].into_boxed_slice();
        Self {
            times,
            made: 0,
            period: times.max_pitch as f32,
            growth: 0.0,
            has_pitch: false,
            gain: 1.0,
            fading: [1.0; 2],
            cycle: zeros(LEAD + times.max_pitch + TRAIL),
            len: times.max_pitch,
            at: 0,
            weights: [0.0; 4],
            fraction: 0.0,
            coefficients: [0.0; ORDER],
            past: [0.0; ORDER],
            before: zeros(times.history),
            window: window(times.analysis),
            scratch: zeros(times.history),
        }
    }

    /// Takes over the state of a synthesis of the same rate; allocates nothing.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.made = other.made;
        self.period = other.period;
        self.growth = other.growth;
        self.has_pitch = other.has_pitch;
        self.gain = other.gain;
        self.fading = other.fading;
        self.cycle.copy_from_slice(&other.cycle);
        self.len = other.len;
        self.at = other.at;
        self.weights = other.weights;
        self.fraction = other.fraction;
        self.coefficients = other.coefficients;
        self.past = other.past;
    }

    pub(super) const fn times(&self) -> Times {
        self.times
    }

    /// Takes the newest samples, oldest first, and prepares to go on from them.
    pub(super) fn begin<'a>(&mut self, newest: impl Iterator<Item = &'a i16>) {
        for (sample, &heard) in self.before.iter_mut().zip(newest) {
            *sample = f32::from(heard);
        }
        self.made = 0;
        self.gain = 1.0;
        let pitch = find_pitch(&self.before, self.times, &mut self.scratch);
        self.fading = [self.first_fading_db(pitch), FADING_DB]
            .map(|db| 10.0_f32.powf(-db / (20.0 * self.times.slope as f32)));
        self.has_pitch = pitch.is_there();
        let weak = pitch.is_there() && pitch.likeness < WEAK;
        let periods = if weak && 2.0 * pitch.period <= self.times.max_pitch as f32 {
            2.0
        } else {
            1.0
        };
        self.period = periods * pitch.period;
        self.growth = periods * pitch.growth * self.period;
        self.len = self.period.ceil() as usize;
        self.coefficients = self.analyse();
        self.take_residual();
        self.read_from(self.len as f32 - self.period);
        self.past = *self
            .before
            .last_chunk()
            .expect("the history is longer than the filter");
    }

    /// The next sample, faded by its age; 0 once silent.
    pub(crate) fn next_sample(&mut self) -> f32 {
        if self.made >= self.times.silent_from {
            return 0.0;
        }
        self.gain *= self.fading[usize::from(self.made >= self.times.slope)];
        let ending = (self.times.silent_from - self.made) as f32 / self.times.slope as f32;
        self.made += 1;
        let sample = self.next_residual() + predict(&self.coefficients, &self.past);
        let sample = sample.clamp(f32::from(i16::MIN), f32::from(i16::MAX));
        self.past.copy_within(1.., 0);
        self.past[ORDER - 1] = sample;
        sample * self.gain * ending.min(1.0)
    }

    /// Fades the synthesis out over the start of the first good frame.
    pub(super) fn blend_into(&mut self, frame: &mut [i16]) {
        // Half a window is compared; behind a window there is room for more than the longest blend.
        let mut room = std::mem::take(&mut self.scratch);
        let compared = (self.times.window / 2).min(frame.len());
        let (heard, continued) = room.split_at_mut(self.times.window);
        for ((heard, continued), &sample) in heard.iter_mut().zip(&mut *continued).zip(&frame[..compared]) {
            (*heard, *continued) = (f32::from(sample), self.next_sample());
        }
        let like = likeness(&heard[..compared], &continued[..compared]);
        let share = if self.has_pitch {
            BLEND + BLEND_MORE * like.max(0.0)
        } else {
            PITCHLESS_BLEND
        };
        let len = ((self.period * share) as usize).min(frame.len());
        for sample in continued.get_mut(compared..len).unwrap_or_default() {
            *sample = self.next_sample();
        }
        let step = 1.0 / (len + 1) as f32;
        for (n, (sample, continued)) in frame[..len].iter_mut().zip(&*continued).enumerate() {
            let rising = (n + 1) as f32 * step;
            let blended = f32::from(*sample) * rising + continued * (1.0 - rising);
            *sample = blended as i16;
        }
        self.scratch = room;
    }

    /// What the synthesis is to lose in its first 20 ms, in dB.
    fn first_fading_db(&self, pitch: Pitch) -> f32 {
        if !pitch.is_there() {
            return PITCHLESS_FADING_DB;
        }
        let (before, newest) = self.before.split_at(self.before.len() - self.times.window);
        let earlier = &before[before.len() - self.times.window..];
        // The 1 is far below the quietest sound.
        let energy = |samples: &[f32]| product(samples, samples) / samples.len() as f32 + 1.0;
        let falling_db = 10.0 * (energy(earlier) / energy(newest)).log10();
        (FIRST_FADING_DB + falling_db.max(-MOST_RISE_DB)).clamp(0.0, MOST_FADING_DB)
    }

    /// The next sample of the repeated residual.
    fn next_residual(&mut self) -> f32 {
        let four = &self.cycle[self.at..self.at + 4];
        let residual = four
            .iter()
            .zip(self.weights)
            .map(|(sample, weight)| sample * weight)
            .sum();
        self.at += 1;
        if self.at == self.len + LEAD - 1 {
            self.repeat();
        }
        residual
    }

    /// Goes back by a period, which grows or shrinks meanwhile.
    fn repeat(&mut self) {
        let most = self.len as f32 + MOST_GROWTH;
        // Where the next sample would be, after the whole ones before the end.
        let next = self.len as f32 + self.fraction;
        self.period = (self.period + self.growth).clamp(self.times.min_pitch as f32, most);
        self.read_from(next - self.period);
    }

    /// Makes the next sample from this place of the period, between samples: a cubic through the four around it.
    fn read_from(&mut self, place: f32) {
        let f = place - place.floor();
        self.fraction = f;
        self.at = (LEAD as f32 - 1.0 + place.floor()) as usize;
        self.weights = [
            f * (f * (1.0 - 0.5 * f) - 0.5),
            1.0 + f * f * (1.5 * f - 2.5),
            f * (f * (2.0 - 1.5 * f) + 0.5),
            0.5 * f * f * (f - 1.0),
        ];
    }

    fn analyse(&mut self) -> [f32; ORDER] {
        let newest = &self.before[self.before.len() - self.window.len()..];
        let windowed = &mut self.scratch[..self.window.len()];
        for (windowed, (sample, weight)) in windowed.iter_mut().zip(newest.iter().zip(&self.window)) {
            *windowed = sample * weight;
        }
        predictor(windowed)
    }

    /// Fills the cycle with the residual of the last period and what surrounds it.
    fn take_residual(&mut self) {
        let start = self.before.len() - self.len - LEAD;
        for (n, residual) in self.cycle[..LEAD + self.len].iter_mut().enumerate() {
            let (past, rest) = self.before.split_at(start + n);
            let past = past
                .last_chunk()
                .expect("a filter's length stands before the period");
            *residual = rest[0] - predict(&self.coefficients, past);
        }
        let end = LEAD + self.len;
        self.cycle.copy_within(LEAD..LEAD + TRAIL, end);
    }
}

/// How like two signals of one length are, −1 to 1.
fn likeness(one: &[f32], other: &[f32]) -> f32 {
    // The 1 keeps silence from dividing by zero.
    product(one, other) / ((product(one, one) + 1.0) * (product(other, other) + 1.0)).sqrt()
}
