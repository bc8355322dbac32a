//! How busy and how late a shard is, over the last seconds: what admission and real-time priority go by. Counts only.

use crate::metrics::{BUCKET_BOUNDS_US, bucket_of};

/// One second; figures are renewed at its end.
const WINDOW_NS: u64 = 1_000_000_000;

/// Seconds over which the lateness percentile is taken.
const LATENESS_WINDOWS: usize = 5;

/// So many turns have to be late before any of them counts: one conference makes 250 turns in the windows, and a single
/// stall of the machine delays two or three.
const LEAST_LATE_TURNS: u64 = 10;

const BUCKETS: usize = BUCKET_BOUNDS_US.len() + 1;

/// What a finished second showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadFigures {
    /// Share of the second spent working, in 1/1000.
    pub(crate) load_permille: u32,
    /// What more than 1 % of the turns, and at least ten, reached or exceeded in lateness over the last 5 s, as the upper
    /// bound of its bucket, in microseconds.
    pub(crate) lateness_p99_us: u32,
}

/// The accounts of a shard's turns.
#[derive(Debug)]
pub(crate) struct LoadMeter {
    lateness: [[u64; BUCKETS]; LATENESS_WINDOWS],
    window: usize,
    window_start_ns: u64,
    busy_ns: u64,
}

impl LoadMeter {
    pub(crate) fn new(now_ns: u64) -> Self {
        LoadMeter {
            lateness: [[0; BUCKETS]; LATENESS_WINDOWS],
            window: 0,
            window_start_ns: now_ns,
            busy_ns: 0,
        }
    }

    /// Forgets everything, after a time without turns.
    pub(crate) fn restart(&mut self, now_ns: u64) {
        *self = LoadMeter::new(now_ns);
    }

    /// Enters a turn that began `late_us` behind schedule and ended at `end_ns` after `busy_ns` of work. Returns new
    /// figures once a second.
    pub(crate) fn record(&mut self, end_ns: u64, late_us: u64, busy_ns: u64) -> Option<LoadFigures> {
        self.lateness[self.window][bucket_of(late_us)] += 1;
        self.busy_ns += busy_ns;
        let elapsed_ns = end_ns.saturating_sub(self.window_start_ns);
        if elapsed_ns < WINDOW_NS {
            return None;
        }
        let figures = LoadFigures {
            load_permille: permille(self.busy_ns, elapsed_ns),
            lateness_p99_us: self.lateness_p99_us(),
        };
        self.window = (self.window + 1) % LATENESS_WINDOWS;
        self.lateness[self.window] = [0; BUCKETS];
        self.window_start_ns = end_ns;
        self.busy_ns = 0;
        Some(figures)
    }

    fn lateness_p99_us(&self) -> u32 {
        let mut sum = [0; BUCKETS];
        for window in &self.lateness {
            for (sum, count) in sum.iter_mut().zip(window) {
                *sum += count;
            }
        }
        let turns: u64 = sum.iter().sum();
        let wanted = (turns / 100 + 1).max(LEAST_LATE_TURNS);
        let mut later = 0;
        for (bucket, count) in sum.iter().enumerate().rev() {
            later += count;
            if later >= wanted {
                return BUCKET_BOUNDS_US.get(bucket).copied().unwrap_or(u32::MAX);
            }
        }
        0
    }
}

fn permille(part: u64, whole: u64) -> u32 {
    u32::try_from(part.saturating_mul(1000) / whole.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs turns every 5 ms for the given time; returns the last figures.
    fn run(
        meter: &mut LoadMeter,
        from_ms: u64,
        milliseconds: u64,
        late_us: u64,
        busy_us: u64,
    ) -> Option<LoadFigures> {
        (from_ms / 5 + 1..=(from_ms + milliseconds) / 5)
            .filter_map(|turn| meter.record(turn * 5 * MS, late_us, busy_us * 1000))
            .last()
    }

    #[test]
    fn figures_come_once_a_second() {
        let mut meter = LoadMeter::new(0);
        assert_eq!(run(&mut meter, 0, 995, 80, 1000), None);
        let figures = LoadFigures {
            load_permille: 200,
            lateness_p99_us: 100,
        };
        assert_eq!(run(&mut meter, 995, 5, 80, 1000), Some(figures));
    }

    #[test]
    fn lateness_is_remembered_for_five_seconds() {
        let mut meter = LoadMeter::new(0);
        assert_eq!(run(&mut meter, 0, 1000, 6000, 0).unwrap().lateness_p99_us, 7500);
        assert_eq!(run(&mut meter, 1000, 4000, 10, 0).unwrap().lateness_p99_us, 7500);
        assert_eq!(run(&mut meter, 5000, 1000, 10, 0).unwrap().lateness_p99_us, 10);
        run(&mut meter, 6000, 1000, 1_000_000, 0);
        meter.restart(0);
        assert_eq!(run(&mut meter, 0, 1000, 10, 0).unwrap().lateness_p99_us, 10);
    }

    #[test]
    fn late_turns_count_from_one_percent_and_ten_on() {
        // turns every so many ms in 5 s, late ones among them, whether they show
        let rows = [
            (20, 3, false),
            (20, 9, false),
            (20, 10, true),
            (120, 9, false),
            (120, 10, true),
            (5, 10, false),
            (5, 11, true),
            (1, 50, false),
            (1, 51, true),
        ];
        for (every_ms, late_turns, shows) in rows {
            let mut meter = LoadMeter::new(0);
            let mut last = None;
            for turn in 1..=5040 / every_ms {
                let late_us = if turn <= late_turns { 6000 } else { 10 };
                last = meter.record(turn * every_ms * MS, late_us, 0).or(last);
            }
            let seen = last.unwrap().lateness_p99_us;
            assert_eq!(
                seen == 7500,
                shows,
                "{late_turns} late, every {every_ms} ms: {seen}"
            );
        }
    }

    #[test]
    fn one_late_turn_in_a_thousand_is_forgiven() {
        let mut meter = LoadMeter::new(0);
        run(&mut meter, 0, 4000, 10, 0);
        meter.record(4001 * MS, 500_000, 0);
        assert_eq!(run(&mut meter, 4005, 1000, 10, 0).unwrap().lateness_p99_us, 10);
    }
}
