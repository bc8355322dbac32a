//! Owns what a stream sends: G.711 payload prepared beforehand, so that sending costs a copy.

use std::sync::Arc;

use crate::g711::Law;
use crate::meter;

/// Sampling rate of G.711 in Hz.
const RATE_HZ: u32 = 8000;

/// Prepared audio of one stream. Cloning shares the prepared bytes.
#[derive(Debug, Clone)]
pub struct Source {
    law: Law,
    payload: Arc<[u8]>,
    repeats: bool,
}

impl Source {
    /// Sends `samples` once, or over and over; what does not fill a last packet is left out.
    pub fn samples(law: Law, samples: &[i16], repeats: bool) -> Self {
        Self {
            law,
            payload: law.encode_block(samples).into(),
            repeats,
        }
    }

    /// Sends an endless tone of `level_dbfs`. Whole hertz repeat every second without a seam; other frequencies repeat every ten
    /// seconds, without a seam for multiples of 0.1 Hz.
    pub fn tone(law: Law, frequency_hz: f64, level_dbfs: f64) -> Self {
        let seconds = if frequency_hz.fract() == 0.0 { 1 } else { 10 };
        let samples = meter::sine(frequency_hz, level_dbfs, RATE_HZ, 0, seconds * RATE_HZ as usize);
        Self::samples(law, &samples, true)
    }

    /// Sends digital silence without end.
    pub fn silence(law: Law) -> Self {
        Self::samples(law, &[0; RATE_HZ as usize], true)
    }

    /// Returns the law the payload is coded in.
    pub fn law(&self) -> Law {
        self.law
    }

    /// Returns the samples that a perfect receiver decodes from one pass through this source.
    pub fn decoded(&self) -> Vec<i16> {
        self.payload.iter().map(|byte| self.law.decode(*byte)).collect()
    }

    /// Returns the payload of the packet that begins at `position` samples, or `None` when the source has ended.
    pub(super) fn packet(&self, position: u64, samples: usize) -> Option<&[u8]> {
        let packets = (self.payload.len() / samples) as u64;
        let number = position / samples as u64;
        if packets == 0 || (number >= packets && !self.repeats) {
            return None;
        }
        let start = (number % packets) as usize * samples;
        self.payload.get(start..start + samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_has_no_seam_where_it_repeats() {
        for hz in [440.0, 1003.7] {
            let source = Source::tone(Law::Mu, hz, -20.0);
            let once = source.decoded();
            let joined: Vec<i16> = once.iter().chain(&once).copied().collect();
            let long = meter::sine(hz, -20.0, RATE_HZ, 0, joined.len());
            let exact: Vec<i16> = long.iter().map(|s| Law::Mu.decode(Law::Mu.encode(*s))).collect();
            // Rounding may differ by one step where a sample lies between two code words.
            let differing = joined.iter().zip(&exact).filter(|(a, b)| a != b).count();
            assert!(differing < joined.len() / 1000, "{hz} Hz: {differing}");
        }
    }

    #[test]
    fn a_source_that_does_not_repeat_ends() {
        let source = Source::samples(Law::A, &[1000; 400], false);
        assert!(source.packet(0, 160).is_some());
        assert!(source.packet(160, 160).is_some());
        assert!(source.packet(320, 160).is_none());
        assert!(Source::samples(Law::A, &[], true).packet(0, 160).is_none());
    }
}
