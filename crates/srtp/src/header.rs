//! Where the header of a packet ends: it is authenticated and stays readable.

/// Octets of an RTP header without what may follow.
const RTP_FIXED: usize = 12;
/// Octets at the beginning of a compound RTCP packet that stay readable (RFC 3711 §3.4).
pub(crate) const RTCP_CLEAR: usize = 8;

/// Returns the octets of an RTP header with its sources and its extension; `None` when the packet is shorter, or none.
pub(crate) fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let &[first, _, ..] = packet else { return None };
    if first >> 6 != 2 {
        return None;
    }
    let mut len = RTP_FIXED + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    (len <= packet.len()).then_some(len)
}

/// Returns the sequence number of an RTP packet that is longer than its header.
pub(crate) fn sequence_number(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// Returns the synchronisation source of an RTP packet that is longer than its header.
pub(crate) fn rtp_ssrc(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]])
}

/// Returns the source that sends an RTCP packet; `None` when it is too short, or none.
pub(crate) fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let &[first, _, _, _, a, b, c, d, ..] = packet else {
        return None;
    };
    (first >> 6 == 2).then_some(u32::from_be_bytes([a, b, c, d]))
}
