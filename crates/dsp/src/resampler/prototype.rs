//! The low-pass filter that all conversions share, as a function of continuous time. Never seen by the audio itself:
//! tables sample it.
//!
//! A sinc under a Kaiser window (J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function",
//! 1974). Time and frequency are in units of the lower of the two rates, so that one shape serves all pairs.

/// Half of the filter's length, in samples of the lower rate. It is also the delay.
pub(super) const HALF_LENGTH: f64 = 16.0;

/// The same where the lower rate is at least [`WIDE_FROM_HZ`]: there a sample is shorter, and what the top of the band loses is heard.
pub(super) const WIDE_HALF_LENGTH: f64 = 32.0;

/// Rate in Hz from which filters are long.
pub(super) const WIDE_FROM_HZ: u32 = 16_000;

/// How far below the Nyquist frequency the filter has −6 dB, in cycles per filter length of the lower rate: what folds back when
/// decimating then lies above 90 % of the band, or above 95 % with long filters.
const BELOW_NYQUIST: f64 = 0.384;

/// Shape of the Kaiser window for 63 dB of stop band attenuation.
const BETA: f64 = 5.95;

/// Returns the impulse response of a filter of twice `half_length` at `time` samples of the lower rate from its centre.
pub(super) fn impulse_response(half_length: f64, time: f64) -> f64 {
    let within = 1.0 - (time / half_length).powi(2);
    if within <= 0.0 {
        return 0.0;
    }
    let cutoff = cutoff(half_length);
    2.0 * cutoff * sinc(2.0 * cutoff * time) * bessel_i0(BETA * within.sqrt()) / bessel_i0(BETA)
}

/// Frequency at which the filter has −6 dB, in cycles per sample of the lower rate; 0.5 is the Nyquist frequency.
fn cutoff(half_length: f64) -> f64 {
    0.5 - BELOW_NYQUIST / (2.0 * half_length)
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

    #[test]
    fn the_bessel_function_has_its_known_values() {
        for (x, expected) in [(0.0, 1.0), (1.0, 1.266_065_878), (6.0, 67.234_406_976)] {
            assert!((bessel_i0(x) - expected).abs() < 1e-8 * expected, "I0({x})");
        }
    }

    #[test]
    fn the_response_is_symmetric_and_ends() {
        for half_length in [HALF_LENGTH, WIDE_HALF_LENGTH] {
            for time in [0.1, 1.0, 7.3, 15.9] {
                assert_eq!(
                    impulse_response(half_length, time),
                    impulse_response(half_length, -time)
                );
            }
            assert_eq!(impulse_response(half_length, half_length), 0.0);
            assert_eq!(impulse_response(half_length, -half_length - 0.1), 0.0);
            assert!((impulse_response(half_length, 0.0) - 2.0 * cutoff(half_length)).abs() < 1e-12);
        }
    }
}
