//! State of one outgoing RTP stream: sequence, timestamp, marker and the totals that a sender report carries.
//! Owns no socket and no payload; the caller says how much media each packet carries.

use crate::ids::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::RtpHeader;

/// Numbers one outgoing stream; a stream lasts as long as its SSRC (RFC 3550 §5.1).
///
/// Media time moves with every packet and with every [`skip`](Self::skip), so the timestamps stay true to the sampling
/// clock through silence (RFC 3550 §5.1) and the receiver's playout keeps its place.
#[derive(Debug, Clone)]
pub struct RtpSender {
    ssrc: Ssrc,
    sequence_number: SequenceNumber,
    timestamp: RtpTimestamp,
    marker: bool,
    packets: u32,
    octets: u32,
}

impl RtpSender {
    /// Starts a stream. SSRC, first sequence number and first timestamp are the caller's random values (RFC 3550 §5.1).
    #[must_use]
    pub const fn new(ssrc: Ssrc, first_sequence: SequenceNumber, first_timestamp: RtpTimestamp) -> Self {
        Self {
            ssrc,
            sequence_number: first_sequence,
            timestamp: first_timestamp,
            marker: true,
            packets: 0,
            octets: 0,
        }
    }

    /// Returns the header of the next packet, which carries `samples` (units of the RTP clock) in `payload_len` octets.
    ///
    /// The first packet and the first after a [`skip`](Self::skip) have the marker (RFC 3551 §4.1).
    pub fn next_packet(&mut self, payload_type: PayloadType, samples: u32, payload_len: usize) -> RtpHeader {
        let header = RtpHeader {
            marker: std::mem::take(&mut self.marker),
            payload_type,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.count(payload_len);
        header
    }

    /// Returns the header of a packet whose `timestamp` is not the media time: a telephone-event (RFC 4733 §2.1 keeps it in this
    /// stream's sequence). Media time does not move.
    pub fn event_packet(
        &mut self,
        payload_type: PayloadType,
        timestamp: RtpTimestamp,
        marker: bool,
        payload_len: usize,
    ) -> RtpHeader {
        let header = RtpHeader {
            marker,
            payload_type,
            sequence_number: self.sequence_number,
            timestamp,
            ssrc: self.ssrc,
        };
        self.count(payload_len);
        header
    }

    /// Lets `samples` of media time pass without a packet; the next packet gets the marker.
    pub fn skip(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.marker = true;
    }

    /// Our synchronisation source.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Media time of the next packet.
    #[must_use]
    pub const fn timestamp(&self) -> RtpTimestamp {
        self.timestamp
    }

    /// Sequence number of the next packet.
    #[must_use]
    pub const fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }

    /// Packets sent, modulo 2^32 (RFC 3550 §6.4.1).
    #[must_use]
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// Payload octets sent, modulo 2^32 (RFC 3550 §6.4.1).
    #[must_use]
    pub const fn octets(&self) -> u32 {
        self.octets
    }

    fn count(&mut self, payload_len: usize) {
        self.sequence_number = self.sequence_number.next();
        self.packets = self.packets.wrapping_add(1);
        self.octets = self
            .octets
            .wrapping_add(u32::try_from(payload_len).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_and_timestamp_wrap_and_media_time_goes_on_through_silence() {
        for first in [0, 1, 127, 32767, 65534, 65535] {
            let mut sender = RtpSender::new(Ssrc(7), SequenceNumber(first), RtpTimestamp(u32::MAX - 159));
            let a = sender.next_packet(PayloadType::PCMU, 160, 160);
            let b = sender.next_packet(PayloadType::PCMU, 160, 160);
            sender.skip(320);
            let c = sender.next_packet(PayloadType::PCMU, 160, 160);
            assert_eq!([a.marker, b.marker, c.marker], [true, false, true]);
            assert_eq!(a.sequence_number.0, first);
            assert_eq!(b.sequence_number.0, first.wrapping_add(1));
            assert_eq!(c.sequence_number.0, first.wrapping_add(2));
            assert_eq!(
                [a.timestamp.0, b.timestamp.0, c.timestamp.0],
                [u32::MAX - 159, 0, 480]
            );
            assert_eq!((sender.packets(), sender.octets()), (3, 480));
        }
    }
}
