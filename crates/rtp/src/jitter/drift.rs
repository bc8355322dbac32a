//! How fast the sender's clock runs against ours, from when packets arrive. Owns the lows of the transit time over some
//! minutes; decides nothing.
//!
//! The path's delay varies from packet to packet but has a floor, and the floor moves only with the clocks. So of every ten seconds
//! the shortest transit is kept, and the skew is how the lows move from one to the next. A step of the floor, such as a new route,
//! is no drift: changes far off the usual one are left out.

/// Time over which the shortest transit is taken.
const WINDOW_NS: u64 = 10_000_000_000;
/// Changes remembered: five minutes.
const CHANGES: usize = 30;
/// Changes needed before there is a figure: one minute.
const ENOUGH: usize = 6;
/// A change further off the median than this is a step of the path.
const STEP_NS: i64 = 4_000_000;
/// Clocks further apart than this are broken (parts per million).
const MAX_PPM: i128 = 5_000;

/// Shortest transit of a window and when its packet arrived.
#[derive(Debug, Clone, Copy)]
struct Low {
    transit_ns: i64,
    arrival_ns: u64,
}

/// From one low to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    transit_ns: i64,
    elapsed_ns: i64,
}

/// Estimates the skew of one source.
#[derive(Debug, Clone)]
pub(super) struct DriftEstimator {
    /// The window's low so far and when the window ends.
    window: Option<(Low, u64)>,
    last_low: Option<Low>,
    /// Boxed: it is looked at every ten seconds, the rest with every packet.
    changes: Box<[Change; CHANGES]>,
    len: usize,
    next: usize,
    skew_ppm: Option<i32>,
}

impl DriftEstimator {
    pub(super) fn new() -> Self {
        Self {
            window: None,
            last_low: None,
            changes: Box::new([Change::default(); CHANGES]),
            len: 0,
            next: 0,
            skew_ppm: None,
        }
    }

    /// Learns from a packet whose first sample has media time `media_ns`, on a scale of which only differences matter.
    pub(super) fn record(&mut self, arrival_ns: u64, media_ns: u64) {
        let low = Low {
            transit_ns: arrival_ns.cast_signed().wrapping_sub(media_ns.cast_signed()),
            arrival_ns,
        };
        match &mut self.window {
            Some((lowest, ends_ns)) if arrival_ns < *ends_ns => {
                if low.transit_ns < lowest.transit_ns {
                    *lowest = low;
                }
            }
            window => {
                let closed = window.replace((low, arrival_ns.saturating_add(WINDOW_NS)));
                if let Some((lowest, _)) = closed {
                    self.close(lowest);
                }
            }
        }
    }

    /// Told that media time jumped: what follows cannot be compared with what was before.
    pub(super) fn break_off(&mut self) {
        self.window = None;
        self.last_low = None;
    }

    /// Told that another sender is heard from here on.
    pub(super) fn forget(&mut self) {
        self.break_off();
        (self.len, self.next, self.skew_ppm) = (0, 0, None);
    }

    pub(super) const fn skew_ppm(&self) -> Option<i32> {
        self.skew_ppm
    }

    fn close(&mut self, low: Low) {
        let Some(last) = self.last_low.replace(low) else {
            return;
        };
        self.changes[self.next] = Change {
            transit_ns: low.transit_ns.saturating_sub(last.transit_ns),
            elapsed_ns: low
                .arrival_ns
                .saturating_sub(last.arrival_ns)
                .cast_signed()
                .max(1),
        };
        self.next = (self.next + 1) % CHANGES;
        self.len = (self.len + 1).min(CHANGES);
        self.skew_ppm = estimate(&self.changes[..self.len]).or(self.skew_ppm);
    }
}

/// The mean of the changes that lie near the median one. Neighbouring changes share a low, so their sum has the noise of its two
/// ends only.
fn estimate(changes: &[Change]) -> Option<i32> {
    if changes.len() < ENOUGH {
        return None;
    }
    let mut rates = [0_i64; CHANGES];
    let rates = &mut rates[..changes.len()];
    for (rate, change) in rates.iter_mut().zip(changes) {
        *rate = change.rate_ppb();
    }
    rates.sort_unstable();
    let median_ppb = rates[rates.len() / 2];
    let (mut transit_ns, mut elapsed_ns, mut kept) = (0_i64, 0_i64, 0);
    for change in changes {
        let usual_ns = scale(change.elapsed_ns, median_ppb);
        if change.transit_ns.saturating_sub(usual_ns).saturating_abs() <= STEP_NS {
            transit_ns = transit_ns.saturating_add(change.transit_ns);
            elapsed_ns = elapsed_ns.saturating_add(change.elapsed_ns);
            kept += 1;
        }
    }
    if kept < ENOUGH || elapsed_ns == 0 {
        return None;
    }
    // Transit that falls means media that comes faster than our time.
    let ppb = -i128::from(transit_ns) * 1_000_000_000 / i128::from(elapsed_ns);
    let ppm = (ppb + 500).div_euclid(1000);
    i32::try_from(ppm.clamp(-MAX_PPM, MAX_PPM)).ok()
}

impl Change {
    /// Parts per billion by which transit grows.
    fn rate_ppb(self) -> i64 {
        let rate = i128::from(self.transit_ns) * 1_000_000_000 / i128::from(self.elapsed_ns.max(1));
        rate.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

fn scale(elapsed_ns: i64, ppb: i64) -> i64 {
    let scaled = i128::from(elapsed_ns) * i128::from(ppb) / 1_000_000_000;
    scaled.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 20 ms from a clock off by `ppm`, with the delay that `path_ns` says for each.
    fn drift(ppm: i64, seconds: u64, path_ns: impl Fn(u64) -> u64) -> DriftEstimator {
        let mut drift = DriftEstimator::new();
        for n in 0..seconds * 50 {
            let sent_ns = n * (20_000_000 - 20 * ppm).cast_unsigned();
            drift.record((1 << 40) + sent_ns + path_ns(n), n * 20_000_000);
        }
        drift
    }

    /// Evenly spread over `0..below`, without order.
    fn scatter(n: u64, below: u64) -> u64 {
        let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 31;
        x.wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
    }

    #[test]
    fn skew_is_found_under_jitter() {
        for ppm in [-500, -200, -20, 0, 20, 200, 500] {
            for jitter_ms in [1, 5, 40, 200] {
                let estimator = drift(ppm, 330, |n| scatter(n, jitter_ms * 1_000_000));
                let found = i64::from(estimator.skew_ppm().unwrap());
                assert!(
                    (found - ppm).abs() <= 3 + jitter_ms.cast_signed() / 20,
                    "{ppm} ppm, {jitter_ms} ms: {found}"
                );
            }
        }
    }

    #[test]
    fn there_is_no_figure_in_the_first_minute() {
        assert_eq!(drift(100, 60, |_| 0).skew_ppm(), None);
        assert_eq!(drift(100, 80, |_| 0).skew_ppm(), Some(100));
    }

    #[test]
    fn a_new_route_is_no_drift() {
        let estimator = drift(50, 330, |n| if n > 8000 { 60_000_000 } else { 10_000_000 });
        assert_eq!(estimator.skew_ppm(), Some(50));
    }

    #[test]
    fn a_break_in_the_media_time_is_not_compared_across() {
        let mut estimator = drift(20, 100, |_| 0);
        estimator.break_off();
        for n in 0..5000 {
            estimator.record((1 << 41) + n * 20_000_000, n * 20_000_000 + 77_000_000_000);
        }
        let found = estimator.skew_ppm().unwrap();
        assert!((0..=20).contains(&found), "{found}");
    }

    #[test]
    fn wild_times_do_no_harm() {
        let mut estimator = DriftEstimator::new();
        for n in 0..100_000_u64 {
            estimator.record(scatter(n, u64::MAX), scatter(n + 1, u64::MAX));
        }
        assert!(estimator.skew_ppm().is_none_or(|ppm| ppm.abs() <= 5_000));
    }
}
