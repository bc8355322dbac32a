//! The low-pass filters that all conversions share, as functions of continuous time. Never seen by the audio itself:
//! tables sample them.
//!
//! The magnitude is that of a sinc under a Kaiser window (J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh
//! window function", 1974); the phase is the least that such a magnitude can have, found by folding its cepstrum
//! (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", on minimum-phase systems). The sinc itself would
//! delay everything by half its length: 2 ms at 8 kHz, twice for a narrowband call in a wideband room. So it is a fifth of
//! that, and what rings rings after a sound and not before it. The price is that the top of the band comes up to 1 ms later
//! than the rest, which nobody hears.
//!
//! Time and frequency are in units of the lower of the two rates, so that one shape serves all pairs.

use std::sync::OnceLock;

use rustfft::{FftPlanner, num_complex::Complex};

/// Length of a filter in samples of the lower rate.
const LENGTH: usize = 32;

/// The same where the lower rate is at least [`WIDE_FROM_HZ`]: there a sample is shorter, and what the top of the band loses is heard.
const WIDE_LENGTH: usize = 64;

/// Rate in Hz from which filters are long.
const WIDE_FROM_HZ: u32 = 16_000;

/// How far below the Nyquist frequency the filter has −6 dB, in cycles per filter length of the lower rate: what folds back when
/// decimating then lies above 90 % of the band, or above 95 % with long filters.
const BELOW_NYQUIST: f64 = 0.384;

/// Shape of the Kaiser window for 63 dB of stop band attenuation.
const BETA: f64 = 5.95;

/// Points at which the response is known, per sample of the lower rate. Most ratios fall on these points; between them it is
/// interpolated, with an error below −100 dB.
const POINTS: usize = 48;

/// Points of the transforms: so many that the cepstrum, which never ends, has faded away where it is folded.
const TRANSFORM: usize = 1 << 16;

/// What is below this share of full gain (−100 dB) counts as this much: a true zero has no logarithm.
const FLOOR: f64 = 1e-5;

/// An impulse response that begins at time 0.
#[derive(Debug)]
pub(super) struct Prototype {
    length: usize,
    delay: f64,
    /// `POINTS` for each sample of the lower rate, from time 0 on.
    response: Vec<f64>,
}

impl Prototype {
    /// Returns the filter for conversions whose lower rate is `lower_hz`. The first call computes it, in some milliseconds.
    pub(super) fn get(lower_hz: u32) -> &'static Prototype {
        static FILTERS: [OnceLock<Prototype>; 2] = [const { OnceLock::new() }; 2];
        let [narrow, wide] = &FILTERS;
        if lower_hz < WIDE_FROM_HZ {
            narrow.get_or_init(|| Prototype::new(LENGTH))
        } else {
            wide.get_or_init(|| Prototype::new(WIDE_LENGTH))
        }
    }

    /// Returns the length in samples of the lower rate.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Returns by how much low frequencies are delayed, in samples of the lower rate.
    pub(super) fn delay(&self) -> f64 {
        self.delay
    }

    /// Returns the response at `time` samples of the lower rate after the impulse; 0 outside the filter.
    pub(super) fn at(&self, time: f64) -> f64 {
        let point = time * POINTS as f64;
        let before = point.floor();
        let known = |n: f64| {
            if n < 0.0 {
                0.0
            } else {
                self.response.get(n as usize).copied().unwrap_or(0.0)
            }
        };
        let part = point - before;
        if part < 1e-9 {
            return known(before);
        }
        // The cubic through the two points on either side (J. L. Lagrange).
        let [a, b, c, d] = [-1.0, 0.0, 1.0, 2.0].map(|n| known(before + n));
        let (after, ahead, beyond) = (part + 1.0, 1.0 - part, 2.0 - part);
        -a * part * ahead * beyond / 6.0 + b * after * ahead * beyond / 2.0 + c * after * part * beyond / 2.0
            - d * after * part * ahead / 6.0
    }

    fn new(length: usize) -> Prototype {
        let half = (length * POINTS / 2) as isize;
        let mut spectrum = vec![Complex::default(); TRANSFORM];
        for n in -half..=half {
            let time = n as f64 / POINTS as f64;
            spectrum[n.rem_euclid(TRANSFORM as isize) as usize].re =
                linear_phase(length, time) / POINTS as f64;
        }
        let mut planner = FftPlanner::new();
        let forward = planner.plan_fft_forward(TRANSFORM);
        let inverse = planner.plan_fft_inverse(TRANSFORM);
        forward.process(&mut spectrum);
        for value in &mut spectrum {
            *value = Complex::new(value.norm().max(FLOOR).ln(), 0.0);
        }
        inverse.process(&mut spectrum);
        // What lies before time 0 is laid over what lies after it: the same magnitude, and nothing before the impulse.
        let scale = 1.0 / TRANSFORM as f64;
        let (after, before) = spectrum.split_at_mut(TRANSFORM / 2);
        for value in &mut after[1..] {
            *value *= 2.0 * scale;
        }
        after[0] *= scale;
        before[0] *= scale;
        before[1..].fill(Complex::default());
        forward.process(&mut spectrum);
        for value in &mut spectrum {
            *value = value.exp();
        }
        inverse.process(&mut spectrum);
        let response: Vec<f64> = spectrum[..length * POINTS]
            .iter()
            .map(|value| value.re * scale * POINTS as f64)
            .collect();
        let sum: f64 = response.iter().sum();
        let moment: f64 = response
            .iter()
            .enumerate()
            .map(|(n, value)| n as f64 * value)
            .sum();
        Prototype {
            length,
            delay: moment / sum / POINTS as f64,
            response,
        }
    }
}

/// The windowed sinc of `length`, at `time` samples of the lower rate from its centre.
fn linear_phase(length: usize, time: f64) -> f64 {
    let length = length as f64;
    let within = 1.0 - (2.0 * time / length).powi(2);
    if within <= 0.0 {
        return 0.0;
    }
    // Cycles per sample of the lower rate at −6 dB; 0.5 is the Nyquist frequency.
    let cutoff = 0.5 - BELOW_NYQUIST / length;
    2.0 * cutoff * sinc(2.0 * cutoff * time) * bessel_i0(BETA * within.sqrt()) / bessel_i0(BETA)
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 {
        1.0
    } else {
        angle.sin() / angle
    }
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= quarter / f64::from(n * n);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Magnitude at `frequency` cycles per sample of the lower rate, and by how much that frequency is delayed, in samples of it.
    fn response(filter: &Prototype, frequency: f64) -> (f64, f64) {
        let (mut sum, mut moment) = (Complex::<f64>::default(), Complex::<f64>::default());
        for (n, &value) in filter.response.iter().enumerate() {
            let time = n as f64 / POINTS as f64;
            let turned =
                Complex::from_polar(value / POINTS as f64, -std::f64::consts::TAU * frequency * time);
            sum += turned;
            moment += turned * time;
        }
        (sum.norm(), (moment / sum).re)
    }

    fn magnitude_of_the_sinc(length: usize, frequency: f64) -> f64 {
        let half = (length * POINTS / 2) as isize;
        let at = |n: isize| n as f64 / POINTS as f64;
        (-half..=half)
            .map(|n| {
                linear_phase(length, at(n)) * (std::f64::consts::TAU * frequency * at(n)).cos()
                    / POINTS as f64
            })
            .sum::<f64>()
            .abs()
    }

    #[test]
    fn the_bessel_function_has_its_known_values() {
        for (x, expected) in [(0.0, 1.0), (1.0, 1.266_065_878), (6.0, 67.234_406_976)] {
            assert!((bessel_i0(x) - expected).abs() < 1e-8 * expected, "I0({x})");
        }
    }

    #[test]
    fn the_magnitude_is_that_of_the_sinc() {
        for lower_hz in [8000, 48_000] {
            let filter = Prototype::get(lower_hz);
            for percent in 0..100 {
                let frequency = f64::from(percent) / 100.0;
                let (magnitude, _) = response(filter, frequency);
                let expected = magnitude_of_the_sinc(filter.length, frequency);
                assert!(
                    (magnitude - expected).abs() < 1e-4,
                    "{lower_hz} Hz, {frequency}: {magnitude}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_delay_is_a_fraction_of_half_the_length() {
        for lower_hz in [8000, 48_000] {
            let filter = Prototype::get(lower_hz);
            let (_, low) = response(filter, 0.001);
            assert!(
                (low - filter.delay()).abs() < 0.01,
                "{low}, said to be {}",
                filter.delay()
            );
            assert!(low < filter.length as f64 / 14.0, "{low} at low frequencies");
            // 3 of 4 kHz, 3.4 of 4 kHz.
            for (frequency, at_most) in [(0.375, 0.25), (0.425, 0.375)] {
                let (_, delay) = response(filter, frequency);
                assert!(
                    delay < at_most * filter.length as f64 / 2.0,
                    "{delay} at {frequency}"
                );
            }
        }
    }

    #[test]
    fn between_the_points_the_response_goes_on_smoothly() {
        let filter = Prototype::get(8000);
        let largest = filter.response.iter().copied().fold(0.0, f64::max);
        for n in 3..filter.response.len() - 6 {
            // The cubic through every second point, against the point it leaves out.
            let [a, b, c, d] = [-3, -1, 1, 3].map(|off| filter.response[n.strict_add_signed(off)]);
            let between = (9.0 * (b + c) - a - d) / 16.0;
            assert!((between - filter.response[n]).abs() < 1e-3 * largest);
            let at = filter.at((n as f64 + 0.5) / POINTS as f64);
            let neighbours = (filter.response[n] + filter.response[n + 1]) / 2.0;
            assert!((at - neighbours).abs() < 1e-3 * largest);
        }
        assert_eq!(filter.at(-1.0), 0.0);
        assert_eq!(filter.at(filter.length as f64 + 1.0), 0.0);
    }
}
