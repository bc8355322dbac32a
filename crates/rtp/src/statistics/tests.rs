use super::*;
use crate::ids::{PayloadType, SequenceNumber};
use crate::packet::RtpHeader;

const STARTS: [u16; 6] = [0, 1, 127, 32_767, 65_534, 65_535];
const FRAME_NS: u64 = 20_000_000;

fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> [u8; 16] {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(sequence),
        timestamp: RtpTimestamp(timestamp),
        ssrc: Ssrc(ssrc),
    };
    let (mut head, mut bytes) = ([0; 12], [0; 16]);
    header.write(&mut head);
    bytes[..12].copy_from_slice(&head);
    bytes
}

/// Receives packets by their steps from `start`, one each 20 ms.
fn receive(statistics: &mut ReceptionStatistics, start: u16, steps: &[i32]) -> Vec<Reception> {
    let receive_one = |(n, &step): (usize, &i32)| {
        let bytes = packet(
            1,
            start.wrapping_add(step as u16),
            (step as u32).wrapping_mul(160),
        );
        statistics.received(n as u64 * FRAME_NS, &RtpPacket::parse(&bytes).unwrap())
    };
    steps.iter().enumerate().map(receive_one).collect()
}

#[test]
fn packets_are_told_apart_for_every_start() {
    use Reception::{Duplicate, First, Ignored, InOrder, Reordered};
    let steps = [0, 1, 3, 2, 2, 3, 10, 9, 0, -1, 20_000, 11];
    let expected = [
        First, InOrder, InOrder, Reordered, Duplicate, Duplicate, InOrder, Reordered, Duplicate, Reordered,
        Ignored, InOrder,
    ];
    for start in STARTS {
        let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
        assert_eq!(receive(&mut statistics, start, &steps), expected, "start {start}");
        let totals = statistics.totals();
        // Expected −1 to 11; 4 to 8 never came.
        assert_eq!((totals.received, totals.lost), (8, 5), "start {start}");
        assert_eq!(
            (totals.duplicated, totals.reordered, totals.ignored),
            (3, 3, 1),
            "start {start}"
        );
        assert_eq!((totals.octets, totals.sources), (32, 1));
    }
}

#[test]
fn a_report_covers_the_interval_since_the_last() {
    for start in STARTS {
        let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
        assert_eq!(statistics.report(0), None);
        receive(&mut statistics, start, &[0, 1, 2, 3]);
        let report = statistics.report(0).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 0));
        assert_eq!(report.highest_sequence, u32::from(start) + 3, "start {start}");
        receive(&mut statistics, start, &[4, 6, 8, 10]);
        // Four of seven.
        let report = statistics.report(0).unwrap();
        assert_eq!(
            (report.fraction_lost, report.cumulative_lost),
            ((3 * 256_u32 / 7) as u8, 3)
        );
        // Duplicates count as received and may outnumber the lost (RFC 3550 §6.4.1).
        receive(&mut statistics, start, &[10, 10, 10, 10, 10]);
        let report = statistics.report(0).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }
}

#[test]
fn jitter_follows_the_formula_of_rfc_3550() {
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    let mut jitter = 0.0_f64;
    let mut previous: Option<f64> = None;
    for n in 0..500_u64 {
        let delay_ns = n * n % 15 * 1_000_000;
        let arrival_ns = n * FRAME_NS + delay_ns;
        let bytes = packet(1, n as u16, (n * 160) as u32);
        statistics.received(arrival_ns, &RtpPacket::parse(&bytes).unwrap());
        let transit = delay_ns as f64 * 8000.0 / 1e9;
        if let Some(previous) = previous.replace(transit) {
            jitter += ((transit - previous).abs() - jitter) / 16.0;
        }
        assert!(
            (f64::from(statistics.jitter_units()) - jitter).abs() < 2.0,
            "packet {n}"
        );
    }
    assert!(jitter > 20.0);
    assert_eq!(
        statistics.jitter_ns(),
        u64::from(statistics.jitter_units()) * 125_000
    );
}

#[test]
fn telephone_events_do_not_raise_the_jitter() {
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    receive(&mut statistics, 0, &[0, 1, 2, 3]);
    for n in 4..40_u16 {
        let bytes = packet(1, n, 640);
        assert_eq!(
            statistics.received_untimed(&RtpPacket::parse(&bytes).unwrap()),
            Reception::InOrder
        );
    }
    assert_eq!(statistics.jitter_units(), 0);
    assert_eq!(statistics.totals().received, 40);
}

#[test]
fn the_last_sender_report_is_named_with_its_age() {
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    receive(&mut statistics, 0, &[0, 1]);
    statistics.record_sender_report(1_000_000_000, Ssrc(2), NtpTimestamp(u64::MAX));
    assert_eq!(
        statistics.report(2_000_000_000).unwrap().last_sender_report,
        0,
        "of another source"
    );
    statistics.record_sender_report(1_000_000_000, Ssrc(1), NtpTimestamp(0x1234_5678_9abc_def0));
    let report = statistics.report(2_500_000_000).unwrap();
    assert_eq!(report.last_sender_report, 0x5678_9abc);
    assert_eq!(report.delay_since_last_sender_report, 65_536 * 3 / 2);
}

#[test]
fn totals_go_on_over_sources_and_restarts() {
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    receive(&mut statistics, 100, &[0, 1, 3]);
    for (ssrc, sequence) in [(2, 7), (2, 8), (2, 10), (2, 40_000), (2, 40_001), (2, 40_002)] {
        let bytes = packet(ssrc, sequence, 0);
        statistics.received(0, &RtpPacket::parse(&bytes).unwrap());
    }
    statistics.record_late();
    let totals = statistics.totals();
    assert_eq!(
        (totals.received, totals.lost, totals.ignored),
        (3 + 3 + 2, 1 + 1, 1)
    );
    assert_eq!((totals.sources, totals.late), (3, 1));
    assert_eq!(totals.octets, 8 * 4);
    assert_eq!(statistics.ssrc(), Some(Ssrc(2)));
}

#[test]
fn probation_wants_packets_in_sequence() {
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 2);
    use Reception::{First, Ignored, InOrder};
    let receptions = receive(&mut statistics, 65_530, &[0, 5, 6, 7]);
    assert_eq!(receptions, [Ignored, Ignored, First, InOrder]);
    assert_eq!(statistics.totals().received, 2);
    assert_eq!(statistics.totals().lost, 0);
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 2);
    receive(&mut statistics, 0, &[0]);
    assert_eq!(statistics.report(0), None, "nothing to report while on probation");
}
