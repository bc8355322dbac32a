//! How the calls that ended were heard, summed up for the metrics page.
//!
//! Owns counters only; each call hands in its leg's last measurements once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use confab_media::LegStats;

/// Upper bounds of the buckets of opinion scores, as a hundred times the score; scores end at 4.5.
pub(crate) const MOS_BOUNDS: [u16; 8] = [200, 250, 300, 350, 380, 400, 420, 440];

/// Sums over ended calls.
#[derive(Default)]
pub(crate) struct CallQuality {
    /// Calls by opinion score; the last bucket has no bound.
    buckets: [AtomicU64; MOS_BOUNDS.len() + 1],
    mos_hundredths: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    concealed_ms: AtomicU64,
    repaired_ms: AtomicU64,
    digits: AtomicU64,
}

/// The sums at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QualityTotals {
    /// Calls by opinion score, each bucket by itself.
    pub(crate) buckets: Vec<u64>,
    /// Sum of the scores.
    pub(crate) mos_sum: f64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// Packets that came too late.
    pub(crate) late: u64,
    /// Audio made up, ms.
    pub(crate) concealed_ms: u64,
    /// Lost audio that later packets brought back, ms.
    pub(crate) repaired_ms: u64,
    /// Presses of keys.
    pub(crate) digits: u64,
}

impl CallQuality {
    /// Takes in the last measurements of a call. One without audio has no score.
    pub(crate) fn record(&self, stats: &LegStats) {
        if let Some(mos) = stats.mos_hundredths {
            let bucket = MOS_BOUNDS.partition_point(|&bound| bound < mos);
            self.buckets[bucket].fetch_add(1, Relaxed);
            self.mos_hundredths.fetch_add(mos.into(), Relaxed);
        }
        let lost = u64::try_from(stats.packets_lost).unwrap_or(0);
        for (sum, value) in [
            (&self.lost, lost),
            (&self.late, stats.packets_late),
            (&self.concealed_ms, stats.concealed_ms),
            (&self.repaired_ms, stats.repaired_ms),
            (&self.digits, stats.digits_received),
        ] {
            sum.fetch_add(value, Relaxed);
        }
    }

    /// Returns the sums.
    pub(crate) fn totals(&self) -> QualityTotals {
        QualityTotals {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            // Exact far beyond a server's life.
            mos_sum: self.mos_hundredths.load(Relaxed) as f64 / 100.0,
            lost: self.lost.load(Relaxed),
            late: self.late.load(Relaxed),
            concealed_ms: self.concealed_ms.load(Relaxed),
            repaired_ms: self.repaired_ms.load(Relaxed),
            digits: self.digits.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_fall_into_their_buckets_and_sums_add_up() {
        let quality = CallQuality::default();
        for mos_hundredths in [
            None,
            Some(100),
            Some(200),
            Some(201),
            Some(440),
            Some(441),
            Some(450),
        ] {
            quality.record(&LegStats {
                mos_hundredths,
                packets_lost: -1,
                concealed_ms: 20,
                digits_received: 1,
                ..LegStats::default()
            });
        }
        let totals = quality.totals();
        assert_eq!(totals.buckets, [2, 1, 0, 0, 0, 0, 0, 1, 2]);
        assert!((totals.mos_sum - 18.32).abs() < 1e-9, "{}", totals.mos_sum);
        assert_eq!((totals.lost, totals.concealed_ms, totals.digits), (0, 140, 7));
    }
}
