//! Which refused calls get a line of the log: a few a second, so that a flood of INVITEs does not become one of lines.
//!
//! Owns the count; writes nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines are counted over this time.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// Lines in a window.
const LINES: u32 = 10;

/// What becomes of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It gets its line.
    Write,
    /// It is counted only.
    LeaveOut {
        /// Nobody has promised yet to tell the count.
        is_first: bool,
    },
}

/// The account of refusals.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<Account>);

#[derive(Debug, Default)]
struct Account {
    window: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl RefusalLog {
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
        if account.written < LINES {
            account.written += 1;
            return Entry::Write;
        }
        account.left_out += 1;
        Entry::LeaveOut {
            is_first: account.left_out == 1,
        }
    }

    /// Returns how many refusals got no line since the last time, and begins anew.
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
    fn ten_lines_a_second_and_the_rest_is_counted() {
        let log = RefusalLog::default();
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
