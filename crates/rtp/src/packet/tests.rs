use super::*;

fn header(first: u8, second: u8) -> Vec<u8> {
    let mut bytes = vec![first, second, 0xff, 0xfe, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
    bytes.reserve(64);
    bytes
}

#[test]
fn a_plain_packet_is_read_in_place() {
    let mut bytes = header(0x80, 0x80);
    bytes.extend([1, 2, 3]);
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!(packet.payload_type(), PayloadType::PCMU);
    assert!(packet.marker());
    assert_eq!(packet.sequence_number(), SequenceNumber(65534));
    assert_eq!(packet.timestamp(), RtpTimestamp(1));
    assert_eq!(packet.ssrc(), Ssrc(0xdead_beef));
    assert_eq!(packet.payload(), [1, 2, 3]);
    assert_eq!(packet.csrcs().len(), 0);
    assert_eq!(packet.extension(), None);
    assert_eq!(packet.extensions().count(), 0);
}
