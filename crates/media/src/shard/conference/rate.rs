//! Raising the rate of a running mix without a gap: one tick is mixed at the lower rate and sent as a crossfade from the
//! lower rate's conversions to those of the higher; from the next tick on everything is mixed at the higher rate.

use confab_dsp::Resampler;
use confab_mixer::{MixFormat, MixerStorage, Room, SlotId};

use super::ConferenceAudio;
use crate::leg::Leg;
use crate::leg::input::MAX_FRAME_SAMPLES;
use crate::leg::output::Shared;
use crate::shard::bus::{RateBus, crossfade, samples_in, set_rates};
use crate::shard::key::Tenants;

/// What a mix of a higher rate needs, made outside the shard; afterwards what the lower one had.
pub(crate) struct RateChange {
    format: MixFormat,
    /// Taken by the mix; what comes back is to be freed elsewhere.
    mixer: Option<MixerStorage>,
    block: Box<[i16]>,
    common: Lift,
    waiting: Lift,
    own: Lift,
    scratch: Box<[i16]>,
    done: bool,
}

/// One signal on its way from the lower rate to the higher.
struct Lift {
    upward: Resampler,
    /// The same before this block.
    before: Resampler,
    /// The block before, and the same at the higher rate.
    last: Box<[i16]>,
    previous: Box<[i16]>,
    /// This block at the higher rate.
    raised: Box<[i16]>,
    /// Samples of a block at the lower rate, and at the higher.
    last_samples: usize,
    samples: usize,
}

impl Lift {
    fn new() -> Self {
        let block = || vec![0; MAX_FRAME_SAMPLES].into_boxed_slice();
        Lift {
            upward: Resampler::new(),
            before: Resampler::new(),
            last: block(),
            previous: block(),
            raised: block(),
            last_samples: 0,
            samples: 0,
        }
    }

    /// Takes the last block before the change.
    fn prepare(&mut self, from_hz: u32, to_hz: u32, block: &[i16]) {
        set_rates(&mut self.upward, from_hz, to_hz);
        self.upward.process(block, &mut self.previous);
        self.last_samples = block.len().min(self.last.len());
        self.last[..self.last_samples].copy_from_slice(&block[..self.last_samples]);
    }

    /// Takes the block of the change, of which there are to be so many samples.
    fn take(&mut self, block: &[i16], samples: usize) {
        let samples = samples.min(self.raised.len());
        self.before.copy_from(&self.upward);
        self.samples = self.upward.process(block, &mut self.raised[..samples]);
    }

    /// Lets the signal's buses go over.
    fn cross_over(&self, buses: &mut [RateBus], to_hz: u32, scratch: &mut [i16]) {
        for bus in buses {
            bus.join(to_hz, &self.previous[..self.samples]);
            bus.cross_over(&self.raised[..self.samples], scratch);
        }
    }
}

impl RateChange {
    /// Allocates for a mix with this room.
    pub(crate) fn new(format: MixFormat, room: Room) -> Self {
        RateChange {
            format,
            mixer: Some(MixerStorage::with_room(format, room)),
            block: vec![0; format.block_samples()].into_boxed_slice(),
            common: Lift::new(),
            waiting: Lift::new(),
            own: Lift::new(),
            scratch: vec![0; MAX_FRAME_SAMPLES].into_boxed_slice(),
            done: false,
        }
    }

    /// Makes room for more in a raise that has no tick yet. Returns whether it is to come; what is in `mixer` afterwards is
    /// to be freed elsewhere.
    pub(super) fn grow(&mut self, mixer: &mut MixerStorage) -> bool {
        if self.done {
            return false;
        }
        if let Some(smaller) = self.mixer.as_mut().filter(|smaller| mixer.outgrows(smaller)) {
            std::mem::swap(smaller, mixer);
        }
        true
    }
}

impl ConferenceAudio {
    /// Raises the rate with the next tick. Returns a change of before, to be freed elsewhere.
    pub(crate) fn raise_rate<S>(
        &mut self,
        mut change: Box<RateChange>,
        legs: &mut Tenants<Leg<S>>,
    ) -> Option<Box<RateChange>> {
        let mut before = self.rate_change.take();
        if let Some(before) = before.as_mut().filter(|before| !before.done) {
            // Two raises in a row: the first has no tick of its own.
            self.adopt(before, legs);
            for member in &self.members {
                if let Some(leg) = legs.at(member.leg) {
                    leg.output.own_tick = 0; // his own mix is joined to the common one
                }
            }
        }
        let (from_hz, to_hz) = (self.rate_hz(), change.format.rate_hz());
        change.common.prepare(from_hz, to_hz, self.mixer.common());
        change.waiting.prepare(from_hz, to_hz, self.mixer.waiting());
        self.rate_change = Some(change);
        before
    }

    /// Goes over to the rate that was asked for, after a tick was mixed and before it is sent.
    pub(super) fn change_rate(&mut self) {
        let mixer = &self.mixer;
        let fits = |change: &RateChange| {
            let storage = change.mixer.as_ref();
            storage.is_some_and(|storage| mixer.can_adopt_format(storage))
        };
        let Some(mut change) = self.rate_change.take_if(|change| !change.done) else {
            return;
        };
        if !fits(&change) {
            change.done = true;
            self.rate_change = Some(change);
            return;
        }
        let to_hz = change.format.rate_hz();
        let samples = samples_in(to_hz, self.mixer.block_ms());
        let RateChange {
            common,
            waiting,
            scratch,
            ..
        } = &mut *change;
        common.take(self.mixer.common(), samples);
        common.cross_over(&mut self.buses, to_hz, scratch);
        waiting.take(self.mixer.waiting(), samples);
        waiting.cross_over(&mut self.waiting_buses, to_hz, scratch);
        self.rate_change = Some(change);
    }

    /// Puts a block of a listener's own mix into his packet that goes over to the rate to come, and his converter with it.
    /// `begins` tells that he heard something else before.
    pub(super) fn place_own_across<S>(&mut self, leg: &mut Leg<S>, slot: SlotId, begins: bool) {
        let (Some(session), Some(membership), Some(mut change)) =
            (&mut leg.session, &leg.membership, self.rate_change.take())
        else {
            return;
        };
        let group = &self.groups[membership.group];
        let (from_hz, to_hz) = (self.mixer.format().rate_hz(), change.format.rate_hz());
        let RateChange {
            common,
            waiting,
            own,
            scratch,
            ..
        } = &mut *change;
        let previous = if begins {
            let heard = match leg.output.heard {
                Some(Shared::Waiting) => waiting,
                Some(Shared::Common | Shared::Protected | Shared::Silence) | None => common,
            };
            own.upward.copy_from(&heard.before);
            // The bus has gone over already.
            set_rates(&mut session.from_mix, from_hz, group.rate_hz());
            session.from_mix.reset();
            session.from_mix.skip(&heard.last[..heard.last_samples]);
            &heard.previous[..heard.samples]
        } else {
            set_rates(&mut own.upward, from_hz, to_hz);
            own.upward.reset();
            let past = match group.start {
                _ if group.rate_hz() != from_hz => session.from_mix.past(),
                // What he was sent last stands where this block is put, or before.
                0 => &session.own,
                start => &session.own[..start],
            };
            let written = own.upward.process(past, &mut own.previous);
            &own.previous[..written]
        };
        let block = &mut self.block[..self.mixer.block_samples()];
        self.mixer.render_own(slot, block);
        let samples = samples_in(to_hz, self.mixer.block_ms()).min(own.raised.len());
        let written = own.upward.process(block, &mut own.raised[..samples]);
        let place = &mut session.own[group.start..group.end];
        if group.rate_hz() == from_hz {
            place.copy_from_slice(&block[..place.len()]);
        } else {
            let written = session.from_mix.process(block, place);
            place[written..].fill(0);
        }
        set_rates(&mut session.from_mix, to_hz, group.rate_hz());
        session.from_mix.reset();
        session.from_mix.skip(previous);
        let after = &mut scratch[..place.len()];
        let written = session.from_mix.process(&own.raised[..written], after);
        after[written..].fill(0);
        crossfade(place, after);
        self.rate_change = Some(change);
    }

    /// Returns whether the rate is raised with the next tick, or with this one.
    pub(super) fn rate_is_to_change(&self) -> bool {
        self.rate_change.as_ref().is_some_and(|change| !change.done)
    }

    /// Goes on at the rate that was changed to, after a tick was sent.
    pub(super) fn end_change<S>(&mut self, legs: &mut Tenants<Leg<S>>) {
        if let Some(mut change) = self.rate_change.take_if(|change| !change.done) {
            self.adopt(&mut change, legs);
            self.rate_change = Some(change);
        }
    }

    /// Mixes at the higher rate from now on. A change that has no room for everybody changes nothing.
    fn adopt<S>(&mut self, change: &mut RateChange, legs: &mut Tenants<Leg<S>>) {
        change.done = true;
        let (from_hz, to_hz) = (self.rate_hz(), change.format.rate_hz());
        let Some(storage) = change
            .mixer
            .take_if(|storage| self.mixer.can_adopt_format(storage))
        else {
            return;
        };
        for member in &self.members {
            let Some(leg) = legs.at(member.leg) else { continue };
            let Some(session) = &mut leg.session else { continue };
            // A leg of the mix's rate had no converter: it begins with what the leg was just heard with.
            let was_equal = session.receiving.kind.sample_rate_hz() == from_hz;
            session.set_mix_rate(to_hz);
            if was_equal && let Some(heard) = self.mixer.contribution(member.slot) {
                session.receiving.to_mix.skip(heard);
            }
        }
        for group in &mut self.groups {
            group.set_mix_rate(to_hz);
        }
        change.mixer = Some(self.mixer.adopt_format(storage));
        self.playback.raise(to_hz, &mut change.scratch);
        self.noise = super::noise(self.noise_level, change.format);
        std::mem::swap(&mut self.block, &mut change.block);
    }
}
