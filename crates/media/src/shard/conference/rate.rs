//! Raising the rate of a running mix without a gap: one tick is mixed at the lower rate and sent as a crossfade from the
//! lower rate's conversions to those of the higher; from the next tick on everything is mixed at the higher rate.

use confab_dsp::Resampler;
use confab_mixer::{MixFormat, MixerStorage, Room};

use super::ConferenceAudio;
use crate::leg::Leg;
use crate::leg::input::MAX_FRAME_SAMPLES;
use crate::shard::bus::{samples_in, set_rates};
use crate::shard::key::Tenants;

/// What a mix of a higher rate needs, made outside the shard; afterwards what the lower one had.
pub(crate) struct RateChange {
    format: MixFormat,
    /// Taken by the mix; what comes back is to be freed elsewhere.
    mixer: Option<MixerStorage>,
    block: Box<[i16]>,
    /// From the lower rate to the higher.
    upward: Resampler,
    /// The block before and this one at the higher rate.
    previous: Box<[i16]>,
    raised: Box<[i16]>,
    scratch: Box<[i16]>,
    done: bool,
}

impl RateChange {
    /// Allocates for a mix with room for `capacity` legs.
    /// `relations` is the number of ordered pairs that do not hear each other, at most.
    pub(crate) fn new(format: MixFormat, capacity: usize, relations: usize) -> Self {
        let usual = Room::for_participants(capacity);
        let room = Room {
            relations: usual.relations.max(relations),
            ..usual
        };
        let block = || vec![0; MAX_FRAME_SAMPLES].into_boxed_slice();
        RateChange {
            format,
            mixer: Some(MixerStorage::with_room(format, room)),
            block: vec![0; format.block_samples()].into_boxed_slice(),
            upward: Resampler::new(),
            previous: block(),
            raised: block(),
            scratch: block(),
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
        }
        set_rates(&mut change.upward, self.rate_hz(), change.format.rate_hz());
        change.upward.process(self.mixer.common(), &mut change.previous);
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
        let samples = samples_in(to_hz, self.mixer.block_ms()).min(change.raised.len());
        let written = change
            .upward
            .process(self.mixer.common(), &mut change.raised[..samples]);
        for bus in &mut self.buses {
            bus.join(to_hz, &change.previous[..written]);
            bus.cross_over(&change.raised[..written], &mut change.scratch);
        }
        self.rate_change = Some(change);
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
            leg.output.own_tick = 0; // his own mix is joined to the common one
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
        self.noise = super::noise(self.noise_level, change.format);
        std::mem::swap(&mut self.block, &mut change.block);
    }
}
