//! Linear prediction: the filter that turns speech into its residual, found from the newest samples.

/// Coefficients of the filter.
pub(super) const ORDER: usize = 24;

/// How much the coefficients shrink from each to the next, which widens the resonances a little.
const WIDENING: f32 = 0.98;

/// White noise that is added to the signal in thought, as a share of its power: keeps the filter tame.
const WHITENING: f32 = 1e-4;

/// The window that the newest `samples` are weighed with: it rises over four fifths of them and falls over the last.
pub(super) fn window(samples: usize) -> Box<[f32]> {
    let summit = samples as f32 * 0.8;
    (0..samples)
        .map(|n| {
            let at = n as f32 + 0.5;
            let phase = if at < summit {
                at / summit
            } else {
                1.0 + (at - summit) / (samples as f32 - summit)
            };
            0.5 - 0.5 * (std::f32::consts::PI * phase).cos()
        })
        .collect()
}

/// The coefficients that predict a sample as their product with the samples before it, oldest first.
pub(super) fn predictor(windowed: &[f32]) -> [f32; ORDER] {
    let mut correlation = [0.0; ORDER + 1];
    for (lag, sum) in correlation.iter_mut().enumerate() {
        *sum = super::product(&windowed[lag..], &windowed[..windowed.len() - lag]);
    }
    // The 1 keeps silence from dividing by zero.
    correlation[0] += correlation[0] * WHITENING + 1.0;
    let mut coefficients = levinson_durbin(&correlation);
    let mut factor = 1.0;
    for coefficient in &mut coefficients {
        factor *= WIDENING;
        *coefficient *= factor;
    }
    coefficients.reverse();
    coefficients
}

/// The coefficients, newest first.
fn levinson_durbin(correlation: &[f32; ORDER + 1]) -> [f32; ORDER] {
    let mut coefficients = [0.0; ORDER];
    let mut error = correlation[0];
    for n in 0..ORDER {
        let known = &coefficients[..n];
        let predicted: f32 = known
            .iter()
            .zip(correlation[1..=n].iter().rev())
            .map(|(a, r)| a * r)
            .sum();
        let reflection = (correlation[n + 1] - predicted) / error;
        let before = coefficients;
        for (k, coefficient) in coefficients[..n].iter_mut().enumerate() {
            *coefficient -= reflection * before[n - 1 - k];
        }
        coefficients[n] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    coefficients
}

/// The sample predicted from those before it, oldest first.
pub(super) fn predict(coefficients: &[f32; ORDER], past: &[f32; ORDER]) -> f32 {
    super::product(coefficients, past)
}
