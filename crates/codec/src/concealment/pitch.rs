//! The pitch of the newest speech by normalised correlation: coarsely at about 4 kHz, then exactly around the best lag.

use std::ops::RangeInclusive;

use super::Times;

/// Samples per second that the coarse search works on, about.
const COARSE_HZ: usize = 4000;

/// The lag, in samples, at which the newest [`Times::window`] samples look most like what came before. `scratch` is as long
/// as `before`.
pub(super) fn find_pitch(before: &[f32], times: Times, scratch: &mut [f32]) -> usize {
    let factor = (times.window * 100 / COARSE_HZ).max(1);
    let coarse_len = before.len() / factor;
    // The newest samples make the last coarse one, so that lags of both searches agree. Averaging keeps what is above the
    // coarse search's band from posing as something else in it.
    let newest_aligned = &before[before.len() - coarse_len * factor..];
    for (coarse, fine) in scratch.iter_mut().zip(newest_aligned.chunks_exact(factor)) {
        *coarse = fine.iter().sum();
    }
    let Times {
        min_pitch,
        max_pitch,
        window,
        ..
    } = times;
    let lags = min_pitch / factor..=max_pitch / factor;
    let coarse = factor * best_lag(&scratch[..coarse_len], window / factor, lags);
    let around = (factor - 1).max(1);
    let lags = coarse.saturating_sub(around).max(min_pitch)..=(coarse + around).min(max_pitch);
    best_lag(before, window, lags)
}

fn best_lag(samples: &[f32], window: usize, lags: RangeInclusive<usize>) -> usize {
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
    best.0
}

/// Sum of products, in eight lanes for the compiler to work on at once.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
