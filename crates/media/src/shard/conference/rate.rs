//! Raising the rate of a running mix, between two ticks and without a gap: every converter goes on from the last block
//! that was heard.

use confab_dsp::Resampler;
use confab_mixer::{MixFormat, MixerStorage};

use super::ConferenceAudio;
use crate::leg::Leg;
use crate::shard::bus::{samples_in, set_rates};
use crate::shard::key::Tenants;

/// What a mix of a higher rate needs, made outside the shard; afterwards what the lower one had.
pub(crate) struct RateChange {
    format: MixFormat,
    /// Taken by the mix; what comes back is to be freed elsewhere.
    mixer: Option<MixerStorage>,
    block: Box<[i16]>,
    upward: Resampler,
}

impl RateChange {
    /// Allocates for a mix with room for `capacity` legs.
    pub(crate) fn new(format: MixFormat, capacity: usize) -> Self {
        RateChange {
            format,
            mixer: Some(MixerStorage::new(format, capacity)),
            block: vec![0; format.block_samples()].into_boxed_slice(),
            upward: Resampler::new(),
        }
    }
}

impl ConferenceAudio {
    /// Mixes at a higher rate from the next tick on. A change that does not raise it, or has no room for everybody, changes
    /// nothing.
    pub(crate) fn raise_rate<S>(&mut self, change: &mut RateChange, legs: &mut Tenants<Leg<S>>) {
        let (from_hz, to_hz) = (self.rate_hz(), change.format.rate_hz());
        let Some(storage) = change.mixer.take_if(|storage| self.mixer.can_adopt_format(storage)) else {
            return;
        };
        set_rates(&mut change.upward, from_hz, to_hz);
        for member in &self.members {
            let Some(session) = legs.at(member.leg).and_then(|leg| leg.session.as_mut()) else {
                continue;
            };
            // A leg of the mix's rate had no converter: it begins with what the leg was just heard with.
            let was_equal = session.receiving.kind.sample_rate_hz() == from_hz;
            session.set_mix_rate(to_hz);
            if was_equal && let Some(heard) = self.mixer.contribution(member.slot) {
                session.receiving.to_mix.skip(heard);
            }
        }
        let samples = samples_in(to_hz, self.mixer.block_ms()).min(change.block.len());
        let raised = &mut change.block[..samples];
        let written = change.upward.process(self.mixer.common(), raised);
        for bus in &mut self.buses {
            bus.set_mix_rate(to_hz);
            bus.prime(&raised[..written]);
        }
        for group in &mut self.groups {
            group.set_mix_rate(to_hz);
        }
        change.mixer = Some(self.mixer.adopt_format(storage));
        std::mem::swap(&mut self.block, &mut change.block);
    }
}
