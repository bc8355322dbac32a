//! One participant's place in the mix: gate, talking state, controls. Holds no samples.

use confab_dsp::{GateFrame, Limiter, TalkGate, TalkingState};

use crate::gain::GainStage;

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

/// How a participant enters the mix. The default is heard, hears everybody, and is amplified by nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MemberOptions {
    /// Nobody hears him.
    pub muted: bool,
    /// He hears nothing but playback addressed to him alone.
    pub deaf: bool,
    /// Nobody hears him because his call is on hold.
    pub held: bool,
    /// He is mixed like everybody but never has the floor.
    pub ghost: bool,
    /// He is not part of the mix: neither heard nor hearing it.
    pub waiting: bool,
    /// The score above which his gate opens, when not the mixer's.
    pub energy_level: Option<u16>,
    /// Gain of what comes from him, in dB.
    pub input_gain_db: f32,
    /// Gain of what goes to him, in dB.
    pub output_gain_db: f32,
}

/// What one block of a participant amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputReport {
    /// Mean absolute sample of the block, 0..=32768.
    pub score: u16,
    /// The talking state, when it changed with this block.
    pub talking_changed: Option<bool>,
}

impl InputReport {
    /// The report of a block that changed nothing.
    pub(crate) const fn unchanged(score: u16) -> Self {
        InputReport {
            score,
            talking_changed: None,
        }
    }
}

/// A participant's state between ticks, as far as every participant needs it in every tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    pub(crate) held: bool,
    pub(crate) waiting: bool,
    pub(crate) ghost: bool,
    /// His input gain is to be applied.
    pub(crate) amplified: bool,
    /// Something in his [`Exceptions`] decides on what he hears.
    pub(crate) exceptional: bool,
    pub(crate) gate: TalkGate,
    pub(crate) talking: TalkingState,
    /// The contribution of this tick is in the mixer's storage.
    pub(crate) contributes: bool,
    /// It is digital silence.
    pub(crate) soundless: bool,
    /// Limits the mix that he alone hears.
    pub(crate) limiter: Limiter,
    /// The tick for which that mix was made last; 0 for never.
    pub(crate) own_mix_tick: u64,
    pub(crate) loudness: f32,
    pub(crate) score: u16,
}

/// What few participants have, kept apart so that the others' state stays small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exceptions {
    pub(crate) input: GainStage,
    pub(crate) output: GainStage,
    /// Talkers whom he does not hear.
    pub(crate) relations: u32,
    /// Sources that play to him alone in this tick, and the first of them in their chain.
    pub(crate) private: u32,
    pub(crate) first_private: Option<u32>,
    /// Places of sources for all that he does not hear: one that goes on, and one that ends in the tick in which it begins.
    pub(crate) hidden: [Option<u32>; 2],
    /// The ticks in which he last heard nothing of what plays to others as well, from and to; 0 for never.
    pub(crate) apart: (u64, u64),
}

impl Exceptions {
    pub(crate) fn new(rate_hz: u32, options: &MemberOptions) -> Self {
        Exceptions {
            input: GainStage::new(options.input_gain_db, rate_hz),
            output: GainStage::new(options.output_gain_db, rate_hz),
            relations: 0,
            private: 0,
            first_private: None,
            hidden: [None; 2],
            apart: (0, 0),
        }
    }

    /// Returns whether he hears anything but the mix without himself.
    pub(crate) fn decide(&self, tick: u64) -> bool {
        self.relations > 0
            || self.private > 0
            || self.hides()
            || self.is_apart(tick)
            || !self.output.is_idle()
    }

    /// Returns whether he hears what plays to others less than whole in this tick, or will in the next.
    pub(crate) fn is_apart(&self, tick: u64) -> bool {
        self.apart.1 != 0 && self.apart.1 + 1 >= tick
    }

    /// Returns the gain of a source that plays to others as well, at the beginning and at the end of a tick.
    pub(crate) fn gain_of(&self, source: u32, tick: u64) -> (f32, f32) {
        if self.hidden.contains(&Some(source)) {
            return (0.0, 0.0);
        }
        self.others(tick)
    }

    fn others(&self, tick: u64) -> (f32, f32) {
        let (from, to) = self.apart;
        if !self.is_apart(tick) {
            (1.0, 1.0)
        } else if to < tick {
            (0.0, 1.0)
        } else if from < tick {
            (0.0, 0.0)
        } else {
            (1.0, 0.0)
        }
    }

    /// Returns whether there is a source for all that he does not hear.
    pub(crate) fn hides(&self) -> bool {
        self.hidden != [None; 2]
    }

    /// Returns whether there may be something that plays to others as well and that he hears in part, or not at all.
    pub(crate) fn keeps_out(&self, tick: u64) -> bool {
        self.hides() || self.is_apart(tick)
    }

    /// Adds a source to those that he does not hear; says whether it was not there yet.
    pub(crate) fn hide(&mut self, source: u32) -> bool {
        if self.hidden.contains(&Some(source)) {
            return false;
        }
        self.hidden = [Some(source), self.hidden[0]];
        true
    }

    /// Forgets a source that is gone.
    pub(crate) fn forget_hidden(&mut self, source: u32) {
        for hidden in &mut self.hidden {
            hidden.take_if(|hidden| *hidden == source);
        }
    }
}

impl Slot {
    pub(crate) fn new(energy_level: u16, rate_hz: u32, options: &MemberOptions) -> Self {
        Slot {
            muted: options.muted,
            deaf: options.deaf,
            held: options.held,
            waiting: options.waiting,
            ghost: options.ghost,
            amplified: false,
            exceptional: false,
            gate: TalkGate::new(options.energy_level.unwrap_or(energy_level)),
            talking: TalkingState::new(),
            contributes: false,
            soundless: false,
            limiter: Limiter::new(rate_hz),
            own_mix_tick: 0,
            loudness: 0.0,
            score: 0,
        }
    }

    /// Returns whether nobody may hear him.
    pub(crate) fn is_silenced(&self) -> bool {
        self.muted || self.held || self.waiting
    }

    /// Returns whether he may hear the mix.
    pub(crate) fn hears_mix(&self) -> bool {
        !self.deaf && !self.waiting
    }

    /// Takes in the score of one block; tells what becomes of the block and whether the talking state changed.
    pub(crate) fn judge(&mut self, score: u16, duration_ms: u32) -> (GateFrame, InputReport) {
        self.score = score;
        if self.is_silenced() {
            return (GateFrame::Closed, InputReport::unchanged(score));
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

    /// Changes what may silence him; returns whether that ended his talking.
    pub(crate) fn control(&mut self, change: impl FnOnce(&mut Slot)) -> bool {
        let before = self.is_silenced();
        change(self);
        if self.is_silenced() == before {
            return false;
        }
        self.gate.shut();
        self.loudness = 0.0;
        self.talking.stop()
    }
}
