//! Comfort noise of a mix in which nobody speaks. The noise that a phone describes in its stream (RFC 3389) is the
//! codecs' business.

/// Level that the profile value 1 stands for.
const DEFAULT_LEVEL: u16 = 1400;

/// How loud a mix's comfort noise is: the larger, the quieter.
///
/// By the HTTP contract's `comfort-noise` the noise is evenly distributed within full scale divided by this number at
/// 8 kHz, and by proportionally more at higher rates: level 1000 is about −65 dBFS at 8 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoiseLevel(u16);

impl NoiseLevel {
    /// Reads the profile's number, 0..=10000: 0 is no noise, 1 the usual level of 1400, others the level itself.
    pub fn from_profile(value: u16) -> Option<NoiseLevel> {
        match value {
            0 => None,
            1 => Some(NoiseLevel(DEFAULT_LEVEL)),
            level => Some(NoiseLevel(level)),
        }
    }

    /// Returns the level as a number, 2 or more.
    pub fn divisor(self) -> u16 {
        self.0
    }
}

/// A source of white noise; the same seed gives the same noise.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    state: u32,
    /// Full scale times 2¹⁶ divided by the effective level.
    peak: i64,
}

impl ComfortNoise {
    /// Creates a source for a mix at `rate_hz`.
    pub fn new(level: NoiseLevel, rate_hz: u32, seed: u32) -> Self {
        let divisor = (i64::from(level.0) * i64::from(rate_hz) / 8000).max(1);
        ComfortNoise {
            state: seed | 1, // the generator stands still at 0
            peak: (i64::from(i16::MAX) << 16) / divisor,
        }
    }

    /// Fills a block with noise.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            let even = i64::from(self.next() as i32); // ±2³¹
            *sample = ((even * self.peak + (1 << 46)) >> 47) as i16;
        }
    }

    /// G. Marsaglia, "Xorshift RNGs", 2003.
    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(value: u16, rate_hz: u32, seed: u32) -> Vec<i16> {
        let level = NoiseLevel::from_profile(value).expect("some noise");
        let mut out = vec![0; rate_hz as usize];
        ComfortNoise::new(level, rate_hz, seed).fill(&mut out);
        out
    }

    #[test]
    fn the_level_divides_full_scale_and_grows_with_the_rate() {
        let rows = [
            (1000, 8000, 33),
            (1000, 16_000, 16),
            (1000, 48_000, 5),
            (1, 8000, 23),
            (2, 8000, 16_384),
            (10_000, 8000, 3),
            (10_000, 48_000, 1),
        ];
        for (value, rate_hz, peak) in rows {
            let out = noise(value, rate_hz, 7);
            let highest = out.iter().map(|s| s.abs()).max().expect("not empty");
            let near = highest.abs_diff(peak) <= peak.unsigned_abs() / 1000;
            assert!(near, "{value} at {rate_hz} Hz: {highest}");
        }
        assert_eq!(NoiseLevel::from_profile(0), None);
        assert_eq!(NoiseLevel::from_profile(1).map(NoiseLevel::divisor), Some(1400));
    }

    #[test]
    fn the_noise_is_even_and_without_offset() {
        let out = noise(1000, 8000, 1);
        let mean = out.iter().map(|&s| f64::from(s)).sum::<f64>() / out.len() as f64;
        let power = out.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / out.len() as f64;
        assert!(mean.abs() < 1.0, "{mean}");
        assert!(
            (power.sqrt() - 32.767 / 3f64.sqrt()).abs() < 0.5,
            "{}",
            power.sqrt()
        );
        let neighbours: f64 = out.windows(2).map(|w| f64::from(w[0]) * f64::from(w[1])).sum();
        assert!((neighbours / out.len() as f64 / power).abs() < 0.05, "white");
    }

    #[test]
    fn a_seed_decides_and_zero_is_one_too() {
        assert_eq!(noise(1000, 8000, 3), noise(1000, 8000, 3));
        assert_ne!(noise(1000, 8000, 3), noise(1000, 8000, 5));
        assert!(noise(1000, 8000, 0).iter().any(|&sample| sample != 0));
    }
}
