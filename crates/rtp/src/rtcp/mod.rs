//! RTCP (RFC 3550 §6, extended reports of RFC 3611): reading compound packets, writing reports, and how often to send them. Owns wire formats and the
//! two clocks' conversions; keeps no session state.
//!
//! Received packets are checked and read by the `rtcp-types` crate piece by piece; none of its types leave this module.

mod extended;
mod fuzz;
mod interval;
mod read;
mod write;

pub use extended::{DelaySinceReference, ExtendedReport, ReceiverConfig, VoipMetrics};
pub use fuzz::fuzz_rtcp;
pub use interval::report_interval_ns;
pub use read::{MAX_BYES, ReceivedRtcp, RtcpError};
pub use write::{RtcpWriter, WriteError};

use std::time::Duration;

use crate::ids::{RtpTimestamp, Ssrc};

/// Wall-clock time in the NTP format: seconds since 1900 and their 2^32nd parts (RFC 3550 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTimestamp(pub u64);

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_IN_NTP_SECONDS: u64 = 2_208_988_800;

impl NtpTimestamp {
    /// Converts a time since the Unix epoch; wraps in 2036 as NTP does.
    #[must_use]
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP_SECONDS);
        let fraction = ((since_epoch.subsec_nanos() as u64) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, in units of 1/65536 s: what LSR and DLSR count in (RFC 3550 §6.4.1).
    #[must_use]
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock at sending.
    pub ntp: NtpTimestamp,
    /// The same instant on the stream's media clock.
    pub rtp_timestamp: RtpTimestamp,
    /// Packets sent, modulo 2^32.
    pub packets: u32,
    /// Payload octets sent, modulo 2^32.
    pub octets: u32,
}

/// One reception report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that the block is about.
    pub ssrc: Ssrc,
    /// Lost since the last report, in 1/256 of the expected.
    pub fraction_lost: u8,
    /// Lost since the beginning; negative with duplicates. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with its cycles in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle bits of the last sender report's NTP timestamp; 0 when there was none.
    pub last_sender_report: u32,
    /// Time since that report in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// Round-trip time by the reporter's LSR and DLSR at the moment the block arrived (RFC 3550 §6.4.1, figure 2).
    ///
    /// `None` when the reporter had no sender report yet, or when its numbers give a negative or absurd (> 60 s) time.
    #[must_use]
    pub fn round_trip(&self, arrival: NtpTimestamp) -> Option<Duration> {
        round_trip(
            arrival,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        )
    }
}

/// Time from our report to the arrival of its echo, less the time the peer kept it; all in 1/65536 s.
fn round_trip(arrival: NtpTimestamp, report: u32, kept: u32) -> Option<Duration> {
    if report == 0 {
        return None;
    }
    let units = arrival.middle().wrapping_sub(report).checked_sub(kept)?;
    let nanoseconds = u64::from(units) * 1_000_000_000 / 65_536;
    (units < 60 * 65_536).then_some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests;
