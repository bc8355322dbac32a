//! Whatever arrives: parsers never panic and print what they read; the jitter buffer stays bounded and in order.

use confab_rtp::jitter::{JitterBuffer, MediaPosition, PacketInfo, fuzz_jitter_buffer};
use confab_rtp::packet::fuzz_rtp;
use confab_rtp::rtcp::{NtpTimestamp, ReceivedRtcp, ReportBlock, RtcpWriter, SenderInfo, fuzz_rtcp};
use confab_rtp::telephone_event::fuzz_telephone_event;
use confab_rtp::{
    ClockRate, Content, ExtendedSequenceNumber, PayloadType, RtpHeader, RtpPacket, RtpTimestamp,
    SequenceNumber, Ssrc,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn report_block() -> impl Strategy<Value = ReportBlock> {
    (
        any::<u32>(),
        any::<u8>(),
        -0x80_0000..=0x7f_ffff_i32,
        any::<[u32; 4]>(),
    )
        .prop_map(
            |(ssrc, fraction_lost, cumulative_lost, [highest_sequence, jitter, lsr, dlsr])| ReportBlock {
                ssrc: Ssrc(ssrc),
                fraction_lost,
                cumulative_lost,
                highest_sequence,
                jitter,
                last_sender_report: lsr,
                delay_since_last_sender_report: dlsr,
            },
        )
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        fuzz_rtp(&bytes);
        fuzz_rtcp(&bytes);
    }

    #[test]
    fn near_packets_are_read_or_refused(mut bytes in vec(any::<u8>(), 12..80), packet_type in 192..=223_u8, first in 0x80..=0xbf_u8) {
        bytes[0] = first;
        fuzz_rtp(&bytes);
        bytes[1] = packet_type;
        prop_assert!(RtpPacket::parse(&bytes).is_err());
        let words = (bytes.len() / 4 - 1) as u16;
        bytes[2..4].copy_from_slice(&words.to_be_bytes());
        let len = bytes.len() / 4 * 4;
        fuzz_rtcp(&bytes[..len]);
    }

    #[test]
    fn a_written_header_reads_the_same(marker: bool, payload_type in 0..128_u8, sequence: u16, timestamp: u32, ssrc: u32, payload in vec(any::<u8>(), 0..50)) {
        // 64 to 95 with the marker are RTCP's numbers on a shared port (RFC 5761 §4).
        prop_assume!(!(marker && (64..96).contains(&payload_type)));
        let header = RtpHeader {
            marker,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence_number: SequenceNumber(sequence),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(ssrc),
        };
        let mut head = [0; 12];
        header.write(&mut head);
        let bytes = [&head[..], &payload].concat();
        let packet = RtpPacket::parse(&bytes).unwrap();
        prop_assert_eq!(packet.marker(), header.marker);
        prop_assert_eq!(packet.payload_type(), header.payload_type);
        prop_assert_eq!(packet.sequence_number(), header.sequence_number);
        prop_assert_eq!(packet.timestamp(), header.timestamp);
        prop_assert_eq!(packet.ssrc(), header.ssrc);
        prop_assert_eq!(packet.payload(), &payload[..]);
    }

    #[test]
    fn a_written_compound_reads_the_same(
        ssrc: u32,
        ntp: u64,
        words: [u32; 3],
        blocks in vec(report_block(), 0..=31),
        cname in "[ -~]{0,255}",
        reason in "[ -~]{0,255}",
    ) {
        let info = SenderInfo {
            ntp: NtpTimestamp(ntp),
            rtp_timestamp: RtpTimestamp(words[0]),
            packets: words[1],
            octets: words[2],
        };
        let ssrc = Ssrc(ssrc);
        let ours = blocks.last().map_or(Ssrc(0), |block| block.ssrc);
        let mut buffer = [0xff; 2000];
        let mut writer = RtcpWriter::new(&mut buffer);
        writer.sender_report(ssrc, &info, &blocks).unwrap().cname(ssrc, &cname).unwrap().bye(ssrc, &reason).unwrap();
        let datagram = writer.finish();
        let received = ReceivedRtcp::parse(datagram, ours).unwrap();
        prop_assert_eq!(received.sender, Some(ssrc));
        prop_assert_eq!(received.sender_report, Some((ssrc, info)));
        prop_assert_eq!(received.report, blocks.iter().rfind(|block| block.ssrc == ours).copied());
        prop_assert_eq!(usize::from(received.report_blocks), blocks.len());
        prop_assert_eq!(received.cname, Some((ssrc, cname.as_bytes())));
        prop_assert_eq!(received.byes(), &[ssrc]);
        // Cut anywhere but between two packets it is refused.
        for len in 0..datagram.len() {
            let whole = [28 + 24 * blocks.len(), 28 + 24 * blocks.len() + (11 + cname.len()).next_multiple_of(4)];
            prop_assert_eq!(ReceivedRtcp::parse(&datagram[..len], ours).is_ok(), whole.contains(&len), "cut at {}", len);
        }
    }

    #[test]
    fn storage_stays_bounded_and_in_order(slots in 2..=64_usize, operations in vec((any::<bool>(), 0..120_u64), 0..400)) {
        let mut buffer = JitterBuffer::new(slots, 8);
        let (mut last, mut next) = (None, 1000_u64);
        for (pop, offset) in operations {
            if pop {
                if let Some((info, payload)) = buffer.pop_front() {
                    prop_assert!(last.is_none_or(|last| info.sequence > last));
                    prop_assert_eq!(payload, &info.sequence.0.to_be_bytes()[..]);
                    last = Some(info.sequence);
                }
            } else {
                next += 1;
                let sequence = ExtendedSequenceNumber(next + offset - 60);
                let info = PacketInfo {
                    sequence,
                    position: MediaPosition(0),
                    content: Content::NoAudio,
                    payload_type: PayloadType::PCMU,
                    marker: false,
                    timestamp: RtpTimestamp(0),
                };
                let before = buffer.len();
                let fits = buffer.check(sequence, 8);
                prop_assert_eq!(buffer.insert(info, &sequence.0.to_be_bytes()), fits);
                prop_assert_eq!(buffer.len(), before + usize::from(fits.is_ok()));
                prop_assert!(fits.is_err() || last.is_none_or(|last| sequence > last));
            }
            prop_assert!(buffer.len() <= buffer.slots());
        }
    }

    #[test]
    fn any_operations_leave_playout_sound(data in vec(any::<u8>(), 0..600)) {
        fuzz_jitter_buffer(&data);
    }

    #[test]
    fn any_telephone_events_leave_the_receiver_sound(data in vec(any::<u8>(), 0..400)) {
        fuzz_telephone_event(&data);
    }

    #[test]
    fn clock_conversions_round_down_and_agree(hz in 1_000..=384_000_u32, units in 0..1_u64 << 40) {
        let clock = ClockRate::new(hz).unwrap();
        let ns = clock.nanoseconds(units);
        prop_assert_eq!(u128::from(ns), u128::from(units) * 1_000_000_000 / u128::from(hz));
        prop_assert!(units - clock.units(ns) <= 1);
    }
}
