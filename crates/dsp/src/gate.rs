//! The audio gate: which frames of a participant are mixed. Knows nothing of talking events (see `talking`).
//!
//! The gate opens in the very frame whose score exceeds the level and lets that whole frame through, its first 2 ms
//! faded in: no pre-roll, no delay. A sender whose first frame is already loud is therefore faded in once, for 2 ms, at
//! its beginning; from then on frames pass untouched until the gate closes.

use crate::talking::STRONG_EXCESS;

/// Accumulated quiet time after which the gate closes: 40 frames of 20 ms.
pub const CLOSE_AFTER_MS: u32 = 800;

/// Length of the ramps at opening and closing.
pub const FADE_MS: u32 = 2;

/// What becomes of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateFrame {
    /// Not mixed.
    Closed,
    /// Mixed; its first [`FADE_MS`] are faded in.
    Opening,
    /// Mixed as it is.
    Open,
    /// Mixed; its last [`FADE_MS`] are faded out.
    Closing,
}

impl GateFrame {
    /// Returns whether the frame is mixed.
    pub fn is_mixed(self) -> bool {
        self != GateFrame::Closed
    }

    /// Applies the ramp, if this frame has one, to its samples at `rate_hz`.
    pub fn shape(self, samples: &mut [i16], rate_hz: u32) {
        let ramp = ((rate_hz * FADE_MS / 1000) as usize).min(samples.len());
        match self {
            GateFrame::Closed | GateFrame::Open => {}
            GateFrame::Opening => fade(samples[..ramp].iter_mut()),
            GateFrame::Closing => {
                let start = samples.len() - ramp;
                fade(samples[start..].iter_mut().rev());
            }
        }
    }
}

/// Scales the samples by 1/(n+1), 2/(n+1) … n/(n+1), in the order they come.
fn fade<'a>(samples: impl ExactSizeIterator<Item = &'a mut i16>) {
    let steps = samples.len() as i32 + 1;
    for (step, sample) in (1..).zip(samples) {
        *sample = (i32::from(*sample) * step / steps) as i16;
    }
}

/// The gate of one participant.
#[derive(Debug, Clone, Copy)]
pub struct TalkGate {
    level: u16,
    open: bool,
    quiet_ms: u32,
}

impl TalkGate {
    /// Creates a closed gate for the given level (score units, 0..=1800 by the contract). Level 0 is always open.
    pub fn new(level: u16) -> Self {
        TalkGate {
            level,
            open: level == 0,
            quiet_ms: 0,
        }
    }

    /// Returns the level that a frame's score must exceed.
    pub fn level(&self) -> u16 {
        self.level
    }

    /// Sets the level; an open gate stays open until it has seen its quiet time by the new level.
    pub fn set_level(&mut self, level: u16) {
        self.level = level;
    }

    /// Returns whether the last frame was let through and the next one may be without being loud.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Decides about one frame of the given score and length in milliseconds.
    ///
    /// Quiet frames add up, loud frames take their length back, and a frame [`STRONG_EXCESS`] above the level clears
    /// the account. The gate closes with the quiet frame that fills it.
    pub fn update(&mut self, score: u16, duration_ms: u32) -> GateFrame {
        if self.level == 0 {
            self.quiet_ms = 0;
            return self.pass();
        }
        if score > self.level {
            self.quiet_ms = if score - self.level >= STRONG_EXCESS {
                0
            } else {
                self.quiet_ms.saturating_sub(duration_ms)
            };
            return self.pass();
        }
        if !self.open {
            return GateFrame::Closed;
        }
        self.quiet_ms = self.quiet_ms.saturating_add(duration_ms);
        if self.quiet_ms < CLOSE_AFTER_MS {
            return GateFrame::Open;
        }
        self.open = false;
        self.quiet_ms = 0;
        GateFrame::Closing
    }

    /// Shuts the gate, as muting does; the next loud frame opens it anew. Level 0 stays open.
    pub fn shut(&mut self) {
        self.open = self.level == 0;
        self.quiet_ms = 0;
    }

    fn pass(&mut self) -> GateFrame {
        let was_open = std::mem::replace(&mut self.open, true);
        if was_open {
            GateFrame::Open
        } else {
            GateFrame::Opening
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_in_the_frame_that_exceeds_the_level_and_not_at_the_level() {
        let mut gate = TalkGate::new(20);
        assert_eq!(gate.update(20, 20), GateFrame::Closed);
        assert_eq!(gate.update(21, 20), GateFrame::Opening);
        assert_eq!(gate.update(21, 20), GateFrame::Open);
    }

    #[test]
    fn closes_with_the_fortieth_quiet_frame() {
        for (duration_ms, frames) in [(10, 80), (20, 40), (30, 27), (120, 7)] {
            let mut gate = TalkGate::new(20);
            gate.update(1000, duration_ms);
            for frame in 1..frames {
                assert_eq!(
                    gate.update(0, duration_ms),
                    GateFrame::Open,
                    "{duration_ms} ms, frame {frame}"
                );
            }
            assert_eq!(gate.update(0, duration_ms), GateFrame::Closing);
            assert_eq!(gate.update(0, duration_ms), GateFrame::Closed);
            assert_eq!(gate.update(1000, duration_ms), GateFrame::Opening);
        }
    }

    #[test]
    fn loud_frames_take_back_quiet_ones_and_strong_frames_all() {
        let mut gate = TalkGate::new(20);
        gate.update(1000, 20);
        for _ in 0..39 {
            gate.update(0, 20);
        }
        gate.update(50, 20); // 39 → 38
        assert_eq!(gate.update(0, 20), GateFrame::Open);
        assert_eq!(gate.update(0, 20), GateFrame::Closing);
        gate.update(1000, 20);
        for _ in 0..39 {
            gate.update(0, 20);
        }
        gate.update(420, 20);
        for _ in 0..39 {
            assert_eq!(gate.update(0, 20), GateFrame::Open);
        }
        assert_eq!(gate.update(0, 20), GateFrame::Closing);
    }

    #[test]
    fn level_zero_is_always_open_even_after_shutting() {
        let mut gate = TalkGate::new(0);
        for _ in 0..200 {
            assert_eq!(gate.update(0, 20), GateFrame::Open);
        }
        gate.shut();
        assert_eq!(gate.update(0, 20), GateFrame::Open);
    }

    #[test]
    fn raising_the_level_from_zero_lets_the_gate_close_in_time() {
        let mut gate = TalkGate::new(0);
        gate.update(0, 20);
        gate.set_level(20);
        let closed_at = (1..=100).find(|_| gate.update(0, 20) == GateFrame::Closing);
        assert_eq!(closed_at, Some(40));
    }

    #[test]
    fn ramps_touch_two_milliseconds_only() {
        let rows = [
            (8000, 160, 16),
            (16_000, 320, 32),
            (48_000, 480, 96),
            (8000, 5, 5),
        ];
        for (rate_hz, length, ramp) in rows {
            let mut opening = vec![1000i16; length];
            GateFrame::Opening.shape(&mut opening, rate_hz);
            assert!(opening[..ramp].iter().all(|&s| s < 1000) && opening.is_sorted());
            assert!(opening[ramp..].iter().all(|&s| s == 1000));
            let mut closing = vec![1000i16; length];
            GateFrame::Closing.shape(&mut closing, rate_hz);
            closing.reverse();
            assert_eq!(opening, closing);
        }
        let mut open = [i16::MIN; 160];
        GateFrame::Open.shape(&mut open, 8000);
        assert_eq!(open, [i16::MIN; 160]);
        GateFrame::Opening.shape(&mut [], 8000);
    }
}
