//! What is measured about one leg. Written by its shard, read by anybody, never locked.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A leg's measurements at one moment. Counts start at the opening of the leg and survive re-negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegStats {
    /// RTP packets accepted from the peer.
    pub packets_received: u64,
    /// Payload bytes of those packets.
    pub octets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Payload bytes of those packets.
    pub octets_sent: u64,
    /// Packets that never came (RFC 3550 A.3); negative when duplicates outweigh losses.
    pub packets_lost: i64,
    /// Packets that came too late to be played.
    pub packets_late: u64,
    /// Packets that came twice.
    pub packets_duplicated: u64,
    /// Packets that came behind a later one.
    pub packets_reordered: u64,
    /// Packets dropped for their source, payload type, form or direction.
    pub packets_rejected: u64,
    /// Milliseconds of audio made up for lost packets.
    pub concealed_ms: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Received audio that waited to be heard when the measurements were taken.
    pub playout_delay: Duration,
    /// Round trip time from the last receiver report, once one came.
    pub round_trip: Option<Duration>,
    /// Share of our packets that the peer reports as lost, in 1/256, from its last receiver report.
    pub remote_fraction_lost: u8,
    /// Mean absolute sample of the last frame, 0..=32768.
    pub energy: u16,
    /// The contract's talking state.
    pub talking: bool,
    /// Telephone-event digits received.
    pub digits_received: u64,
}

/// The last word about a leg, given when it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegReport {
    /// The measurements at the end.
    pub stats: LegStats,
}

/// The shared cell behind [`LegStats`]; one writer (the shard), any readers.
#[derive(Debug, Default)]
pub(crate) struct StatsCell {
    pub(crate) packets_received: AtomicU64,
    pub(crate) octets_received: AtomicU64,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) octets_sent: AtomicU64,
    /// Two's complement of the signed loss.
    pub(crate) packets_lost: AtomicU64,
    pub(crate) packets_late: AtomicU64,
    pub(crate) packets_duplicated: AtomicU64,
    pub(crate) packets_reordered: AtomicU64,
    pub(crate) packets_rejected: AtomicU64,
    pub(crate) concealed_ms: AtomicU64,
    pub(crate) jitter_us: AtomicU32,
    pub(crate) playout_delay_us: AtomicU32,
    /// 0 while no round trip is known.
    pub(crate) round_trip_us: AtomicU32,
    pub(crate) remote_fraction_lost: AtomicU16,
    pub(crate) energy: AtomicU16,
    pub(crate) talking: AtomicBool,
    pub(crate) digits_received: AtomicU64,
}

impl StatsCell {
    pub(crate) fn set_energy(&self, score: u16) {
        self.energy.store(score, Relaxed);
    }

    pub(crate) fn set_talking(&self, talking: bool) {
        self.talking.store(talking, Relaxed);
    }

    /// Returns the values as they stand; single fields are current, together they may be one update apart.
    pub(crate) fn read(&self) -> LegStats {
        let round_trip_us = self.round_trip_us.load(Relaxed);
        LegStats {
            packets_received: self.packets_received.load(Relaxed),
            octets_received: self.octets_received.load(Relaxed),
            packets_sent: self.packets_sent.load(Relaxed),
            octets_sent: self.octets_sent.load(Relaxed),
            packets_lost: self.packets_lost.load(Relaxed).cast_signed(),
            packets_late: self.packets_late.load(Relaxed),
            packets_duplicated: self.packets_duplicated.load(Relaxed),
            packets_reordered: self.packets_reordered.load(Relaxed),
            packets_rejected: self.packets_rejected.load(Relaxed),
            concealed_ms: self.concealed_ms.load(Relaxed),
            jitter: Duration::from_micros(u64::from(self.jitter_us.load(Relaxed))),
            playout_delay: Duration::from_micros(u64::from(self.playout_delay_us.load(Relaxed))),
            round_trip: (round_trip_us != 0).then(|| Duration::from_micros(u64::from(round_trip_us))),
            remote_fraction_lost: self.remote_fraction_lost.load(Relaxed) as u8,
            energy: self.energy.load(Relaxed),
            talking: self.talking.load(Relaxed),
            digits_received: self.digits_received.load(Relaxed),
        }
    }
}
