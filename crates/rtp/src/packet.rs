//! RTP data packets (RFC 3550 §5.1): a validated view over received bytes and a writer for the fixed header.
//! Owns the wire layout only; sequence, time and payload meaning belong to other modules.

use crate::ids::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};

mod fuzz;

pub use fuzz::fuzz_rtp;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// Fewer octets than the header, its CSRC list or its extension announce.
    #[error("RTP packet is truncated: {len} octets where {needed} are announced")]
    Truncated {
        /// Octets received.
        len: usize,
        /// Octets the header needs.
        needed: usize,
    },
    /// The version field is not 2: STUN, DTLS, an old RTP or junk.
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// Second octet in 192..=223: RTCP on a shared port (RFC 5761 §4).
    #[error("packet type {0} is RTCP")]
    IsRtcp(u8),
    /// The padding count is zero or larger than what follows the header.
    #[error("RTP padding of {padding} octets in a body of {body}")]
    Padding {
        /// Count in the last octet.
        padding: u8,
        /// Octets after header and extension.
        body: usize,
    },
}

/// Tells whether a datagram on a port shared by RTP and RTCP is RTCP (RFC 5761 §4: second octet 192 to 223).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

/// A validated view of one received RTP packet; borrows the datagram and copies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    bytes: &'a [u8],
    csrc_end: usize,
    payload_start: usize,
    payload_end: usize,
}

impl<'a> RtpPacket<'a> {
    /// Validates version, CSRC list, extension length and padding against the datagram's length.
    ///
    /// # Errors
    /// [`RtpError`] says which announced length or field does not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let len = bytes.len();
        let &[first, second, ..] = bytes else {
            return Err(RtpError::Truncated {
                len,
                needed: HEADER_LEN,
            });
        };
        if first >> 6 != 2 {
            return Err(RtpError::Version(first >> 6));
        }
        if (192..=223).contains(&second) {
            return Err(RtpError::IsRtcp(second));
        }
        let csrc_end = HEADER_LEN + usize::from(first & 0x0f) * 4;
        if len < csrc_end {
            return Err(RtpError::Truncated {
                len,
                needed: csrc_end,
            });
        }
        let payload_start = if first & 0x10 == 0 {
            csrc_end
        } else {
            extension_end(bytes, csrc_end)?
        };
        let payload_end = if first & 0x20 == 0 {
            len
        } else {
            padding_start(bytes, payload_start)?
        };
        Ok(Self {
            bytes,
            csrc_end,
            payload_start,
            payload_end,
        })
    }

    /// Payload type, 0 to 127.
    #[must_use]
    pub fn payload_type(&self) -> PayloadType {
        PayloadType::from_low_bits(self.bytes[1])
    }

    /// Marker bit; for audio the first packet after silence (RFC 3551 §4.1).
    #[must_use]
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Sequence number.
    #[must_use]
    pub fn sequence_number(&self) -> SequenceNumber {
        SequenceNumber(u16::from_be_bytes([self.bytes[2], self.bytes[3]]))
    }

    /// Media time of the first sample.
    #[must_use]
    pub fn timestamp(&self) -> RtpTimestamp {
        RtpTimestamp(self.word(4))
    }

    /// Synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(self.word(8))
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.bytes[HEADER_LEN..self.csrc_end]
            .chunks_exact(4)
            .map(|word| Ssrc(u32::from_be_bytes([word[0], word[1], word[2], word[3]])))
    }

    /// The header extension as (profile, data), when there is one. Data is a multiple of four octets.
    #[must_use]
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        if self.bytes[0] & 0x10 == 0 {
            return None;
        }
        let profile = u16::from_be_bytes([self.bytes[self.csrc_end], self.bytes[self.csrc_end + 1]]);
        Some((profile, &self.bytes[self.csrc_end + 4..self.payload_start]))
    }

    /// The elements of a one- or two-byte header extension (RFC 8285 §4.2, §4.3) as (id, data).
    ///
    /// Padding is skipped; the list ends at the first element whose length does not fit. Empty for other profiles.
    pub fn extensions(&self) -> Extensions<'a> {
        let (profile, data) = self.extension().unwrap_or((0, &[]));
        let form = match profile {
            0xbede => ExtensionForm::OneByte,
            profile if profile & 0xfff0 == 0x1000 => ExtensionForm::TwoByte,
            _ => ExtensionForm::Other,
        };
        Extensions { form, data }
    }

    /// Payload without header, extension and padding; may be empty.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start..self.payload_end]
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([
            self.bytes[at],
            self.bytes[at + 1],
            self.bytes[at + 2],
            self.bytes[at + 3],
        ])
    }
}

fn extension_end(bytes: &[u8], start: usize) -> Result<usize, RtpError> {
    let len = bytes.len();
    if len < start + 4 {
        return Err(RtpError::Truncated {
            len,
            needed: start + 4,
        });
    }
    let words = usize::from(u16::from_be_bytes([bytes[start + 2], bytes[start + 3]]));
    let end = start + 4 + words * 4;
    if len < end {
        Err(RtpError::Truncated { len, needed: end })
    } else {
        Ok(end)
    }
}

fn padding_start(bytes: &[u8], payload_start: usize) -> Result<usize, RtpError> {
    let body = bytes.len() - payload_start;
    let padding = bytes[bytes.len() - 1];
    if padding == 0 || usize::from(padding) > body {
        return Err(RtpError::Padding { padding, body });
    }
    Ok(bytes.len() - usize::from(padding))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtensionForm {
    OneByte,
    TwoByte,
    Other,
}

/// Iterator over header extension elements; see [`RtpPacket::extensions`].
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    form: ExtensionForm,
    data: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let [0, rest @ ..] = self.data {
            self.data = rest;
        }
        let (id, len, rest) = match (self.form, self.data) {
            // Local identifier 15 ends the list (RFC 8285 §4.2).
            (ExtensionForm::OneByte, &[head, ref rest @ ..]) if head >> 4 != 15 => {
                (head >> 4, usize::from(head & 0x0f) + 1, rest)
            }
            (ExtensionForm::TwoByte, &[id, len, ref rest @ ..]) => (id, usize::from(len), rest),
            _ => {
                self.data = &[];
                return None;
            }
        };
        let Some((value, rest)) = rest.split_at_checked(len) else {
            self.data = &[];
            return None;
        };
        self.data = rest;
        Some((id, value))
    }
}

/// The fixed header of a packet to send: no CSRC, extension or padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// First packet after silence.
    pub marker: bool,
    /// Negotiated payload type.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub sequence_number: SequenceNumber,
    /// Media time of the first sample.
    pub timestamp: RtpTimestamp,
    /// Our synchronisation source.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// Writes the twelve octets.
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        out[0] = 2 << 6;
        out[1] = u8::from(self.marker) << 7 | self.payload_type.value();
        out[2..4].copy_from_slice(&self.sequence_number.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
