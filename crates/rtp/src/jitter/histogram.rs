//! How late packets were against their deadline, over the last five to ten seconds. Owns counts only.

/// Lateness of the lowest bin in ms; packets earlier than this share it.
const LOWEST_MS: i64 = -320;
/// Bins of 1 ms: −320 to 191 ms. Packets later than that share the last.
const BINS: usize = 512;

/// Lateness in bins of one millisecond, in two windows: the one being filled and the full one before it.
#[derive(Debug, Clone)]
pub(super) struct LatenessHistogram {
    current: Box<[u16; BINS]>,
    previous: Box<[u16; BINS]>,
    total: u32,
    previous_total: u32,
    /// The bin that was counted in last: the next packet's as a rule.
    last: usize,
}

impl LatenessHistogram {
    pub(super) fn new() -> Self {
        Self {
            current: Box::new([0; BINS]),
            previous: Box::new([0; BINS]),
            total: 0,
            previous_total: 0,
            last: 0,
        }
    }

    /// Counts a packet; negative lateness is time to spare.
    pub(super) fn record(&mut self, lateness_ns: i64) {
        let bin = (lateness_ns.div_euclid(1_000_000) - LOWEST_MS).clamp(0, BINS as i64 - 1);
        self.last = bin as usize;
        let count = &mut self.current[self.last];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// The count that the next packet is likely to add to.
    pub(super) fn next_count(&self) -> &u16 {
        &self.current[self.last % BINS]
    }

    /// Starts a new window; what is older than the one just closed is forgotten.
    pub(super) fn rotate(&mut self) {
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.fill(0);
        self.previous_total = std::mem::take(&mut self.total);
    }

    /// Packets in both windows.
    pub(super) fn len(&self) -> u32 {
        self.total + self.previous_total
    }

    pub(super) fn clear(&mut self) {
        self.current.fill(0);
        self.previous.fill(0);
        (self.total, self.previous_total) = (0, 0);
    }

    /// The whole millisecond, rounded down, that all but `share` of the packets (1/n of them, rounded down) do not exceed.
    pub(super) fn latest_ms(&self, one_in: u32) -> Option<i64> {
        self.reach((0..BINS).rev(), self.len() / one_in)
    }

    /// The same at the other end: the lateness of the earliest packets.
    pub(super) fn earliest_ms(&self, one_in: u32) -> Option<i64> {
        self.reach(0..BINS, self.len() / one_in)
    }

    /// The first bin, in the given order, that takes the count beyond those left out.
    fn reach(&self, bins: impl Iterator<Item = usize>, left_out: u32) -> Option<i64> {
        let mut seen = 0;
        for bin in bins {
            seen += u32::from(self.current[bin]) + u32::from(self.previous[bin]);
            if seen > left_out {
                return Some(bin as i64 + LOWEST_MS);
            }
        }
        None
    }

    /// Moves all counts `later_ms` up (down when negative) after the deadlines moved; counts at the ends pile up there.
    pub(super) fn shift(&mut self, later_ms: i64) {
        let steps = usize::try_from(later_ms.unsigned_abs())
            .unwrap_or(BINS)
            .min(BINS - 1);
        if steps == 0 {
            return;
        }
        for window in [&mut self.current, &mut self.previous] {
            if later_ms > 0 {
                let pushed_out = sum(&window[BINS - steps..]);
                window.copy_within(..BINS - steps, steps);
                window[..steps].fill(0);
                window[BINS - 1] = window[BINS - 1].saturating_add(pushed_out);
            } else {
                let pushed_out = sum(&window[..steps]);
                window.copy_within(steps.., 0);
                window[BINS - steps..].fill(0);
                window[0] = window[0].saturating_add(pushed_out);
            }
        }
    }
}

fn sum(counts: &[u16]) -> u16 {
    counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_leave_out_the_share_asked_for() {
        let mut histogram = LatenessHistogram::new();
        assert_eq!(histogram.latest_ms(100), None);
        for _ in 0..99 {
            histogram.record(-10_000_001);
        }
        histogram.record(30_000_000);
        assert_eq!(histogram.latest_ms(100), Some(-11), "one in a hundred left out");
        assert_eq!(histogram.earliest_ms(100), Some(-11));
        histogram.record(30_999_999);
        assert_eq!(histogram.latest_ms(100), Some(30));
    }

    #[test]
    fn shifting_keeps_every_packet_and_windows_forget() {
        let mut histogram = LatenessHistogram::new();
        histogram.record(0);
        histogram.record(i64::MAX);
        histogram.record(i64::MIN + 1);
        histogram.rotate();
        for shift in [0, 20, -40, 20, 1000, -1000] {
            histogram.shift(shift);
            let counts: u32 = histogram.previous.iter().map(|&c| u32::from(c)).sum();
            assert_eq!(counts, 3, "after shift {shift}");
        }
        histogram.rotate();
        assert_eq!(histogram.len(), 0);
        assert_eq!(histogram.latest_ms(100), None);
    }

    #[test]
    fn a_shift_moves_the_quantile_with_it() {
        let mut histogram = LatenessHistogram::new();
        histogram.record(5_000_000);
        histogram.shift(-20);
        assert_eq!(histogram.latest_ms(100), Some(-15));
        histogram.shift(20);
        assert_eq!(histogram.latest_ms(100), Some(5));
    }
}
