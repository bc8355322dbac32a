//! What became of messages, for the metrics page.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of the whole run.
#[derive(Debug, Default)]
pub(crate) struct AmqpStats {
    connected: AtomicBool,
    published: AtomicU64,
    dropped: AtomicU64,
    connections_failed: AtomicU64,
    commands: AtomicU64,
    commands_refused: AtomicU64,
}

impl AmqpStats {
    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn published(&self, events: usize) {
        self.published.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn connection_failed(&self) {
        self.connections_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn command(&self, taken: bool) {
        let count = if taken {
            &self.commands
        } else {
            &self.commands_refused
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns 1 while there is a connection to the broker.
    pub(crate) fn connections(&self) -> i64 {
        self.connected.load(Ordering::Relaxed).into()
    }

    /// Returns how many events became what: confirmed by the broker, or left out because too many waited.
    pub(crate) fn events(&self) -> [(&'static str, u64); 2] {
        [
            ("published", self.published.load(Ordering::Relaxed)),
            ("dropped", self.dropped.load(Ordering::Relaxed)),
        ]
    }

    /// Returns how many connections failed or broke.
    pub(crate) fn failures(&self) -> u64 {
        self.connections_failed.load(Ordering::Relaxed)
    }

    /// Returns how many commands became what.
    pub(crate) fn commands(&self) -> [(&'static str, u64); 2] {
        [
            ("taken", self.commands.load(Ordering::Relaxed)),
            ("refused", self.commands_refused.load(Ordering::Relaxed)),
        ]
    }
}
