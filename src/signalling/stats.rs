//! Counters of the SIP transports, read by the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The value now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the transports dropped or met, by reason.
#[derive(Debug, Default)]
pub(crate) struct TransportStats {
    /// Datagrams dropped because the endpoint's queue was full.
    pub(crate) queue_full: Counter,
    /// Datagrams from an address without a route back.
    pub(crate) no_route: Counter,
    /// Errors reported on a UDP socket.
    pub(crate) udp_receive_errors: Counter,
    /// Messages that could not be sent.
    pub(crate) send_failed: Counter,
    /// TCP connections refused because too many were open.
    pub(crate) tcp_refused: Counter,
    /// Connections to a TLS listener without a handshake.
    pub(crate) tls_failed: Counter,
    /// Connections to a WebSocket listener without a handshake.
    pub(crate) websocket_failed: Counter,
    /// TCP connections closed for a framing error, a limit or idleness.
    pub(crate) tcp_closed: Counter,
}
