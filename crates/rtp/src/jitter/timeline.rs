//! One unbroken media time for a stream whose RTP timestamps wrap, jump or start anew. Owns the mapping from timestamps to
//! positions; decides nothing about when a position is heard.

use crate::ids::{ExtendedSequenceNumber, RtpTimestamp};

/// Place in a stream's media time, in units of its RTP clock. It never wraps; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaPosition(pub i64);

impl MediaPosition {
    /// The position `units` later (earlier when negative).
    #[must_use]
    pub const fn plus(self, units: i64) -> Self {
        Self(self.0 + units)
    }

    /// Units from `earlier` to this position; negative when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

/// The newest audio packet placed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub sequence: ExtendedSequenceNumber,
    /// Where its audio begins.
    pub position: MediaPosition,
    /// Its duration in units of the RTP clock.
    pub samples: u32,
}

impl Newest {
    /// Where its audio ends.
    #[must_use]
    pub fn end(&self) -> MediaPosition {
        self.position.plus(i64::from(self.samples))
    }

    /// Where the packet `sequence` begins if the stream goes on in packets of this one's duration.
    #[must_use]
    pub fn expected(&self, sequence: ExtendedSequenceNumber) -> MediaPosition {
        let steps = sequence.0.saturating_sub(self.sequence.0).cast_signed();
        self.position.plus(steps * i64::from(self.samples))
    }
}

/// A stretch of the stream in which timestamps and positions differ by a constant.
#[derive(Debug, Clone, Copy)]
struct Segment {
    first: ExtendedSequenceNumber,
    timestamp: RtpTimestamp,
    position: MediaPosition,
}

/// Maps the timestamps of one source to positions.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    current: Option<Segment>,
    previous: Option<Segment>,
    newest: Option<Newest>,
}

impl Timeline {
    /// Makes a timeline that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: None,
            previous: None,
            newest: None,
        }
    }

    /// The newest packet placed; `None` before the first.
    #[must_use]
    pub const fn newest(&self) -> Option<Newest> {
        self.newest
    }

    /// Returns the position of a packet's first sample; `None` before the first packet.
    ///
    /// Packets from before the last break in the timestamps are placed by what held before it.
    #[must_use]
    pub fn position(
        &self,
        sequence: ExtendedSequenceNumber,
        timestamp: RtpTimestamp,
    ) -> Option<MediaPosition> {
        let current = self.current?;
        let segment = if sequence < current.first {
            self.previous.unwrap_or(current)
        } else {
            current
        };
        Some(
            segment
                .position
                .plus(i64::from(timestamp.signed_since(segment.timestamp))),
        )
    }

    /// Takes a packet, beyond the newest, as the newest: its timestamp stands for `position` from here on.
    ///
    /// Moving the reference along keeps differences far below the 2^31 units at which they would wrap.
    pub fn advance(&mut self, newest: Newest, timestamp: RtpTimestamp) {
        let first = self.current.map_or(newest.sequence, |segment| segment.first);
        self.current = Some(Segment {
            first,
            timestamp,
            position: newest.position,
        });
        self.newest = Some(newest);
    }

    /// As [`advance`](Self::advance), after a break: earlier packets keep the mapping they had.
    pub fn break_off(&mut self, newest: Newest, timestamp: RtpTimestamp) {
        self.previous = self.current;
        self.current = Some(Segment {
            first: newest.sequence,
            timestamp,
            position: newest.position,
        });
        self.newest = Some(newest);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_through_the_wrap_and_over_a_break() {
        let mut timeline = Timeline::new();
        assert_eq!(
            timeline.position(ExtendedSequenceNumber(1), RtpTimestamp(0)),
            None
        );
        let newest = |sequence, position| Newest {
            sequence: ExtendedSequenceNumber(sequence),
            position: MediaPosition(position),
            samples: 160,
        };
        timeline.advance(newest(10, 1000), RtpTimestamp(u32::MAX - 79));
        let wrapped = timeline.position(ExtendedSequenceNumber(11), RtpTimestamp(80));
        assert_eq!(wrapped, Some(MediaPosition(1160)));
        timeline.break_off(newest(11, 1160), RtpTimestamp(500_000));
        let later = timeline.position(ExtendedSequenceNumber(12), RtpTimestamp(500_160));
        assert_eq!(later, Some(MediaPosition(1320)));
        let earlier = timeline.position(ExtendedSequenceNumber(9), RtpTimestamp(u32::MAX - 239));
        assert_eq!(earlier, Some(MediaPosition(840)), "reordered across the break");
    }

    #[test]
    fn a_stream_may_last_longer_than_its_timestamps() {
        let mut timeline = Timeline::new();
        let (mut position, mut timestamp) = (MediaPosition(0), RtpTimestamp(7));
        for sequence in 0..20 {
            if sequence > 0 {
                timestamp = timestamp.wrapping_add(1 << 30);
                position = timeline
                    .position(ExtendedSequenceNumber(sequence), timestamp)
                    .unwrap();
            }
            assert_eq!(position.0, sequence.cast_signed() << 30);
            timeline.advance(
                Newest {
                    sequence: ExtendedSequenceNumber(sequence),
                    position,
                    samples: 1,
                },
                timestamp,
            );
        }
    }
}
