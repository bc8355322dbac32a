//! The low-pass filter that all conversions share, as a function of continuous time. Never seen by the audio itself:
//! tables sample it.
//!
//! A sinc under a Kaiser window (J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function",
//! 1974). Time and frequency are in units of the lower of the two rates, so that one shape serves all pairs.

/// Half of the filter's length, in samples of the lower rate. It is also the delay.
pub(super) const HALF_LENGTH: f64 = 16.0;

/// Frequency at which the filter has −6 dB, in cycles per sample of the lower rate; 0.5 is the Nyquist frequency. A bit
/// below it: what folds back when decimating then lies above 90 % of the band.
const CUTOFF: f64 = 0.488;

/// Shape of the Kaiser window for 63 dB of stop band attenuation.
const BETA: f64 = 5.95;

/// Returns the impulse response at `time` samples of the lower rate from its centre.
pub(super) fn impulse_response(time: f64) -> f64 {
    let within = 1.0 - (time / HALF_LENGTH).powi(2);
    if within <= 0.0 {
        return 0.0;
    }
    2.0 * CUTOFF * sinc(2.0 * CUTOFF * time) * bessel_i0(BETA * within.sqrt()) / bessel_i0(BETA)
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
        for time in [0.1, 1.0, 7.3, 15.9] {
            assert_eq!(impulse_response(time), impulse_response(-time));
        }
        assert_eq!(impulse_response(16.0), 0.0);
        assert_eq!(impulse_response(-16.1), 0.0);
        assert!((impulse_response(0.0) - 2.0 * CUTOFF).abs() < 1e-12);
    }
}
