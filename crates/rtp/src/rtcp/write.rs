//! Writing compound packets into a caller's buffer without allocation.

use super::extended::EXTENDED_REPORT;
use super::{ExtendedReport, ReportBlock, SenderInfo};
use crate::ids::Ssrc;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const SDES_CNAME: u8 = 1;
const MAX_BLOCKS: usize = 31;

/// Why a packet was not appended; the buffer keeps what was complete before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    #[error("the buffer has {capacity} octets, {needed} are needed")]
    BufferTooSmall {
        /// Octets the buffer holds.
        capacity: usize,
        /// Octets the compound would have.
        needed: usize,
    },
    /// More than 31 report blocks, or a text of more than 255 octets.
    #[error("{0} do not fit the field")]
    TooMany(usize),
}

/// Appends packets to a compound. RFC 3550 §6.1 wants a report first, then SDES with CNAME, BYE last.
///
/// ```
/// use confab_rtp::{Ssrc, rtcp::{ReceivedRtcp, RtcpWriter}};
/// let mut buffer = [0; 128];
/// let mut writer = RtcpWriter::new(&mut buffer);
/// writer.receiver_report(Ssrc(1), &[])?.cname(Ssrc(1), "leg@confab")?;
/// let datagram = writer.finish();
/// assert_eq!(ReceivedRtcp::parse(datagram, Ssrc(2)).unwrap().cname, Some((Ssrc(1), &b"leg@confab"[..])));
/// # Ok::<(), confab_rtp::rtcp::WriteError>(())
/// ```
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> RtcpWriter<'a> {
    /// Starts an empty compound at the front of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Appends a sender report (RFC 3550 §6.4.1): 28 octets and 24 per block.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<&mut Self, WriteError> {
        let packet = self.packet(SENDER_REPORT, blocks.len(), 28 + 24 * blocks.len())?;
        packet[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
        packet[8..16].copy_from_slice(&info.ntp.0.to_be_bytes());
        packet[16..20].copy_from_slice(&info.rtp_timestamp.0.to_be_bytes());
        packet[20..24].copy_from_slice(&info.packets.to_be_bytes());
        packet[24..28].copy_from_slice(&info.octets.to_be_bytes());
        write_blocks(&mut packet[28..], blocks);
        Ok(self)
    }

    /// Appends a receiver report (RFC 3550 §6.4.2): 8 octets and 24 per block.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<&mut Self, WriteError> {
        let packet = self.packet(RECEIVER_REPORT, blocks.len(), 8 + 24 * blocks.len())?;
        packet[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
        write_blocks(&mut packet[8..], blocks);
        Ok(self)
    }

    /// Appends a source description with one CNAME of at most 255 octets (RFC 3550 §6.5.1).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn cname(&mut self, ssrc: Ssrc, cname: &str) -> Result<&mut Self, WriteError> {
        let len = u8::try_from(cname.len()).map_err(|_| WriteError::TooMany(cname.len()))?;
        // Header, source, item head, text, and at least one zero octet to end the chunk.
        let total = (4 + 4 + 2 + cname.len() + 1).next_multiple_of(4);
        let packet = self.packet(SDES, 1, total)?;
        packet[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
        packet[8] = SDES_CNAME;
        packet[9] = len;
        packet[10..10 + cname.len()].copy_from_slice(cname.as_bytes());
        Ok(self)
    }

    /// Appends a BYE for one source, with a reason of at most 255 octets unless it is empty (RFC 3550 §6.6).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn bye(&mut self, ssrc: Ssrc, reason: &str) -> Result<&mut Self, WriteError> {
        let len = u8::try_from(reason.len()).map_err(|_| WriteError::TooMany(reason.len()))?;
        let total = if reason.is_empty() {
            8
        } else {
            (9 + reason.len()).next_multiple_of(4)
        };
        let packet = self.packet(BYE, 1, total)?;
        packet[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
        if !reason.is_empty() {
            packet[8] = len;
            packet[9..9 + reason.len()].copy_from_slice(reason.as_bytes());
        }
        Ok(self)
    }

    /// Appends an extended report (RFC 3611 §2) of at most 72 octets; nothing when it has no block.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn extended_report(&mut self, ssrc: Ssrc, report: &ExtendedReport) -> Result<&mut Self, WriteError> {
        let total = report.len();
        if total > 0 {
            let packet = self.packet(EXTENDED_REPORT, 0, total)?;
            packet[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
            report.write(&mut packet[8..]);
        }
        Ok(self)
    }

    /// Returns the compound.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        &self.buffer[..self.len]
    }

    /// Appends a zeroed packet of `total` octets (a multiple of four) with its header filled in.
    fn packet(&mut self, packet_type: u8, count: usize, total: usize) -> Result<&mut [u8], WriteError> {
        if count > MAX_BLOCKS {
            return Err(WriteError::TooMany(count));
        }
        let (capacity, needed) = (self.buffer.len(), self.len + total);
        let packet = self
            .buffer
            .get_mut(self.len..needed)
            .ok_or(WriteError::BufferTooSmall { capacity, needed })?;
        self.len = needed;
        packet.fill(0);
        packet[0] = 2 << 6 | count as u8;
        packet[1] = packet_type;
        packet[2..4].copy_from_slice(&((total / 4 - 1) as u16).to_be_bytes());
        Ok(packet)
    }
}

fn write_blocks(out: &mut [u8], blocks: &[ReportBlock]) {
    for (out, block) in out.chunks_exact_mut(24).zip(blocks) {
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        let words = [
            block.ssrc.0,
            u32::from(block.fraction_lost) << 24 | lost,
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last_sender_report,
        ];
        for (out, word) in out.chunks_exact_mut(4).zip(words) {
            out.copy_from_slice(&word.to_be_bytes());
        }
    }
}
