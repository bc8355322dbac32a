//! Arbitrary bytes as an RTP packet. Called by the fuzz target `rtp` and by the property tests.

use super::{HEADER_LEN, RtpHeader, RtpPacket, is_rtcp};

/// Reads everything a packet has, and writes its fixed header again.
///
/// # Panics
/// When parts overlap or leave the datagram, or when the header does not print as it was read.
pub fn fuzz_rtp(data: &[u8]) {
    let Ok(packet) = RtpPacket::parse(data) else {
        return;
    };
    assert!(!is_rtcp(data), "both RTP and RTCP");
    let extension = packet.extension().map_or(0, |(_, data)| data.len() + 4);
    let parts = HEADER_LEN + packet.csrcs().len() * 4 + extension + packet.payload().len();
    assert!(
        parts <= data.len(),
        "parts of {parts} octets in a datagram of {}",
        data.len()
    );
    let elements: usize = packet.extensions().map(|(_, value)| value.len() + 1).sum();
    assert!(elements <= extension, "extension elements beyond the extension");
    let header = RtpHeader {
        marker: packet.marker(),
        payload_type: packet.payload_type(),
        sequence_number: packet.sequence_number(),
        timestamp: packet.timestamp(),
        ssrc: packet.ssrc(),
    };
    let mut written = [0; HEADER_LEN];
    header.write(&mut written);
    assert_eq!(written[1..], data[1..HEADER_LEN], "the header changed");
}
