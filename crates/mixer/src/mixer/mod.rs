//! The mixer: the contributions of one tick and their sums. Never allocates in a tick.

mod listeners;
mod members;
mod playback;
mod recorded;

use confab_dsp::{Limiter, score};

use crate::floor::{Floor, Talkers};
use crate::format::MixFormat;
use crate::slot::{InputReport, Slot, SlotId};
use crate::storage::{MixerStorage, Room};

/// What a listener hears in one tick.
///
/// Listeners of the same shared signal hear the same block, sample by sample, and may share its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Nothing: nobody else contributes, or the listener is deaf.
    Silence,
    /// Everybody who contributes, or the comfort noise when nobody does: [`Mixer::common`].
    Common,
    /// What plays to those who wait, or its pauses: [`Mixer::waiting`].
    Waiting,
    /// What [`Mixer::render_own`] gives for this listener alone.
    Own,
}

/// What one tick amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixed {
    /// What the common mix is made of: voices, playback, the comfort noise. 0 when it is silence.
    pub contributions: usize,
    /// The common mix is silence, or nothing but the comfort noise.
    pub quiet: bool,
    /// The floor passed on in this tick.
    pub floor_changed: bool,
}

/// One conference's mixer.
///
/// A tick is [`begin`](Self::begin), then [`input`](Self::input) or [`input_quiet`](Self::input_quiet) for everybody
/// (a participant left out does not contribute) and [`source_input`](Self::source_input) or
/// [`source_quiet`](Self::source_quiet) for what plays, then [`noise_input`](Self::noise_input) if there is comfort noise,
/// then [`mix`](Self::mix), then for every listener [`signal`](Self::signal) and, for [`Signal::Own`],
/// [`render_own`](Self::render_own).
#[derive(Debug)]
pub struct Mixer {
    format: MixFormat,
    /// Length of this tick's blocks, at most the format's interval.
    block_ms: u16,
    energy_level: u16,
    storage: MixerStorage,
    /// Contributions of this tick that are digital silence.
    soundless: usize,
    limiter: Limiter,
    /// The common limiter as it was before this tick: where a new own mix goes on from.
    limiter_before: Limiter,
    waiting_limiter: Limiter,
    floor: Floor,
    talkers: Talkers,
    /// Sources that are part of the mix in this tick.
    mixed_sources: usize,
    /// Sources that those who wait hear in this tick.
    waiting_sources: usize,
    /// Sources for those who wait, whether they give or pause.
    waiting_hear: usize,
    /// Sources for all that somebody does not hear.
    hidden_sources: usize,
    /// The comfort noise of this tick was put in.
    has_noise: bool,
    /// The first in the chain of sources that all hear, and of those that those who wait hear, in this tick.
    first_mixed: Option<u32>,
    first_waiting: Option<u32>,
    /// The last tick in which somebody was kept apart.
    apart_tick: u64,
    /// Number of the tick, from 1.
    tick: u64,
}

impl Mixer {
    /// Creates a mixer with room for `capacity` participants, whose gates open above `energy_level` (score units).
    pub fn new(format: MixFormat, capacity: usize, energy_level: u16) -> Self {
        Self::with_storage(MixerStorage::new(format, capacity), energy_level)
    }

    /// Creates a mixer in unused storage.
    pub fn with_storage(storage: MixerStorage, energy_level: u16) -> Self {
        let format = storage.format;
        let limiter = Limiter::new(format.rate_hz());
        Mixer {
            format,
            block_ms: format.interval_ms(),
            energy_level,
            storage,
            soundless: 0,
            limiter,
            limiter_before: limiter,
            waiting_limiter: limiter,
            floor: Floor::new(),
            talkers: Talkers::default(),
            mixed_sources: 0,
            waiting_sources: 0,
            waiting_hear: 0,
            hidden_sources: 0,
            has_noise: false,
            first_mixed: None,
            first_waiting: None,
            apart_tick: 0,
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

    /// Returns what there is room for.
    pub fn room(&self) -> Room {
        self.storage.room()
    }

    /// Moves everything into larger storage of the same format and returns the old, so that neither is made nor freed
    /// in a tick. Places, relations and sources keep their numbers. To be called between two ticks: what the last one
    /// heard is gone. Storage that does not hold what is here is returned unused.
    pub fn adopt_storage(&mut self, larger: MixerStorage) -> MixerStorage {
        if larger.format != self.format || !larger.holds(&self.storage) {
            return larger;
        }
        self.take(larger)
    }

    /// Returns whether [`adopt_format`](Self::adopt_format) would go on in this storage.
    pub fn can_adopt_format(&self, storage: &MixerStorage) -> bool {
        storage.format.rate_hz() > self.format.rate_hz()
            && storage.format.interval_ms() == self.format.interval_ms()
            && storage.holds(&self.storage)
    }

    /// Goes on at a higher rate, in storage made for it; returns the old storage. To be called between two ticks: gates,
    /// loudness, floor and gains go on as they were. Storage of another interval, of no higher rate, or that does not
    /// hold what is here is returned unused.
    pub fn adopt_format(&mut self, storage: MixerStorage) -> MixerStorage {
        if !self.can_adopt_format(&storage) {
            return storage;
        }
        let old = self.take(storage);
        self.format = self.storage.format;
        let rate_hz = self.format.rate_hz();
        for limiter in [
            &mut self.limiter,
            &mut self.limiter_before,
            &mut self.waiting_limiter,
        ] {
            limiter.set_rate_hz(rate_hz);
        }
        for slot in self.storage.slots.iter_mut().flatten() {
            slot.limiter.set_rate_hz(rate_hz);
        }
        for exceptions in &mut self.storage.exceptions {
            exceptions.input.set_rate_hz(rate_hz);
            exceptions.output.set_rate_hz(rate_hz);
        }
        for place in &mut self.storage.sources {
            if let Some(source) = place.source_mut() {
                source.gain.set_rate_hz(rate_hz);
            }
        }
        old
    }

    fn take(&mut self, mut storage: MixerStorage) -> MixerStorage {
        self.forget_tick();
        storage.take_over(&self.storage);
        std::mem::replace(&mut self.storage, storage)
    }

    /// Starts a tick: forgets the contributions of the last one.
    pub fn begin(&mut self) {
        self.forget_tick();
        self.tick += 1;
    }

    fn forget_tick(&mut self) {
        let storage = &mut self.storage;
        for &index in &storage.contributors {
            if let Some(slot) = &mut storage.slots[index as usize] {
                slot.contributes = false;
            }
        }
        storage.contributors.clear();
        self.soundless = 0;
        self.forget_playback();
        self.has_noise = false;
    }

    /// Takes one block of a participant; samples beyond the block are ignored, missing ones are silence. At most once
    /// per participant and tick: a second block changes nothing.
    pub fn input(&mut self, slot: SlotId, samples: &[i16]) -> InputReport {
        let samples = &samples[..samples.len().min(self.block_samples())];
        self.input_scored(slot, samples, score(samples))
    }

    /// The same for a block whose score the caller has measured already. With an input gain, the score that counts is
    /// that of the amplified block.
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
            return InputReport::unchanged(0);
        };
        if place.contributes {
            return InputReport::unchanged(place.score);
        }
        let at = slot.index() * full..slot.index() * full + block;
        let amplified = place.amplified && !place.is_silenced();
        let score = if amplified {
            let stored = &mut storage.blocks[at.clone()];
            let gain = &mut storage.exceptions[slot.index()].input;
            fit(samples, stored);
            gain.apply(stored, &mut storage.rest, rate_hz);
            place.amplified = !gain.is_idle();
            confab_dsp::score(stored)
        } else {
            score
        };
        let (frame, report) = place.judge(score, duration_ms);
        if frame.is_mixed() {
            place.contributes = true;
            storage.contributors.push(slot.index() as u32); // as many places as capacity
            let stored = &mut storage.blocks[at];
            if !amplified {
                fit(samples, stored);
            }
            frame.shape(stored, rate_hz);
            place.soundless = score == 0 && stored.iter().all(|&sample| sample == 0);
            self.soundless += usize::from(place.soundless);
        }
        report
    }

    /// Tells that a participant sent nothing for this block: a quiet frame that is not mixed even with an open gate.
    pub fn input_quiet(&mut self, slot: SlotId) -> InputReport {
        let duration_ms = u32::from(self.block_ms);
        self.slot_mut(slot)
            .map_or(InputReport::unchanged(0), |slot| slot.judge(0, duration_ms).1)
    }

    /// Takes the comfort noise of this tick, heard by those who would hear nothing of the mix. Samples beyond the block
    /// are ignored, missing ones are silence. See [`wants_noise`](Self::wants_noise).
    pub fn noise_input(&mut self, samples: &[i16]) {
        let block = self.block_samples();
        fit(samples, &mut self.storage.noise[..block]);
        self.has_noise = true;
    }

    /// Returns whether somebody might hear the comfort noise in this tick, now that all else was put in: at most one
    /// voice is in the mix, or there are participants who do not hear all of them.
    pub fn wants_noise(&self) -> bool {
        let all_hear_all = self.hidden_sources == 0 && self.apart_tick != self.tick;
        self.heard() <= 1 || self.storage.relations.count() > 0 || !all_hear_all
    }

    /// Sums what was put in, and makes the common mix.
    pub fn mix(&mut self) -> Mixed {
        let block = self.block_samples();
        let heard = self.heard();
        self.sum(block);
        self.limiter_before = self.limiter;
        let storage = &mut self.storage;
        let common = &mut storage.common[..block];
        // Who speaks beside digital silence is alone, and passes bit by bit.
        let sounding = heard - self.soundless;
        self.limiter.process(&storage.total[..block], sounding, common);
        let noise_alone = heard == 0 && self.has_noise;
        if noise_alone {
            common.copy_from_slice(&storage.noise[..block]);
        }
        self.mix_waiting(block);
        let floor_changed = self.judge_talkers();
        Mixed {
            contributions: heard + usize::from(noise_alone),
            quiet: heard == 0,
            floor_changed,
        }
    }

    /// Finds out who talks and who has the floor; returns whether that passed on.
    fn judge_talkers(&mut self) -> bool {
        let MixerStorage {
            slots, contributors, ..
        } = &self.storage;
        let talking = || {
            contributors.iter().filter_map(|&index| {
                let slot = slots[index as usize].as_ref()?;
                slot.talking
                    .is_talking()
                    .then(|| (SlotId::from_index(index as usize), slot))
            })
        };
        self.talkers = Talkers::default();
        for (id, _) in talking() {
            self.talkers.count += 1;
            self.talkers.last = Some(id);
        }
        let candidates = talking()
            .filter(|(_, slot)| !slot.ghost)
            .map(|(id, slot)| (id, slot.loudness));
        self.floor.update(candidates, u32::from(self.block_ms))
    }

    /// Returns how many voices and sources are in the mix.
    fn heard(&self) -> usize {
        self.storage.contributors.len() + self.mixed_sources
    }

    /// Adds up the contributions and what plays to all.
    fn sum(&mut self, block: usize) {
        let full = self.format.block_samples();
        let storage = &mut self.storage;
        let total = &mut storage.total[..block];
        total.fill(0);
        for &index in &storage.contributors {
            add(&storage.blocks[index as usize * full..][..block], total);
        }
        if self.mixed_sources > 0 {
            self.sum_mixed_sources(block);
        }
    }

    fn slot(&self, slot: SlotId) -> Option<&Slot> {
        self.storage.slots.get(slot.index())?.as_ref()
    }

    fn slot_mut(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.storage.slots.get_mut(slot.index())?.as_mut()
    }
}

/// Copies what fits, and fills the rest with silence.
fn fit(samples: &[i16], block: &mut [i16]) {
    let length = samples.len().min(block.len());
    block[..length].copy_from_slice(&samples[..length]);
    block[length..].fill(0);
}

/// Adds a block to a sum.
fn add(block: &[i16], sum: &mut [i32]) {
    for (sum, &sample) in sum.iter_mut().zip(block) {
        *sum += i32::from(sample);
    }
}
