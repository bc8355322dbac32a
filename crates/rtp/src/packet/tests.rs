use super::*;

const SEQUENCES: [u16; 6] = [0, 1, 127, 32_767, 65_534, 65_535];

/// A packet with the given first two octets, sequence number 65534, timestamp 1, SSRC 0xdeadbeef, and `rest` behind.
fn packet(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    [
        &[first, second, 0xff, 0xfe, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef],
        rest,
    ]
    .concat()
}

#[test]
fn a_plain_packet_is_read_in_place() {
    let bytes = packet(0x80, 0x80, &[1, 2, 3]);
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!(packet.payload_type(), PayloadType::PCMU);
    assert!(packet.marker());
    assert_eq!(packet.sequence_number(), SequenceNumber(65_534));
    assert_eq!(packet.timestamp(), RtpTimestamp(1));
    assert_eq!(packet.ssrc(), Ssrc(0xdead_beef));
    assert_eq!(packet.payload(), [1, 2, 3]);
    assert_eq!(packet.csrcs().len(), 0);
    assert_eq!(packet.extension(), None);
    assert_eq!(packet.extensions().count(), 0);
}

#[test]
fn a_packet_with_everything_is_taken_apart() {
    let csrcs = [0, 0, 0, 5, 0, 0, 0, 6];
    let extension = [0xbe, 0xde, 0, 2, 0x10, 0xaa, 0x00, 0x21, 0xbb, 0xcc, 0, 0];
    let bytes = packet(
        0xb2,
        8,
        &[&csrcs[..], &extension, &[9, 9, 9, 9], &[0, 0, 3]].concat(),
    );
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!(packet.csrcs().collect::<Vec<_>>(), [Ssrc(5), Ssrc(6)]);
    assert_eq!(packet.extension(), Some((0xbede, &extension[4..])));
    let elements: Vec<_> = packet.extensions().collect();
    assert_eq!(elements, [(1, &[0xaa][..]), (2, &[0xbb, 0xcc][..])]);
    assert_eq!(packet.payload(), [9, 9, 9, 9]);
    assert_eq!(packet.payload_type(), PayloadType::PCMA);
}

#[test]
fn header_extensions_end_at_what_does_not_fit() {
    type Row = (u16, &'static [u8], &'static [(u8, &'static [u8])]);
    let rows: [Row; 7] = [
        (0xbede, &[], &[]),
        (0xbede, &[0x12, 1, 2, 3], &[(1, &[1, 2, 3])]),
        (0xbede, &[0x13, 1, 2, 3], &[]),
        (0xbede, &[0xf0, 1, 0x20, 2], &[]),
        (0x1000, &[7, 0, 8, 1], &[(7, &[])]),
        (0x100f, &[7, 2, 1, 2, 0, 0, 9, 0], &[(7, &[1, 2]), (9, &[])]),
        (0x1234, &[1, 2, 3, 4], &[]),
    ];
    for (profile, data, expected) in rows {
        let head = [profile.to_be_bytes(), ((data.len() / 4) as u16).to_be_bytes()].concat();
        let bytes = packet(0x90, 0, &[&head, data].concat());
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(
            packet.extensions().collect::<Vec<_>>(),
            expected,
            "{profile:#06x} {data:?}"
        );
        assert!(packet.payload().is_empty());
    }
}

#[test]
fn malformed_packets_are_refused_with_their_reason() {
    let truncated = |len, needed| RtpError::Truncated { len, needed };
    let rows = [
        ("empty", vec![], truncated(0, 12)),
        ("one octet", vec![0x80], truncated(1, 12)),
        (
            "eleven octets",
            packet(0x80, 0, &[])[..11].to_vec(),
            truncated(11, 12),
        ),
        ("STUN", packet(0x00, 1, &[]), RtpError::Version(0)),
        ("DTLS", packet(0x16, 0xfe, &[]), RtpError::Version(0)),
        ("version 3", packet(0xc0, 0, &[]), RtpError::Version(3)),
        ("sender report", packet(0x80, 200, &[]), RtpError::IsRtcp(200)),
        ("CSRC list cut", packet(0x81, 0, &[0, 0, 0]), truncated(15, 16)),
        (
            "extension head cut",
            packet(0x90, 0, &[0xbe, 0xde, 0]),
            truncated(15, 16),
        ),
        (
            "extension cut",
            packet(0x90, 0, &[0xbe, 0xde, 0xff, 0xff]),
            truncated(16, 16 + 4 * 65_535),
        ),
        (
            "padding of none",
            packet(0xa0, 0, &[0]),
            RtpError::Padding { padding: 0, body: 1 },
        ),
        (
            "padding beyond the body",
            packet(0xa0, 0, &[3, 3]),
            RtpError::Padding { padding: 3, body: 2 },
        ),
        (
            "padding without a body",
            packet(0xa0, 0, &[]),
            RtpError::Padding {
                padding: 0xef,
                body: 0,
            },
        ),
    ];
    for (name, bytes, error) in rows {
        assert_eq!(RtpPacket::parse(&bytes), Err(error), "{name}");
    }
}

#[test]
fn padding_may_fill_the_whole_body() {
    let bytes = packet(0xa0, 0, &[0, 0, 0, 4]);
    assert!(RtpPacket::parse(&bytes).unwrap().payload().is_empty());
}

#[test]
fn rtcp_is_told_from_rtp_on_a_shared_port() {
    let rows: [(&[u8], bool); 8] = [
        (&[0x80, 200], true),
        (&[0x81, 201, 0, 0], true),
        (&[0x80, 192], true),
        (&[0x80, 223], true),
        (&[0x80, 191], false),
        (&[0x80, 224], false),
        (&[0x00, 200], false),
        (&[0x80], false),
    ];
    for (bytes, expected) in rows {
        assert_eq!(is_rtcp(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn a_written_header_stands_on_the_wire_as_rfc_3550_draws_it() {
    for sequence in SEQUENCES {
        let header = RtpHeader {
            marker: true,
            payload_type: PayloadType::from_low_bits(101),
            sequence_number: SequenceNumber(sequence),
            timestamp: RtpTimestamp(0x0102_0304),
            ssrc: Ssrc(0x0506_0708),
        };
        let mut bytes = [0xff; HEADER_LEN];
        header.write(&mut bytes);
        let [high, low] = sequence.to_be_bytes();
        assert_eq!(bytes, [0x80, 0x80 | 101, high, low, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
