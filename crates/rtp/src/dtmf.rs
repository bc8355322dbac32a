//! One digit out of the several ways it may come: RFC 4733 events, SIP INFO, tones in the audio. Owns what was reported of late;
//! detects nothing itself.

use crate::telephone_event::DtmfDigit;

/// How a digit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtmfSource {
    /// A telephone-event in RTP (RFC 4733).
    Rtp,
    /// A SIP INFO request (`application/dtmf-relay`, `application/dtmf`).
    Info,
    /// A tone heard in the audio.
    InBand,
}

/// Reports of one press lie at most this far apart: a SIP INFO that was sent again once (RFC 3261 §17.1.2.1: T1, then 2 × T1)
/// against a packet that was not.
pub const SAME_PRESS_NS: u64 = 1_000_000_000;

/// Presses remembered: more than fingers make in [`SAME_PRESS_NS`].
const REMEMBERED: usize = 16;

/// One press as reported so far.
#[derive(Debug, Clone, Copy)]
struct Press {
    digit: DtmfDigit,
    from_ns: u64,
    to_ns: u64,
    /// Bit per [`DtmfSource`] that has reported it.
    sources: u8,
}

/// Lets each press of a key through once, whichever sources report it, in whatever order.
///
/// Each source reports a press once, so a report belongs to the oldest press of the same digit nearby that its source has not
/// reported yet; if there is none, it is a new press. So a key pressed thrice is three digits even when all three reports of one
/// source come before those of the other.
///
/// ```
/// use confab_rtp::{DtmfDigit, DtmfMerger, DtmfSource};
/// let five = DtmfDigit::from_key('5').expect("a key");
/// let mut merger = DtmfMerger::new();
/// assert!(merger.report(1_000_000_000, DtmfSource::Rtp, five, 100));
/// assert!(!merger.report(1_080_000_000, DtmfSource::Info, five, 160), "the same press");
/// assert!(merger.report(1_300_000_000, DtmfSource::Rtp, five, 100), "pressed again");
/// ```
#[derive(Debug, Clone, Default)]
pub struct DtmfMerger {
    presses: [Option<Press>; REMEMBERED],
    next: usize,
}

impl DtmfMerger {
    /// Makes a merger that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            presses: [None; REMEMBERED],
            next: 0,
        }
    }

    /// Takes a digit that `source` reports at `now_ns`, at its end, after it lasted `duration_ms` (0 when that is not known). Returns
    /// whether it is a new press.
    pub fn report(&mut self, now_ns: u64, source: DtmfSource, digit: DtmfDigit, duration_ms: u32) -> bool {
        let bit = 1 << source as u8;
        let from_ns = now_ns.saturating_sub(u64::from(duration_ms) * 1_000_000);
        // From the oldest on.
        for step in 0..REMEMBERED {
            let slot = &mut self.presses[(self.next + step) % REMEMBERED];
            if let Some(press) = slot
                && press.digit == digit
                && press.sources & bit == 0
                && press.is_near(from_ns, now_ns)
            {
                press.sources |= bit;
                press.from_ns = press.from_ns.min(from_ns);
                press.to_ns = press.to_ns.max(now_ns);
                return false;
            }
        }
        self.presses[self.next] = Some(Press {
            digit,
            from_ns,
            to_ns: now_ns,
            sources: bit,
        });
        self.next = (self.next + 1) % REMEMBERED;
        true
    }
}

impl Press {
    fn is_near(&self, from_ns: u64, to_ns: u64) -> bool {
        from_ns <= self.to_ns.saturating_add(SAME_PRESS_NS)
            && self.from_ns <= to_ns.saturating_add(SAME_PRESS_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::DtmfSource::{InBand, Info, Rtp};
    use super::*;

    const MS: u64 = 1_000_000;

    /// Time in ms, source, key, duration in ms.
    type Report = (u64, DtmfSource, char, u32);

    /// Returns the keys let through.
    fn merge(reports: &[Report]) -> String {
        let mut merger = DtmfMerger::new();
        reports
            .iter()
            .filter(|&&(at_ms, source, key, duration_ms)| {
                let digit = DtmfDigit::from_key(key).unwrap();
                merger.report(10_000 * MS + at_ms * MS, source, digit, duration_ms)
            })
            .map(|report| report.2)
            .collect()
    }

    #[test]
    fn each_press_counts_once() {
        let rows: [(&str, &[Report], &str); 9] = [
            ("one source", &[(0, Rtp, '1', 100), (200, Rtp, '1', 100)], "11"),
            ("two sources", &[(0, Rtp, '1', 100), (90, Info, '1', 160)], "1"),
            (
                "three sources",
                &[(0, InBand, '1', 60), (40, Rtp, '1', 100), (90, Info, '1', 0)],
                "1",
            ),
            (
                "in turns",
                &[
                    (0, Rtp, '5', 80),
                    (50, Info, '5', 0),
                    (200, Rtp, '5', 80),
                    (250, Info, '5', 0),
                ],
                "55",
            ),
            (
                "one behind the other",
                &[
                    (0, Rtp, '5', 80),
                    (200, Rtp, '5', 80),
                    (400, Rtp, '5', 80),
                    (500, Info, '5', 0),
                    (510, Info, '5', 0),
                    (520, Info, '5', 0),
                ],
                "555",
            ),
            (
                "other digits between",
                &[
                    (0, Rtp, '1', 80),
                    (20, Rtp, '2', 10),
                    (300, Info, '1', 0),
                    (310, Info, '2', 0),
                ],
                "12",
            ),
            ("too far apart", &[(0, Rtp, '1', 80), (1200, Info, '1', 0)], "11"),
            (
                "a long press told at both ends",
                &[(0, Info, '#', 0), (5_000, Rtp, '#', 5_000)],
                "#",
            ),
            (
                "order is kept",
                &[
                    (0, Info, '1', 0),
                    (10, Info, '2', 0),
                    (60, Rtp, '1', 80),
                    (160, Rtp, '2', 80),
                ],
                "12",
            ),
        ];
        for (name, reports, expected) in rows {
            assert_eq!(merge(reports), expected, "{name}");
        }
    }

    #[test]
    fn many_presses_push_out_the_oldest_only() {
        let reports: Vec<_> = (0..100).map(|n| (n * 100, Rtp, '7', 50)).collect();
        assert_eq!(merge(&reports).len(), 100);
    }
}
