//! The floor: who is the loudest sustained talker. Only names him; it changes no audio.

use crate::slot::SlotId;

/// How long a challenger must be twice as loud before the floor passes on, in milliseconds.
const CHALLENGE_MS: u32 = 1000;

/// How many times louder a challenger must be.
const CHALLENGE_RATIO: f32 = 2.0;

/// The floor of one conference.
///
/// A talker keeps the floor while he talks, unless another talks twice as loud for one second. When he ends, it passes
/// to the loudest of those who talk; a pause of everybody leaves it empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floor {
    holder: Option<SlotId>,
    challenger: Option<Challenger>,
}

#[derive(Debug, Clone, Copy)]
struct Challenger {
    slot: SlotId,
    for_ms: u32,
}

impl Floor {
    /// Creates an empty floor.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns who has the floor.
    pub fn holder(&self) -> Option<SlotId> {
        self.holder
    }

    /// Takes in everybody who talks in this block with his smoothed loudness. Returns whether the floor passed on.
    pub fn update(&mut self, talkers: impl Iterator<Item = (SlotId, f32)>, duration_ms: u32) -> bool {
        let before = self.holder;
        let mut holder_loudness = None;
        let mut loudest: Option<(SlotId, f32)> = None;
        for (slot, loudness) in talkers {
            if Some(slot) == self.holder {
                holder_loudness = Some(loudness);
            }
            if loudest.is_none_or(|(_, most)| loudness > most) {
                loudest = Some((slot, loudness));
            }
        }
        match (holder_loudness, loudest) {
            (None, loudest) => self.pass_to(loudest.map(|(slot, _)| slot)),
            (Some(own), Some((slot, loudness)))
                if Some(slot) != before && loudness > own * CHALLENGE_RATIO =>
            {
                self.challenge(slot, duration_ms);
            }
            (Some(_), _) => self.challenger = None,
        }
        self.holder != before
    }

    fn challenge(&mut self, slot: SlotId, duration_ms: u32) {
        let before = self
            .challenger
            .filter(|challenger| challenger.slot == slot)
            .map_or(0, |c| c.for_ms);
        let for_ms = before + duration_ms;
        if for_ms >= CHALLENGE_MS {
            self.pass_to(Some(slot));
        } else {
            self.challenger = Some(Challenger { slot, for_ms });
        }
    }

    fn pass_to(&mut self, holder: Option<SlotId>) {
        *self = Floor {
            holder,
            challenger: None,
        };
    }
}

/// Who talks, as far as playback asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Talkers {
    pub(crate) count: usize,
    /// One of them.
    pub(crate) last: Option<SlotId>,
}

impl Talkers {
    /// Returns whether anybody but `slot` talks.
    pub(crate) fn beside(self, slot: Option<SlotId>) -> bool {
        match self.count {
            0 => false,
            1 => self.last != slot,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SlotId = SlotId::from_index(0);
    const B: SlotId = SlotId::from_index(1);

    #[test]
    fn stays_with_its_holder_until_he_ends_or_is_talked_down() {
        let mut floor = Floor::new();
        assert!(!floor.update([].into_iter(), 20));
        assert!(floor.update([(A, 100.0), (B, 90.0)].into_iter(), 20));
        assert_eq!(floor.holder(), Some(A));
        for _ in 0..200 {
            assert!(!floor.update([(A, 100.0), (B, 190.0)].into_iter(), 20));
        }
        let passed = (1..=60).find(|_| floor.update([(A, 100.0), (B, 250.0)].into_iter(), 20));
        assert_eq!((passed, floor.holder()), (Some(50), Some(B)));
        assert!(floor.update([(A, 10.0)].into_iter(), 20));
        assert_eq!(floor.holder(), Some(A));
        assert!(floor.update([].into_iter(), 20));
        assert_eq!(floor.holder(), None);
    }

    #[test]
    fn a_challenge_that_pauses_starts_anew() {
        let mut floor = Floor::new();
        floor.update([(A, 100.0)].into_iter(), 20);
        for _ in 0..5 {
            for _ in 0..49 {
                assert!(!floor.update([(A, 100.0), (B, 250.0)].into_iter(), 20));
            }
            assert!(!floor.update([(A, 100.0), (B, 150.0)].into_iter(), 20));
        }
    }
}
