//! The mixer: owns the places, the contributions of one tick and the sums. Never allocates in a tick.

use confab_dsp::{Limiter, score};

use crate::floor::Floor;
use crate::format::MixFormat;
use crate::slot::{InputReport, MAX_SLOTS, Slot, SlotId};

/// What a listener hears in one tick.
///
/// Listeners of the same shared signal hear the same block, sample by sample, and may share its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Nothing: nobody else contributes, or the listener is deaf.
    Silence,
    /// Everybody who contributes: [`Mixer::common`].
    Common,
    /// What [`Mixer::render_own`] gives for this listener alone: all contributions but his.
    Own,
}

/// What one tick amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixed {
    /// Number of contributions.
    pub contributions: usize,
    /// The floor passed on in this tick.
    pub floor_changed: bool,
}

/// The memory of a mixer's participants, made outside the tick.
#[derive(Debug)]
pub struct MixerStorage {
    slots: Vec<Option<Slot>>,
    /// Free places, the lowest last, so that it is given out first.
    free: Vec<u32>,
    /// Contributions, one full block per place.
    blocks: Vec<i16>,
    /// Who contributes in this tick.
    contributors: Vec<u32>,
}

impl MixerStorage {
    /// Makes storage for `capacity` participants (at most [`MAX_SLOTS`]) of a mix in the given format.
    pub fn new(format: MixFormat, capacity: usize) -> Self {
        let capacity = capacity.min(MAX_SLOTS);
        MixerStorage {
            slots: vec![None; capacity],
            free: (0..capacity as u32).rev().collect(),
            blocks: vec![0; capacity * format.block_samples()],
            contributors: Vec::with_capacity(capacity),
        }
    }

    /// Returns for how many participants there is room.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }
}

/// One conference's mixer.
///
/// A tick is [`begin`](Self::begin), then [`input`](Self::input) or [`input_quiet`](Self::input_quiet) for everybody
/// (a participant left out does not contribute), then [`mix`](Self::mix), then for every listener
/// [`signal`](Self::signal) and, for [`Signal::Own`], [`render_own`](Self::render_own).
#[derive(Debug)]
pub struct Mixer {
    format: MixFormat,
    /// Length of this tick's blocks, at most the format's interval.
    block_ms: u16,
    energy_level: u16,
    storage: MixerStorage,
    total: Vec<i32>,
    /// The sum without one contributor, while his own mix is made.
    rest: Vec<i32>,
    common: Vec<i16>,
    limiter: Limiter,
    /// The common limiter as it was before this tick: where a new own mix goes on from.
    limiter_before: Limiter,
    floor: Floor,
    /// Number of the tick, from 1.
    tick: u64,
}

impl Mixer {
    /// Creates a mixer with room for `capacity` participants, whose gates open above `energy_level` (score units).
    pub fn new(format: MixFormat, capacity: usize, energy_level: u16) -> Self {
        let limiter = Limiter::new(format.rate_hz());
        Mixer {
            format,
            block_ms: format.interval_ms(),
            energy_level,
            storage: MixerStorage::new(format, capacity),
            total: vec![0; format.block_samples()],
            rest: vec![0; format.block_samples()],
            common: vec![0; format.block_samples()],
            limiter,
            limiter_before: limiter,
            floor: Floor::new(),
            tick: 0,
        }
    }

    /// Returns the format.
    pub fn format(&self) -> MixFormat {
        self.format
    }

    /// Returns the length of a block in milliseconds.
    pub fn block_ms(&self) -> u16 {
        self.block_ms
    }

    /// Returns the samples of a block.
    pub fn block_samples(&self) -> usize {
        self.format.samples_in(self.block_ms)
    }

    /// Sets the length of the blocks from the next tick on: a multiple of 10 ms, no longer than the format's interval;
    /// other values are left unheard.
    pub fn set_block_ms(&mut self, block_ms: u16) {
        if block_ms > 0 && block_ms.is_multiple_of(10) && block_ms <= self.format.interval_ms() {
            self.block_ms = block_ms;
        }
    }

    /// Returns for how many participants there is room.
    pub fn capacity(&self) -> usize {
        self.storage.capacity()
    }

    /// Moves the participants into larger storage and returns the old, so that neither is made nor freed in a tick.
    /// Places keep their numbers. Storage without room for all present places is returned unused.
    pub fn adopt_storage(&mut self, mut larger: MixerStorage) -> MixerStorage {
        let capacity = self.capacity();
        let fits = larger.capacity() >= capacity
            && larger.blocks.len() >= larger.capacity() * self.format.block_samples()
            && larger.free.len() == larger.capacity();
        if !fits {
            return larger;
        }
        larger.slots[..capacity].copy_from_slice(&self.storage.slots);
        larger.free.truncate(larger.capacity() - capacity);
        larger.free.extend_from_slice(&self.storage.free); // within what `new` allocated
        larger.contributors.extend_from_slice(&self.storage.contributors);
        std::mem::replace(&mut self.storage, larger)
    }

    /// Gives a place to a participant, from the next tick on; `None` when there is no room.
    pub fn add(&mut self, muted: bool, deaf: bool) -> Option<SlotId> {
        let index = self.storage.free.pop()? as usize;
        self.storage.slots[index] = Some(Slot::new(self.energy_level, self.format.rate_hz(), muted, deaf));
        Some(SlotId::from_index(index))
    }

    /// Takes a participant out. Returns whether he was there.
    pub fn remove(&mut self, slot: SlotId) -> bool {
        let Some(place) = self.storage.slots.get_mut(slot.index()) else {
            return false;
        };
        if place.take().is_none() {
            return false;
        }
        self.storage
            .contributors
            .retain(|&contributor| contributor as usize != slot.index());
        self.storage.free.push(slot.index() as u32);
        true
    }

    /// Mutes or unmutes a participant from the next tick on. Returns whether that ended his talking.
    pub fn set_muted(&mut self, slot: SlotId, muted: bool) -> bool {
        self.slot_mut(slot).is_some_and(|slot| slot.set_muted(muted))
    }

    /// Makes a participant deaf or hearing from the next tick on.
    pub fn set_deaf(&mut self, slot: SlotId, deaf: bool) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.deaf = deaf;
        }
    }

    /// Sets the score above which gates open, for those present and those to come.
    pub fn set_energy_level(&mut self, energy_level: u16) {
        self.energy_level = energy_level;
        for slot in self.storage.slots.iter_mut().flatten() {
            slot.gate.set_level(energy_level);
        }
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
    /// muted, those up to the level while his gate is closed, none while it is open.
    pub fn unheard_up_to(&self, slot: SlotId) -> u16 {
        match self.slot(slot) {
            Some(slot) if slot.muted => u16::MAX,
            Some(slot) if !slot.gate.is_open() => slot.gate.level(),
            _ => 0,
        }
    }

    /// Returns the score of a participant's last block.
    pub fn score(&self, slot: SlotId) -> u16 {
        self.slot(slot).map_or(0, |slot| slot.score)
    }

    /// Returns who has the floor.
    pub fn floor(&self) -> Option<SlotId> {
        self.floor.holder()
    }

    /// Starts a tick: forgets the contributions of the last one.
    pub fn begin(&mut self) {
        let MixerStorage {
            slots, contributors, ..
        } = &mut self.storage;
        for &index in contributors.iter() {
            if let Some(slot) = &mut slots[index as usize] {
                slot.contributes = false;
            }
        }
        contributors.clear();
        self.tick += 1;
    }

    /// Takes one block of a participant; samples beyond the block are ignored, missing ones are silence. At most once
    /// per participant and tick: a second block changes nothing.
    pub fn input(&mut self, slot: SlotId, samples: &[i16]) -> InputReport {
        let samples = &samples[..samples.len().min(self.block_samples())];
        self.input_scored(slot, samples, score(samples))
    }

    /// The same for a block whose score the caller has measured already.
    pub fn input_scored(&mut self, slot: SlotId, samples: &[i16], score: u16) -> InputReport {
        let samples = &samples[..samples.len().min(self.block_samples())];
        let duration_ms = u32::from(self.block_ms);
        let (rate_hz, full, block) = (
            self.format.rate_hz(),
            self.format.block_samples(),
            self.block_samples(),
        );
        let storage = &mut self.storage;
        let Some(Some(place)) = storage.slots.get_mut(slot.index()) else {
            return InputReport {
                score: 0,
                talking_changed: None,
            };
        };
        if place.contributes {
            return InputReport {
                score: place.score,
                talking_changed: None,
            };
        }
        let (frame, report) = place.judge(score, duration_ms);
        if frame.is_mixed() {
            place.contributes = true;
            storage.contributors.push(slot.index() as u32); // as many places as capacity
            let stored = &mut storage.blocks[slot.index() * full..][..block];
            stored[..samples.len()].copy_from_slice(samples);
            stored[samples.len()..].fill(0);
            frame.shape(stored, rate_hz);
        }
        report
    }

    /// Tells that a participant sent nothing for this block: a quiet frame that is not mixed even with an open gate.
    pub fn input_quiet(&mut self, slot: SlotId) -> InputReport {
        let duration_ms = u32::from(self.block_ms);
        self.slot_mut(slot).map_or(
            InputReport {
                score: 0,
                talking_changed: None,
            },
            |slot| slot.judge(0, duration_ms).1,
        )
    }

    /// Sums what was put in, and makes the common mix.
    pub fn mix(&mut self) -> Mixed {
        let block = self.block_samples();
        let contributions = self.storage.contributors.len();
        self.sum(block);
        self.limiter_before = self.limiter;
        self.limiter
            .process(&self.total[..block], contributions, &mut self.common[..block]);
        let MixerStorage {
            slots, contributors, ..
        } = &self.storage;
        let talkers = contributors.iter().filter_map(|&index| {
            let slot = slots[index as usize].as_ref()?;
            slot.talking
                .is_talking()
                .then(|| (SlotId::from_index(index as usize), slot.loudness))
        });
        let floor_changed = self.floor.update(talkers, u32::from(self.block_ms));
        Mixed {
            contributions,
            floor_changed,
        }
    }

    /// Returns what a listener hears in this tick.
    pub fn signal(&self, slot: SlotId) -> Signal {
        let others = |slot: &Slot| self.storage.contributors.len() - usize::from(slot.contributes);
        match self.slot(slot) {
            None => Signal::Silence,
            Some(slot) if slot.deaf || others(slot) == 0 => Signal::Silence,
            Some(slot) if slot.contributes => Signal::Own,
            Some(_) => Signal::Common,
        }
    }

    /// Returns the block of [`Signal::Common`], silence when nobody contributes.
    pub fn common(&self) -> &[i16] {
        &self.common[..self.block_samples()]
    }

    /// Writes what one contributor hears: the sum without him, limited by itself. Once per tick and listener.
    ///
    /// `out` shorter than the block gets its beginning; for a listener who does not contribute it is the common mix.
    pub fn render_own(&mut self, slot: SlotId, out: &mut [i16]) {
        let (full, block) = (self.format.block_samples(), self.block_samples());
        let length = out.len().min(block);
        let contributions = self.storage.contributors.len();
        let Some(Some(place)) = self.storage.slots.get_mut(slot.index()) else {
            return out.fill(0);
        };
        if !place.contributes {
            return out[..length].copy_from_slice(&self.common[..length]);
        }
        if place.own_mix_tick + 1 != self.tick {
            place.limiter = self.limiter_before;
        }
        place.own_mix_tick = self.tick;
        let own = &self.storage.blocks[slot.index() * full..][..block];
        for ((rest, &sum), &sample) in self.rest.iter_mut().zip(&self.total[..block]).zip(own) {
            *rest = sum - i32::from(sample);
        }
        place
            .limiter
            .process(&self.rest[..length], contributions - 1, &mut out[..length]);
    }

    /// Adds up the contributions.
    fn sum(&mut self, block: usize) {
        let full = self.format.block_samples();
        let total = &mut self.total[..block];
        total.fill(0);
        for &index in &self.storage.contributors {
            let voice = &self.storage.blocks[index as usize * full..][..block];
            for (sum, &sample) in total.iter_mut().zip(voice) {
                *sum += i32::from(sample);
            }
        }
    }

    fn slot(&self, slot: SlotId) -> Option<&Slot> {
        self.storage.slots.get(slot.index())?.as_ref()
    }

    fn slot_mut(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.storage.slots.get_mut(slot.index())?.as_mut()
    }
}
