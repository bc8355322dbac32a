//! Owns the virtual clock that simulated tests hand to the cores.
//!
//! Never reads the machine's clock after construction: time moves only when the test moves it, so minutes of protocol time pass in
//! microseconds and every run is the same.

use std::time::{Duration, Instant};

/// A clock that stands still until a test advances it.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    base: Instant,
    elapsed: Duration,
}

impl VirtualClock {
    /// Starts a clock at an arbitrary instant; only differences carry meaning.
    pub fn new() -> Self {
        Self {
            base: Instant::now(),
            elapsed: Duration::ZERO,
        }
    }

    /// Returns the current virtual instant.
    pub fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    /// Returns the virtual time since the clock was made.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the virtual time since the clock was made in nanoseconds, the unit of media arrival times.
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Moves the clock forward by `step`.
    pub fn advance(&mut self, step: Duration) {
        self.elapsed += step;
    }

    /// Moves the clock forward to `instant`. An instant in the past leaves the clock where it is: time never runs backwards.
    pub fn advance_to(&mut self, instant: Instant) {
        self.elapsed = self.elapsed.max(instant.saturating_duration_since(self.base));
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_only_when_told_and_never_backwards() {
        let mut clock = VirtualClock::new();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_millis(20));
        assert_eq!(clock.now() - start, Duration::from_millis(20));
        clock.advance_to(start + Duration::from_secs(1));
        assert_eq!(clock.nanos(), 1_000_000_000);
        clock.advance_to(start);
        assert_eq!(clock.elapsed(), Duration::from_secs(1));
    }
}
