//! Playback into the mix: what a source is addressed to, its gain and how far speech lowers it. Holds no samples.

use crate::floor::Talkers;
use crate::gain::{GainStage, factor};
use crate::slot::SlotId;

/// Time in which speech lowers a source all the way, in milliseconds.
const DUCK_MS: f32 = 100.0;
/// Time in which a source comes back all the way after speech, in milliseconds.
const RETURN_MS: f32 = 1000.0;

/// Who hears a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody who hears the mix, talkers included. Part of the common mix.
    All,
    /// One participant alone, deaf or waiting as he may be.
    One(SlotId),
    /// Those who wait.
    Waiting,
}

/// The number of a source in one mixer. Never means another source after this one was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId {
    index: u32,
    generation: u32,
}

/// A place for a source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SourcePlace {
    generation: u32,
    source: Option<Source>,
}

/// A source's state between ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) audience: Audience,
    pub(crate) gain: GainStage,
    pub(crate) duck: Option<Duck>,
    /// Its samples of this tick are in the mixer's storage.
    pub(crate) plays: bool,
    /// The next of those that play to the same one in this tick.
    pub(crate) next: Option<u32>,
    /// There are listeners who do not hear it though it is for all.
    pub(crate) is_hidden: bool,
}

/// How far speech lowers a source, and how far it is lowered now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duck {
    lowest: f32,
    now: f32,
}

impl SourceId {
    /// Returns the index of the place.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

impl SourcePlace {
    /// Returns whether there is no source.
    pub(crate) fn is_free(&self) -> bool {
        self.source.is_none()
    }

    /// Puts a source here; returns its number.
    pub(crate) fn fill(&mut self, index: usize, source: Source) -> SourceId {
        self.source = Some(source);
        SourceId {
            index: index as u32,
            generation: self.generation,
        }
    }

    /// Returns the source of this number, unless it was removed.
    pub(crate) fn get_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        (self.generation == id.generation).then_some(self.source.as_mut())?
    }

    /// Returns the source here, whatever its number.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Returns the source here, whatever its number.
    pub(crate) fn source_mut(&mut self) -> Option<&mut Source> {
        self.source.as_mut()
    }

    /// Makes the place free.
    pub(crate) fn clear(&mut self) {
        self.source = None;
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Source {
    pub(crate) fn new(audience: Audience, gain_db: f32, duck_db: Option<f32>, rate_hz: u32) -> Self {
        Source {
            audience,
            gain: GainStage::new(gain_db, rate_hz),
            duck: duck_db.and_then(Duck::new),
            plays: false,
            next: None,
            is_hidden: false,
        }
    }

    /// Moves the lowering on by one block; returns its factors at the beginning and the end, `None` for a source that is
    /// never lowered.
    pub(crate) fn advance_duck(&mut self, talkers: Talkers, block_ms: u16) -> Option<(f32, f32)> {
        let listener = ducked_by(self.audience)?;
        let duck = self.duck.as_mut()?;
        Some(duck.advance(talkers.beside(listener), block_ms))
    }
}

/// Returns whose voice does not lower what an audience hears, `None` when nobody's does.
pub(crate) fn ducked_by(audience: Audience) -> Option<Option<SlotId>> {
    match audience {
        Audience::All => Some(None),
        Audience::One(slot) => Some(Some(slot)),
        Audience::Waiting => None,
    }
}

impl Duck {
    /// Creates one that lowers by `decibels`; `None` when that is nothing.
    fn new(decibels: f32) -> Option<Self> {
        let lowest = factor(-decibels.abs())?;
        (lowest < 1.0).then_some(Duck { lowest, now: 1.0 })
    }

    /// Stands all the way down from the first block on.
    pub(crate) fn begin_lowered(&mut self) {
        self.now = self.lowest;
    }

    /// Moves on by one block, down while somebody talks, else up; returns the factors at its beginning and its end.
    pub(crate) fn advance(&mut self, somebody_talks: bool, block_ms: u16) -> (f32, f32) {
        let before = self.now;
        let block_ms = f32::from(block_ms);
        self.now = if somebody_talks {
            (before * self.lowest.powf(block_ms / DUCK_MS)).max(self.lowest)
        } else {
            (before * self.lowest.powf(-block_ms / RETURN_MS)).min(1.0)
        };
        (before, self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_lowers_quickly_and_silence_raises_slowly() {
        for (decibels, block_ms) in [(12.0, 20), (12.0, 10), (30.0, 20), (6.0, 120)] {
            let mut duck = Duck::new(decibels).unwrap();
            let blocks = |ms: u32| ms.div_ceil(u32::from(block_ms));
            let mut last = 1.0;
            for _ in 0..blocks(100) {
                let (from, to) = duck.advance(true, block_ms);
                assert!(from == last && to < from);
                last = to;
            }
            assert!(
                (20.0 * last.log10() + decibels).abs() < 0.01,
                "{last} for {decibels} dB"
            );
            let (from, to) = duck.advance(true, block_ms);
            assert!(from == last && last - to < 1e-6, "no lower than that");
            for _ in 0..blocks(1000) {
                last = duck.advance(false, block_ms).1;
            }
            assert!(last > 0.999, "{last}");
        }
        assert!(Duck::new(0.0).is_none() && Duck::new(f32::NAN).is_none());
    }

    #[test]
    fn a_number_means_one_source_only() {
        let mut place = SourcePlace::default();
        let source = Source::new(Audience::All, 0.0, None, 8000);
        let first = place.fill(0, source);
        assert!(place.get_mut(first).is_some());
        place.clear();
        assert!(place.get_mut(first).is_none() && place.is_free());
        let second = place.fill(0, source);
        assert!(place.get_mut(first).is_none() && place.get_mut(second).is_some());
        assert_ne!(first, second);
    }
}
