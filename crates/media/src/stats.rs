//! What is measured about one leg. Written by its shard, read by anybody, never locked.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use confab_codec::CodecKind;
use confab_rtp::Rating;
use confab_rtp::telephone_event::MAX_QUEUED_DIGITS;

use crate::leg::reports::RemoteQuality;

/// A leg's measurements at one moment. Counts start at the opening of the leg and survive re-negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegStats {
    /// Codec of what the peer sends, once negotiated.
    pub codec: Option<CodecKind>,
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
    /// Milliseconds of lost audio that were restored from what later packets carried (Opus in-band FEC).
    pub repaired_ms: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Received audio that waited to be heard when the measurements were taken.
    pub playout_delay: Duration,
    /// Speed of the sender's clock against ours in parts per million, positive when it is fast; unknown for the first
    /// minute or so.
    pub skew_ppm: Option<i32>,
    /// How what is received sounds: ten times the transmission rating R (ITU-T G.107), 0..=1000, over the last five seconds
    /// with audio.
    pub r_factor_tenths: Option<u16>,
    /// The same as a hundred times the mean opinion score, 100..=450.
    pub mos_hundredths: Option<u16>,
    /// Round trip time from the peer's last report that told it, once one did.
    pub round_trip: Option<Duration>,
    /// Share of our packets that the peer reports as lost, in 1/256, from its last receiver report.
    pub remote_fraction_lost: u8,
    /// How the peer rates what it receives from us, if it tells (RFC 3611 §4.7): R, 0..=100.
    pub remote_r_factor: Option<u8>,
    /// The same as ten times the mean opinion score, 10..=50.
    pub remote_mos_tenths: Option<u8>,
    /// Mean absolute sample of the last frame, 0..=32768.
    pub energy: u16,
    /// The contract's talking state.
    pub talking: bool,
    /// Presses of keys, each counted once however it was told.
    pub digits_received: u64,
    /// Digits sent as telephone-events.
    pub digits_sent: u64,
}

impl LegStats {
    /// Returns the share of our packets that the peer last reported as lost, in percent.
    pub fn remote_loss_percent(&self) -> f64 {
        f64::from(self.remote_fraction_lost) / 2.56
    }

    /// Returns the share of the peer's packets that never came or came too late, in percent.
    pub fn loss_percent(&self) -> f64 {
        let lost = u64::try_from(self.packets_lost).unwrap_or(0);
        let expected = self.packets_received + lost;
        let missing = lost + self.packets_late.min(self.packets_received);
        if expected == 0 {
            0.0
        } else {
            missing as f64 * 100.0 / expected as f64
        }
    }
}

/// The last word about a leg, given when it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegReport {
    /// The measurements at the end.
    pub stats: LegStats,
}

/// A value that may be missing: 0 is none.
#[derive(Debug, Default)]
struct Optional(AtomicU32);

impl Optional {
    /// Stores a value above `i32::MIN`.
    fn store(&self, value: Option<i32>) {
        let stored = value.map_or(0, |value| value.wrapping_sub(i32::MIN).cast_unsigned());
        self.0.store(stored, Relaxed);
    }

    fn load(&self) -> Option<i32> {
        let stored = self.0.load(Relaxed);
        (stored != 0).then(|| stored.cast_signed().wrapping_add(i32::MIN))
    }
}

/// The shared cell behind [`LegStats`]; one writer (the shard), any readers.
#[derive(Debug, Default)]
pub(crate) struct StatsCell {
    codec: AtomicU32,
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
    pub(crate) repaired_ms: AtomicU64,
    pub(crate) jitter_us: AtomicU32,
    pub(crate) playout_delay_us: AtomicU32,
    skew: Optional,
    r_factor_tenths: Optional,
    mos_hundredths: Optional,
    remote_r_factor: Optional,
    remote_mos_tenths: Optional,
    /// 0 while no round trip is known.
    pub(crate) round_trip_us: AtomicU32,
    pub(crate) remote_fraction_lost: AtomicU16,
    pub(crate) energy: AtomicU16,
    pub(crate) talking: AtomicBool,
    pub(crate) digits_received: AtomicU64,
    pub(crate) digits_sent: AtomicU64,
    /// Digits and pauses that wait to be sent, or are on their way to the shard.
    pub(crate) dialling: AtomicU32,
}

impl StatsCell {
    /// Takes places in the queue of digits to send. Returns whether there were so many.
    pub(crate) fn reserve_dialling(&self, count: u32) -> bool {
        let room = MAX_QUEUED_DIGITS as u32;
        let taken = self.dialling.fetch_add(count, Relaxed);
        let fits = taken.saturating_add(count) <= room;
        if !fits {
            self.dialling.fetch_sub(count, Relaxed);
        }
        fits
    }

    pub(crate) fn set_codec(&self, kind: CodecKind) {
        self.codec.store(code_of(kind), Relaxed);
    }

    pub(crate) fn set_energy(&self, score: u16) {
        self.energy.store(score, Relaxed);
    }

    pub(crate) fn set_talking(&self, talking: bool) {
        self.talking.store(talking, Relaxed);
    }

    pub(crate) fn set_skew(&self, skew_ppm: Option<i32>) {
        self.skew.store(skew_ppm);
    }

    pub(crate) fn set_rating(&self, rating: Option<Rating>) {
        let scaled = |value: f64, factor: f64| (value * factor).round() as i32;
        self.r_factor_tenths
            .store(rating.map(|rating| scaled(rating.r_factor(), 10.0)));
        self.mos_hundredths
            .store(rating.map(|rating| scaled(rating.mos(), 100.0)));
    }

    pub(crate) fn set_remote_quality(&self, quality: RemoteQuality) {
        self.remote_r_factor.store(quality.r_factor.map(i32::from));
        self.remote_mos_tenths.store(quality.mos_tenths.map(i32::from));
    }

    /// Returns the values as they stand; single fields are current, together they may be one update apart.
    pub(crate) fn read(&self) -> LegStats {
        let round_trip_us = self.round_trip_us.load(Relaxed);
        LegStats {
            codec: codec_of(self.codec.load(Relaxed)),
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
            repaired_ms: self.repaired_ms.load(Relaxed),
            skew_ppm: self.skew.load(),
            r_factor_tenths: self.r_factor_tenths.load().map(|tenths| tenths as u16),
            mos_hundredths: self.mos_hundredths.load().map(|hundredths| hundredths as u16),
            remote_r_factor: self.remote_r_factor.load().map(|r_factor| r_factor as u8),
            remote_mos_tenths: self.remote_mos_tenths.load().map(|tenths| tenths as u8),
            jitter: Duration::from_micros(u64::from(self.jitter_us.load(Relaxed))),
            playout_delay: Duration::from_micros(u64::from(self.playout_delay_us.load(Relaxed))),
            round_trip: (round_trip_us != 0).then(|| Duration::from_micros(u64::from(round_trip_us))),
            remote_fraction_lost: self.remote_fraction_lost.load(Relaxed) as u8,
            energy: self.energy.load(Relaxed),
            talking: self.talking.load(Relaxed),
            digits_received: self.digits_received.load(Relaxed),
            digits_sent: self.digits_sent.load(Relaxed),
        }
    }
}

/// Writes a codec as a number above 0; that of L16 holds its rate and channels.
fn code_of(kind: CodecKind) -> u32 {
    match kind {
        CodecKind::Pcmu => 1,
        CodecKind::Pcma => 2,
        CodecKind::G722 => 3,
        CodecKind::Opus => 4,
        CodecKind::L16 { rate_hz, channels } => rate_hz << 8 | u32::from(channels),
    }
}

fn codec_of(code: u32) -> Option<CodecKind> {
    Some(match code {
        0 => return None,
        1 => CodecKind::Pcmu,
        2 => CodecKind::Pcma,
        3 => CodecKind::G722,
        4 => CodecKind::Opus,
        code => CodecKind::L16 {
            rate_hz: code >> 8,
            channels: code as u8, // its lowest octet
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_read_as_it_was_written() {
        let l16 = |rate_hz, channels| CodecKind::L16 { rate_hz, channels };
        let cell = StatsCell::default();
        assert_eq!(cell.read().codec, None);
        for kind in [
            CodecKind::Pcmu,
            CodecKind::Pcma,
            CodecKind::G722,
            CodecKind::Opus,
            l16(8000, 1),
            l16(44_100, 2),
            l16(48_000, 1),
        ] {
            cell.set_codec(kind);
            assert_eq!(cell.read().codec, Some(kind));
        }
    }

    #[test]
    fn shares_of_loss_stay_within_a_hundred_percent() {
        let stats = |received, lost, late| LegStats {
            packets_received: received,
            packets_lost: lost,
            packets_late: late,
            ..LegStats::default()
        };
        for (stats, percent) in [
            (stats(0, 0, 0), 0.0),
            (stats(95, 5, 0), 5.0),
            (stats(90, 5, 5), 10.0 * 100.0 / 95.0),
            (stats(10, -3, 0), 0.0),
            (stats(10, 10, 100), 100.0),
        ] {
            assert!((stats.loss_percent() - percent).abs() < 1e-9, "{stats:?}");
        }
    }

    #[test]
    fn a_missing_value_is_told_from_any_other() {
        let cell = Optional::default();
        assert_eq!(cell.load(), None);
        for value in [
            Some(0),
            Some(-200),
            Some(1000),
            Some(i32::MAX),
            Some(i32::MIN + 1),
            None,
        ] {
            cell.store(value);
            assert_eq!(cell.load(), value);
        }
    }
}
