//! When in its period a new conference should tick: where the others leave the most room. Pure arithmetic on milliseconds.

/// Ticks begin at whole multiples of this time from the shard's origin.
pub(crate) const STAGGER_NS: u64 = 1_000_000;

/// Longest period, in steps: 120 ms.
const MAX_STEPS: usize = 120;

/// Legs that are served in one step, about: a leg takes 5 to 7 µs.
const LEGS_PER_STEP: usize = 150;

/// The work of a period, step by step.
#[derive(Debug)]
pub(crate) struct Timetable {
    /// Legs served, by step.
    work: [usize; MAX_STEPS],
    /// Steps of the period.
    steps: usize,
}

impl Timetable {
    /// Lays out an empty period, at least one step long.
    pub(crate) fn new(period_ns: u64) -> Self {
        let steps = (period_ns / STAGGER_NS).clamp(1, MAX_STEPS as u64) as usize;
        Timetable {
            work: [0; MAX_STEPS],
            steps,
        }
    }

    /// Enters a conference of so many legs that ticks at `due_ns` (from the shard's origin) and each `period_ns`.
    pub(crate) fn enter(&mut self, due_ns: u64, period_ns: u64, legs: usize) {
        let length = 1 + legs / LEGS_PER_STEP;
        let period = ((period_ns / STAGGER_NS) as usize).max(1);
        for tick in 0..(self.steps / period).max(1) {
            let first = (due_ns / STAGGER_NS) as usize + tick * period;
            for step in first..first + length {
                self.work[step % self.steps] += legs / length + 1;
            }
        }
    }

    /// Returns the first time at or after `from_ns` (from the shard's origin) with the least work in its neighbourhood.
    pub(crate) fn quietest(&self, from_ns: u64) -> u64 {
        let first = from_ns.div_ceil(STAGGER_NS);
        let reach = (self.steps / 4).max(1);
        let crowd = |step: &u64| -> usize {
            let at = (*step % self.steps as u64) as usize;
            let work = &self.work[..self.steps];
            work.iter()
                .enumerate()
                .map(|(other, legs)| legs * reach.saturating_sub(self.distance(at, other)).pow(2))
                .sum()
        };
        (first..first + self.steps as u64)
            .min_by_key(crowd)
            .unwrap_or(first)
            * STAGGER_NS
    }

    /// Returns the steps from one to the other, the shorter way round the period.
    fn distance(&self, a: usize, b: usize) -> usize {
        let steps = a.abs_diff(b);
        steps.min(self.steps - steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn equal_conferences_keep_their_distance() {
        let mut table = Timetable::new(20 * MS);
        let mut taken = Vec::new();
        for _ in 0..20 {
            let due_ns = table.quietest(7 * MS);
            table.enter(due_ns, 20 * MS, 20);
            taken.push(due_ns / MS % 20);
            if taken.len() == 4 {
                let mut quarters: Vec<_> = taken.iter().map(|step| step / 5).collect();
                quarters.sort_unstable();
                assert_eq!(quarters, [0, 1, 2, 3], "{taken:?}");
            }
        }
        taken.sort_unstable();
        taken.dedup();
        assert!(taken.len() >= 18, "nearly every step has one: {taken:?}");
    }

    #[test]
    fn a_large_conference_is_given_its_time() {
        let mut table = Timetable::new(20 * MS);
        table.enter(0, 20 * MS, 1000); // 7 ms
        for _ in 0..10 {
            let due_ns = table.quietest(0);
            let step = due_ns / MS % 20;
            assert!((8..=19).contains(&step), "{step}");
            table.enter(due_ns, 20 * MS, 5);
        }
    }

    #[test]
    fn other_periods_are_entered_at_each_of_their_ticks() {
        let mut table = Timetable::new(60 * MS);
        table.enter(0, 20 * MS, 100);
        let step = table.quietest(0) / MS % 20;
        assert!((5..=15).contains(&step), "{step}");
        let mut short = Timetable::new(10 * MS);
        short.enter(63 * MS, 120 * MS, 100);
        assert_ne!(short.quietest(0) / MS % 10, 3);
        assert_eq!(Timetable::new(0).quietest(5 * MS + 1), 6 * MS);
    }
}
