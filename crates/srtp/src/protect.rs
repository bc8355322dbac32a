//! The sending side: packets of one stream, and the reports about it, leave protected. Owns rollover counter and SRTCP index.

use std::fmt;

use crate::error::SrtpError;
use crate::header::{RTCP_CLEAR, rtcp_ssrc, rtp_header_len, rtp_ssrc, sequence_number};
use crate::key::{MasterKey, Mki};
use crate::rollover::estimate;
use crate::transform::{ENCRYPTED, RTCP_INDEX_LEN, Transform};

/// Index of the last packet that one key may protect (RFC 3711 §9.2).
const LAST_RTP: u64 = (1 << 48) - 1;

/// Protects what is sent under one master key.
pub struct Protector {
    rtp: Transform,
    rtcp: Transform,
    mki: Option<Mki>,
    /// The stream that is sent, and the highest index in it.
    stream: Option<(u32, u64)>,
    /// Index of the next RTCP packet.
    next_report: u32,
}

impl Protector {
    /// Takes a key in, and the identifier that tells the peer which one it is.
    #[must_use]
    pub fn new(key: &MasterKey, mki: Option<Mki>) -> Protector {
        Protector {
            rtp: Transform::for_rtp(key),
            rtcp: Transform::for_rtcp(key),
            mki,
            stream: None,
            next_report: 0,
        }
    }

    /// Returns the octets that an RTP packet grows by.
    #[must_use]
    pub fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len() + self.mki_len()
    }

    /// Returns the octets that an RTCP packet grows by.
    #[must_use]
    pub fn rtcp_overhead(&self) -> usize {
        RTCP_INDEX_LEN + self.rtcp.tag_len() + self.mki_len()
    }

    /// Protects the RTP packet in the first `len` octets of `buffer`, where there is room for [`rtp_overhead`](Self::rtp_overhead) more, and returns
    /// how long it is then. Packets are handed over in the order of their sequence numbers, or nearly so; another SSRC begins anew.
    ///
    /// # Errors
    /// [`SrtpError`] says why the packet must not be sent: it is none, there is no room, or the key is used up.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let protected = len + self.rtp_overhead();
        let buffer = buffer.get_mut(..protected).ok_or(SrtpError::NoRoom)?;
        let header = rtp_header_len(&buffer[..len]).ok_or(SrtpError::Malformed)?;
        let (ssrc, sequence_number) = (rtp_ssrc(buffer), sequence_number(buffer));
        let index = match self.stream {
            Some((same, highest)) if same == ssrc => {
                let index = estimate(highest, sequence_number);
                if highest > LAST_RTP - 0x1_0000 && index < highest - 0x1_0000 {
                    return Err(SrtpError::Exhausted);
                }
                self.stream = Some((ssrc, highest.max(index)));
                index
            }
            _ => {
                self.stream = Some((ssrc, sequence_number.into()));
                sequence_number.into()
            }
        };
        self.rtp.seal_rtp(buffer, header, len, ssrc, index)?;
        insert_mki(self.mki.as_ref(), &self.rtp, buffer, len);
        Ok(protected)
    }

    /// Protects the RTCP packet in the first `len` octets of `buffer`, where there is room for [`rtcp_overhead`](Self::rtcp_overhead) more, and returns
    /// how long it is then.
    ///
    /// # Errors
    /// As [`protect_rtp`](Self::protect_rtp).
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let protected = len + self.rtcp_overhead();
        let buffer = buffer.get_mut(..protected).ok_or(SrtpError::NoRoom)?;
        let ssrc = rtcp_ssrc(&buffer[..len]).ok_or(SrtpError::Malformed)?;
        if self.next_report >= ENCRYPTED {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp
            .seal_rtcp(buffer, RTCP_CLEAR, len, ssrc, self.next_report)?;
        self.next_report += 1;
        insert_mki(self.mki.as_ref(), &self.rtcp, buffer, len + RTCP_INDEX_LEN);
        Ok(protected)
    }

    fn mki_len(&self) -> usize {
        self.mki.as_ref().map_or(0, |mki| mki.as_bytes().len())
    }
}

/// Puts the identifier between what is protected and its tag, which stands there already (RFC 3711 §3.1), but behind everything with
/// AES-GCM, whose tag is part of what is encrypted (RFC 7714 §8.3, §9.2).
fn insert_mki(mki: Option<&Mki>, transform: &Transform, buffer: &mut [u8], tag_at: usize) {
    let Some(mki) = mki.map(Mki::as_bytes) else { return };
    let end = buffer.len() - mki.len();
    let at = if transform.has_separate_tag() {
        buffer.copy_within(tag_at..end, tag_at + mki.len());
        tag_at
    } else {
        end
    };
    buffer[at..at + mki.len()].copy_from_slice(mki);
}

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protector")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
