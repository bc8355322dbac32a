//! The pitch of the newest speech by normalised correlation: coarsely at about 8 kHz, then exactly around the best lag, between samples;
//! and how it changes, from the pitch of a moment before.

use std::ops::RangeInclusive;

use super::{Times, product};

/// Samples per second that the coarse search works on, about.
const COARSE_HZ: usize = 8000;

/// Samples that are less like what came before, at any lag, have no pitch. A whole likeness is 1.
const LIKE: f32 = 0.4;

/// Samples less like what came before tell nothing of how the pitch changes.
const STEADY: f32 = 0.75;

/// How far the pitch of a moment before is looked for from the newest, as a share of that.
const REACH: f32 = 0.05;

/// The moment before is a period ago, or as long as the history allows, but not less than this part of the window: its error
/// would be too large.
const LEAST_APART: f32 = 0.4;

/// How much of the change that was measured is believed.
const BELIEF: f32 = 0.8;

/// The fastest change that is followed: the period grows by this share of the time that passes.
const FASTEST: f32 = 0.01;

/// What the newest samples repeat with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pitch {
    /// The period at the end of the samples, in samples; the longest for a sound without pitch, whose repetition is to give it none.
    pub(super) period: f32,
    /// What the period grows by from sample to sample.
    pub(super) growth: f32,
    /// How like the newest samples are to those a period before, at most 1.
    pub(super) likeness: f32,
}

impl Pitch {
    /// Whether there is one.
    pub(super) const fn is_there(self) -> bool {
        self.likeness >= LIKE
    }
}

/// The lag at which samples are most like what came before.
#[derive(Debug, Clone, Copy)]
struct Peak {
    /// In samples, between them where the neighbours tell it.
    lag: f32,
    likeness: f32,
    /// It is not at the end of what was searched.
    inside: bool,
}

/// The pitch of the newest [`Times::window`] samples. `scratch` is as long as `before`.
pub(super) fn find_pitch(before: &[f32], times: Times, scratch: &mut [f32]) -> Pitch {
    let Times {
        min_pitch,
        max_pitch,
        window,
        ..
    } = times;
    let factor = (window * 100 / COARSE_HZ).max(1);
    let coarse_len = before.len() / factor;
    // The newest samples make the last coarse one, so that lags of both searches agree. Averaging keeps what is above the
    // coarse search's band from posing as something else in it.
    let newest_aligned = &before[before.len() - coarse_len * factor..];
    for (coarse, fine) in scratch.iter_mut().zip(newest_aligned.chunks_exact(factor)) {
        *coarse = fine.iter().sum();
    }
    let coarse = &scratch[..coarse_len];
    let coarse_window = window / factor;
    // A coarse lag and window may together reach one sample further than the history.
    let last = (max_pitch / factor).min(coarse_len - coarse_window);
    let rough = best_lag(coarse, coarse_window, min_pitch / factor..=last);
    let newest = if factor == 1 {
        rough
    } else {
        let at = factor * rough.lag.round() as usize;
        let around = factor - 1;
        let lags = at.saturating_sub(around).max(min_pitch)..=(at + around).min(max_pitch);
        best_lag(before, window, lags)
    };
    if newest.likeness < LIKE {
        return Pitch {
            period: max_pitch as f32,
            growth: 0.0,
            likeness: newest.likeness,
        };
    }
    let growth = growth(coarse, coarse_window, rough);
    // The lag is that of the middle of what was compared; half a window and half a period have passed since.
    let since = (window as f32 + newest.lag) / 2.0;
    Pitch {
        period: (newest.lag + growth * since).clamp(min_pitch as f32, max_pitch as f32),
        growth,
        likeness: newest.likeness,
    }
}

/// What the period grows by from sample to sample; 0 where nothing clear can be said.
fn growth(samples: &[f32], window: usize, newest: Peak) -> f32 {
    let lags = (newest.lag * (1.0 - REACH)) as usize..=(newest.lag * (1.0 + REACH)) as usize + 1;
    let room = samples.len().saturating_sub(window + lags.end());
    let apart = room.min(newest.lag as usize);
    if newest.likeness < STEADY || (apart as f32) < window as f32 * LEAST_APART {
        return 0.0;
    }
    let earlier = best_lag(&samples[..samples.len() - apart], window, lags);
    if earlier.likeness < STEADY || !earlier.inside {
        return 0.0;
    }
    let measured = (newest.lag - earlier.lag) / apart as f32;
    measured.clamp(-FASTEST, FASTEST) * BELIEF
}

/// The lag at which the newest samples are most like those before.
fn best_lag(samples: &[f32], window: usize, lags: RangeInclusive<usize>) -> Peak {
    let newest = &samples[samples.len() - window..];
    let (first, last) = (*lags.start(), *lags.end());
    let earlier = |lag: usize| &samples[samples.len() - lag - window..samples.len() - lag];
    // The energy of the earlier samples goes along with the lag. In 64 bits: what loud samples leave in it when they are gone
    // is nothing beside the quietest. The 1 keeps silence from dividing by zero.
    let mut energy = f64::from(product(earlier(first), earlier(first))) + 1.0;
    let mut best = (first, f32::NEG_INFINITY, energy);
    for lag in lags {
        let likeness = product(newest, earlier(lag)) / (energy.max(1.0) as f32).sqrt();
        if likeness > best.1 {
            best = (lag, likeness, energy);
        }
        if lag < last {
            let older = f64::from(samples[samples.len() - lag - window - 1]);
            let newer = f64::from(samples[samples.len() - lag - 1]);
            energy += older * older - newer * newer;
        }
    }
    let (lag, middle, _) = best;
    let scale = (product(newest, newest) + 1.0).sqrt();
    let inside = lag > first && lag < last;
    let beside = |lag: usize| {
        let earlier = earlier(lag);
        product(newest, earlier) / (product(earlier, earlier) + 1.0).sqrt()
    };
    let fraction = if inside {
        summit(beside(lag - 1), middle, beside(lag + 1))
    } else {
        0.0
    };
    Peak {
        lag: lag as f32 + fraction,
        likeness: middle / scale,
        inside,
    }
}

/// Where a parabola through three neighbours has its summit, seen from the middle one, which is the highest.
fn summit(left: f32, middle: f32, right: f32) -> f32 {
    let bend = left - 2.0 * middle + right;
    if bend < 0.0 {
        (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    } else {
        0.0
    }
}
