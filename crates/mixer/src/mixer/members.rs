//! Who is in the mix: places, controls, gains, relations.

use super::Mixer;
use crate::slot::{Exceptions, MemberOptions, Slot, SlotId};

impl Mixer {
    /// Gives a place to a participant, from the next tick on; `None` when there is no room.
    pub fn add(&mut self, muted: bool, deaf: bool) -> Option<SlotId> {
        self.add_member(&MemberOptions {
            muted,
            deaf,
            ..MemberOptions::default()
        })
    }

    /// The same with everything that can be said of a participant at his entry. Gains apply from his first sample on.
    pub fn add_member(&mut self, options: &MemberOptions) -> Option<SlotId> {
        let index = self.storage.free.pop()? as usize;
        let rate_hz = self.format.rate_hz();
        let exceptions = Exceptions::new(rate_hz, options);
        let mut slot = Slot::new(self.energy_level, rate_hz, options);
        slot.amplified = !exceptions.input.is_idle();
        slot.exceptional = exceptions.decide(self.tick);
        self.storage.exceptions[index] = exceptions;
        self.storage.slots[index] = Some(slot);
        Some(SlotId::from_index(index))
    }

    /// Takes a participant out, with his relations and the sources that played to him alone. Returns whether he was
    /// there.
    pub fn remove(&mut self, slot: SlotId) -> bool {
        let index = slot.index();
        let storage = &mut self.storage;
        let Some(place) = storage.slots.get_mut(index).and_then(Option::take) else {
            return false;
        };
        if place.contributes && place.soundless {
            self.soundless -= 1;
        }
        storage
            .contributors
            .retain(|&contributor| contributor as usize != index);
        storage.free.push(index as u32);
        let (slots, exceptions, tick) = (&mut storage.slots, &mut storage.exceptions, self.tick);
        storage.relations.forget(index as u32, |listener| {
            let listener = listener as usize;
            exceptions[listener].relations -= 1;
            if let Some(place) = &mut slots[listener] {
                place.exceptional = exceptions[listener].decide(tick);
            }
        });
        self.remove_sources_of(slot);
        true
    }

    /// Mutes or unmutes a participant from the next tick on. Returns whether that ended his talking.
    pub fn set_muted(&mut self, slot: SlotId, muted: bool) -> bool {
        self.slot_mut(slot)
            .is_some_and(|slot| slot.control(|slot| slot.muted = muted))
    }

    /// Ends a participant's contribution while his call is on hold, and lets it begin again, from the next tick on;
    /// what he hears stays. Returns whether that ended his talking.
    pub fn set_held(&mut self, slot: SlotId, held: bool) -> bool {
        self.slot_mut(slot)
            .is_some_and(|slot| slot.control(|slot| slot.held = held))
    }

    /// Takes a participant out of the mix without giving up his place, or lets him in, from the next tick on: while he
    /// waits nobody hears him, and he hears what plays to those who wait and to him alone. Returns whether that ended
    /// his talking.
    pub fn set_waiting(&mut self, slot: SlotId, waiting: bool) -> bool {
        self.slot_mut(slot)
            .is_some_and(|slot| slot.control(|slot| slot.waiting = waiting))
    }

    /// Makes a participant deaf or hearing from the next tick on. Playback to him alone is heard even so.
    pub fn set_deaf(&mut self, slot: SlotId, deaf: bool) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.deaf = deaf;
        }
    }

    /// Keeps the floor from a participant, or lets him have it. He is mixed alike.
    pub fn set_ghost(&mut self, slot: SlotId, ghost: bool) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.ghost = ghost;
        }
    }

    /// Sets the score above which gates open, for those present and those to come.
    pub fn set_energy_level(&mut self, energy_level: u16) {
        self.energy_level = energy_level;
        for slot in self.storage.slots.iter_mut().flatten() {
            slot.gate.set_level(energy_level);
        }
    }

    /// Sets the score above which one participant's gate opens.
    pub fn set_member_energy_level(&mut self, slot: SlotId, energy_level: u16) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.gate.set_level(energy_level);
        }
    }

    /// Sets the gain of what comes from a participant, in dB within [`MIN_GAIN_DB`](crate::MIN_GAIN_DB) and
    /// [`MAX_GAIN_DB`](crate::MAX_GAIN_DB), reached within 5 ms. It comes before his level is measured. What it
    /// amplifies is kept from clipping by a limiter of its own.
    pub fn set_input_gain(&mut self, slot: SlotId, decibels: f32) {
        let storage = &mut self.storage;
        if let Some(Some(place)) = storage.slots.get_mut(slot.index()) {
            let gain = &mut storage.exceptions[slot.index()].input;
            gain.set(decibels);
            place.amplified = !gain.is_idle();
        }
    }

    /// Sets the gain of what goes to a participant, likewise; it comes after his mix was limited. While it is not 0 dB
    /// he hears [`Signal::Own`](crate::Signal::Own).
    pub fn set_output_gain(&mut self, slot: SlotId, decibels: f32) {
        let storage = &mut self.storage;
        if let Some(Some(place)) = storage.slots.get_mut(slot.index()) {
            let exceptions = &mut storage.exceptions[slot.index()];
            exceptions.output.set(decibels);
            place.exceptional = exceptions.decide(self.tick);
        }
    }

    /// Sets whether a listener hears a talker, from the next tick on; the other way round is another relation. It ends
    /// when either leaves. Returns whether it is so now: `false` for places without a participant, for a participant
    /// and himself, and where there is no room for another relation.
    pub fn set_relation(&mut self, talker: SlotId, listener: SlotId, heard: bool) -> bool {
        if talker == listener || self.slot(talker).is_none() || self.slot(listener).is_none() {
            return false;
        }
        let (index, other) = (listener.index() as u32, talker.index() as u32);
        let storage = &mut self.storage;
        let done = if heard {
            storage.relations.remove(index, other);
            true
        } else {
            storage.relations.insert(index, other)
        };
        let exceptions = &mut storage.exceptions[listener.index()];
        exceptions.relations = storage.relations.count_of(index) as u32;
        if let Some(place) = &mut storage.slots[listener.index()] {
            place.exceptional = exceptions.decide(self.tick);
        }
        done
    }

    /// Returns whether a listener's relations let him hear a talker.
    pub fn is_related_heard(&self, talker: SlotId, listener: SlotId) -> bool {
        self.storage
            .relations
            .hears(listener.index() as u32, talker.index() as u32)
    }

    /// Returns how many relations there are, of the [`room`](Self::room) for them.
    pub fn relations(&self) -> usize {
        self.storage.relations.count()
    }

    /// Returns whether a participant is talking by the contract's rule.
    pub fn is_talking(&self, slot: SlotId) -> bool {
        self.slot(slot).is_some_and(|slot| slot.talking.is_talking())
    }

    /// Returns whether a participant is muted.
    pub fn is_muted(&self, slot: SlotId) -> bool {
        self.slot(slot).is_some_and(|slot| slot.muted)
    }

    /// Returns the score up to which the next block of a participant would be heard by nobody: all scores when he is
    /// muted, on hold or waiting, those up to the level while his gate is closed, none while it is open. It is the
    /// score before his input gain.
    pub fn unheard_up_to(&self, slot: SlotId) -> u16 {
        match self.slot(slot) {
            Some(place) if place.is_silenced() => u16::MAX,
            Some(place) if place.gate.is_open() => 0,
            Some(place) if place.amplified => {
                let gain = self.storage.exceptions[slot.index()].input.largest();
                // Half a unit may come from rounding, and a score is rounded down.
                ((f32::from(place.gate.level()) + 0.5) / gain - 1.0).max(0.0) as u16
            }
            Some(place) => place.gate.level(),
            None => 0,
        }
    }

    /// Returns whether the next block of a participant may be heard and is amplified or lowered before it is scored.
    pub fn is_amplified(&self, slot: SlotId) -> bool {
        self.slot(slot)
            .is_some_and(|place| place.amplified && !place.is_silenced())
    }

    /// Returns the score of a participant's last block.
    pub fn score(&self, slot: SlotId) -> u16 {
        self.slot(slot).map_or(0, |slot| slot.score)
    }

    /// Returns who has the floor.
    pub fn floor(&self) -> Option<SlotId> {
        self.floor.holder()
    }
}
