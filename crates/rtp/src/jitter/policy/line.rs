//! The line between media time and ticks: which position is heard when, and by how much a packet misses it. Decides nothing:
//! the policy moves it.

use crate::jitter::timeline::MediaPosition;

/// Where a tick stands on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The position to be heard at its start.
    pub position: MediaPosition,
    /// By how much it comes later (earlier when negative) than a whole number of ticks after the last one.
    pub phase_ns: i64,
}

/// Position `position` is heard from `at_ns` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) at_ns: i64,
    pub(super) position: MediaPosition,
    pub(super) tick_samples: i64,
    pub(super) tick_ns: i64,
}

impl Line {
    pub(super) fn new(at_ns: u64, position: MediaPosition, tick_samples: u32, tick_ns: u64) -> Self {
        Line {
            at_ns: at_ns.cast_signed(),
            position,
            tick_samples: i64::from(tick_samples.max(1)),
            tick_ns: tick_ns.max(1).cast_signed(),
        }
    }

    /// What it says for a tick. The ticks between the last one and this are counted in lengths of the last.
    pub(super) fn due_at(&self, at_ns: u64) -> Due {
        let elapsed_ns = at_ns.cast_signed().saturating_sub(self.at_ns);
        let ticks = elapsed_ns
            .saturating_add(self.tick_ns / 2)
            .div_euclid(self.tick_ns);
        let samples = ticks.saturating_mul(self.tick_samples);
        Due {
            position: self.position.plus(samples.clamp(-(1 << 40), 1 << 40)),
            phase_ns: elapsed_ns - ticks * self.tick_ns,
        }
    }

    /// By how much a packet that begins at `position` missed its deadline when it arrived at `arrival_ns`; negative is time to
    /// spare.
    pub(super) fn lateness_ns(&self, position: MediaPosition, arrival_ns: u64) -> i64 {
        let ticks = position.since(self.position).div_euclid(self.tick_samples);
        let deadline_ns = self.at_ns.saturating_add(ticks.saturating_mul(self.tick_ns));
        arrival_ns.cast_signed().saturating_sub(deadline_ns)
    }

    /// The position heard from the first tick at or after `at_ns`.
    pub(super) fn position_at(&self, at_ns: u64) -> MediaPosition {
        let since_ns = at_ns.cast_signed().saturating_sub(self.at_ns);
        let ticks = -(-since_ns).div_euclid(self.tick_ns);
        self.position.plus(ticks.saturating_mul(self.tick_samples))
    }

    pub(super) fn ns_in(&self, samples: u32) -> i64 {
        i64::from(samples).saturating_mul(self.tick_ns) / self.tick_samples
    }

    pub(super) fn samples_in(&self, ticks: i64) -> u32 {
        u32::try_from(ticks.saturating_mul(self.tick_samples)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 20_000_000;

    fn line() -> Line {
        Line::new(1_000 * TICK_NS, MediaPosition(0), 160, TICK_NS)
    }

    #[test]
    fn a_packet_is_due_at_the_tick_in_whose_span_it_begins() {
        let line = line();
        let at = 1_000 * TICK_NS;
        // (position, deadline in ticks from the anchor)
        for (position, ticks) in [
            (0, 0),
            (1, 0),
            (159, 0),
            (160, 1),
            (240, 1),
            (320, 2),
            (-1, -1),
            (-160, -1),
        ] {
            let lateness = line.lateness_ns(MediaPosition(position), at);
            assert_eq!(lateness, -ticks * TICK_NS.cast_signed(), "position {position}");
        }
    }

    #[test]
    fn the_first_tick_at_or_after_an_instant_has_its_position() {
        let line = line();
        let at = 1_000 * TICK_NS;
        for (after_ns, position) in [(0, 0), (1, 160), (TICK_NS, 160), (TICK_NS + 1, 320)] {
            assert_eq!(
                line.position_at(at + after_ns),
                MediaPosition(position),
                "{after_ns} ns"
            );
        }
        assert_eq!(line.position_at(at - 1), MediaPosition(0));
        assert_eq!(line.position_at(at - TICK_NS), MediaPosition(-160));
    }
}
