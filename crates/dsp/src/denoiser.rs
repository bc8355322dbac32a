//! Noise suppression for one talker: RNNoise's method by the crate `nnnoiseless`, with the conversion to its 48 kHz and
//! back. Off by default and dear: see the figures at [`Denoiser`].
//!
//! J.-M. Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement", 2018.

use std::sync::OnceLock;

use nnnoiseless::{DenoiseState, RnnModel};

use crate::resampler::{Resampler, ResamplerTable};

/// The rate that the method works at, in Hz.
const INNER_HZ: u32 = 48_000;

/// Samples of 10 ms at that rate.
const FRAME: usize = DenoiseState::FRAME_SIZE;

/// Removes noise from one stream, in frames of 10 ms.
///
/// Delays the stream by 10 ms, and at other rates than 48 kHz by 32 more samples of the stream's rate. Takes 0.2 to 0.3 ms
/// for 20 ms of audio, as long as a hundred resamplings: meant for those who talk, and only as many of them as there is
/// time for.
///
/// Memory is taken at creation, but for tables that each thread has of its own: a thread that must not allocate calls
/// [`Denoiser::prepare_thread`] first.
pub struct Denoiser {
    rate_hz: u32,
    state: Box<DenoiseState<'static>>,
    up: Resampler,
    down: Resampler,
}

impl Denoiser {
    /// Creates a denoiser for a stream at one of [`RESAMPLER_RATES_HZ`](crate::RESAMPLER_RATES_HZ), `None` for others.
    pub fn new(rate_hz: u32) -> Option<Self> {
        let (mut up, mut down) = (Resampler::new(), Resampler::new());
        up.set(ResamplerTable::get(rate_hz, INNER_HZ)?);
        down.set(ResamplerTable::get(INNER_HZ, rate_hz)?);
        Some(Denoiser {
            rate_hz,
            state: DenoiseState::with_model(model()),
            up,
            down,
        })
    }

    /// Takes the memory that denoising needs once in each thread.
    pub fn prepare_thread() {
        let mut state = DenoiseState::with_model(model());
        // Digital silence takes a short cut, so something has to be heard.
        let input: [f32; FRAME] = std::array::from_fn(|n| (n % 100) as f32 * 20.0);
        for _ in 0..4 {
            state.process_frame(&mut [0.0; FRAME], &input);
        }
    }

    /// Returns how far the output lags behind the input, in samples.
    pub fn delay_samples(&self) -> usize {
        self.frame_samples() + 2 * self.down.delay_samples()
    }

    /// Replaces samples by cleaner ones. What does not fill 10 ms at the end is left as it is: blocks should be whole
    /// multiples of 10 ms.
    pub fn process(&mut self, samples: &mut [i16]) {
        let (mut wide, mut input, mut output) = ([0i16; FRAME], [0f32; FRAME], [0f32; FRAME]);
        for frame in samples.chunks_exact_mut(self.frame_samples()) {
            self.up.process(frame, &mut wide);
            for (input, &sample) in input.iter_mut().zip(&wide) {
                *input = f32::from(sample);
            }
            self.state.process_frame(&mut output, &input);
            for (sample, &output) in wide.iter_mut().zip(&output) {
                *sample = output.round() as i16; // the cast saturates
            }
            self.down.process(&wide, frame);
        }
    }

    fn frame_samples(&self) -> usize {
        (self.rate_hz / 100) as usize
    }
}

impl std::fmt::Debug for Denoiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Denoiser")
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}

/// The network's weights, shared by all.
fn model() -> &'static RnnModel {
    static MODEL: OnceLock<RnnModel> = OnceLock::new();
    MODEL.get_or_init(RnnModel::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that falls with the frequency, as that of rooms and fans does.
    fn noise(samples: usize) -> Vec<i16> {
        let (mut state, mut low) = (1u32, 0.0);
        (0..samples)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                low = 0.97 * low + f64::from(state as i32) / 2f64.powi(31) * 400.0;
                low as i16
            })
            .collect()
    }

    fn rms(samples: &[i16]) -> f64 {
        let power: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
        (power / samples.len() as f64).sqrt()
    }

    #[test]
    fn steady_noise_is_lowered_at_every_rate() {
        for rate_hz in crate::RESAMPLER_RATES_HZ {
            let mut denoiser = Denoiser::new(rate_hz).expect("a known rate");
            let mut samples = noise(rate_hz as usize * 3);
            let before = rms(&samples);
            for block in samples.chunks_mut(rate_hz as usize / 50) {
                denoiser.process(block);
            }
            let lowered = 20.0 * (rms(&samples[rate_hz as usize * 2..]) / before).log10();
            assert!(lowered < -20.0, "{lowered:.1} dB at {rate_hz} Hz");
        }
        assert!(Denoiser::new(11_025).is_none());
    }

    #[test]
    fn silence_stays_silence_and_a_remainder_is_left() {
        let mut denoiser = Denoiser::new(16_000).expect("a known rate");
        assert_eq!(denoiser.delay_samples(), 160 + 4);
        let mut samples = [0; 330];
        samples[325] = 77;
        denoiser.process(&mut samples);
        assert!(samples[..320].iter().all(|&sample| sample == 0));
        assert_eq!(samples[325], 77);
    }
}
