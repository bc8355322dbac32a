//! What plays: sources as virtual inputs, addressed to all, to one, or to those who wait.

use super::{Mixer, add, fit};
use crate::gain::{fade, scaled};
use crate::slot::SlotId;
use crate::source::{Audience, Source, SourceId, SourcePlace, ducked_by};
use crate::storage::MixerStorage;

impl Mixer {
    /// Adds a source of playback at a gain in dB, lowered by `duck_db` while anybody (but its one listener) talks, from its
    /// first sample on when somebody does already; talkers are not touched, and a source for those who wait is not lowered.
    /// `None` when there is no room, or for the place of nobody.
    pub fn add_source(&mut self, audience: Audience, gain_db: f32, duck_db: Option<f32>) -> Option<SourceId> {
        if let Audience::One(slot) = audience
            && self.slot(slot).is_none()
        {
            return None;
        }
        let rate_hz = self.format.rate_hz();
        let index = self.storage.sources.iter().position(|place| place.is_free())?;
        let mut source = Source::new(audience, gain_db, duck_db, rate_hz);
        if let (Some(duck), Some(listener)) = (&mut source.duck, ducked_by(audience))
            && self.talkers.beside(listener)
        {
            duck.begin_lowered();
        }
        self.waiting_hear += usize::from(audience == Audience::Waiting);
        Some(self.storage.sources[index].fill(index, source))
    }

    /// Sets a source's gain in dB, reached within 5 ms.
    pub fn set_source_gain(&mut self, id: SourceId, gain_db: f32) {
        if let Some(source) = self
            .storage
            .sources
            .get_mut(id.index())
            .and_then(|p| p.get_mut(id))
        {
            source.gain.set(gain_db);
        }
    }

    /// Keeps a source for all from one listener, from this tick on and until it is removed or he leaves. Of more than two such
    /// sources at a time he hears the first. Returns whether there are such a source and such a listener.
    pub fn hide_source(&mut self, id: SourceId, listener: SlotId) -> bool {
        let storage = &mut self.storage;
        let place = storage
            .sources
            .get_mut(id.index())
            .and_then(|place| place.get_mut(id));
        let Some(source) = place.filter(|source| source.audience == Audience::All) else {
            return false;
        };
        let Some(Some(slot)) = storage.slots.get_mut(listener.index()) else {
            return false;
        };
        if storage.exceptions[listener.index()].hide(id.index() as u32) {
            slot.exceptional = true;
            self.hidden_sources += usize::from(!source.is_hidden);
            source.is_hidden = true;
        }
        true
    }

    /// Keeps apart from one listener, in this tick, whatever plays to others as well: to all, and to those who wait. It fades within the
    /// first tick of several, and comes back within the one after the last. Returns whether there is such a listener.
    pub fn keep_apart(&mut self, listener: SlotId) -> bool {
        let (tick, storage) = (self.tick, &mut self.storage);
        let Some(Some(slot)) = storage.slots.get_mut(listener.index()) else {
            return false;
        };
        let (from, to) = &mut storage.exceptions[listener.index()].apart;
        if *to == 0 || *to + 1 < tick {
            *from = tick;
        }
        *to = tick;
        slot.exceptional = true;
        self.apart_tick = tick;
        true
    }

    /// Removes a source, from the next tick on: its last block is its end, so fade it out. Returns whether it was there;
    /// a source for one participant goes when he does.
    pub fn remove_source(&mut self, id: SourceId) -> bool {
        let Some(place) = self.storage.sources.get_mut(id.index()) else {
            return false;
        };
        let there = place.get_mut(id).is_some();
        if there {
            self.stop_source(id.index());
        }
        there
    }

    /// Takes one block of a source; samples beyond the block are ignored, missing ones are silence. A source that gives
    /// nothing in a tick is not there for this tick. Returns whether there is such a source that had not given yet.
    pub fn source_input(&mut self, id: SourceId, samples: &[i16]) -> bool {
        let (rate_hz, full, block) = (
            self.format.rate_hz(),
            self.format.block_samples(),
            self.block_samples(),
        );
        let talkers = self.talkers;
        let storage = &mut self.storage;
        let place = storage.sources.get_mut(id.index());
        let Some(source) = place
            .and_then(|place| place.get_mut(id))
            .filter(|source| !source.plays)
        else {
            return false;
        };
        source.plays = true;
        storage.playing.push(id.index() as u32); // as many as places
        let stored = &mut storage.source_blocks[id.index() * full..][..block];
        fit(samples, stored);
        source.gain.apply(stored, &mut storage.rest, rate_hz);
        if let Some((from, to)) = source.advance_duck(talkers, self.block_ms) {
            fade(stored, from, to);
        }
        match source.audience {
            Audience::All => {
                self.mixed_sources += 1;
                source.next = self.first_mixed.replace(id.index() as u32);
            }
            Audience::Waiting => {
                self.waiting_sources += 1;
                source.next = self.first_waiting.replace(id.index() as u32);
            }
            Audience::One(slot) => {
                let exceptions = &mut storage.exceptions[slot.index()];
                exceptions.private += 1;
                source.next = exceptions.first_private.replace(id.index() as u32);
                if let Some(place) = &mut storage.slots[slot.index()] {
                    place.exceptional = true;
                }
            }
        }
        true
    }

    /// Tells that a source pauses for this block: it is not mixed, and is lowered by who talks all the same. Returns whether
    /// there is such a source that had not given.
    pub fn source_quiet(&mut self, id: SourceId) -> bool {
        let place = self.storage.sources.get_mut(id.index());
        let Some(source) = place
            .and_then(|place| place.get_mut(id))
            .filter(|source| !source.plays)
        else {
            return false;
        };
        source.advance_duck(self.talkers, self.block_ms);
        true
    }

    /// Returns the block of [`Signal::Waiting`](crate::Signal::Waiting), silence when nothing plays to those who wait.
    pub fn waiting(&self) -> &[i16] {
        &self.storage.waiting[..self.block_samples()]
    }

    /// Returns whether anything played to those who wait in the last tick.
    pub fn plays_to_waiting(&self) -> bool {
        self.waiting_sources > 0
    }

    /// Forgets what played in the last tick.
    pub(super) fn forget_playback(&mut self) {
        let (tick, storage) = (self.tick, &mut self.storage);
        for &index in &storage.playing {
            let Some(source) = storage.sources[index as usize].source_mut() else {
                continue;
            };
            source.plays = false;
            if let Audience::One(slot) = source.audience {
                let exceptions = &mut storage.exceptions[slot.index()];
                (exceptions.private, exceptions.first_private) = (0, None);
                if let Some(place) = &mut storage.slots[slot.index()] {
                    place.exceptional = exceptions.decide(tick);
                }
            }
        }
        storage.playing.clear();
        (self.mixed_sources, self.waiting_sources) = (0, 0);
        (self.first_mixed, self.first_waiting) = (None, None);
    }

    /// Removes the sources that played to one participant alone.
    pub(super) fn remove_sources_of(&mut self, slot: SlotId) {
        for index in 0..self.storage.sources.len() {
            let source = self.storage.sources[index].source();
            if source.is_some_and(|source| source.audience == Audience::One(slot)) {
                self.stop_source(index);
            }
        }
    }

    /// Makes a source's place free, as if it had given nothing in this tick.
    fn stop_source(&mut self, index: usize) {
        let (tick, storage) = (self.tick, &mut self.storage);
        if let Some(source) = storage.sources[index].source()
            && source.plays
        {
            let next = source.next;
            match source.audience {
                Audience::All => {
                    self.mixed_sources -= 1;
                    unlink(&mut self.first_mixed, &mut storage.sources, index, next);
                }
                Audience::Waiting => {
                    self.waiting_sources -= 1;
                    unlink(&mut self.first_waiting, &mut storage.sources, index, next);
                }
                Audience::One(slot) => {
                    let exceptions = &mut storage.exceptions[slot.index()];
                    exceptions.private -= 1;
                    unlink(&mut exceptions.first_private, &mut storage.sources, index, next);
                    if let Some(place) = &mut storage.slots[slot.index()] {
                        place.exceptional = exceptions.decide(tick);
                    }
                }
            }
            storage.playing.retain(|&playing| playing as usize != index);
        }
        if let Some(source) = storage.sources[index].source() {
            self.waiting_hear -= usize::from(source.audience == Audience::Waiting);
            if source.is_hidden {
                self.hidden_sources -= 1;
                for (slot, exceptions) in storage.slots.iter_mut().zip(&mut storage.exceptions) {
                    exceptions.forget_hidden(index as u32);
                    if let Some(slot) = slot {
                        slot.exceptional = exceptions.decide(tick);
                    }
                }
            }
        }
        storage.sources[index].clear();
    }

    /// Adds what plays to all to the sum of the mix.
    pub(super) fn sum_mixed_sources(&mut self, block: usize) {
        let full = self.format.block_samples();
        let MixerStorage {
            total,
            playing,
            sources,
            source_blocks,
            ..
        } = &mut self.storage;
        add_playing(
            (playing, sources),
            (source_blocks, full),
            Audience::All,
            &mut total[..block],
        );
    }

    /// Puts what plays to all into the working sum.
    pub(super) fn sum_to_all(&mut self, block: usize) {
        let full = self.format.block_samples();
        let MixerStorage {
            rest,
            playing,
            sources,
            source_blocks,
            ..
        } = &mut self.storage;
        let rest = &mut rest[..block];
        rest.fill(0);
        add_playing((playing, sources), (source_blocks, full), Audience::All, rest);
    }

    /// Makes what those who wait hear.
    pub(super) fn mix_waiting(&mut self, block: usize) {
        if self.waiting_sources == 0 {
            self.storage.waiting[..block].fill(0);
            return;
        }
        self.sum_to_waiting(block);
        let storage = &mut self.storage;
        self.waiting_limiter.process(
            &storage.rest[..block],
            self.waiting_sources,
            &mut storage.waiting[..block],
        );
    }

    /// Puts what plays to those who wait into the working sum. Returns how many sources those are.
    pub(super) fn sum_to_waiting(&mut self, block: usize) -> usize {
        let full = self.format.block_samples();
        let MixerStorage {
            rest,
            playing,
            sources,
            source_blocks,
            ..
        } = &mut self.storage;
        let rest = &mut rest[..block];
        rest.fill(0);
        if self.waiting_sources > 0 {
            add_playing((playing, sources), (source_blocks, full), Audience::Waiting, rest);
        }
        self.waiting_sources
    }

    /// Takes out of the working sum what a listener does not hear of a chain of sources that are in it, whole or in part.
    pub(super) fn take_out(&mut self, block: usize, slot: SlotId, chain: Option<u32>) {
        let full = self.format.block_samples();
        let (tick, storage) = (self.tick, &mut self.storage);
        let exceptions = &storage.exceptions[slot.index()];
        let rest = &mut storage.rest[..block];
        let mut next = chain;
        while let Some(index) = next {
            let taken = &storage.source_blocks[index as usize * full..][..block];
            match exceptions.gain_of(index, tick) {
                (1.0, 1.0) => {}
                (0.0, 0.0) => {
                    for (rest, &sample) in rest.iter_mut().zip(taken) {
                        *rest -= i32::from(sample);
                    }
                }
                (from, to) => take_part(taken, (1.0 - from, 1.0 - to), rest),
            }
            next = next_of(&storage.sources, index);
        }
    }

    /// Returns how many sources of a chain a listener hears nothing of in this tick.
    pub(super) fn unheard_of(&self, slot: SlotId, chain: Option<u32>) -> usize {
        let exceptions = &self.storage.exceptions[slot.index()];
        let mut count = 0;
        let mut next = chain;
        while let Some(index) = next {
            count += usize::from(exceptions.gain_of(index, self.tick) == (0.0, 0.0));
            next = next_of(&self.storage.sources, index);
        }
        count
    }

    /// Adds what plays to one participant alone to the working sum. Returns how many sources those are.
    pub(super) fn add_private(&mut self, block: usize, slot: SlotId) -> usize {
        let full = self.format.block_samples();
        let storage = &mut self.storage;
        let rest = &mut storage.rest[..block];
        let mut count = 0;
        let mut next = storage.exceptions[slot.index()].first_private;
        while let Some(index) = next {
            add(&storage.source_blocks[index as usize * full..][..block], rest);
            count += 1;
            next = next_of(&storage.sources, index);
        }
        count
    }
}

/// Adds the blocks of those playing sources that are addressed to one audience, each of `full` samples in its place, to a sum.
fn add_playing(
    (playing, sources): (&[u32], &[SourcePlace]),
    (blocks, full): (&[i16], usize),
    audience: Audience,
    sum: &mut [i32],
) {
    for &index in playing {
        let source = sources[index as usize].source();
        if source.is_some_and(|source| source.audience == audience) {
            add(&blocks[index as usize * full..][..sum.len()], sum);
        }
    }
}

/// Returns the next source in a chain.
fn next_of(sources: &[SourcePlace], index: u32) -> Option<u32> {
    sources[index as usize].source().and_then(|source| source.next)
}

/// Takes a share of a block out of a sum that goes linearly from one value to another within the block.
fn take_part(block: &[i16], (from, to): (f32, f32), sum: &mut [i32]) {
    let step = (to - from) / block.len().max(1) as f32;
    for (index, (sum, &sample)) in (1..).zip(sum.iter_mut().zip(block)) {
        *sum -= scaled(sample, from + step * index as f32);
    }
}

/// Takes a source out of the chain that it plays in.
fn unlink(first: &mut Option<u32>, sources: &mut [SourcePlace], index: usize, next: Option<u32>) {
    if *first == Some(index as u32) {
        *first = next;
        return;
    }
    let mut at = *first;
    while let Some(source) = at.and_then(|at| sources[at as usize].source_mut()) {
        if source.next == Some(index as u32) {
            source.next = next;
            return;
        }
        at = source.next;
    }
}
