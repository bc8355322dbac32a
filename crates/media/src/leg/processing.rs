//! What is done with a leg's decoded audio before it is mixed: noise suppression, then automatic gain. Made outside the
//! shard for the rate of one codec; with another rate it does nothing.

use confab_dsp::{Agc, Denoiser};

/// Which processing a leg is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    pub(crate) auto_gain: bool,
    pub(crate) denoise: bool,
}

/// The processing of one leg.
#[derive(Default)]
pub(crate) struct Processing {
    rate_hz: u32,
    denoiser: Option<Box<Denoiser>>,
    auto_gain: Option<Box<Agc>>,
}

impl Processing {
    /// Allocates what is wished for audio at this rate.
    pub(crate) fn new(wishes: Wishes, rate_hz: u32) -> Self {
        let denoiser = wishes.denoise.then(|| Denoiser::new(rate_hz)).flatten();
        Processing {
            rate_hz,
            denoiser: denoiser.map(Box::new),
            auto_gain: wishes.auto_gain.then(|| Box::new(Agc::new(rate_hz))),
        }
    }

    /// Returns whether there is anything to do for audio at this rate.
    pub(crate) fn is_needed(&self, rate_hz: u32) -> bool {
        rate_hz == self.rate_hz && (self.denoiser.is_some() || self.auto_gain.is_some())
    }

    /// Works on a block in place; `may_denoise` is false when the tick has spent what it may on denoising.
    /// Returns whether it denoised.
    pub(crate) fn process(&mut self, block: &mut [i16], may_denoise: bool) -> bool {
        let mut denoised = false;
        if may_denoise && let Some(denoiser) = &mut self.denoiser {
            denoiser.process(block);
            denoised = true;
        }
        if let Some(auto_gain) = &mut self.auto_gain {
            auto_gain.process(block);
        }
        denoised
    }

    /// Tells of a block that is not worked on as nobody hears it, by its samples and their mean absolute value.
    pub(crate) fn pause(&mut self, samples: usize, score: u16) {
        if let Some(auto_gain) = &mut self.auto_gain {
            auto_gain.pause(samples, score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_of_another_rate_is_left_alone() {
        let wishes = Wishes {
            auto_gain: true,
            denoise: true,
        };
        let processing = Processing::new(wishes, 16_000);
        assert!(processing.is_needed(16_000) && !processing.is_needed(8000));
        assert!(!Processing::new(Wishes::default(), 8000).is_needed(8000));
        assert!(!Processing::default().is_needed(8000));
    }

    #[test]
    fn denoising_stops_when_its_share_is_spent() {
        let wishes = Wishes {
            auto_gain: false,
            denoise: true,
        };
        let mut processing = Processing::new(wishes, 8000);
        let mut block = [1000; 160];
        assert!(!processing.process(&mut block, false));
        assert_eq!(block, [1000; 160]);
        assert!(processing.process(&mut block, true));
        assert_ne!(block, [1000; 160]);
    }
}
