//! The common mix at each rate that listeners have: converted once per rate, however many hear it. Knows no codec.

use confab_dsp::{Resampler, ResamplerTable};
use confab_mixer::MixFormat;

/// Rates of the codecs that listeners may have, in Hz.
pub(crate) const LISTENER_RATES: [u32; 4] = [8000, 16_000, 44_100, 48_000];

/// The common mix at one rate.
pub(crate) struct RateBus {
    rate_hz: u32,
    /// Groups that take from it.
    pub(crate) users: u32,
    resampler: Resampler,
    /// The resampler as it was before this block: where a listener who hears something else goes on from.
    before: Resampler,
    block: Box<[i16]>,
    /// Samples of this block.
    filled: usize,
    /// The last block was digital silence.
    silent: bool,
}

impl RateBus {
    fn new(rate_hz: u32, format: MixFormat) -> Self {
        let samples = samples_in(rate_hz, format.interval_ms());
        let mut bus = RateBus {
            rate_hz,
            users: 0,
            resampler: Resampler::new(),
            before: Resampler::new(),
            block: vec![0; samples].into_boxed_slice(),
            filled: 0,
            silent: true,
        };
        bus.set_mix_rate(format.rate_hz());
        bus
    }

    /// Makes the buses of a conference, one for each rate in [`LISTENER_RATES`].
    pub(crate) fn all(format: MixFormat) -> Vec<RateBus> {
        LISTENER_RATES
            .into_iter()
            .map(|rate_hz| RateBus::new(rate_hz, format))
            .collect()
    }

    pub(crate) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Follows the mix to a rate, for listeners to come. It is for a bus that nobody takes from.
    pub(crate) fn open(&mut self, mix_rate_hz: u32) {
        self.set_mix_rate(mix_rate_hz);
        self.resampler.reset();
        self.silent = true;
    }

    fn set_mix_rate(&mut self, mix_rate_hz: u32) {
        set_rates(&mut self.resampler, mix_rate_hz, self.rate_hz);
        set_rates(&mut self.before, mix_rate_hz, self.rate_hz);
    }

    /// Follows the mix to another rate, at which the block before is `previous`.
    pub(crate) fn join(&mut self, mix_rate_hz: u32, previous: &[i16]) {
        self.set_mix_rate(mix_rate_hz);
        self.resampler.skip(previous);
        self.silent = false;
    }

    /// Goes over, with the block just taken, from the conversion of before to that of the new rate, at which the block is
    /// `raised`: their delays differ. `scratch` is working memory.
    pub(crate) fn cross_over(&mut self, raised: &[i16], scratch: &mut [i16]) {
        let raised_block = &mut scratch[..self.filled];
        let written = self.resampler.process(raised, raised_block);
        raised_block[written..].fill(0);
        crossfade(&mut self.block[..self.filled], raised_block);
    }

    /// Converts a block of the common mix of `block_ms`; `silent` tells that it is all zero.
    pub(crate) fn take(&mut self, common: &[i16], block_ms: u16, silent: bool) {
        self.filled = samples_in(self.rate_hz, block_ms).min(self.block.len());
        let out = &mut self.block[..self.filled];
        if silent && self.silent {
            out.fill(0);
            return;
        }
        self.before.copy_from(&self.resampler);
        let written = self.resampler.process(common, out);
        out[written..].fill(0);
        self.silent = silent;
    }

    /// Returns the block at this bus's rate.
    pub(crate) fn block(&self) -> &[i16] {
        &self.block[..self.filled]
    }

    /// Returns the resampler as it was before this block.
    pub(crate) fn before(&self) -> &Resampler {
        &self.before
    }
}

/// Goes over from one block to another that is as long, from its first sample to its last.
pub(crate) fn crossfade(old: &mut [i16], new: &[i16]) {
    let steps = old.len().max(1) as i32;
    for ((step, old), &new) in (0..).zip(old).zip(new) {
        let sum = i32::from(*old) * (steps - step) + i32::from(new) * step;
        *old = (sum / steps) as i16; // between two samples
    }
}

/// Returns the samples in a span of milliseconds.
pub(crate) fn samples_in(rate_hz: u32, milliseconds: u16) -> usize {
    rate_hz as usize * usize::from(milliseconds) / 1000
}

/// Gives a resampler its table. Tables are built by [`prepare_rates`] beforehand, outside the shard.
pub(crate) fn set_rates(resampler: &mut Resampler, from_hz: u32, to_hz: u32) {
    if let Some(table) = ResamplerTable::built(from_hz, to_hz) {
        resampler.set(table);
    }
}

/// Some of [`LISTENER_RATES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RateSet(u8);

impl RateSet {
    /// Adds a rate in Hz; one that no codec has is left out.
    pub(crate) fn insert(&mut self, rate_hz: u32) {
        if let Some(index) = LISTENER_RATES.iter().position(|&rate| rate == rate_hz) {
            self.0 |= 1 << index;
        }
    }

    pub(crate) fn union(self, other: RateSet) -> RateSet {
        RateSet(self.0 | other.0)
    }

    fn iter(self) -> impl Iterator<Item = u32> {
        LISTENER_RATES
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 >> index & 1 == 1)
            .map(|(_, rate_hz)| rate_hz)
    }
}

/// Builds the tables that legs of these rates need in a mix of this rate, and the one that leads to it from the rate of
/// before. Takes milliseconds at the first use of a pair, and allocates: not for a shard.
pub(crate) fn prepare_rates(mix_rate_hz: u32, legs: RateSet, before_hz: Option<u32>) {
    for rate_hz in legs.iter() {
        ResamplerTable::get(rate_hz, mix_rate_hz);
        ResamplerTable::get(mix_rate_hz, rate_hz);
    }
    if let Some(before_hz) = before_hz {
        ResamplerTable::get(before_hz, mix_rate_hz);
    }
}
