//! Extended reports (RFC 3611): the blocks that a voice leg sends and reads. Owns their layout; other blocks are passed over.

use std::time::Duration;

use super::{NtpTimestamp, round_trip};
use crate::ids::Ssrc;

pub(super) const EXTENDED_REPORT: u8 = 207;
const REFERENCE_TIME: u8 = 4;
const DELAY_SINCE_REFERENCE: u8 = 5;
const VOIP_METRICS: u8 = 7;
/// Octets of a VoIP metrics block, with its header.
const VOIP_METRICS_LEN: usize = 36;
/// A level, rating or score that is not known.
const UNAVAILABLE: u8 = 127;

/// Answer to a receiver reference time (RFC 3611 §4.5): lets a peer that sends no audio measure the round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelaySinceReference {
    /// Whose reference time is answered.
    pub ssrc: Ssrc,
    /// Middle bits of it; 0 when there was none.
    pub last_reference: u32,
    /// Time since it arrived in 1/65536 s.
    pub delay: u32,
}

impl DelaySinceReference {
    /// Answers a reference time that arrived at `arrival_ns`, on the same clock as `now_ns`.
    #[must_use]
    pub fn new(ssrc: Ssrc, reference: NtpTimestamp, arrival_ns: u64, now_ns: u64) -> Self {
        let delay = u128::from(now_ns.saturating_sub(arrival_ns)) * 65_536 / 1_000_000_000;
        Self {
            ssrc,
            last_reference: reference.middle(),
            delay: u32::try_from(delay).unwrap_or(u32::MAX),
        }
    }

    /// Round-trip time at the moment the answer arrived; `None` as for [`ReportBlock::round_trip`](super::ReportBlock::round_trip).
    #[must_use]
    pub fn round_trip(&self, arrival: NtpTimestamp) -> Option<Duration> {
        round_trip(arrival, self.last_reference, self.delay)
    }
}

/// What a receiver does about loss and jitter (RFC 3611 §4.7.6, "RX config").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverConfig(pub u8);

impl ReceiverConfig {
    /// Standard concealment (11), adaptive buffer (11), adjustment rate 1: what this server does.
    pub const ADAPTIVE_WITH_CONCEALMENT: Self = Self(0b1111_0001);
}

/// VoIP metrics about one received stream (RFC 3611 §4.7). `None` stands for "unavailable".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The stream's source.
    pub ssrc: Ssrc,
    /// Packets lost, in 1/256.
    pub loss_rate: u8,
    /// Packets received but too late or too early to be heard, in 1/256.
    pub discard_rate: u8,
    /// Packets missing within bursts, in 1/256.
    pub burst_density: u8,
    /// Packets missing within gaps, in 1/256.
    pub gap_density: u8,
    /// Mean duration of a burst in ms.
    pub burst_ms: u16,
    /// Mean duration of a gap in ms.
    pub gap_ms: u16,
    /// Round trip between the RTP interfaces in ms.
    pub round_trip_ms: u16,
    /// Delay within the reporting end in ms.
    pub end_system_delay_ms: u16,
    /// Level of the voice in dBm0.
    pub signal_dbm: Option<i8>,
    /// Level of the silence in dBm0.
    pub noise_dbm: Option<i8>,
    /// Residual echo return loss in dB.
    pub echo_return_loss_db: Option<u8>,
    /// Packets received in a row that end a burst; 16 as a rule.
    pub gmin: u8,
    /// Transmission rating, 0 to 100.
    pub r_factor: Option<u8>,
    /// Transmission rating of a network beyond this leg, 0 to 100.
    pub external_r_factor: Option<u8>,
    /// Listening quality, ten times the MOS: 10 to 50.
    pub mos_lq_tenths: Option<u8>,
    /// Conversational quality, ten times the MOS: 10 to 50.
    pub mos_cq_tenths: Option<u8>,
    /// What the receiver does about loss and jitter.
    pub config: ReceiverConfig,
    /// Jitter buffer's delay now, in ms.
    pub buffer_nominal_ms: u16,
    /// The longest delay of late, in ms.
    pub buffer_max_ms: u16,
    /// The longest delay the buffer could take, in ms.
    pub buffer_absolute_max_ms: u16,
}

/// Blocks of one extended report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtendedReport {
    /// Receiver reference time (RFC 3611 §4.4): asks the peer for a [`DelaySinceReference`].
    pub reference_time: Option<NtpTimestamp>,
    /// Answer to the peer's reference time.
    pub delay_since_reference: Option<DelaySinceReference>,
    /// Metrics about the peer's stream.
    pub voip_metrics: Option<VoipMetrics>,
}

impl ExtendedReport {
    /// Octets of the packet; 0 without a block.
    pub(super) fn len(&self) -> usize {
        let blocks = self.reference_time.map_or(0, |_| 12)
            + self.delay_since_reference.map_or(0, |_| 16)
            + self.voip_metrics.map_or(0, |_| VOIP_METRICS_LEN);
        if blocks == 0 { 0 } else { 8 + blocks }
    }

    /// Writes the blocks into exactly their room.
    pub(super) fn write(&self, mut out: &mut [u8]) {
        if let Some(reference) = self.reference_time {
            let block = take(&mut out, 12);
            write_block_header(block, REFERENCE_TIME);
            block[4..12].copy_from_slice(&reference.0.to_be_bytes());
        }
        if let Some(answer) = self.delay_since_reference {
            let block = take(&mut out, 16);
            write_block_header(block, DELAY_SINCE_REFERENCE);
            write_words(
                &mut block[4..],
                &[answer.ssrc.0, answer.last_reference, answer.delay],
            );
        }
        if let Some(metrics) = &self.voip_metrics {
            let block = take(&mut out, VOIP_METRICS_LEN);
            write_block_header(block, VOIP_METRICS);
            metrics.write(&mut block[4..]);
        }
    }
}

impl VoipMetrics {
    fn write(&self, out: &mut [u8]) {
        let pair = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        let known = |value: Option<u8>| value.unwrap_or(UNAVAILABLE);
        let level = |value: Option<i8>| value.map_or(UNAVAILABLE, i8::cast_unsigned);
        let words = [
            self.ssrc.0,
            u32::from_be_bytes([
                self.loss_rate,
                self.discard_rate,
                self.burst_density,
                self.gap_density,
            ]),
            pair(self.burst_ms, self.gap_ms),
            pair(self.round_trip_ms, self.end_system_delay_ms),
            u32::from_be_bytes([
                level(self.signal_dbm),
                level(self.noise_dbm),
                known(self.echo_return_loss_db),
                self.gmin,
            ]),
            u32::from_be_bytes([
                known(self.r_factor),
                known(self.external_r_factor),
                known(self.mos_lq_tenths),
                known(self.mos_cq_tenths),
            ]),
            u32::from(self.config.0) << 24 | u32::from(self.buffer_nominal_ms),
            pair(self.buffer_max_ms, self.buffer_absolute_max_ms),
        ];
        write_words(out, &words);
    }

    fn read(body: &[u8]) -> Option<Self> {
        let (&body, _) = body.split_first_chunk::<32>()?;
        let pair = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let known = |at: usize| Some(body[at]).filter(|&value| value != UNAVAILABLE);
        Some(Self {
            ssrc: Ssrc(word(&body, 0)?),
            loss_rate: body[4],
            discard_rate: body[5],
            burst_density: body[6],
            gap_density: body[7],
            burst_ms: pair(8),
            gap_ms: pair(10),
            round_trip_ms: pair(12),
            end_system_delay_ms: pair(14),
            signal_dbm: known(16).map(u8::cast_signed),
            noise_dbm: known(17).map(u8::cast_signed),
            echo_return_loss_db: known(18),
            gmin: body[19],
            r_factor: known(20),
            external_r_factor: known(21),
            mos_lq_tenths: known(22),
            mos_cq_tenths: known(23),
            config: ReceiverConfig(body[24]),
            buffer_nominal_ms: pair(26),
            buffer_max_ms: pair(28),
            buffer_absolute_max_ms: pair(30),
        })
    }
}

/// Reads the blocks of a packet's body (behind the sender's SSRC, without padding): the last of each kind, answers and metrics
/// only when they are about `ours`. Blocks that are unknown, too short for their kind or cut off are passed over.
pub(super) fn read_blocks(mut body: &[u8], ours: Ssrc) -> ExtendedReport {
    let mut report = ExtendedReport::default();
    while let [block_type, _, high, low, rest @ ..] = body {
        let len = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let Some((block, behind)) = rest.split_at_checked(len) else {
            break;
        };
        body = behind;
        match *block_type {
            REFERENCE_TIME => {
                let reference = block.first_chunk().map(|octets| u64::from_be_bytes(*octets));
                report.reference_time = reference.map(NtpTimestamp).or(report.reference_time);
            }
            DELAY_SINCE_REFERENCE => {
                let mut answers = block.chunks_exact(12).filter_map(read_answer);
                let about_us = answers.rfind(|answer| answer.ssrc == ours);
                report.delay_since_reference = about_us.or(report.delay_since_reference);
            }
            VOIP_METRICS => {
                let about_us = VoipMetrics::read(block).filter(|metrics| metrics.ssrc == ours);
                report.voip_metrics = about_us.or(report.voip_metrics);
            }
            _ => {}
        }
    }
    report
}

fn read_answer(block: &[u8]) -> Option<DelaySinceReference> {
    Some(DelaySinceReference {
        ssrc: Ssrc(word(block, 0)?),
        last_reference: word(block, 4)?,
        delay: word(block, 8)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let octets = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*octets))
}

/// Cuts `len` octets off the front of `out`, which has them.
fn take<'a>(out: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (block, rest) = std::mem::take(out).split_at_mut(len);
    *out = rest;
    block
}

fn write_block_header(block: &mut [u8], block_type: u8) {
    let words = (block.len() / 4 - 1) as u16;
    block[0] = block_type;
    block[1] = 0;
    block[2..4].copy_from_slice(&words.to_be_bytes());
}

fn write_words(out: &mut [u8], words: &[u32]) {
    for (out, word) in out.chunks_exact_mut(4).zip(words) {
        out.copy_from_slice(&word.to_be_bytes());
    }
}
