//! Reading received compound packets into a bounded form without allocation.

use rtcp_types::{Bye, ReceiverReport, RtcpPacket, RtcpPacketParser, RtcpParseError, SenderReport};

use super::extended::{EXTENDED_REPORT, read_blocks};
use super::{ExtendedReport, NtpTimestamp, ReportBlock, SenderInfo};
use crate::ids::{RtpTimestamp, Ssrc};

/// BYE sources kept per datagram; further ones are ignored. A leg has one peer with a handful of streams at most.
pub const MAX_BYES: usize = 8;

const SDES: u8 = 202;
const SDES_CNAME: u8 = 1;

/// Why a datagram is not RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// A packet announces more octets than the datagram has.
    #[error("RTCP packet at octet {offset} is truncated")]
    Truncated {
        /// Where the packet starts in the datagram.
        offset: usize,
    },
    /// The version field is not 2.
    #[error("RTCP version {version} at octet {offset}")]
    Version {
        /// Where the packet starts in the datagram.
        offset: usize,
        /// The version found.
        version: u8,
    },
    /// The padding count does not fit, or padding stands before the last packet (RFC 3550 A.2).
    #[error("RTCP padding at octet {offset} is wrong")]
    Padding {
        /// Where the packet starts in the datagram.
        offset: usize,
    },
    /// The first packet is no RTCP type (192 to 223): RTP or junk on the RTCP port.
    #[error("packet type {0} is not RTCP")]
    NotRtcp(u8),
    /// The content of a packet does not fit its length or count.
    #[error("RTCP packet type {packet_type} at octet {offset} is malformed")]
    Malformed {
        /// Where the packet starts in the datagram.
        offset: usize,
        /// Its packet type.
        packet_type: u8,
    },
}

/// What a compound packet said that matters to a leg with one peer. Borrows the CNAME from the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedRtcp<'a> {
    /// The source that sent the first packet of the compound; what source rules look at. `None` for an SDES or BYE that
    /// names no source.
    pub sender: Option<Ssrc>,
    /// The last sender report and its source.
    pub sender_report: Option<(Ssrc, SenderInfo)>,
    /// The last report block about our own source.
    pub report: Option<ReportBlock>,
    /// Report blocks about any source, ours included.
    pub report_blocks: u16,
    /// The first CNAME (RFC 3550 §6.5.1), as received, 0 to 255 octets; not necessarily UTF-8.
    pub cname: Option<(Ssrc, &'a [u8])>,
    /// Extended report (RFC 3611) of the peer: its reference time, and what it says about our own source.
    pub extended: ExtendedReport,
    /// Packets of other types: APP, feedback (RFC 4585).
    pub other_packets: u16,
    byes: [Ssrc; MAX_BYES],
    bye_count: usize,
}

impl<'a> ReceivedRtcp<'a> {
    /// Reads a datagram. Reduced-size RTCP (RFC 5506), which need not begin with a report, is accepted.
    ///
    /// `ours` selects the report block to keep.
    ///
    /// # Errors
    /// [`RtcpError`] says where and why; nothing of a malformed datagram is used.
    pub fn parse(datagram: &'a [u8], ours: Ssrc) -> Result<Self, RtcpError> {
        let mut received = Self {
            sender: None,
            sender_report: None,
            report: None,
            report_blocks: 0,
            cname: None,
            extended: ExtendedReport::default(),
            other_packets: 0,
            byes: [Ssrc(0); MAX_BYES],
            bye_count: 0,
        };
        let mut offset = 0;
        while offset == 0 || offset < datagram.len() {
            let packet = split_packet(datagram, offset)?;
            received.take_packet(packet, offset, ours)?;
            offset += packet.len();
        }
        Ok(received)
    }

    /// Sources that left, at most [`MAX_BYES`].
    #[must_use]
    pub fn byes(&self) -> &[Ssrc] {
        &self.byes[..self.bye_count]
    }

    fn take_packet(&mut self, packet: &'a [u8], offset: usize, ours: Ssrc) -> Result<(), RtcpError> {
        let packet_type = packet[1];
        let malformed = |_: RtcpParseError| RtcpError::Malformed { offset, packet_type };
        let sender = match packet_type {
            SenderReport::PACKET_TYPE => {
                let report = SenderReport::parse(packet).map_err(malformed)?;
                self.take_sender_report(&report, ours)
            }
            ReceiverReport::PACKET_TYPE => {
                let report = ReceiverReport::parse(packet).map_err(malformed)?;
                self.take_blocks(report.report_blocks(), ours);
                Some(Ssrc(report.ssrc()))
            }
            SDES => self
                .take_description(packet)
                .ok_or(RtcpError::Malformed { offset, packet_type })?,
            EXTENDED_REPORT => {
                let body = packet.get(8..packet.len() - padding(packet));
                let body = body.ok_or(RtcpError::Malformed { offset, packet_type })?;
                self.take_extended(read_blocks(body, ours));
                Some(word(&packet[4..8]))
            }
            Bye::PACKET_TYPE => self.take_byes(&Bye::parse(packet).map_err(malformed)?),
            _ => {
                self.other_packets += 1;
                packet.get(4..8).map(word)
            }
        };
        self.sender = self.sender.or(sender);
        Ok(())
    }

    fn take_sender_report(&mut self, report: &SenderReport<'_>, ours: Ssrc) -> Option<Ssrc> {
        let ssrc = Ssrc(report.ssrc());
        let info = SenderInfo {
            ntp: NtpTimestamp(report.ntp_timestamp()),
            rtp_timestamp: RtpTimestamp(report.rtp_timestamp()),
            packets: report.packet_count(),
            octets: report.octet_count(),
        };
        self.sender_report = Some((ssrc, info));
        self.take_blocks(report.report_blocks(), ours);
        Some(ssrc)
    }

    fn take_blocks<'b>(&mut self, blocks: impl Iterator<Item = rtcp_types::ReportBlock<'b>>, ours: Ssrc) {
        for block in blocks {
            self.report_blocks += 1;
            if block.ssrc() == ours.0 {
                self.report = Some(ReportBlock {
                    ssrc: ours,
                    fraction_lost: block.fraction_lost(),
                    cumulative_lost: (block.cumulative_lost() << 8).cast_signed() >> 8,
                    highest_sequence: block.extended_sequence_number(),
                    jitter: block.interarrival_jitter(),
                    last_sender_report: block.last_sender_report_timestamp(),
                    delay_since_last_sender_report: block.delay_since_last_sender_report_timestamp(),
                });
            }
        }
    }

    fn take_extended(&mut self, report: ExtendedReport) {
        let kept = &mut self.extended;
        kept.reference_time = report.reference_time.or(kept.reference_time);
        kept.delay_since_reference = report.delay_since_reference.or(kept.delay_since_reference);
        kept.voip_metrics = report.voip_metrics.or(kept.voip_metrics);
    }

    fn take_byes(&mut self, bye: &Bye<'_>) -> Option<Ssrc> {
        for ssrc in bye.ssrcs() {
            if self.bye_count < MAX_BYES {
                self.byes[self.bye_count] = Ssrc(ssrc);
                self.bye_count += 1;
            }
        }
        bye.ssrcs().next().map(Ssrc)
    }

    /// Walks the chunks of an SDES packet (RFC 3550 §6.5); `None` when they do not fit. The outer option is the verdict, the
    /// inner one the first chunk's source. `rtcp-types` collects SDES items into vectors, which a media thread avoids.
    fn take_description(&mut self, packet: &'a [u8]) -> Option<Option<Ssrc>> {
        let chunks = packet[0] & 0x1f;
        let mut rest = &packet[4..packet.len() - padding(packet)];
        let mut first = None;
        for _ in 0..chunks {
            let (source, items) = rest.split_at_checked(4)?;
            let source = word(source);
            first = first.or(Some(source));
            rest = self.take_items(source, items)?;
        }
        Some(first)
    }

    fn take_items(&mut self, source: Ssrc, chunk: &'a [u8]) -> Option<&'a [u8]> {
        let mut items = chunk;
        loop {
            match *items {
                // A zero item type ends the chunk, which is then filled up to a multiple of four octets.
                [0, ..] => {
                    let used = chunk.len() - items.len() + 1;
                    return chunk.get(used.next_multiple_of(4)..);
                }
                [kind, len, ref rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(len))?;
                    if kind == SDES_CNAME && self.cname.is_none() {
                        self.cname = Some((source, value));
                    }
                    items = rest;
                }
                _ => return None,
            }
        }
    }
}

/// Cuts the packet at `offset` out of the datagram after the header checks of RFC 3550 A.2.
fn split_packet(datagram: &[u8], offset: usize) -> Result<&[u8], RtcpError> {
    let rest = &datagram[offset..];
    let &[first, packet_type, high, low, ..] = rest else {
        return Err(RtcpError::Truncated { offset });
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version {
            offset,
            version: first >> 6,
        });
    }
    if !(192..=223).contains(&packet_type) {
        return Err(RtcpError::NotRtcp(packet_type));
    }
    let len = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
    let packet = rest.get(..len).ok_or(RtcpError::Truncated { offset })?;
    if first & 0x20 != 0 {
        let padding = padding(packet);
        let is_last = len == rest.len();
        if !is_last || padding == 0 || !padding.is_multiple_of(4) || padding > len - 4 {
            return Err(RtcpError::Padding { offset });
        }
    }
    Ok(packet)
}

/// Octets of padding, by the last octet; 0 without the padding bit.
fn padding(packet: &[u8]) -> usize {
    if packet[0] & 0x20 == 0 {
        0
    } else {
        packet.last().map_or(0, |&count| usize::from(count))
    }
}

fn word(bytes: &[u8]) -> Ssrc {
    let mut octets = [0; 4];
    octets.copy_from_slice(&bytes[..4]);
    Ssrc(u32::from_be_bytes(octets))
}
