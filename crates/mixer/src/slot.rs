//! One participant's place in the mix: gate, talking state, controls. Holds no samples.

use confab_dsp::{GateFrame, Limiter, TalkGate, TalkingState};

/// Largest number of places: with 65,535 full-scale voices the 32-bit sum cannot overflow.
pub const MAX_SLOTS: usize = 65_535;

/// Time constant of the loudness that the floor goes by, in milliseconds.
const LOUDNESS_MS: f32 = 300.0;

/// The number of a participant's place in one mixer. Places of those who left are given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(u32);

impl SlotId {
    pub(crate) const fn from_index(index: usize) -> Self {
        SlotId(index as u32)
    }

    /// Returns the place as an index below the mixer's capacity.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one block of a participant amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputReport {
    /// Mean absolute sample of the block, 0..=32768.
    pub score: u16,
    /// The talking state, when it changed with this block.
    pub talking_changed: Option<bool>,
}

/// A participant's state between ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    pub(crate) gate: TalkGate,
    pub(crate) talking: TalkingState,
    /// The contribution of this tick is in the mixer's storage.
    pub(crate) contributes: bool,
    /// Limits the mix that he alone hears.
    pub(crate) limiter: Limiter,
    /// The tick for which that mix was made last; 0 for never.
    pub(crate) own_mix_tick: u64,
    pub(crate) loudness: f32,
    pub(crate) score: u16,
}

impl Slot {
    pub(crate) fn new(energy_level: u16, rate_hz: u32, muted: bool, deaf: bool) -> Self {
        Slot {
            muted,
            deaf,
            gate: TalkGate::new(energy_level),
            talking: TalkingState::new(),
            contributes: false,
            limiter: Limiter::new(rate_hz),
            own_mix_tick: 0,
            loudness: 0.0,
            score: 0,
        }
    }

    /// Takes in the score of one block; tells what becomes of the block and whether the talking state changed.
    pub(crate) fn judge(&mut self, score: u16, duration_ms: u32) -> (GateFrame, InputReport) {
        self.score = score;
        if self.muted {
            return (
                GateFrame::Closed,
                InputReport {
                    score,
                    talking_changed: None,
                },
            );
        }
        let duration = duration_ms as f32;
        self.loudness += (f32::from(score) - self.loudness) * duration / (duration + LOUDNESS_MS);
        let frame = self.gate.update(score, duration_ms);
        let changed = self.talking.update(score, self.gate.level(), duration_ms);
        (
            frame,
            InputReport {
                score,
                talking_changed: changed.then(|| self.talking.is_talking()),
            },
        )
    }

    /// Mutes or unmutes; returns whether that ended the participant's talking.
    pub(crate) fn set_muted(&mut self, muted: bool) -> bool {
        if muted == self.muted {
            return false;
        }
        self.muted = muted;
        self.gate.shut();
        self.loudness = 0.0;
        self.talking.stop()
    }
}
