use std::time::Duration;

use super::*;

const OURS: Ssrc = Ssrc(0x0a0b_0c0d);

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(ssrc),
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 70_000,
        jitter: 55,
        last_sender_report: 0x1111_2222,
        delay_since_last_sender_report: 65_536,
    }
}

fn compound(write: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0xee; 1500];
    let mut writer = RtcpWriter::new(&mut buffer);
    write(&mut writer);
    writer.finish().to_vec()
}

#[test]
fn another_implementation_reads_what_is_written() {
    let info = SenderInfo {
        ntp: NtpTimestamp(u64::MAX),
        rtp_timestamp: RtpTimestamp(7),
        packets: 8,
        octets: 9,
    };
    let bytes = compound(|writer| {
        writer.sender_report(OURS, &info, &[block(1), block(2)]).unwrap();
        writer
            .cname(OURS, "abc")
            .unwrap()
            .bye(OURS, "over and out")
            .unwrap();
    });
    let packets: Vec<_> = rtcp_types::Compound::parse(&bytes)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let [
        rtcp_types::Packet::Sr(report),
        rtcp_types::Packet::Sdes(sdes),
        rtcp_types::Packet::Bye(bye),
    ] = &packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(
        (report.ssrc(), report.n_reports(), report.octet_count()),
        (OURS.0, 2, 9)
    );
    let read = report.report_blocks().next().unwrap();
    assert_eq!((read.fraction_lost(), read.cumulative_lost()), (12, 0xff_fffd));
    let chunk = sdes.chunks().next().unwrap();
    assert_eq!(chunk.items().next().unwrap().value(), b"abc");
    assert_eq!(bye.reason(), Some(&b"over and out"[..]));
}

#[test]
fn the_block_about_us_is_found_among_many() {
    let blocks: Vec<_> = (0..31).map(|n| block(if n == 30 { OURS.0 } else { n })).collect();
    let bytes = compound(|writer| {
        writer.receiver_report(Ssrc(5), &blocks).unwrap();
    });
    let received = ReceivedRtcp::parse(&bytes, OURS).unwrap();
    assert_eq!(received.report, Some(block(OURS.0)));
    assert_eq!((received.sender, received.report_blocks), (Some(Ssrc(5)), 31));
    assert_eq!(ReceivedRtcp::parse(&bytes, Ssrc(99)).unwrap().report, None);
}

#[test]
fn malformed_datagrams_are_refused_with_their_place() {
    let report = compound(|writer| {
        writer.receiver_report(Ssrc(5), &[block(1)]).unwrap();
    });
    let rows: [(&str, Vec<u8>, RtcpError); 11] = [
        ("empty", vec![], RtcpError::Truncated { offset: 0 }),
        (
            "three octets",
            vec![0x80, 201, 0],
            RtcpError::Truncated { offset: 0 },
        ),
        (
            "version 1",
            vec![0x40, 201, 0, 1, 0, 0, 0, 1],
            RtcpError::Version {
                offset: 0,
                version: 1,
            },
        ),
        ("RTP", vec![0x80, 0, 0, 1, 0, 0, 0, 1], RtcpError::NotRtcp(0)),
        ("cut", report[..28].to_vec(), RtcpError::Truncated { offset: 0 }),
        (
            "tail",
            [&report[..], &[0x80]].concat(),
            RtcpError::Truncated { offset: 32 },
        ),
        (
            "count beyond length",
            {
                let mut bytes = report.clone();
                bytes[0] = 0x82;
                bytes
            },
            RtcpError::Malformed {
                offset: 0,
                packet_type: 201,
            },
        ),
        (
            "padding of none",
            {
                let mut bytes = report.clone();
                bytes[0] |= 0x20;
                bytes[31] = 0;
                bytes
            },
            RtcpError::Padding { offset: 0 },
        ),
        (
            "padding beyond the packet",
            vec![0xa0, 203, 0, 1, 0, 0, 0, 8],
            RtcpError::Padding { offset: 0 },
        ),
        (
            "SDES item beyond the packet",
            vec![0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, 65, 0],
            RtcpError::Malformed {
                offset: 0,
                packet_type: 202,
            },
        ),
        (
            "SDES without an end",
            vec![0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, 65, 65],
            RtcpError::Malformed {
                offset: 0,
                packet_type: 202,
            },
        ),
    ];
    for (name, bytes, error) in rows {
        assert_eq!(ReceivedRtcp::parse(&bytes, OURS), Err(error), "{name}");
    }
}

#[test]
fn unusual_but_valid_compounds_are_read() {
    // Empty SDES and BYE, feedback alone (RFC 5506), padding on the last packet, more BYE sources than are kept.
    let empty = [0x80, 202, 0, 0, 0x80, 203, 0, 0];
    let received = ReceivedRtcp::parse(&empty, OURS).unwrap();
    assert_eq!(
        (received.sender, received.cname, received.byes().len()),
        (None, None, 0)
    );
    let feedback = [0x81, 205, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8];
    let received = ReceivedRtcp::parse(&feedback, OURS).unwrap();
    assert_eq!((received.sender, received.other_packets), (Some(Ssrc(7)), 1));
    let padded = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
    assert_eq!(ReceivedRtcp::parse(&padded, OURS).unwrap().sender, Some(Ssrc(7)));
    let mut byes = vec![0x80 | 31, 203, 0, 31];
    byes.extend((0..31_u32).flat_map(u32::to_be_bytes));
    let received = ReceivedRtcp::parse(&byes, OURS).unwrap();
    assert_eq!(received.byes().len(), MAX_BYES);
    assert_eq!(received.byes()[7], Ssrc(7));
}

#[test]
fn two_chunks_give_the_first_cname() {
    let chunks = [
        0x82, 202, 0, 7, 0, 0, 0, 1, 2, 1, 65, 1, 1, 66, 0, 0, 0, 0, 0, 2, 1, 2, 67, 67, 0, 0, 0, 0, 0, 0, 0,
        0,
    ];
    // The first chunk has NAME "A" and CNAME "B"; the second is a whole chunk after its padding.
    let received = ReceivedRtcp::parse(&chunks, OURS).unwrap();
    assert_eq!(received.cname, Some((Ssrc(1), &b"B"[..])));
    assert_eq!(received.sender, Some(Ssrc(1)));
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mut buffer = [0; 40];
    let mut writer = RtcpWriter::new(&mut buffer);
    writer.receiver_report(OURS, &[block(1)]).unwrap();
    let needed = WriteError::BufferTooSmall {
        capacity: 40,
        needed: 52,
    };
    assert_eq!(writer.cname(OURS, "123456789").unwrap_err(), needed);
    writer.bye(OURS, "").unwrap();
    assert_eq!(
        writer.bye(OURS, "").unwrap_err(),
        WriteError::BufferTooSmall {
            capacity: 40,
            needed: 48
        }
    );
    let datagram = writer.finish();
    assert_eq!(datagram.len(), 40);
    assert_eq!(ReceivedRtcp::parse(datagram, OURS).unwrap().byes(), [OURS]);
    let mut buffer = [0; 1500];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert_eq!(
        writer.receiver_report(OURS, &[block(1); 32]).unwrap_err(),
        WriteError::TooMany(32)
    );
    assert_eq!(
        writer.cname(OURS, &"x".repeat(256)).unwrap_err(),
        WriteError::TooMany(256)
    );
    assert!(writer.finish().is_empty());
}

#[test]
fn round_trip_time_is_arrival_less_report_less_delay() {
    // The example of RFC 3550 figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 5.25 s, round trip 6.125 s.
    let block = ReportBlock {
        last_sender_report: 0xb705_2000,
        delay_since_last_sender_report: 0x0005_4000,
        ..block(1)
    };
    let arrival = NtpTimestamp(0xb44d_b710_8000_0000);
    assert_eq!(block.round_trip(arrival), Some(Duration::from_millis(6125)));
    let rows = [(0, 0), (0xb710_8000, 1), (0xb710_8001, 0), (1, 0)];
    for (last_sender_report, delay_since_last_sender_report) in rows {
        let block = ReportBlock {
            last_sender_report,
            delay_since_last_sender_report,
            ..block
        };
        assert_eq!(block.round_trip(arrival), None, "{last_sender_report:#x}");
    }
}

#[test]
fn wall_time_becomes_ntp_time() {
    assert_eq!(NtpTimestamp::from_unix(Duration::ZERO).0 >> 32, 2_208_988_800);
    assert_eq!(
        NtpTimestamp::from_unix(Duration::from_millis(500)).0 as u32,
        1 << 31
    );
    assert_eq!(
        NtpTimestamp::from_unix(Duration::from_millis(500)).middle(),
        0x7e80_8000
    );
}

#[test]
fn reports_are_spread_around_five_seconds() {
    assert_eq!(report_interval_ns(false, 0) / 1_000_000, 2052);
    assert_eq!(report_interval_ns(false, u32::MAX) / 1_000_000, 6156);
    assert_eq!(report_interval_ns(true, 1 << 31) / 1_000_000, 2052);
}

fn metrics(ssrc: Ssrc) -> VoipMetrics {
    VoipMetrics {
        ssrc,
        loss_rate: 1,
        discard_rate: 2,
        burst_density: 3,
        gap_density: 4,
        burst_ms: 0x0506,
        gap_ms: 0x0708,
        round_trip_ms: 0x090a,
        end_system_delay_ms: 0x0b0c,
        signal_dbm: Some(-20),
        noise_dbm: None,
        echo_return_loss_db: None,
        gmin: 16,
        r_factor: Some(93),
        external_r_factor: None,
        mos_lq_tenths: Some(44),
        mos_cq_tenths: Some(41),
        config: ReceiverConfig::ADAPTIVE_WITH_CONCEALMENT,
        buffer_nominal_ms: 40,
        buffer_max_ms: 200,
        buffer_absolute_max_ms: 200,
    }
}

#[test]
fn voip_metrics_stand_where_rfc_3611_puts_them() {
    let report = ExtendedReport {
        voip_metrics: Some(metrics(Ssrc(0x0102_0304))),
        ..ExtendedReport::default()
    };
    let bytes = compound(|writer| {
        writer.extended_report(OURS, &report).unwrap();
    });
    let expected = [
        0x80, 207, 0, 10, 0x0a, 0x0b, 0x0c, 0x0d, // header, length in words less one, who reports
        7, 0, 0, 8, 1, 2, 3, 4, // block type, reserved, length, about whom
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, //
        0xec, 127, 127, 16, 93, 127, 44, 41, 0xf1, 0, 0, 40, 0, 200, 0, 200,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn extended_reports_are_read_as_written_and_by_another_implementation() {
    let report = ExtendedReport {
        reference_time: Some(NtpTimestamp(0x1122_3344_5566_7788)),
        delay_since_reference: Some(DelaySinceReference {
            ssrc: OURS,
            last_reference: 77,
            delay: 88,
        }),
        voip_metrics: Some(metrics(OURS)),
    };
    let bytes = compound(|writer| {
        writer
            .receiver_report(Ssrc(1), &[])
            .unwrap()
            .extended_report(Ssrc(1), &report)
            .unwrap()
            .extended_report(Ssrc(1), &ExtendedReport::default())
            .unwrap();
    });
    let received = ReceivedRtcp::parse(&bytes, OURS).unwrap();
    assert_eq!(received.extended, report);
    assert_eq!(received.other_packets, 0);
    let others = ReceivedRtcp::parse(&bytes, Ssrc(9)).unwrap().extended;
    assert_eq!(
        others,
        ExtendedReport {
            reference_time: report.reference_time,
            ..ExtendedReport::default()
        },
        "what is about somebody else is not kept"
    );
    let xr = <rtcp_types::Xr<'_> as rtcp_types::RtcpPacketParser<'_>>::parse(&bytes[8..]).unwrap();
    assert_eq!(xr.block_iter().count(), 3);
}

#[test]
fn odd_extended_reports_do_not_hide_what_is_sound() {
    // A block of an unknown type, a metrics block that is too short, a sound answer, a block that is cut off.
    let packet = [
        0x80, 207, 0, 9, 0, 0, 0, 1, //
        99, 0, 0, 1, 1, 2, 3, 4, //
        7, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d, //
        5, 0, 0, 3, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 7,
    ];
    let mut packet = packet.to_vec();
    packet.extend([0, 0, 0, 8]);
    let received = ReceivedRtcp::parse(&packet, OURS).unwrap();
    let answer = received.extended.delay_since_reference.unwrap();
    assert_eq!((answer.last_reference, answer.delay), (7, 8));
    packet.extend([7, 0, 0, 200]);
    packet[3] = 10;
    let received = ReceivedRtcp::parse(&packet, OURS).unwrap();
    assert!(received.extended.delay_since_reference.is_some());
    assert_eq!(received.sender, Some(Ssrc(1)));
    let empty = [0x80, 207, 0, 0];
    assert!(ReceivedRtcp::parse(&empty, OURS).is_err(), "no sender");
}

#[test]
fn a_receiver_measures_the_round_trip_by_its_reference_time() {
    let reference = NtpTimestamp(500 << 32);
    let answer = DelaySinceReference::new(OURS, reference, 1_000_000_000, 1_250_000_000);
    assert_eq!(answer.delay, 65_536 / 4);
    let arrival = NtpTimestamp((500 << 32) + (1 << 32) / 2);
    assert_eq!(answer.round_trip(arrival), Some(Duration::from_millis(250)));
    let never = DelaySinceReference {
        last_reference: 0,
        ..answer
    };
    assert_eq!(never.round_trip(arrival), None);
}
