//! What each listener hears: which signal is his, and the mixes that are his alone.

use super::{Mixer, Signal, add};
use crate::slot::{Slot, SlotId};

/// Gains of two limiters that differ by less, a tenth of a decibel, may take each other's place.
const SAME_GAIN: f32 = 0.01;

impl Mixer {
    /// Returns what a listener hears in this tick. To be asked before [`render_own`](Self::render_own).
    #[inline]
    pub fn signal(&self, slot: SlotId) -> Signal {
        let Some(place) = self.slot(slot) else {
            return Signal::Silence;
        };
        let alone = place.own_mix_tick != 0 && self.goes_on_alone(place);
        if place.exceptional || alone || !place.hears_mix() {
            return self.exceptional_signal(slot, place, alone);
        }
        if self.heard() == usize::from(place.contributes) {
            self.when_nobody_is_heard()
        } else if place.contributes {
            Signal::Own
        } else {
            Signal::Common
        }
    }

    /// The same for a listener who is not like the others. `alone` when he goes on with a mix of his own.
    #[inline(never)]
    fn exceptional_signal(&self, slot: SlotId, place: &Slot, alone: bool) -> Signal {
        let exceptions = &self.storage.exceptions[slot.index()];
        if exceptions.private > 0 {
            return Signal::Own;
        }
        let shared = if !place.hears_mix() {
            match self.beside_the_mix(place) {
                Signal::Waiting if exceptions.keeps_out(self.tick) => Signal::Own,
                signal => signal,
            }
        } else {
            let unheard = self.unheard_voices(slot, place);
            if unheard == self.heard() {
                self.when_nobody_is_heard()
            } else if unheard > 0 || alone || exceptions.keeps_out(self.tick) {
                Signal::Own
            } else {
                Signal::Common
            }
        };
        match shared {
            Signal::Silence => Signal::Silence,
            _ if !exceptions.output.is_idle() => Signal::Own,
            shared => shared,
        }
    }

    /// Returns what a deaf or waiting listener hears.
    fn beside_the_mix(&self, place: &Slot) -> Signal {
        if place.waiting && !place.deaf && self.waiting_hear > 0 {
            Signal::Waiting
        } else {
            Signal::Silence
        }
    }

    /// Returns what a listener hears for whom the mix is empty.
    fn when_nobody_is_heard(&self) -> Signal {
        match (self.has_noise, self.heard()) {
            (false, _) => Signal::Silence,
            (true, 0) => Signal::Common,
            (true, _) => Signal::Own,
        }
    }

    /// Returns how many voices and sources of this tick's mix a listener does not hear: his own voice, those of his relations, what
    /// is hidden from him.
    fn unheard_voices(&self, slot: SlotId, place: &Slot) -> usize {
        let storage = &self.storage;
        let related = if storage.exceptions[slot.index()].relations > 0 {
            storage
                .relations
                .unheard(slot.index() as u32, &storage.contributors)
                .count()
        } else {
            0
        };
        let hidden = if storage.exceptions[slot.index()].keeps_out(self.tick) {
            self.unheard_of(slot, self.first_mixed)
        } else {
            0
        };
        related + hidden + usize::from(place.contributes)
    }

    /// Returns whether a listener who had his own mix until now would hear a step in the gain if he changed over to the
    /// common one.
    fn goes_on_alone(&self, place: &Slot) -> bool {
        place.own_mix_tick + 1 >= self.tick
            && (place.limiter.gain() - self.limiter_before.gain()).abs() > SAME_GAIN
    }

    /// Returns the block that a participant contributed to the last tick, if he did.
    pub fn contribution(&self, slot: SlotId) -> Option<&[i16]> {
        self.slot(slot).filter(|place| place.contributes)?;
        let full = self.format.block_samples();
        self.storage.blocks[slot.index() * full..].get(..self.block_samples())
    }

    /// Returns the block of [`Signal::Common`]: silence when nobody contributes and there is no comfort noise.
    pub fn common(&self) -> &[i16] {
        &self.storage.common[..self.block_samples()]
    }

    /// Writes what one listener hears in a mix of his own: without him and those he does not hear, with what plays to
    /// him, limited by itself, and amplified by his output gain. Once per tick and listener.
    ///
    /// `out` shorter than the block gets its beginning; for the place of nobody it is silence.
    pub fn render_own(&mut self, slot: SlotId, out: &mut [i16]) {
        let (rate_hz, block) = (self.format.rate_hz(), self.block_samples());
        let length = out.len().min(block);
        let Some(place) = self.slot(slot).copied() else {
            return out.fill(0);
        };
        let heard = self.sum_for(slot, &place, block);
        let begins = place.own_mix_tick + 1 != self.tick;
        let before = if place.hears_mix() {
            self.limiter_before
        } else {
            self.waiting_limiter
        };
        let tick = self.tick;
        let storage = &mut self.storage;
        let Some(Some(place)) = storage.slots.get_mut(slot.index()) else {
            return;
        };
        if begins {
            place.limiter = before;
        }
        place.own_mix_tick = tick;
        let out = &mut out[..length];
        // With relations it is not known which of the silent ones he would hear: then all count.
        let soundless = if place.hears_mix() && storage.relations.count() == 0 {
            self.soundless - usize::from(place.contributes && place.soundless)
        } else {
            0
        };
        place
            .limiter
            .process(&storage.rest[..length], heard.saturating_sub(soundless), out);
        if place.exceptional {
            let exceptions = &mut storage.exceptions[slot.index()];
            exceptions.output.apply(out, &mut storage.rest, rate_hz);
            // What is so in the next tick.
            place.exceptional = exceptions.decide(tick + 1);
        }
    }

    /// Sums up what a listener hears into the working sum; returns how many voices and sources those are.
    fn sum_for(&mut self, slot: SlotId, place: &Slot, block: usize) -> usize {
        let mut heard = if place.hears_mix() {
            self.sum_of_others(slot, place, block)
        } else if place.waiting && !place.deaf {
            let playing = self.sum_to_waiting(block);
            if place.exceptional && self.storage.exceptions[slot.index()].keeps_out(self.tick) {
                self.take_out(block, slot, self.first_waiting);
                playing - self.unheard_of(slot, self.first_waiting)
            } else {
                playing
            }
        } else {
            self.storage.rest[..block].fill(0);
            0
        };
        if heard == 0 && self.has_noise && place.hears_mix() {
            add(&self.storage.noise[..block], &mut self.storage.rest[..block]);
        }
        if place.exceptional && self.storage.exceptions[slot.index()].private > 0 {
            heard += self.add_private(block, slot);
        }
        heard
    }

    /// Sums up the mix without a listener and without those whom he does not hear.
    fn sum_of_others(&mut self, slot: SlotId, place: &Slot, block: usize) -> usize {
        let full = self.format.block_samples();
        let unheard = self.unheard_voices(slot, place);
        let heard = self.heard() - unheard;
        let storage = &mut self.storage;
        let (rest, total) = (&mut storage.rest[..block], &storage.total[..block]);
        if heard == 0 {
            rest.fill(0);
            return 0;
        }
        if place.contributes {
            let own = &storage.blocks[slot.index() * full..][..block];
            for ((rest, &sum), &sample) in rest.iter_mut().zip(total).zip(own) {
                *rest = sum - i32::from(sample);
            }
        } else {
            rest.copy_from_slice(total);
        }
        if place.exceptional && storage.exceptions[slot.index()].keeps_out(self.tick) {
            self.take_out(block, slot, self.first_mixed);
        }
        let storage = &mut self.storage;
        let rest = &mut storage.rest[..block];
        if storage.exceptions[slot.index()].relations > 0 {
            let voices = storage
                .relations
                .unheard(slot.index() as u32, &storage.contributors);
            for index in voices {
                let voice = &storage.blocks[index as usize * full..][..block];
                for (rest, &sample) in rest.iter_mut().zip(voice) {
                    *rest -= i32::from(sample);
                }
            }
        }
        heard
    }
}
