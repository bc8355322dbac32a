//! Rate and interval of a mix, checked once.

/// Lowest mixing rate in Hz.
pub const MIN_RATE_HZ: u32 = 8000;
/// Highest mixing rate in Hz.
pub const MAX_RATE_HZ: u32 = 48_000;
/// Shortest mixing interval in milliseconds.
pub const MIN_INTERVAL_MS: u16 = 10;
/// Longest mixing interval in milliseconds.
pub const MAX_INTERVAL_MS: u16 = 120;

/// The rate of a mix and the length of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixFormat {
    rate_hz: u32,
    interval_ms: u16,
}

impl MixFormat {
    /// Returns the format, or `None` unless `rate_hz` is within 8000..=48000 with a whole number of samples in 10 ms
    /// and `interval_ms` a multiple of 10 within 10..=120.
    pub fn new(rate_hz: u32, interval_ms: u16) -> Option<Self> {
        let rate_fits = (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) && rate_hz.is_multiple_of(100);
        let interval_fits =
            (MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&interval_ms) && interval_ms.is_multiple_of(10);
        (rate_fits && interval_fits).then_some(MixFormat { rate_hz, interval_ms })
    }

    /// Returns the sampling rate in Hz.
    pub fn rate_hz(self) -> u32 {
        self.rate_hz
    }

    /// Returns the length of a full block in milliseconds.
    pub fn interval_ms(self) -> u16 {
        self.interval_ms
    }

    /// Returns the samples of a full block.
    pub fn block_samples(self) -> usize {
        self.samples_in(self.interval_ms)
    }

    /// Returns the samples in a span of milliseconds.
    pub fn samples_in(self, milliseconds: u16) -> usize {
        self.rate_hz as usize * usize::from(milliseconds) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_can_be_mixed() {
        let rows = [
            (8000, 10, Some(80)),
            (8000, 20, Some(160)),
            (44_100, 10, Some(441)),
            (48_000, 120, Some(5760)),
            (0, 20, None),
            (7900, 20, None),
            (48_100, 20, None),
            (11_025, 20, None),
            (8000, 0, None),
            (8000, 15, None),
            (8000, 130, None),
        ];
        for (rate_hz, interval_ms, samples) in rows {
            assert_eq!(
                MixFormat::new(rate_hz, interval_ms).map(MixFormat::block_samples),
                samples
            );
        }
    }
}
