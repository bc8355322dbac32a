//! Makes a stream louder or quieter. Never limits: what exceeds full scale is cut off at it.

/// The range of gains in dB; values beyond it count as its ends.
pub const GAIN_RANGE_DB: std::ops::RangeInclusive<f32> = -40.0..=20.0;

/// Time in which a new gain is reached, in milliseconds.
pub const GAIN_RAMP_MS: u32 = 5;

/// Factors of the levels −4..=4 that conference controls use, as FreeSWITCH's `switch_change_sln_volume` has them.
const LEVEL_FACTORS: [f32; 9] = [0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 2.3, 3.3, 4.3];

/// Returns the gain in dB of a volume level; levels beyond −4..=4 count as the nearest of these.
///
/// −4..=4 are −14.0, −8.0, −4.4, −1.9, 0, 2.3, 7.2, 10.4 and 12.7 dB.
pub fn volume_level_db(level: i8) -> f32 {
    20.0 * LEVEL_FACTORS[(level.clamp(-4, 4) + 4) as usize].log10()
}

/// The adjustable gain of one stream.
///
/// A new gain is reached along a straight line over [`GAIN_RAMP_MS`]. At 0 dB samples pass untouched.
#[derive(Debug, Clone, Copy)]
pub struct Gain {
    rate_hz: u32,
    db: f32,
    /// Factor of the next sample, and the one that it goes to in `steps_left` steps of `step`.
    factor: f32,
    target: f32,
    step: f32,
    steps_left: u32,
}

impl Gain {
    /// Creates a gain of 0 dB for a stream at `rate_hz`.
    pub fn new(rate_hz: u32) -> Self {
        Gain {
            rate_hz,
            db: 0.0,
            factor: 1.0,
            target: 1.0,
            step: 0.0,
            steps_left: 0,
        }
    }

    /// Returns the gain that was set last, in dB.
    pub fn db(&self) -> f32 {
        self.db
    }

    /// Sets the gain in dB, within [`GAIN_RANGE_DB`]; what is no number counts as 0 dB.
    pub fn set_db(&mut self, db: f32) {
        self.db = if db.is_nan() {
            0.0
        } else {
            db.clamp(*GAIN_RANGE_DB.start(), *GAIN_RANGE_DB.end())
        };
        self.target = if self.db == 0.0 {
            1.0
        } else {
            10f32.powf(self.db / 20.0)
        };
        self.steps_left = (self.rate_hz * GAIN_RAMP_MS / 1000).max(1);
        self.step = (self.target - self.factor) / self.steps_left as f32;
    }

    /// Sets the gain without a ramp, as befits a stream that begins.
    pub fn jump_to_db(&mut self, db: f32) {
        self.set_db(db);
        self.arrive();
    }

    /// Sets the rate of the stream from the next sample on; a ramp under way goes on at the old pace.
    pub fn set_rate_hz(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
    }

    /// Returns whether samples pass untouched: 0 dB, and no ramp under way.
    pub fn is_unity(&self) -> bool {
        self.factor == 1.0 && self.steps_left == 0
    }

    /// Applies the gain.
    pub fn process(&mut self, samples: &mut [i16]) {
        let ramp = (self.steps_left as usize).min(samples.len());
        let (ramped, steady) = samples.split_at_mut(ramp);
        for sample in ramped {
            *sample = scaled(*sample, self.factor);
            self.factor += self.step;
            self.steps_left -= 1;
        }
        if self.steps_left == 0 {
            self.arrive();
        }
        if !self.is_unity() {
            let factor = self.factor;
            for sample in steady {
                *sample = scaled(*sample, factor);
            }
        }
    }

    fn arrive(&mut self) {
        self.factor = self.target;
        self.step = 0.0;
        self.steps_left = 0;
    }
}

/// Scales one sample, to the nearest; the cast cuts off at full scale.
pub(crate) fn scaled(sample: i16, factor: f32) -> i16 {
    let exact = f32::from(sample) * factor;
    (exact + 0.5f32.copysign(exact)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_known_gains() {
        let rows = [
            (i8::MIN, -13.98),
            (-4, -13.98),
            (-3, -7.96),
            (-2, -4.44),
            (-1, -1.94),
            (0, 0.0),
            (1, 2.28),
            (2, 7.23),
            (3, 10.37),
            (4, 12.67),
            (100, 12.67),
        ];
        for (level, db) in rows {
            assert!((volume_level_db(level) - db).abs() < 0.01, "level {level}");
        }
    }

    #[test]
    fn at_zero_db_samples_pass_untouched() {
        let mut gain = Gain::new(8000);
        let mut samples = [i16::MIN, -1, 0, 1, i16::MAX];
        gain.process(&mut samples);
        assert_eq!(samples, [i16::MIN, -1, 0, 1, i16::MAX]);
        gain.set_db(6.0);
        gain.set_db(0.0);
        gain.process(&mut [0; 40]);
        assert!(gain.is_unity());
    }

    #[test]
    fn the_ramp_takes_five_milliseconds_at_every_rate_and_block_length() {
        for (rate_hz, block) in [(8000, 160), (8000, 7), (48_000, 480), (44_100, 441)] {
            let mut gain = Gain::new(rate_hz);
            gain.set_db(20.0);
            let mut samples = vec![1000; rate_hz as usize / 50];
            for block in samples.chunks_mut(block) {
                gain.process(block);
            }
            let ramp = (rate_hz / 200) as usize;
            assert_eq!(samples[0], 1000);
            assert!(samples.is_sorted() && samples[ramp - 1] < 10_000);
            assert!(samples[ramp..].iter().all(|&sample| sample == 10_000));
        }
    }

    #[test]
    fn extremes_are_cut_off() {
        let rows = [
            (20.0, i16::MAX, i16::MAX),
            (20.0, i16::MIN, i16::MIN),
            (90.0, 1000, 10_000),
            (-90.0, 10_000, 100),
            (f32::NAN, 1234, 1234),
            (-6.0206, 1000, 500),
        ];
        for (db, sample, expected) in rows {
            let mut gain = Gain::new(8000);
            gain.jump_to_db(db);
            let mut samples = [sample];
            gain.process(&mut samples);
            assert_eq!(samples, [expected], "{db} dB");
        }
        Gain::new(0).process(&mut []);
    }
}
