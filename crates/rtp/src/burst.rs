//! How losses cluster: bursts and gaps as RFC 3611 §4.7.2 defines them, and runs of loss. Owns counters of one stream's
//! packets in the order of their numbers; knows no time.

/// Packets received in a row that end a burst (RFC 3611 §4.7.2: the recommended Gmin).
pub const GMIN: u8 = 16;

/// Counts the packets of a stream, each as received or as missing (lost, or too late to be heard).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BurstMeter {
    received: u64,
    missing: u64,
    runs: u64,
    /// Received in a row since the last missing packet.
    since_missing: u64,
    /// Missing since the last gap of [`GMIN`].
    in_burst: u64,
    counts: Transitions,
}

/// State transitions of the four-state model (RFC 3611 A.2): 1 received in a gap, 2 received in a burst, 3 missing in a burst,
/// 4 missing alone in a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Transitions {
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
}

/// The stream as bursts of loss and gaps between them, in the units of an RFC 3611 report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BurstReport {
    /// Missing packets within bursts, in 1/256.
    pub burst_density: u8,
    /// Missing packets within gaps, in 1/256.
    pub gap_density: u8,
    /// Mean duration of a burst in packets.
    pub burst_packets: u32,
    /// Mean duration of a gap in packets; the whole stream when there was no burst.
    pub gap_packets: u32,
}

impl BurstMeter {
    /// Makes a meter that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            received: 0,
            missing: 0,
            runs: 0,
            since_missing: 0,
            in_burst: 0,
            counts: Transitions {
                c11: 0,
                c13: 0,
                c14: 0,
                c22: 0,
                c23: 0,
                c33: 0,
            },
        }
    }

    /// Counts a packet that was handed out.
    pub fn received(&mut self) {
        self.received += 1;
        self.since_missing += 1;
    }

    /// Counts this many missing packets in a row, behind those counted before.
    pub fn missing(&mut self, packets: u64) {
        if packets == 0 {
            return;
        }
        self.runs += u64::from(self.since_missing > 0 || self.missing == 0);
        self.missing += packets;
        self.first_missing();
        self.in_burst += packets - 1;
        self.counts.c33 += packets - 1;
    }

    /// RFC 3611 A.2 for a missing packet behind `since_missing` received ones; the model there begins in a burst, this one in a gap.
    fn first_missing(&mut self) {
        let gap = std::mem::take(&mut self.since_missing);
        let counts = &mut self.counts;
        if gap >= u64::from(GMIN) {
            // What was missing before the gap is known only now: nothing, a single packet, or a burst.
            match self.in_burst {
                0 => {}
                1 => counts.c14 += 1,
                _ => counts.c13 += 1,
            }
            self.in_burst = 1;
            counts.c11 += gap;
        } else {
            self.in_burst += 1;
            if gap == 0 {
                counts.c33 += 1;
            } else {
                counts.c23 += 1;
                counts.c22 += gap - 1;
            }
        }
    }

    /// Packets counted, missing ones included.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        self.received + self.missing
    }

    /// Missing packets.
    #[must_use]
    pub const fn missing_packets(&self) -> u64 {
        self.missing
    }

    /// Share of packets missing, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.missing as f64 / self.expected().max(1) as f64
    }

    /// BurstR of ITU-T G.107 §7.4: the mean run of missing packets over what it would be if losses were independent; 1 for
    /// random loss, more when losses cluster, never less than 1.
    #[must_use]
    pub fn burst_ratio(&self) -> f64 {
        if self.runs == 0 {
            return 1.0;
        }
        let mean_run = self.missing as f64 / self.runs as f64;
        (mean_run * (1.0 - self.loss())).max(1.0)
    }

    /// What was counted since `earlier`, a copy of this meter kept from then.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let now = self.counts.with_tail(self.since_missing);
        let before = earlier.counts.with_tail(earlier.since_missing);
        Self {
            received: self.received.saturating_sub(earlier.received),
            missing: self.missing.saturating_sub(earlier.missing),
            runs: self.runs.saturating_sub(earlier.runs),
            since_missing: 0,
            in_burst: self.in_burst,
            counts: now.minus(&before),
        }
    }

    /// Bursts and gaps of everything counted.
    #[must_use]
    pub fn report(&self) -> BurstReport {
        let c = self.counts.with_tail(self.since_missing);
        let total = c.c11 + c.c14 + 2 * c.c13 + c.c22 + 2 * c.c23 + c.c33;
        let gaps = c.c11 + c.c14 + c.c13;
        let in_burst = c.c13 + c.c23 + c.c33;
        if c.c13 == 0 || in_burst == 0 {
            return BurstReport {
                gap_density: share(c.c14, c.c11 + c.c14),
                gap_packets: u32::try_from(gaps).unwrap_or(u32::MAX),
                ..BurstReport::default()
            };
        }
        let p32 = c.c23 as f64 / in_burst as f64;
        let p23 = if c.c22 + c.c23 < 1 {
            1.0
        } else {
            1.0 - c.c22 as f64 / (c.c22 + c.c23) as f64
        };
        let gap_packets = gaps / c.c13;
        BurstReport {
            burst_density: (256.0 * p23 / (p23 + p32)).clamp(0.0, 255.0) as u8,
            gap_density: share(c.c14, c.c11 + c.c14),
            burst_packets: u32::try_from((total / c.c13).saturating_sub(gap_packets)).unwrap_or(u32::MAX),
            gap_packets: u32::try_from(gap_packets).unwrap_or(u32::MAX),
        }
    }
}

impl Transitions {
    /// With the packets since the last missing one counted as a gap, as far as they make one.
    const fn with_tail(mut self, since_missing: u64) -> Self {
        if since_missing >= GMIN as u64 {
            self.c11 += since_missing;
        }
        self
    }

    const fn minus(&self, earlier: &Self) -> Self {
        Self {
            c11: self.c11.saturating_sub(earlier.c11),
            c13: self.c13.saturating_sub(earlier.c13),
            c14: self.c14.saturating_sub(earlier.c14),
            c22: self.c22.saturating_sub(earlier.c22),
            c23: self.c23.saturating_sub(earlier.c23),
            c33: self.c33.saturating_sub(earlier.c33),
        }
    }
}

fn share(part: u64, whole: u64) -> u8 {
    (part * 256).checked_div(whole).unwrap_or(0).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a pattern of runs: how many packets, and whether they arrived.
    fn meter(pattern: &[(u64, bool)]) -> BurstMeter {
        let mut meter = BurstMeter::new();
        for &(packets, arrived) in pattern {
            if arrived {
                (0..packets).for_each(|_| meter.received());
            } else {
                meter.missing(packets);
            }
        }
        meter
    }

    #[test]
    fn single_losses_far_apart_are_gap_loss() {
        let mut pattern = Vec::new();
        for _ in 0..20 {
            pattern.extend([(99, true), (1, false)]);
        }
        pattern.push((99, true));
        let meter = meter(&pattern);
        let report = meter.report();
        assert_eq!(report.burst_density, 0, "{report:?}");
        assert_eq!(report.gap_density, 2, "1 in 100 is 2.56 in 256: {report:?}");
        assert!((meter.loss() - 20.0 / 2099.0).abs() < 1e-9);
        assert!((meter.burst_ratio() - 1.0).abs() < 0.02);
    }

    #[test]
    fn dense_loss_is_a_burst_with_its_length_and_density() {
        let mut pattern = vec![(200, true)];
        for _ in 0..40 {
            for _ in 0..5 {
                pattern.extend([(2, false), (2, true)]);
            }
            pattern.push((180, true));
        }
        let meter = meter(&pattern);
        let report = meter.report();
        assert!((110..=145).contains(&report.burst_density), "{report:?}");
        assert!((17..=20).contains(&report.burst_packets), "{report:?}");
        assert!((175..=205).contains(&report.gap_packets), "{report:?}");
        assert_eq!(report.gap_density, 0, "{report:?}");
        assert!(meter.burst_ratio() > 1.8);
    }

    #[test]
    fn a_clean_stream_is_one_gap_and_a_later_report_sees_its_own_time_only() {
        let mut meter = meter(&[(1000, true)]);
        let clean = meter.report();
        assert_eq!((clean.burst_density, clean.gap_density), (0, 0));
        assert_eq!((clean.burst_packets, clean.gap_packets), (0, 1000));
        let before = meter;
        meter.missing(3);
        (0..500).for_each(|_| meter.received());
        let report = meter.since(&before).report();
        assert!(report.gap_packets <= 501, "{report:?}");
        assert_eq!(BurstMeter::new().since(&before).report(), BurstReport::default());
        assert!((BurstMeter::new().burst_ratio() - 1.0).abs() < f64::EPSILON);
    }
}
