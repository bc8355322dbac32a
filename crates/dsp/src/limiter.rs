//! Narrows a sum of voices to 16 bits. Looks at the whole block it is given, adds no delay, and leaves a lone voice alone.

/// The sum's peak that is not exceeded: −3 dBFS. What resampling and coding add to a peak (0.7 dB, with Opus up to 2 dB)
/// then ends below −0.5 dBFS.
pub const CEILING: f32 = 23_197.0;

/// How fast the gain comes back, in dB per second, at most.
pub const RECOVERY_DB_PER_S: f32 = 20.0;

/// Shortest ramp down to a lower gain, in milliseconds. A peak that comes even earlier in its block is clipped at the
/// ceiling for less than this time.
const ATTACK_MS: f32 = 1.0;

/// Above this the gain counts as 1 and samples pass untouched.
const UNITY: f32 = 0.999_9;

/// The limiter of one mix.
///
/// It acts when two or more contributions are summed and the sum exceeds [`CEILING`], which no sample of such a sum
/// passes; the gain falls along a ramp that reaches its value before the first peak, and rises by no more than
/// [`RECOVERY_DB_PER_S`]. At unity gain the output is the input, sample by sample.
#[derive(Debug, Clone, Copy)]
pub struct Limiter {
    rate_hz: u32,
    /// Gain at the end of the last block, in 0.0..=1.0.
    gain: f32,
}

impl Limiter {
    /// Creates a limiter at unity gain for blocks at `rate_hz`.
    pub fn new(rate_hz: u32) -> Self {
        Limiter { rate_hz, gain: 1.0 }
    }

    /// Goes on at another rate with the gain it has.
    pub fn set_rate_hz(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
    }

    /// Returns the gain at the end of the last block, 0.0..=1.0.
    pub fn gain(&self) -> f32 {
        self.gain
    }

    /// Writes the limited `sum` of `contributions` voices to `out`. Blocks of unequal length are cut to the shorter.
    pub fn process(&mut self, sum: &[i32], contributions: usize, out: &mut [i16]) {
        let length = sum.len().min(out.len());
        let (sum, out) = (&sum[..length], &mut out[..length]);
        if self.gain >= UNITY && contributions < 2 {
            self.gain = 1.0;
            return narrow(sum, out);
        }
        let peak = sum.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0) as f32;
        let wanted = if contributions >= 2 && peak > CEILING {
            CEILING / peak
        } else {
            1.0
        };
        if wanted >= UNITY && self.gain >= UNITY {
            self.gain = 1.0;
            return narrow(sum, out);
        }
        let (target, ramp) = if wanted < self.gain {
            (wanted, self.attack_samples(sum, wanted))
        } else {
            (self.recovered(length).min(wanted), length)
        };
        scale(sum, out, self.gain, target, ramp);
        self.gain = target;
        if contributions >= 2 {
            const HIGHEST: i16 = CEILING as i16;
            for sample in out {
                *sample = (*sample).clamp(-HIGHEST, HIGHEST);
            }
        }
    }

    /// Returns the gain that the fastest allowed recovery reaches after `samples`.
    fn recovered(&self, samples: usize) -> f32 {
        let decibels = RECOVERY_DB_PER_S * samples as f32 / self.rate_hz as f32;
        let gain = self.gain * 10f32.powf(decibels / 20.0);
        if gain >= UNITY { 1.0 } else { gain }
    }

    /// Returns the length of a linear ramp from the current gain to `target` that stays below the ceiling at every
    /// sample, but for peaks within [`ATTACK_MS`].
    fn attack_samples(&self, sum: &[i32], target: f32) -> usize {
        let shortest = (self.rate_hz as f32 * ATTACK_MS / 1000.0).max(1.0);
        let fall = self.gain - target;
        let mut ramp = sum.len() as f32;
        for (index, sample) in sum.iter().enumerate() {
            let allowed = CEILING / sample.unsigned_abs() as f32;
            if allowed < self.gain {
                ramp = ramp.min(index as f32 * fall / (self.gain - allowed));
            }
        }
        ramp.max(shortest) as usize
    }
}

/// Copies samples that fit, or nearly: a lone voice always fits.
fn narrow(sum: &[i32], out: &mut [i16]) {
    for (out, &sample) in out.iter_mut().zip(sum) {
        *out = sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
    }
}

/// Scales by a gain that goes linearly from `from` to `to` within `ramp` samples and stays there.
fn scale(sum: &[i32], out: &mut [i16], from: f32, to: f32, ramp: usize) {
    let step = (to - from) / ramp.max(1) as f32;
    for (index, (out, &sample)) in out.iter_mut().zip(sum).enumerate() {
        let gain = if index < ramp {
            from + step * index as f32
        } else {
            to
        };
        let scaled = sample as f32 * gain;
        *out = (scaled + 0.5f32.copysign(scaled)) as i16; // to the nearest; the cast cuts off and saturates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limiter: &mut Limiter, sum: &[i32], contributions: usize) -> Vec<i16> {
        let mut out = vec![0; sum.len()];
        limiter.process(sum, contributions, &mut out);
        out
    }

    #[test]
    fn one_voice_at_full_scale_passes_untouched() {
        let mut limiter = Limiter::new(8000);
        let sum: Vec<i32> = (0..160)
            .map(|i| if i % 2 == 0 { 32_767 } else { -32_768 })
            .collect();
        let out = run(&mut limiter, &sum, 1);
        assert!(sum.iter().zip(&out).all(|(&a, &b)| a == i32::from(b)));
        assert_eq!(limiter.gain(), 1.0);
    }

    #[test]
    fn two_voices_below_the_ceiling_pass_untouched() {
        let mut limiter = Limiter::new(8000);
        let out = run(&mut limiter, &[23_197, -23_197, 0, 1, -1], 2);
        assert_eq!(out, [23_197, -23_197, 0, 1, -1]);
    }

    #[test]
    fn a_steady_overload_is_held_at_the_ceiling() {
        let mut limiter = Limiter::new(8000);
        let sum = [60_000; 160];
        run(&mut limiter, &sum, 2);
        let out = run(&mut limiter, &sum, 2);
        assert!(out.iter().all(|&s| (23_196..=23_198).contains(&s)), "{out:?}");
    }

    #[test]
    fn the_gain_is_down_before_a_peak_late_in_the_block() {
        let mut limiter = Limiter::new(8000);
        let mut sum = [1000; 160];
        sum[100] = 100_000;
        let out = run(&mut limiter, &sum, 3);
        assert!(f32::from(out[100]) <= CEILING + 1.0, "{}", out[100]);
        assert!(
            out.windows(2).take(90).all(|w| w[0] - w[1] <= 12),
            "no step on the way down"
        );
    }

    #[test]
    fn no_peak_passes_the_ceiling_however_early_it_comes() {
        for early in [0, 1, 7, 8, 20] {
            let mut limiter = Limiter::new(8000);
            let mut sum = [1000; 160];
            sum[early] = -250_000;
            let out = run(&mut limiter, &sum, 8);
            assert!(
                out.iter().all(|&s| f32::from(s).abs() <= CEILING),
                "peak at {early}: {out:?}"
            );
        }
    }

    #[test]
    fn recovery_is_no_faster_than_20_db_per_second() {
        let mut limiter = Limiter::new(8000);
        run(&mut limiter, &[60_000; 160], 2); // about −8.3 dB
        let mut blocks = 0;
        let mut last = limiter.gain();
        while limiter.gain() < 1.0 {
            run(&mut limiter, &[100; 160], 1);
            let rise_db = 20.0 * (limiter.gain() / last).log10();
            assert!(rise_db <= 0.401, "{rise_db} dB in 20 ms");
            last = limiter.gain();
            blocks += 1;
        }
        assert!(
            (20..=22).contains(&blocks),
            "8.3 dB take 410 ms, took {blocks} blocks"
        );
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut limiter = Limiter::new(8000);
        run(&mut limiter, &[i32::MIN, i32::MAX, 0], 70_000);
        assert!(limiter.gain() > 0.0);
        assert!(run(&mut limiter, &[], 5).is_empty());
        assert_eq!(run(&mut limiter, &[0; 4], 5), [0; 4]);
    }
}
