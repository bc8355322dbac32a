//! What refused calls may write: so much a second, so that a flood of INVITEs becomes no flood of lines and records.
//!
//! Owns the count; writes nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What is written is counted over this time.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What becomes of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is written.
    Write,
    /// It is counted only.
    LeaveOut {
        /// Nobody has promised yet to tell the count.
        is_first: bool,
    },
}

/// An account of refusals, of which `LIMIT` in each [`WINDOW`] are written.
#[derive(Debug, Default)]
pub(super) struct Allowance<const LIMIT: u32>(Mutex<Account>);

#[derive(Debug, Default)]
struct Account {
    window: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl<const LIMIT: u32> Allowance<LIMIT> {
    /// Enters a refusal at `now`. Whoever gets `is_first` takes the count after [`WINDOW`].
    pub(super) fn enter(&self, now: Instant) -> Entry {
        let mut account = self.account();
        let is_running = account
            .window
            .is_some_and(|start| now.saturating_duration_since(start) < WINDOW);
        if !is_running {
            account.window = Some(now);
            account.written = 0;
        }
        if account.written < LIMIT {
            account.written += 1;
            return Entry::Write;
        }
        account.left_out += 1;
        Entry::LeaveOut {
            is_first: account.left_out == 1,
        }
    }

    /// Returns how many refusals were left out since the last time, and begins anew.
    pub(super) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.account().left_out)
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_are_written_and_the_rest_is_counted() {
        let log = Allowance::<10>::default();
        let start = Instant::now();
        let run = |at: Instant| -> Vec<Entry> { (0..13).map(|_| log.enter(at)).collect() };
        let mut expected = vec![Entry::Write; 10];
        expected.push(Entry::LeaveOut { is_first: true });
        expected.extend([Entry::LeaveOut { is_first: false }; 2]);
        assert_eq!(run(start), expected);
        assert_eq!(log.enter(start + WINDOW / 2), Entry::LeaveOut { is_first: false });
        assert_eq!(log.take_left_out(), 4);
        assert_eq!(run(start + WINDOW), expected);
        assert_eq!(log.take_left_out(), 3);
        assert_eq!(log.take_left_out(), 0);
    }
}
