//! Turns the kernel's receive times, which are wall-clock times, into times of the monotonic clock. Survives jumps of the
//! wall clock between the receiving of a packet and its reading.

/// Both clocks, read together at the beginning of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockPair {
    pub(crate) monotonic_ns: u64,
    pub(crate) wall_ns: u64,
}

impl ClockPair {
    /// Returns what must be added to the wall clock to get the monotonic one, modulo 2^64.
    fn offset(self) -> u64 {
        self.monotonic_ns.wrapping_sub(self.wall_ns)
    }
}

/// Longest time that a packet may have waited in its socket; a stamp that says more is not believed.
const MAX_WAIT_NS: u64 = 2_000_000_000;

/// The offset between the clocks at this turn and at the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrivalClock {
    now_ns: u64,
    offset: u64,
    offset_before: u64,
}

impl ArrivalClock {
    pub(crate) fn new(clocks: ClockPair) -> Self {
        ArrivalClock {
            now_ns: clocks.monotonic_ns,
            offset: clocks.offset(),
            offset_before: clocks.offset(),
        }
    }

    /// Takes in the clocks of a new turn.
    pub(crate) fn turn(&mut self, clocks: ClockPair) {
        self.now_ns = clocks.monotonic_ns;
        self.offset_before = self.offset;
        self.offset = clocks.offset();
    }

    /// Takes in the clocks again within a turn.
    pub(crate) fn refresh(&mut self, clocks: ClockPair) {
        self.now_ns = clocks.monotonic_ns;
        self.offset = clocks.offset();
    }

    /// Returns when a packet arrived, or `None` when its stamp fits neither this turn's clocks nor the last one's.
    ///
    /// A packet may arrive after the clocks were read and before it is read itself; then it arrived now.
    pub(crate) fn monotonic_ns(&self, stamp_wall_ns: u64) -> Option<u64> {
        [self.offset, self.offset_before].into_iter().find_map(|offset| {
            let arrival_ns = stamp_wall_ns.wrapping_add(offset);
            let waited_ns = self.now_ns.wrapping_sub(arrival_ns).cast_signed();
            if (0..=MAX_WAIT_NS.cast_signed()).contains(&waited_ns) {
                Some(arrival_ns)
            } else if (-SINCE_READING_NS..0).contains(&waited_ns) {
                Some(self.now_ns)
            } else {
                None
            }
        })
    }

    /// Returns the monotonic time as last read.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Returns both clocks as last read.
    pub(crate) fn clocks(&self) -> ClockPair {
        ClockPair {
            monotonic_ns: self.now_ns,
            wall_ns: self.now_ns.wrapping_sub(self.offset),
        }
    }
}

/// Longest time between the reading of the clocks and that of a packet: the tick of a conference with thousands of legs.
const SINCE_READING_NS: i64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WALL: u64 = 1_700_000_000_000 * MS;

    fn clock(monotonic_ns: u64, wall_ns: u64) -> ArrivalClock {
        ArrivalClock::new(ClockPair {
            monotonic_ns,
            wall_ns,
        })
    }

    #[test]
    fn stamps_are_carried_over() {
        let mut clock = clock(1000 * MS, WALL);
        clock.turn(ClockPair {
            monotonic_ns: 1005 * MS,
            wall_ns: WALL + 5 * MS,
        });
        let rows = [
            (WALL + 5 * MS, Some(1005 * MS)),
            (WALL + 2 * MS, Some(1002 * MS)),
            (WALL - 900 * MS, Some(100 * MS)),
            (WALL + 6 * MS, Some(1005 * MS)), // after the clocks were read
            (WALL - 5000 * MS, None),
            (WALL + 5000 * MS, None),
            (0, None),
            (u64::MAX, None),
        ];
        for (stamp, expected) in rows {
            assert_eq!(clock.monotonic_ns(stamp), expected, "{stamp}");
        }
    }

    #[test]
    fn packets_stamped_before_a_jump_of_the_wall_clock_keep_their_time() {
        for jump_ms in [-3_600_000i64, -10_000, 10_000, 3_600_000] {
            let mut clock = clock(10_000 * MS, WALL);
            let wall_ns = WALL.checked_add_signed((jump_ms + 5) * MS as i64).unwrap();
            clock.turn(ClockPair {
                monotonic_ns: 10_005 * MS,
                wall_ns,
            });
            assert_eq!(
                clock.monotonic_ns(WALL + 2 * MS),
                Some(10_002 * MS),
                "stamped before, jump {jump_ms} ms"
            );
            assert_eq!(
                clock.monotonic_ns(wall_ns - MS),
                Some(10_004 * MS),
                "stamped after, jump {jump_ms} ms"
            );
        }
    }
}
