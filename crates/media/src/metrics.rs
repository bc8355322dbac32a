//! Counters and histograms of a shard: written by its thread with plain stores, read by anybody.
//!
//! Each cell has one writer, so an addition is a load and a store without a locked instruction.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Upper bounds of the histogram buckets in microseconds; a last bucket takes everything above.
pub const BUCKET_BOUNDS_US: [u32; 21] = [
    10, 20, 50, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000,
    20_000, 30_000, 50_000, 100_000,
];

/// Why a received datagram was not used, or one of ours could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// Neither RTP nor RTCP by its first bytes, or cut short.
    Malformed,
    /// Longer than any packet we use.
    Oversized,
    /// The leg has no negotiated media yet.
    NotStarted,
    /// The peer is not to send now (hold).
    Direction,
    /// The source address is not the leg's (RTPbleed rules).
    Source,
    /// The payload type was not negotiated.
    PayloadType,
    /// Already received.
    Duplicate,
    /// Behind the playout point.
    Late,
    /// The jitter buffer's bound was reached.
    Overflow,
    /// Far off in sequence: the packet after it decides whether the stream begins anew (RFC 3550 A.1).
    SequenceJump,
    /// RTCP that could not be parsed.
    MalformedRtcp,
    /// RTCP from a foreign source.
    RtcpSource,
    /// SRTP that does not authenticate: damaged, forged, or of another key.
    Unauthentic,
    /// SRTP that was received before.
    Replayed,
    /// The system refused to send the datagram.
    SendFailed,
    /// Sending is not allowed to this address by the rules against reflection.
    SendForbidden,
}

impl DropReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [DropReason; 16] = [
        DropReason::Malformed,
        DropReason::Oversized,
        DropReason::NotStarted,
        DropReason::Direction,
        DropReason::Source,
        DropReason::PayloadType,
        DropReason::Duplicate,
        DropReason::Late,
        DropReason::Overflow,
        DropReason::SequenceJump,
        DropReason::MalformedRtcp,
        DropReason::RtcpSource,
        DropReason::Unauthentic,
        DropReason::Replayed,
        DropReason::SendFailed,
        DropReason::SendForbidden,
    ];

    /// Returns the reason as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::Oversized => "oversized",
            DropReason::NotStarted => "not_started",
            DropReason::Direction => "direction",
            DropReason::Source => "source",
            DropReason::PayloadType => "payload_type",
            DropReason::Duplicate => "duplicate",
            DropReason::Late => "late",
            DropReason::Overflow => "overflow",
            DropReason::SequenceJump => "sequence_jump",
            DropReason::MalformedRtcp => "malformed_rtcp",
            DropReason::RtcpSource => "rtcp_source",
            DropReason::Unauthentic => "unauthentic",
            DropReason::Replayed => "replayed",
            DropReason::SendFailed => "send_failed",
            DropReason::SendForbidden => "send_forbidden",
        }
    }
}

/// Why a shard could not place a leg in a conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum JoinRefusal {
    /// The leg is not on the shard.
    NoLeg,
    /// The conference is not on the shard: it was closed meanwhile.
    NoConference,
    /// The leg has no negotiated media.
    NotStarted,
    /// The conference has no room for one more leg.
    Members,
    /// It has none for one more encode group, or mixes for no listener of this rate.
    Groups,
    /// Its mixer has none for one more participant.
    Slots,
}

impl JoinRefusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [JoinRefusal; 6] = [
        JoinRefusal::NoLeg,
        JoinRefusal::NoConference,
        JoinRefusal::NotStarted,
        JoinRefusal::Members,
        JoinRefusal::Groups,
        JoinRefusal::Slots,
    ];

    /// Returns the reason as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            JoinRefusal::NoLeg => "no_leg",
            JoinRefusal::NoConference => "no_conference",
            JoinRefusal::NotStarted => "not_started",
            JoinRefusal::Members => "members",
            JoinRefusal::Groups => "groups",
            JoinRefusal::Slots => "slots",
        }
    }
}

impl std::fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// A histogram as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Samples per bucket, not accumulated: one for each of [`BUCKET_BOUNDS_US`], then those above.
    pub buckets: [u64; BUCKET_BOUNDS_US.len() + 1],
    /// Sum of all samples in microseconds.
    pub sum_us: u64,
    /// Largest sample in microseconds.
    pub max_us: u64,
}

impl HistogramSnapshot {
    /// Returns the number of samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the upper bound in microseconds of the bucket that holds the given share (0.0..=1.0) of the samples; the
    /// maximum when that is the last bucket, 0 without samples.
    pub fn quantile_us(&self, share: f64) -> u64 {
        quantile(&self.buckets, share).map_or(0, |bucket| {
            BUCKET_BOUNDS_US
                .get(bucket)
                .map_or(self.max_us, |&bound| u64::from(bound))
        })
    }
}

/// Returns the bucket in which the given share of the samples is reached.
fn quantile(buckets: &[u64], share: f64) -> Option<usize> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = ((total as f64) * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    buckets.iter().position(|&count| {
        seen += count;
        seen >= wanted
    })
}

/// Returns the bucket that a duration falls into.
pub(crate) fn bucket_of(us: u64) -> usize {
    BUCKET_BOUNDS_US.partition_point(|&bound| u64::from(bound) < us)
}

/// One shard's figures at one moment.
#[derive(Debug, Clone)]
pub struct ShardMetrics {
    /// Number of the shard, from 0.
    pub shard: usize,
    /// Time from a conference tick's schedule to its start.
    pub lateness: HistogramSnapshot,
    /// Time a conference tick took, mixing and sending.
    pub tick_duration: HistogramSnapshot,
    /// Time a whole turn took: receive, mix, send of everything due.
    pub turn_duration: HistogramSnapshot,
    /// Conference ticks run.
    pub ticks: u64,
    /// Conference ticks left out because the shard was too late to catch up.
    pub ticks_skipped: u64,
    /// Datagrams received, used or not.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Dropped packets, one count for each of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Legs that could not be placed in their conference, one count for each of [`JoinRefusal::ALL`].
    pub joins_refused: [u64; JoinRefusal::ALL.len()],
    /// Arrival times that could not be told from the kernel's stamp and were taken as now.
    pub arrivals_unstamped: u64,
    /// Legs on the shard.
    pub legs: u32,
    /// Conferences on the shard.
    pub conferences: u32,
    /// Share of the last second spent working, in 1/1000.
    pub load_permille: u32,
    /// 99th percentile of turn lateness over the last 5 s, in microseconds.
    pub lateness_p99_us: u32,
    /// The thread runs with real-time priority at the moment.
    pub realtime: bool,
}

/// The whole media plane's figures at one moment.
#[derive(Debug, Clone)]
pub struct MediaMetrics {
    /// One entry per shard.
    pub shards: Vec<ShardMetrics>,
    /// Port pairs in use by legs.
    pub ports_in_use: u32,
    /// Port pairs in the configured ranges, all addresses together.
    pub ports_total: u32,
    /// Blocks of audio that were left out of taps since the start, because nobody read them in time.
    pub tap_blocks_dropped: u64,
    /// Legs opened since the start.
    pub legs_opened: u64,
    /// Legs closed since the start, sockets and all.
    pub legs_closed: u64,
}

/// Whether new legs should be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaAdmission {
    /// All is well.
    Open,
    /// A new leg would put running calls at risk: refuse it.
    Overloaded {
        /// What is over its limit.
        reason: OverloadReason,
    },
}

/// What makes the media plane refuse new legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverloadReason {
    /// Turns started late: 99th percentile of the last 5 s, in microseconds.
    Lateness {
        /// The percentile.
        p99_us: u32,
    },
    /// The shard worked too large a share of the time, in 1/1000.
    Load {
        /// The share.
        permille: u32,
    },
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram with one writer.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKET_BOUNDS_US.len() + 1],
    sum_us: Counter,
    max_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn record_us(&self, us: u64) {
        self.buckets[bucket_of(us)].add(1);
        self.sum_us.add(us);
        if us > self.max_us.load(Relaxed) {
            self.max_us.store(us, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|i| self.buckets[i].value()),
            sum_us: self.sum_us.value(),
            max_us: self.max_us.load(Relaxed),
        }
    }
}

/// The cells that one shard writes.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    pub(crate) lateness: Histogram,
    pub(crate) tick_duration: Histogram,
    pub(crate) turn_duration: Histogram,
    pub(crate) ticks: Counter,
    pub(crate) ticks_skipped: Counter,
    pub(crate) packets_in: Counter,
    pub(crate) packets_out: Counter,
    pub(crate) dropped: [Counter; DropReason::ALL.len()],
    pub(crate) joins_refused: [Counter; JoinRefusal::ALL.len()],
    pub(crate) arrivals_unstamped: Counter,
    pub(crate) legs: AtomicU32,
    pub(crate) conferences: AtomicU32,
    pub(crate) load_permille: AtomicU32,
    pub(crate) lateness_p99_us: AtomicU32,
    pub(crate) realtime: AtomicBool,
}

impl ShardCounters {
    pub(crate) fn dropped(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    pub(crate) fn join_refused(&self, refusal: JoinRefusal) {
        self.joins_refused[refusal as usize].add(1);
    }

    pub(crate) fn snapshot(&self, shard: usize) -> ShardMetrics {
        ShardMetrics {
            shard,
            lateness: self.lateness.snapshot(),
            tick_duration: self.tick_duration.snapshot(),
            turn_duration: self.turn_duration.snapshot(),
            ticks: self.ticks.value(),
            ticks_skipped: self.ticks_skipped.value(),
            packets_in: self.packets_in.value(),
            packets_out: self.packets_out.value(),
            dropped: std::array::from_fn(|i| self.dropped[i].value()),
            joins_refused: std::array::from_fn(|i| self.joins_refused[i].value()),
            arrivals_unstamped: self.arrivals_unstamped.value(),
            legs: self.legs.load(Relaxed),
            conferences: self.conferences.load(Relaxed),
            load_permille: self.load_permille.load(Relaxed),
            lateness_p99_us: self.lateness_p99_us.load(Relaxed),
            realtime: self.realtime.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let rows = [
            (0, 0),
            (10, 0),
            (11, 1),
            (20, 1),
            (5000, 13),
            (5001, 14),
            (100_000, 20),
            (100_001, 21),
            (u64::MAX, 21),
        ];
        for (us, bucket) in rows {
            assert_eq!(bucket_of(us), bucket, "{us}");
        }
    }

    #[test]
    fn quantiles_are_bounds_of_buckets_and_the_maximum_beyond_them() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile_us(0.99), 0);
        for _ in 0..99 {
            histogram.record_us(80);
        }
        histogram.record_us(250_000);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 100);
        assert_eq!(snapshot.sum_us, 99 * 80 + 250_000);
        let quantiles = [0.0, 0.5, 0.99, 0.995, 1.0].map(|share| snapshot.quantile_us(share));
        assert_eq!(quantiles, [100, 100, 100, 250_000, 250_000]);
    }

    #[test]
    fn reasons_are_numbered_in_the_order_of_their_list() {
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{}", reason.label());
        }
        for (number, reason) in JoinRefusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason}");
        }
    }
}
