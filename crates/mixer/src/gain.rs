//! The gain of one voice, listener or playback: ramped, and guarded against clipping. Knows nothing of who is behind it.

use confab_dsp::Limiter;

/// Length of the ramp to a new gain, in milliseconds.
pub(crate) const RAMP_MS: u32 = 5;

/// Highest gain in dB; higher ones count as this.
pub const MAX_GAIN_DB: f32 = 20.0;
/// Lowest gain in dB; lower ones count as this.
pub const MIN_GAIN_DB: f32 = -40.0;

/// Contributions that the guard is told of: its limiter acts from two on.
const GUARDED: usize = 2;

/// Returns the factor of a gain in dB; `None` when it is not a number.
pub(crate) fn factor(decibels: f32) -> Option<f32> {
    (!decibels.is_nan()).then(|| 10f32.powf(decibels.clamp(MIN_GAIN_DB, MAX_GAIN_DB) / 20.0))
}

/// A gain and where it stands on its way to the one that was set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GainStage {
    target: f32,
    current: f32,
    /// Holds what was amplified below the ceiling.
    guard: Limiter,
}

impl GainStage {
    /// Creates a stage that stands at `decibels` from the first sample on.
    pub(crate) fn new(decibels: f32, rate_hz: u32) -> Self {
        let factor = factor(decibels).unwrap_or(1.0);
        GainStage {
            target: factor,
            current: factor,
            guard: Limiter::new(rate_hz),
        }
    }

    /// Sets the gain that the next block ramps to.
    pub(crate) fn set(&mut self, decibels: f32) {
        self.target = factor(decibels).unwrap_or(self.target);
    }

    /// Returns whether samples pass untouched from here on.
    pub(crate) fn is_idle(&self) -> bool {
        self.target == 1.0 && self.current == 1.0 && self.guard.gain() == 1.0
    }

    /// Returns the largest factor that the next block may meet.
    pub(crate) fn largest(&self) -> f32 {
        self.target.max(self.current)
    }

    /// Goes on at another rate.
    pub(crate) fn set_rate_hz(&mut self, rate_hz: u32) {
        self.guard.set_rate_hz(rate_hz);
    }

    /// Applies the gain to one block. `wide` is working memory of at least the same length.
    pub(crate) fn apply(&mut self, samples: &mut [i16], wide: &mut [i32], rate_hz: u32) {
        if self.is_idle() {
            return;
        }
        let ramp = (rate_hz * RAMP_MS / 1000) as usize;
        self.apply_ramped(samples, wide, ramp);
    }

    /// The same with a ramp of `ramp` samples.
    fn apply_ramped(&mut self, samples: &mut [i16], wide: &mut [i32], ramp: usize) {
        let wide = &mut wide[..samples.len()];
        let ramp = if self.current == self.target {
            0
        } else {
            ramp.clamp(1, samples.len().max(1))
        };
        let step = (self.target - self.current) / ramp.max(1) as f32;
        let mut gain = self.current;
        for (wide, &sample) in wide[..ramp].iter_mut().zip(samples.iter()) {
            gain += step;
            *wide = scaled(sample, gain);
        }
        for (wide, &sample) in wide[ramp..].iter_mut().zip(&samples[ramp..]) {
            *wide = scaled(sample, self.target);
        }
        let amplifies = self.largest() > 1.0;
        self.current = self.target;
        // What is only made quieter cannot exceed what it was.
        let contributions = if amplifies { GUARDED } else { 1 };
        self.guard.process(wide, contributions, samples);
    }
}

/// Scales by a gain that goes linearly from `from` to `to` within the block. Only for gains up to 1.
pub(crate) fn fade(samples: &mut [i16], from: f32, to: f32) {
    if from == 1.0 && to == 1.0 {
        return;
    }
    let step = (to - from) / samples.len().max(1) as f32;
    for (index, sample) in (1..).zip(samples.iter_mut()) {
        *sample = scaled(*sample, from + step * index as f32) as i16;
    }
}

/// Scales a sample, to the nearest.
pub(crate) fn scaled(sample: i16, gain: f32) -> i32 {
    let scaled = f32::from(sample) * gain;
    (scaled + 0.5f32.copysign(scaled)) as i32
}

#[cfg(test)]
mod tests {
    use confab_dsp::CEILING;

    use super::*;

    const RATE: u32 = 8000;

    fn run(stage: &mut GainStage, value: i16) -> Vec<i16> {
        let mut samples = vec![value; 160];
        stage.apply(&mut samples, &mut [0; 160], RATE);
        samples
    }

    #[test]
    fn gains_scale_and_are_cut_to_the_range() {
        let rows = [
            (0.0, 1000, 1000),
            (6.0206, 1000, 2000),
            (-6.0206, 1000, 500),
            (-6.0206, -1000, -500),
            (20.0, 1000, 10_000),
            (60.0, 1000, 10_000),  // as 20 dB
            (-200.0, 10_000, 100), // as −40 dB
            (f32::NAN, 1000, 1000),
            (f32::INFINITY, 100, 1000),
            (f32::NEG_INFINITY, 1000, 10),
        ];
        for (decibels, value, expected) in rows {
            let mut stage = GainStage::new(decibels, RATE);
            assert_eq!(run(&mut stage, value), [expected; 160], "{decibels} dB");
        }
    }

    #[test]
    fn a_new_gain_is_reached_within_five_milliseconds_without_a_step() {
        let mut stage = GainStage::new(0.0, RATE);
        assert!(stage.is_idle());
        stage.set(-6.0206);
        let down = run(&mut stage, 10_000);
        assert!(down[..40].windows(2).all(|w| (0..=126).contains(&(w[0] - w[1]))));
        assert_eq!(down[40..], [5000; 120]);
        assert!(!stage.is_idle());
        stage.set(0.0);
        assert!(!stage.is_idle(), "not before the ramp");
        assert_eq!(run(&mut stage, 10_000)[40..], [10_000; 120]);
        assert!(stage.is_idle());
        stage.set(f32::NAN);
        assert!(stage.is_idle());
    }

    #[test]
    fn what_is_amplified_stays_below_the_ceiling_and_comes_back_slowly() {
        let mut stage = GainStage::new(20.0, RATE);
        run(&mut stage, 20_000);
        let held = run(&mut stage, 20_000);
        assert!(held.iter().all(|&s| f32::from(s) <= CEILING + 1.0), "{held:?}");
        stage.set(0.0);
        run(&mut stage, 1000);
        assert!(!stage.is_idle(), "the guard is still down");
        let blocks = (1..200).find(|_| {
            run(&mut stage, 1000);
            stage.is_idle()
        });
        assert!(
            blocks.is_some_and(|blocks| (30..70).contains(&blocks)),
            "{blocks:?} blocks for 16.7 dB at 20 dB/s"
        );
        assert_eq!(run(&mut stage, 12_345), [12_345; 160]);
    }

    #[test]
    fn what_is_made_quieter_is_never_limited() {
        let mut stage = GainStage::new(-0.5, RATE);
        let loud = run(&mut stage, i16::MAX);
        assert!(f32::from(loud[0]) > CEILING, "{}", loud[0]);
        assert_eq!(loud, [loud[0]; 160]);
    }

    #[test]
    fn fades_end_where_they_should() {
        let mut samples = [10_000; 100];
        fade(&mut samples, 1.0, 0.5);
        assert_eq!((samples[0], samples[99]), (9950, 5000));
        fade(&mut samples, 1.0, 1.0);
        assert_eq!(samples[99], 5000);
        fade(&mut [], 1.0, 0.0);
    }
}
