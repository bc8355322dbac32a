//! Measures frames: the contract's score, the peak, and a smoothed level in dBFS. Never changes a sample.

/// Level reported for digital silence, in dBFS.
pub const SILENCE_DBFS: f32 = -120.0;

/// Power of a sine of peak 32767, the reference of 0 dBFS (AES17).
const FULL_SCALE_SINE_POWER: f32 = 32_767.0 * 32_767.0 / 2.0;

/// Returns the mean absolute sample of a frame, 0..=32768, rounded down; 0 for an empty frame.
///
/// Frames of up to 131,071 samples cannot overflow the sum.
pub fn score(samples: &[i16]) -> u16 {
    if samples.is_empty() {
        return 0;
    }
    let sum: u32 = samples
        .iter()
        .map(|sample| u32::from(sample.unsigned_abs()))
        .sum();
    (sum / samples.len() as u32) as u16
}

/// Returns the largest absolute sample of a frame, 0..=32768.
pub fn peak(samples: &[i16]) -> u16 {
    samples
        .iter()
        .map(|sample| sample.unsigned_abs())
        .max()
        .unwrap_or(0)
}

/// A level in dBFS, smoothed over time: quick to rise, slow to fall.
#[derive(Debug, Clone, Copy)]
pub struct LevelMeter {
    power: f32,
}

/// Time constants of [`LevelMeter`] in milliseconds: a syllable shows at once, a pause between words does not.
const RISE_MS: f32 = 50.0;
const FALL_MS: f32 = 300.0;

impl LevelMeter {
    /// Creates a meter that reads silence.
    pub fn new() -> Self {
        LevelMeter { power: 0.0 }
    }

    /// Takes in one frame of the given length in milliseconds.
    pub fn update(&mut self, samples: &[i16], duration_ms: u32) {
        let power = if samples.is_empty() {
            0.0
        } else {
            let sum: u64 = samples
                .iter()
                .map(|&sample| u64::from(sample.unsigned_abs()).pow(2))
                .sum();
            sum as f32 / samples.len() as f32
        };
        let time_constant_ms = if power > self.power { RISE_MS } else { FALL_MS };
        let duration_ms = duration_ms as f32;
        self.power += (power - self.power) * duration_ms / (duration_ms + time_constant_ms);
    }

    /// Returns the level in dBFS, not below [`SILENCE_DBFS`].
    pub fn dbfs(&self) -> f32 {
        (10.0 * (self.power / FULL_SCALE_SINE_POWER).log10()).max(SILENCE_DBFS)
    }
}

impl Default for LevelMeter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_the_mean_absolute_sample() {
        let rows: [(&[i16], u16); 7] = [
            (&[], 0),
            (&[0, 0], 0),
            (&[1, 0], 0),
            (&[100, -100], 100),
            (&[i16::MIN], 32_768),
            (&[i16::MIN; 5760], 32_768),
            (&[i16::MAX, 1], 16_384),
        ];
        for (samples, expected) in rows {
            assert_eq!(score(samples), expected);
        }
    }

    #[test]
    fn peak_takes_the_most_negative_sample_without_overflow() {
        assert_eq!(peak(&[]), 0);
        assert_eq!(peak(&[3, -7]), 7);
        assert_eq!(peak(&[i16::MIN, i16::MAX]), 32_768);
    }

    #[test]
    fn a_full_scale_sine_reads_zero_dbfs() {
        let sine: Vec<i16> = (0..160)
            .map(|i| (f64::from(i) * std::f64::consts::TAU / 8.0).sin() * 32_767.0)
            .map(|s| s.round() as i16)
            .collect();
        let mut meter = LevelMeter::new();
        assert_eq!(meter.dbfs(), SILENCE_DBFS);
        for _ in 0..100 {
            meter.update(&sine, 20);
        }
        assert!(meter.dbfs().abs() < 0.05, "{}", meter.dbfs());
        meter.update(&[0; 160], 20);
        assert!(
            meter.dbfs() > -1.0,
            "one quiet frame hardly moves it: {}",
            meter.dbfs()
        );
    }
}
