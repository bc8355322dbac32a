//! The pitch of the newest speech by normalised correlation: coarsely at about 8 kHz, then exactly around the best lag.

use std::ops::RangeInclusive;

use super::{Times, product};

/// Samples per second that the coarse search works on, about.
const COARSE_HZ: usize = 8000;

/// Samples that are less like what came before, at any lag, have no pitch.
const LIKE: f32 = 0.4;

/// The lag, in samples, at which the newest [`Times::window`] samples look most like what came before; the longest for a sound
/// without pitch, whose repetition is to give it none. `scratch` is as long as `before`.
pub(super) fn find_pitch(before: &[f32], times: Times, scratch: &mut [f32]) -> usize {
    let Times {
        min_pitch,
        max_pitch,
        window,
        ..
    } = times;
    let (lag, likeness) = most_alike(before, times, scratch);
    let newest = &before[before.len() - window..];
    if likeness < LIKE * product(newest, newest).sqrt() {
        max_pitch
    } else {
        lag.clamp(min_pitch, max_pitch)
    }
}

/// The lag of the best likeness, and that: at most the root of the newest samples' energy.
fn most_alike(before: &[f32], times: Times, scratch: &mut [f32]) -> (usize, f32) {
    let Times {
        min_pitch,
        max_pitch,
        window,
        ..
    } = times;
    let factor = (window * 100 / COARSE_HZ).max(1);
    if factor == 1 {
        return best_lag(before, window, min_pitch..=max_pitch);
    }
    let coarse_len = before.len() / factor;
    // The newest samples make the last coarse one, so that lags of both searches agree. Averaging keeps what is above the
    // coarse search's band from posing as something else in it.
    let newest_aligned = &before[before.len() - coarse_len * factor..];
    for (coarse, fine) in scratch.iter_mut().zip(newest_aligned.chunks_exact(factor)) {
        *coarse = fine.iter().sum();
    }
    // A coarse lag and window may together reach one sample further than the history.
    let last = (max_pitch / factor).min(coarse_len - window / factor);
    let lags = min_pitch / factor..=last;
    let coarse = factor * best_lag(&scratch[..coarse_len], window / factor, lags).0;
    let around = factor - 1;
    let lags = coarse.saturating_sub(around).max(min_pitch)..=(coarse + around).min(max_pitch);
    best_lag(before, window, lags)
}

fn best_lag(samples: &[f32], window: usize, lags: RangeInclusive<usize>) -> (usize, f32) {
    let newest = &samples[samples.len() - window..];
    let mut best = (*lags.start(), f32::NEG_INFINITY);
    for lag in lags {
        let end = samples.len() - lag;
        let earlier = &samples[end - window..end];
        // The 1 keeps silence from dividing by zero.
        let likeness = product(newest, earlier) / (product(earlier, earlier) + 1.0).sqrt();
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    best
}
