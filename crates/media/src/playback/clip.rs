//! Recorded sound, converted once for each rate that a mix has. Never read or changed by a shard but through
//! [`Clip::at`], which neither waits nor allocates.

use std::fmt;
use std::sync::{Arc, OnceLock};

use confab_dsp::{RECORDING_RATES_HZ, RESAMPLER_RATES_HZ, Resampler, ResamplerTable};

/// Samples that are converted at a time.
const STEP: usize = 4096;

/// Mono PCM at a rate of its own. It is converted once for each rate of a mix that it is played in, outside the media
/// threads, and kept for later plays: it takes two octets per sample at its own rate and at each of those. Cheap to clone.
#[derive(Clone)]
pub struct Clip(Arc<Recording>);

struct Recording {
    rate_hz: u32,
    samples: Vec<i16>,
    /// The same at each of [`RESAMPLER_RATES_HZ`], where it was wanted.
    converted: [OnceLock<Box<[i16]>>; RESAMPLER_RATES_HZ.len()],
}

impl Clip {
    /// Takes samples of one channel. `None` for a rate that is neither among [`RESAMPLER_RATES_HZ`] nor among
    /// [`RECORDING_RATES_HZ`].
    pub fn new(rate_hz: u32, samples: Vec<i16>) -> Option<Clip> {
        let known = RESAMPLER_RATES_HZ.contains(&rate_hz) || RECORDING_RATES_HZ.contains(&rate_hz);
        known.then(|| {
            Clip(Arc::new(Recording {
                rate_hz,
                samples,
                converted: [const { OnceLock::new() }; RESAMPLER_RATES_HZ.len()],
            }))
        })
    }

    /// Returns the length in milliseconds, a part of one counted as a whole.
    pub fn duration_ms(&self) -> u64 {
        (self.0.samples.len() as u64 * 1000).div_ceil(u64::from(self.0.rate_hz))
    }

    /// Returns the rate of its samples in Hz.
    pub fn rate_hz(&self) -> u32 {
        self.0.rate_hz
    }

    /// Returns its samples.
    pub fn samples(&self) -> &[i16] {
        &self.0.samples
    }

    /// Returns the samples at the rate of a mix, if [`convert`](Self::convert) has made them.
    pub(crate) fn at(&self, rate_hz: u32) -> Option<&[i16]> {
        if rate_hz == self.0.rate_hz {
            return Some(&self.0.samples);
        }
        self.cell(rate_hz)?.get().map(|samples| &**samples)
    }

    /// Makes the samples at the rate of a mix, unless they are there. Allocates, and takes about a millisecond for ten
    /// seconds of sound: not for a shard. Returns whether they are there now: not for a rate that nothing is converted to.
    pub(crate) fn convert(&self, rate_hz: u32) -> bool {
        if rate_hz == self.0.rate_hz {
            return true;
        }
        let Some((cell, table)) = self
            .cell(rate_hz)
            .zip(ResamplerTable::get(self.0.rate_hz, rate_hz))
        else {
            return false;
        };
        cell.get_or_init(|| convert(&self.0.samples, table));
        true
    }

    fn cell(&self, rate_hz: u32) -> Option<&OnceLock<Box<[i16]>>> {
        let index = RESAMPLER_RATES_HZ.iter().position(|&rate| rate == rate_hz)?;
        self.0.converted.get(index)
    }
}

impl PartialEq for Clip {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.rate_hz() == other.rate_hz() && self.samples() == other.samples())
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clip")
            .field("rate_hz", &self.rate_hz())
            .field("duration_ms", &self.duration_ms())
            .finish()
    }
}

/// Converts the whole of a recording, without the converter's delay: sample for sample the same times.
fn convert(samples: &[i16], table: &'static ResamplerTable) -> Box<[i16]> {
    let (from_hz, to_hz) = (u64::from(table.from_hz()), u64::from(table.to_hz()));
    let length = (samples.len() as u64 * to_hz).div_ceil(from_hz) as usize;
    let delay = table.delay_samples();
    let mut resampler = Resampler::new();
    resampler.set(table);
    let mut converted = Vec::with_capacity(length + delay + STEP);
    let mut block = vec![0; STEP * (to_hz.div_ceil(from_hz) as usize + 1)];
    let silence = [0; STEP];
    let mut steps = samples.chunks(STEP);
    while converted.len() < length + delay {
        // What the filter still holds at the end is pushed out by silence.
        let step = steps.next().unwrap_or(&silence);
        let written = resampler.process(step, &mut block);
        converted.extend_from_slice(&block[..written]);
    }
    converted[delay..delay + length].into()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn sine(rate_hz: u32, hz: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (10_000.0 * (TAU * hz * n as f64 / f64::from(rate_hz)).sin()).round() as i16)
            .collect()
    }

    #[test]
    fn a_clip_keeps_its_time_at_every_rate() {
        for from_hz in RESAMPLER_RATES_HZ.into_iter().chain(RECORDING_RATES_HZ) {
            let clip = Clip::new(from_hz, sine(from_hz, 1000.0, from_hz as usize / 2)).unwrap();
            assert_eq!(clip.duration_ms(), 500);
            for to_hz in RESAMPLER_RATES_HZ {
                assert_eq!(clip.at(to_hz).is_some(), from_hz == to_hz, "not asked for yet");
                assert!(clip.convert(to_hz));
                let converted = clip.at(to_hz).unwrap();
                // Half a second, a part of a sample counted as a whole.
                let expected = (from_hz as usize / 2 * to_hz as usize).div_ceil(from_hz as usize);
                assert_eq!(converted.len(), expected);
                let expected = sine(to_hz, 1000.0, converted.len());
                let edge = converted.len() / 10;
                let worst = converted[edge..]
                    .iter()
                    .zip(&expected[edge..])
                    .take(converted.len() - 2 * edge)
                    .map(|(&is, &should)| (is - should).abs())
                    .max();
                // The delay that is left out is one of whole samples: half of one may be left, and a little of the filter's phase.
                let slip = if from_hz == to_hz { 0.0 } else { 0.5 };
                let bound = 10_000.0 * TAU * 1000.0 * slip / f64::from(to_hz) + 250.0;
                assert!(
                    f64::from(worst.unwrap()) < bound,
                    "{from_hz} to {to_hz}: {worst:?}"
                );
                assert!(
                    std::ptr::eq(converted, clip.clone().at(to_hz).unwrap()),
                    "made once"
                );
            }
        }
    }

    #[test]
    fn rates_that_nothing_is_converted_to_are_told() {
        let clip = Clip::new(8000, vec![1; 80]).unwrap();
        assert!(!clip.convert(11_000));
        assert!(clip.at(11_000).is_none());
        assert!(Clip::new(44_000, vec![1]).is_none());
    }

    #[test]
    fn nothing_stays_nothing() {
        let clip = Clip::new(16_000, Vec::new()).unwrap();
        assert!(clip.convert(48_000));
        assert_eq!((clip.duration_ms(), clip.at(48_000)), (0, Some(&[][..])));
    }
}
