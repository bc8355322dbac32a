//! Owns the test side's own view of an RTP packet (RFC 3550 §5.1).

/// A parsed RTP packet; borrows the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpView<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in clock units of the payload type.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload without padding.
    pub payload: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Reads a datagram; `None` when it is no RTP version 2 packet or a length does not fit.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (fixed, _) = datagram.split_first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut start = 12 + 4 * usize::from(fixed[0] & 0x0F);
        if fixed[0] & 0x10 != 0 {
            let words = datagram.get(start + 2..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        let mut payload = datagram.get(start..)?;
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload,
        })
    }

    /// Writes the packet with a plain 12-byte header into `out`, replacing its content.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0x80, (u8::from(self.marker) << 7) | (self.payload_type & 0x7F)]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_packet_reads_back_the_same() {
        let packet = RtpView {
            marker: true,
            payload_type: 101,
            sequence: 65_535,
            timestamp: 7,
            ssrc: 9,
            payload: &[1, 2],
        };
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        assert_eq!(RtpView::parse(&bytes), Some(packet));
    }

    #[test]
    fn contributors_extension_and_padding_are_stepped_over() {
        let mut bytes = vec![0xB1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9];
        bytes.extend_from_slice(&[0xBE, 0xDE, 0, 1, 1, 2, 3, 4]);
        bytes.extend_from_slice(&[42, 43, 0, 0, 3]);
        assert_eq!(
            RtpView::parse(&bytes).map(|packet| packet.payload),
            Some(&[42, 43][..])
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let whole = [0x80u8, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        assert!(RtpView::parse(&whole).is_some());
        let rows: [&[u8]; 5] = [
            &[],
            &whole[..11],
            &[0x40, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
            &[0x8F, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
            &[0xA0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 200],
        ];
        for row in rows {
            assert_eq!(RtpView::parse(row), None, "{row:?}");
        }
    }
}
