//! The synthesis of one lost stretch: the residual's last period repeated, filtered and faded. Knows no ring and no frame.

use super::Times;
use super::pitch::find_pitch;
use super::prediction::{ORDER, predict, predictor, window};

/// What the synthesis loses in its first 20 ms, in dB.
const FIRST_FADING_DB: f32 = 6.0;

/// What it loses in each 20 ms after them, in dB.
const FADING_DB: f32 = 2.0;

/// One lost stretch, frozen at its start.
#[derive(Debug)]
pub(crate) struct Synthesis {
    times: Times,
    /// Samples made in this loss.
    made: usize,
    pitch: usize,
    gain: f32,
    /// What the gain changes by from sample to sample, at first and later.
    fading: [f32; 2],
    /// The period of the residual being repeated, `pitch` samples of it.
    cycle: Box<[f32]>,
    /// Next sample of `cycle`.
    at: usize,
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
            pitch: times.min_pitch,
            gain: 1.0,
            fading: [FIRST_FADING_DB, FADING_DB].map(|db| 10.0_f32.powf(-db / (20.0 * times.slope as f32))),
            cycle: zeros(times.max_pitch),
            at: 0,
            coefficients: [0.0; ORDER],
            past: [0.0; ORDER],
            before: zeros(times.history()),
            window: window(times.analysis),
            scratch: zeros(times.history()),
        }
    }

    /// Takes over the state of a synthesis of the same rate; allocates nothing.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.made = other.made;
        self.pitch = other.pitch;
        self.gain = other.gain;
        self.cycle.copy_from_slice(&other.cycle);
        self.at = other.at;
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
        self.pitch = find_pitch(&self.before, self.times, &mut self.scratch);
        self.coefficients = self.analyse();
        self.take_residual();
        self.at = 0;
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
        let residual = self.cycle[self.at];
        self.at += 1;
        if self.at == self.pitch {
            self.at = 0;
        }
        let sample = residual + predict(&self.coefficients, &self.past);
        let sample = sample.clamp(f32::from(i16::MIN), f32::from(i16::MAX));
        self.past.copy_within(1.., 0);
        self.past[ORDER - 1] = sample;
        sample * self.gain * ending.min(1.0)
    }

    /// Fades the synthesis out over the start of the first good frame.
    pub(super) fn blend_into(&mut self, frame: &mut [i16]) {
        let len = (self.pitch / 4).min(frame.len());
        let step = 1.0 / (len + 1) as f32;
        for (n, sample) in frame[..len].iter_mut().enumerate() {
            let rising = (n + 1) as f32 * step;
            let blended = f32::from(*sample) * rising + self.next_sample() * (1.0 - rising);
            *sample = blended as i16;
        }
    }

    fn analyse(&mut self) -> [f32; ORDER] {
        let newest = &self.before[self.before.len() - self.window.len()..];
        let windowed = &mut self.scratch[..self.window.len()];
        for (windowed, (sample, weight)) in windowed.iter_mut().zip(newest.iter().zip(&self.window)) {
            *windowed = sample * weight;
        }
        predictor(windowed)
    }

    /// Fills the cycle with the residual of the last period.
    fn take_residual(&mut self) {
        let start = self.before.len() - self.pitch;
        for (n, residual) in self.cycle[..self.pitch].iter_mut().enumerate() {
            let (past, rest) = self.before.split_at(start + n);
            let past = past
                .last_chunk()
                .expect("a filter's length stands before the period");
            *residual = rest[0] - predict(&self.coefficients, past);
        }
    }
}
