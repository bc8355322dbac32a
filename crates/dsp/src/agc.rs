//! Automatic gain of one talker: brings quiet and loud voices to one level, slowly. Never clips, and learns from speech
//! only.

use crate::gain::scaled;
use crate::limiter::CEILING;

/// Level that speech is brought to: −20 dBFS while it sounds.
const TARGET_DB: f32 = -20.0;

/// Gain in dB, at least and at most.
const GAIN_DB: std::ops::RangeInclusive<f32> = -12.0..=18.0;

/// What counts as speech is louder than this, in dBFS, and by so many dB louder than the noise.
const GATE_DB: f32 = -50.0;
const ABOVE_NOISE_DB: f32 = 9.0;

/// How fast the gain follows, in dB per second of speech.
const RISE_DB_PER_S: f32 = 5.0;
const FALL_DB_PER_S: f32 = 15.0;

/// Time constant of the measured level of speech, in seconds.
const LEVEL_S: f32 = 0.8;

/// The noise is the quietest [`PIECE_S`] of the last one to two times this long, in seconds: speech has its gaps, noise goes on.
const NOISE_S: f32 = 0.4;
const PIECE_S: f32 = 0.01;

/// Level that the measured noise does not fall below, in dBFS.
const LEAST_NOISE_DB: f32 = -70.0;

/// Mean square of a sine of peak 32767: 0 dBFS.
const FULL_SCALE_POWER: f32 = 32_767.0 * 32_767.0 / 2.0;

/// The automatic gain of one stream.
///
/// The gain stays within −12..=18 dB and moves by at most 5 dB up or 15 dB down in a second of speech; in pauses and in
/// steady noise it holds. A peak that would exceed −3 dBFS lowers it at once.
#[derive(Debug, Clone)]
pub struct Agc {
    rate_hz: u32,
    /// Mean square of speech, `None` before there was any.
    speech: Option<f32>,
    noise: Quietest,
    /// Factor at the end of the last block.
    factor: f32,
}

impl Agc {
    /// Creates an automatic gain that begins at 0 dB, for a stream at `rate_hz`.
    pub fn new(rate_hz: u32) -> Self {
        Agc {
            rate_hz,
            speech: None,
            noise: Quietest::default(),
            factor: 1.0,
        }
    }

    /// Returns the present gain in dB.
    pub fn gain_db(&self) -> f32 {
        20.0 * self.factor.log10()
    }

    /// Applies the gain to a block, and learns from it.
    pub fn process(&mut self, samples: &mut [i16]) {
        if samples.is_empty() {
            return;
        }
        let seconds = samples.len() as f32 / self.rate_hz.max(1) as f32;
        let power = mean_square(samples);
        let mut next = self.factor;
        if self.is_speech(power, samples) {
            next = self.followed(power, seconds);
        }
        let peak = f32::from(crate::peak(samples));
        if next * peak > CEILING {
            next = CEILING / peak;
        }
        self.apply(samples, next);
    }

    /// Tells of samples that are not heard, by their mean absolute value: the pauses that tell speech from noise.
    pub fn pause(&mut self, samples: usize, score: u16) {
        let seconds = samples as f32 / self.rate_hz.max(1) as f32;
        self.noise.take(f32::from(score).powi(2), seconds);
    }

    /// Judges a block by its level against the noise, whose level it follows.
    fn is_speech(&mut self, power: f32, samples: &[i16]) -> bool {
        let piece = ((self.rate_hz as f32 * PIECE_S) as usize).max(1);
        for piece in samples.chunks(piece) {
            self.noise.take(
                mean_square(piece),
                piece.len() as f32 / self.rate_hz.max(1) as f32,
            );
        }
        let noise_db = decibels(self.noise.power()).max(LEAST_NOISE_DB);
        let level_db = decibels(power);
        level_db > GATE_DB && level_db > noise_db + ABOVE_NOISE_DB
    }

    /// Takes a block of speech into the measured level and returns the next factor.
    fn followed(&mut self, power: f32, seconds: f32) -> f32 {
        let level = self.speech.get_or_insert(power);
        *level += (power - *level) * seconds / (seconds + LEVEL_S);
        let wanted_db = (TARGET_DB - decibels(*level)).clamp(*GAIN_DB.start(), *GAIN_DB.end());
        let now_db = 20.0 * self.factor.log10();
        let step_db = (wanted_db - now_db).clamp(-FALL_DB_PER_S * seconds, RISE_DB_PER_S * seconds);
        self.factor * 10f32.powf(step_db / 20.0)
    }

    /// Scales by a factor that goes along a straight line to `next`, and is there before a peak that needs it.
    fn apply(&mut self, samples: &mut [i16], next: f32) {
        let from = std::mem::replace(&mut self.factor, next);
        if from == 1.0 && next == 1.0 {
            return;
        }
        let ramp = if next < from {
            let exceeds = |sample: &i16| f32::from(sample.unsigned_abs()) * from > CEILING;
            samples.iter().position(exceeds).unwrap_or(samples.len())
        } else {
            samples.len()
        };
        let step = (next - from) / ramp.max(1) as f32;
        for (n, sample) in samples.iter_mut().enumerate() {
            let factor = if n < ramp { from + step * n as f32 } else { next };
            *sample = scaled(*sample, factor);
        }
    }
}

/// The least of what came within the last one to two spans of [`NOISE_S`].
#[derive(Debug, Clone, Copy)]
struct Quietest {
    before: f32,
    now: f32,
    seconds: f32,
}

impl Default for Quietest {
    fn default() -> Self {
        Quietest {
            before: f32::INFINITY,
            now: f32::INFINITY,
            seconds: 0.0,
        }
    }
}

impl Quietest {
    fn take(&mut self, power: f32, seconds: f32) {
        if self.seconds >= NOISE_S {
            (self.before, self.now, self.seconds) = (self.now, f32::INFINITY, 0.0);
        }
        self.now = self.now.min(power);
        self.seconds += seconds;
    }

    fn power(&self) -> f32 {
        self.before.min(self.now)
    }
}

fn mean_square(samples: &[i16]) -> f32 {
    let energy: u64 = samples
        .iter()
        .map(|&sample| u64::from(sample.unsigned_abs()).pow(2))
        .sum();
    energy as f32 / samples.len().max(1) as f32
}

fn decibels(power: f32) -> f32 {
    10.0 * (power.max(1e-3) / FULL_SCALE_POWER).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Syllables of 200 ms with pauses of 60 ms, at a level in dBFS while they sound, over noise of a level.
    fn speech(level_db: f32, noise_db: f32, seconds: usize) -> Vec<i16> {
        let sine = 32_767.0 * 10f32.powf(level_db / 20.0);
        let noise = 32_767.0 * 10f32.powf(noise_db / 20.0) * 1.22; // even noise: peak over effective value
        let mut state = 1u32;
        (0..8000 * seconds)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let hiss = state as i32 as f32 / 2f32.powi(31) * noise;
                let voice = if n % 2080 < 1600 {
                    (n as f32 * 0.3).sin() * sine
                } else {
                    0.0
                };
                (voice + hiss) as i16
            })
            .collect()
    }

    fn run(agc: &mut Agc, samples: &[i16]) -> Vec<i16> {
        let mut out = samples.to_vec();
        for block in out.chunks_mut(160) {
            agc.process(block);
        }
        out
    }

    #[test]
    fn voices_come_to_one_level() {
        let rows = [
            (-20.0, 0.0),
            (-32.0, 12.0),
            (-26.0, 6.0),
            (-45.0, 18.0),
            (-10.0, -10.0),
        ];
        for (level_db, gain_db) in rows {
            let mut agc = Agc::new(8000);
            run(&mut agc, &speech(level_db, -75.0, 12));
            assert!(
                (agc.gain_db() - gain_db).abs() < 1.5,
                "{level_db}: {}",
                agc.gain_db()
            );
        }
    }

    #[test]
    fn pauses_and_steady_noise_do_not_pump() {
        let mut agc = Agc::new(8000);
        run(&mut agc, &speech(-30.0, -60.0, 12));
        let gain = agc.gain_db();
        for noise_db in [-60.0, -48.0, -40.0] {
            run(&mut agc, &speech(-120.0, noise_db, 20));
            // Noise that begins may pass for speech until the pause before it is forgotten.
            assert!(
                (agc.gain_db() - gain).abs() < 5.0,
                "{noise_db}: {} from {gain}",
                agc.gain_db()
            );
        }
        let held = agc.gain_db();
        run(&mut agc, &[0; 8000 * 20]);
        assert_eq!(agc.gain_db(), held);
    }

    #[test]
    fn noise_alone_is_left_as_it_is() {
        for noise_db in [-50.0, -45.0, -38.0, -30.0] {
            let mut agc = Agc::new(16_000);
            run(&mut agc, &speech(-120.0, noise_db, 20));
            assert!(agc.gain_db().abs() < 0.01, "{noise_db}: {}", agc.gain_db());
            // Speech in it is brought up all the same.
            run(&mut agc, &speech(-32.0, noise_db.min(-45.0), 20));
            assert!(agc.gain_db() > 6.0, "{noise_db}: {}", agc.gain_db());
        }
    }

    #[test]
    fn a_shout_after_a_whisper_does_not_clip() {
        let mut agc = Agc::new(8000);
        run(&mut agc, &speech(-40.0, -75.0, 12));
        assert!(agc.gain_db() > 15.0);
        let shout = speech(-0.1, -75.0, 1);
        let out = run(&mut agc, &shout);
        assert!(
            out.iter()
                .all(|sample| f32::from(sample.unsigned_abs()) <= CEILING + 1.0)
        );
        assert!(agc.gain_db() < 0.0);
    }

    #[test]
    fn the_gain_rises_slowly() {
        let mut agc = Agc::new(8000);
        let quiet = speech(-38.0, -75.0, 4);
        for block in quiet.chunks(160) {
            let before = agc.gain_db();
            agc.process(&mut block.to_vec());
            assert!(agc.gain_db() - before <= 0.101);
        }
        assert_eq!(Agc::new(8000).gain_db(), 0.0);
        agc.process(&mut []);
    }

    #[test]
    fn pauses_count_that_are_only_told_of() {
        let mut agc = Agc::new(8000);
        for (n, block) in speech(-38.0, -75.0, 8).chunks(160).enumerate() {
            // Syllables only; behind each of them 60 ms that a gate kept out.
            if n % 13 < 10 {
                agc.process(&mut block.to_vec());
            } else {
                agc.pause(160, 2);
            }
        }
        assert!(agc.gain_db() > 10.0, "{}", agc.gain_db());
    }

    proptest! {
        #[test]
        fn nothing_exceeds_the_ceiling_but_what_came_in_so(
            blocks in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..400), 1..20),
            quiet in 1i16..300,
        ) {
            let mut agc = Agc::new(8000);
            for block in blocks {
                let mut soft: Vec<i16> = block.iter().map(|&sample| sample / quiet).collect();
                agc.process(&mut soft);
                for sample in soft {
                    prop_assert!(f32::from(sample.unsigned_abs()) <= CEILING + 1.0);
                }
            }
        }
    }
}
