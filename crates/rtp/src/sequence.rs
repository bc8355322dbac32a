//! Carries 16-bit sequence numbers past their wraps and tells a gap from a restart (RFC 3550 A.1). Owns one source's
//! highest number; stores no packets and counts nothing.

use crate::ids::{ExtendedSequenceNumber, SequenceNumber};

/// Steps forward that are still taken for loss (RFC 3550 A.1).
pub const MAX_DROPOUT: u16 = 3000;
/// Steps back that are still taken for reordering (RFC 3550 A.1).
pub const MAX_MISORDER: u16 = 100;

const CYCLE: u64 = 1 << 16;

/// Where a packet stands relative to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceStep {
    /// The first packet of the source.
    First(ExtendedSequenceNumber),
    /// Beyond the highest so far, by less than [`MAX_DROPOUT`].
    Ahead(ExtendedSequenceNumber),
    /// The highest again or up to [`MAX_MISORDER`] before it: a duplicate or a reordered packet.
    Behind(ExtendedSequenceNumber),
    /// Too far off either way. Ignore the packet; if the very next number follows, the source has restarted.
    Jump,
    /// Second packet in a row after a jump: the source counts from here. The number is above all earlier ones.
    Restarted(ExtendedSequenceNumber),
}

/// Extends the sequence numbers of one source.
#[derive(Debug, Clone, Default)]
pub struct SequenceExtender {
    highest: Option<ExtendedSequenceNumber>,
    after_jump: Option<SequenceNumber>,
}

impl SequenceExtender {
    /// Makes an extender that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            highest: None,
            after_jump: None,
        }
    }

    /// Places a received number.
    pub fn extend(&mut self, sequence: SequenceNumber) -> SequenceStep {
        let Some(highest) = self.highest else {
            let first = ExtendedSequenceNumber(CYCLE + u64::from(sequence.0));
            self.highest = Some(first);
            return SequenceStep::First(first);
        };
        let ahead = sequence.steps_since(highest.low());
        let behind = highest.low().steps_since(sequence);
        if ahead != 0 && ahead < MAX_DROPOUT {
            let extended = ExtendedSequenceNumber(highest.0 + u64::from(ahead));
            self.highest = Some(extended);
            self.after_jump = None;
            SequenceStep::Ahead(extended)
        } else if behind < MAX_MISORDER {
            SequenceStep::Behind(ExtendedSequenceNumber(
                highest.0.saturating_sub(u64::from(behind)),
            ))
        } else if self.after_jump == Some(sequence) {
            let restarted =
                ExtendedSequenceNumber((highest.0 | (CYCLE - 1)) + 1 + CYCLE + u64::from(sequence.0));
            self.highest = Some(restarted);
            self.after_jump = None;
            SequenceStep::Restarted(restarted)
        } else {
            self.after_jump = Some(sequence.next());
            SequenceStep::Jump
        }
    }

    /// The highest number so far.
    #[must_use]
    pub const fn highest(&self) -> Option<ExtendedSequenceNumber> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: [u16; 6] = [0, 1, 127, 32767, 65534, 65535];

    #[test]
    fn every_start_counts_on_through_the_wrap() {
        for start in STARTS {
            let mut extender = SequenceExtender::new();
            let first = match extender.extend(SequenceNumber(start)) {
                SequenceStep::First(first) => first.0,
                other => panic!("{other:?}"),
            };
            for step in 1..70_000_u64 {
                let wire = SequenceNumber(start.wrapping_add(step as u16));
                let expected = ExtendedSequenceNumber(first + step);
                assert_eq!(
                    extender.extend(wire),
                    SequenceStep::Ahead(expected),
                    "start {start} step {step}"
                );
                assert_eq!(expected.low(), wire);
            }
        }
    }

    #[test]
    fn gaps_reordering_and_jumps_are_told_apart_at_their_limits() {
        // (steps from the highest, what it is)
        let rows: [(i32, &str); 9] = [
            (1, "ahead"),
            (2999, "ahead"),
            (3000, "jump"),
            (32768, "jump"),
            (0, "behind"),
            (-1, "behind"),
            (-99, "behind"),
            (-100, "jump"),
            (-3000, "jump"),
        ];
        for start in STARTS {
            for (steps, expected) in rows {
                let mut extender = SequenceExtender::new();
                extender.extend(SequenceNumber(start));
                let step = extender.extend(SequenceNumber(start.wrapping_add(steps as u16)));
                let kind = match step {
                    SequenceStep::Ahead(_) => "ahead",
                    SequenceStep::Behind(_) => "behind",
                    SequenceStep::Jump => "jump",
                    SequenceStep::First(_) | SequenceStep::Restarted(_) => "other",
                };
                assert_eq!(kind, expected, "start {start} steps {steps}");
                if let SequenceStep::Ahead(number) | SequenceStep::Behind(number) = step {
                    assert_eq!(number.0 as i64, 65_536 + i64::from(start) + i64::from(steps));
                }
            }
        }
    }

    #[test]
    fn two_packets_in_a_row_after_a_jump_restart_the_source_above_all_before() {
        let mut extender = SequenceExtender::new();
        extender.extend(SequenceNumber(65_000));
        assert_eq!(extender.extend(SequenceNumber(10_000)), SequenceStep::Jump);
        assert_eq!(extender.extend(SequenceNumber(20_000)), SequenceStep::Jump);
        match extender.extend(SequenceNumber(20_001)) {
            SequenceStep::Restarted(number) => {
                assert!(number.0 > 65_536 + 65_000);
                assert_eq!(number.low(), SequenceNumber(20_001));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            extender.extend(SequenceNumber(20_002)),
            SequenceStep::Ahead(_)
        ));
    }

    #[test]
    fn a_stray_packet_does_not_disturb_the_count() {
        let mut extender = SequenceExtender::new();
        extender.extend(SequenceNumber(5));
        assert_eq!(extender.extend(SequenceNumber(30_000)), SequenceStep::Jump);
        assert_eq!(
            extender.extend(SequenceNumber(6)),
            SequenceStep::Ahead(ExtendedSequenceNumber(65_542))
        );
        assert_eq!(extender.extend(SequenceNumber(30_001)), SequenceStep::Jump);
    }
}
