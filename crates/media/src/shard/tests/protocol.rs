//! RTP, RTCP and telephone-events at the leg: sources, rejected packets, reports, digits, statistics.

use std::net::SocketAddr;
use std::time::Duration;

use confab_rtp::Ssrc;
use confab_rtp::rtcp::{
    DelaySinceReference, ExtendedReport, NtpTimestamp, ReceivedRtcp, ReceiverConfig, ReportBlock, RtcpWriter,
    VoipMetrics,
};

use super::world::{MS, World, media, rtp, steady};
use crate::config::{ExtendedReports, MediaDirection};
use crate::event::{LegId, MediaEvent};
use crate::io::Channel;
use crate::metrics::DropReason;
use crate::shard::command::Command;

#[test]
fn what_is_no_media_of_the_leg_is_dropped_and_counted() {
    let mut world = World::new();
    let mut phones = world.legs(1);
    world.room(&phones, 0);
    world.speak(&mut phones[0], &steady(8));
    world.turns(4);
    let phone = phones[0];
    let stranger: SocketAddr = "203.0.113.9:4000".parse().unwrap();
    let packet = |payload_type, payload: &[u8]| {
        let mut phone = phone;
        let mut bytes = vec![0; 12 + payload.len()];
        rtp(&mut phone, payload_type, false, payload, &mut bytes);
        bytes
    };
    let rows: [(SocketAddr, Vec<u8>, DropReason); 5] = [
        (phone.address, vec![], DropReason::Malformed),
        (phone.address, vec![1; 40], DropReason::Malformed),
        (stranger, packet(0, &steady(8)), DropReason::Source),
        (phone.address, packet(34, &steady(8)), DropReason::PayloadType),
        (phone.address, packet(0, &[]), DropReason::Malformed),
    ];
    for (from, bytes, reason) in rows {
        let before = world.dropped(reason);
        world.deliver(&phone, Channel::Rtp, from, &bytes, 0);
        world.turns(4);
        assert_eq!(world.dropped(reason), before + 1, "{reason:?}");
    }
    let before = world.dropped(DropReason::Duplicate);
    let mut again = phone;
    again.sequence = again.sequence.wrapping_sub(1);
    world.speak(&mut again, &steady(8));
    world.turns(4);
    assert_eq!(world.dropped(DropReason::Duplicate), before + 1);
    for (bytes, reason) in [
        (&[0x80, 200, 0, 9][..], DropReason::MalformedRtcp),
        (&[], DropReason::MalformedRtcp),
    ] {
        let before = world.dropped(reason);
        world.deliver(&phone, Channel::Rtcp, phone.address, bytes, 0);
        world.turns(50);
        assert_eq!(world.dropped(reason), before + 1);
    }
    let leg = world.take(&phone, false).unwrap();
    assert_eq!(leg.stats.read().packets_rejected, 8);
}

#[test]
fn a_peer_behind_nat_is_latched_to_and_sent_to() {
    let mut world = World::new();
    let mut natted = media(0);
    natted.remote = "192.168.1.7:4000".parse().unwrap();
    natted.signalling_ip = "198.51.100.7".parse().unwrap();
    let mut phone = world.leg(&natted);
    world.room(&[phone], 0);
    world.turns(20);
    assert!(
        world.audio(&phone).is_empty(),
        "nothing goes to a private address that is not the peer's"
    );
    assert!(world.dropped(DropReason::SendForbidden) > 0);
    phone.address = "198.51.100.7:61000".parse().unwrap();
    for _ in 0..4 {
        world.speak(&mut phone, &steady(8));
        world.turns(4);
    }
    let latched = MediaEvent::Latched {
        leg: LegId(0),
        remote: phone.address,
    };
    assert!(world.events().contains(&latched));
    assert_eq!(
        world.heard(&phone, Channel::Rtp).map(|packet| packet.peer),
        Some(phone.address)
    );
}

#[test]
fn digits_are_told_once() {
    let mut world = World::new();
    let mut phone = world.leg(&media(0));
    world.room(&[phone], 20);
    let start = phone.timestamp;
    for (flags, duration) in [(10u8, 160u16), (10, 320), (0x8a, 480), (0x8a, 480), (0x8a, 480)] {
        let [high, low] = duration.to_be_bytes();
        let mut bytes = [0; 16];
        phone.timestamp = start;
        rtp(&mut phone, 101, false, &[5, flags, high, low], &mut bytes);
        world.deliver(&phone, Channel::Rtp, phone.address, &bytes, 0);
        world.turns(4);
    }
    let digit = MediaEvent::Dtmf {
        leg: LegId(0),
        digit: '5',
        duration_ms: 60,
    };
    assert_eq!(world.events(), [digit]);
}

#[test]
fn reports_are_sent_every_five_seconds_or_so_and_a_bye_at_the_end() {
    let mut world = World::new();
    let mut phone = world.leg(&media(0));
    world.room(&[phone], 20);
    let mut reports = Vec::new();
    for tick in 0..60 * 50 {
        if tick % 10 != 9 {
            world.speak(&mut phone, &steady(0)); // one in ten is lost
        } else {
            phone.sequence = phone.sequence.wrapping_add(1);
            phone.timestamp = phone.timestamp.wrapping_add(160);
        }
        world.turns(4);
        world.audio(&phone);
        if let Some(packet) = world.heard(&phone, Channel::Rtcp) {
            assert_eq!(packet.peer.port(), 4001);
            let report = ReceivedRtcp::parse(packet.bytes(), Ssrc(phone.ssrc)).unwrap();
            let (_, info) = report.sender_report.unwrap();
            let block = report.report.unwrap();
            assert_eq!(report.cname.map(|(_, name)| name.len()), Some(24));
            reports.push((tick, info.packets, block.fraction_lost));
        }
    }
    assert!((9..=30).contains(&reports.len()), "{reports:?}");
    for window in reports.windows(2) {
        let seconds = (window[1].0 - window[0].0) as f64 / 50.0;
        assert!((2.0..6.6).contains(&seconds), "{seconds} s");
        let lost = f64::from(window[1].2) / 256.0;
        assert!((0.07..0.13).contains(&lost), "{lost}");
    }
    let stats = world.take(&phone, true).unwrap().stats.read();
    assert!((290..=300).contains(&stats.packets_lost), "{stats:?}");
    assert_eq!(stats.packets_received, 2700);
    assert!(stats.concealed_ms > 5000, "{stats:?}");
    let bye = world.heard(&phone, Channel::Rtcp).unwrap();
    assert_eq!(
        ReceivedRtcp::parse(bye.bytes(), Ssrc(0)).unwrap().byes(),
        [Ssrc(0x1000)]
    );
}

#[test]
fn the_peers_reports_give_round_trip_and_loss() {
    let mut world = World::new();
    let phone = world.leg(&media(0));
    world.room(&[phone], 20);
    let ours = loop {
        world.turn();
        if let Some(packet) = world.heard(&phone, Channel::Rtcp) {
            break ReceivedRtcp::parse(packet.bytes(), Ssrc(0))
                .unwrap()
                .sender_report
                .unwrap();
        }
    };
    world.turns(20); // 100 ms, of which the peer says it kept the report for 60 ms
    let block = ReportBlock {
        ssrc: ours.0,
        fraction_lost: 64,
        cumulative_lost: 9,
        highest_sequence: 1,
        jitter: 3,
        last_sender_report: ours.1.ntp.middle(),
        delay_since_last_sender_report: 65_536 * 60 / 1000,
    };
    let mut buffer = [0; 64];
    let mut writer = RtcpWriter::new(&mut buffer);
    writer.receiver_report(Ssrc(phone.ssrc), &[block]).unwrap();
    let from = SocketAddr::new(phone.address.ip(), 4001);
    world.deliver(&phone, Channel::Rtcp, from, writer.finish(), 0);
    world.turns(50);
    let stats = world.take(&phone, false).unwrap().stats.read();
    assert_eq!(stats.remote_fraction_lost, 64);
    let round_trip = stats.round_trip.unwrap();
    assert!(
        round_trip.abs_diff(Duration::from_millis(40)) < Duration::from_millis(2),
        "{round_trip:?}"
    );
}

#[test]
fn reports_share_the_port_when_multiplexed() {
    let mut world = World::new();
    let mut muxed = media(0);
    muxed.rtcp_mux = true;
    let phone = world.leg(&muxed);
    world.room(&[phone], 20);
    let mut rtcp = 0;
    for _ in 0..7 * 200 {
        world.turn();
        assert!(world.heard(&phone, Channel::Rtcp).is_none());
        while let Some(packet) = world.heard(&phone, Channel::Rtp) {
            rtcp += usize::from(confab_rtp::is_rtcp(packet.bytes()));
        }
    }
    assert!(rtcp >= 1);
    let mut buffer = [0; 64];
    let mut writer = RtcpWriter::new(&mut buffer);
    writer.receiver_report(Ssrc(phone.ssrc), &[]).unwrap();
    world.deliver(&phone, Channel::Rtp, phone.address, writer.finish(), 0);
    world.turns(4);
    assert_eq!(world.metrics().dropped.iter().sum::<u64>(), 0);
}

#[test]
fn datagrams_for_places_without_a_leg_are_left_alone() {
    let mut world = World::new();
    let mut phone = world.leg(&media(0));
    world.speak(&mut phone, &steady(8));
    world.turns(4);
    let stale = phone;
    world.take(&phone, false);
    world.speak(&mut phone, &steady(8));
    world.turns(4);
    world.command(Command::SetMuted {
        leg: stale.leg,
        muted: true,
    });
    world.command(Command::Leave { leg: stale.leg });
    world.turn();
    assert_eq!(world.metrics().packets_in, 1);
    assert_eq!(world.metrics().arrivals_unstamped, 0);
    assert!(world.now_ns() > 1000 * MS);
}

#[test]
fn extended_reports_are_sent_where_they_were_negotiated_and_read() {
    for (voip_metrics, receiver_round_trip) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = World::new();
        let mut media = media(0);
        // Nothing is sent to this peer, so there is no sender report whose echo would tell the round trip.
        media.direction = MediaDirection::RecvOnly;
        media.extended_reports = ExtendedReports {
            voip_metrics,
            receiver_round_trip,
        };
        let mut phone = world.leg(&media);
        world.room(&[phone], 20);
        let ours = Ssrc(0x1000);
        let from = SocketAddr::new(phone.address.ip(), 4001);
        let asked = NtpTimestamp(0x1234_5678_9abc_0000);
        let mut reports = 0;
        let mut pending = None;
        for tick in 0..1000 {
            if tick % 25 != 24 {
                world.speak(&mut phone, &steady(0)); // one in 25 is lost
            } else {
                phone.sequence = phone.sequence.wrapping_add(1);
                phone.timestamp = phone.timestamp.wrapping_add(160);
            }
            world.turns(4);
            if let Some((_, extended)) = pending.take_if(|(due, _)| *due <= tick) {
                let mut buffer = [0; 128];
                let mut writer = RtcpWriter::new(&mut buffer);
                writer.receiver_report(Ssrc(phone.ssrc), &[]).unwrap();
                writer.extended_report(Ssrc(phone.ssrc), &extended).unwrap();
                world.deliver(&phone, Channel::Rtcp, from, writer.finish(), 0);
            }
            let Some(packet) = world.heard(&phone, Channel::Rtcp) else {
                continue;
            };
            reports += 1;
            let report = ReceivedRtcp::parse(packet.bytes(), Ssrc(phone.ssrc))
                .unwrap()
                .extended;
            assert_eq!(report.reference_time.is_some(), receiver_round_trip);
            assert_eq!(report.voip_metrics.is_some(), voip_metrics);
            if let Some(metrics) = report.voip_metrics.filter(|_| reports > 1) {
                assert!((5..=20).contains(&metrics.loss_rate), "{metrics:?}");
                assert!(
                    metrics.r_factor.is_some_and(|r| (60..93).contains(&r)),
                    "{metrics:?}"
                );
                assert_eq!(metrics.round_trip_ms > 0, receiver_round_trip, "{metrics:?}");
            }
            if let Some(answer) = report.delay_since_reference {
                // He asked at the end of the round before.
                assert_eq!(answer.last_reference, asked.middle());
                assert!(answer.delay > 65_536, "{answer:?}");
            }
            assert_eq!(
                report.delay_since_reference.is_some(),
                receiver_round_trip && reports > 1
            );
            // 100 ms later the peer, who sends no report blocks, says that he kept the reference for 60 ms.
            let answer = report.reference_time.map(|reference| DelaySinceReference {
                ssrc: ours,
                last_reference: reference.middle(),
                delay: 65_536 * 60 / 1000,
            });
            let metrics = VoipMetrics {
                ssrc: ours,
                r_factor: Some(81),
                mos_cq_tenths: Some(39),
                ..metrics_of_nothing()
            };
            let extended = ExtendedReport {
                reference_time: Some(asked),
                delay_since_reference: answer,
                voip_metrics: Some(metrics),
            };
            pending = Some((tick + 5, extended));
        }
        assert!(reports >= 3, "{reports}");
        let stats = world.stats(&phone);
        assert_eq!(
            (stats.remote_r_factor, stats.remote_mos_tenths),
            (Some(81), Some(39))
        );
        assert!(
            stats.mos_hundredths.is_some_and(|mos| (300..440).contains(&mos)),
            "{stats:?}"
        );
        let round_trip = stats.round_trip.unwrap_or_default();
        let expected = if receiver_round_trip { 40 } else { 0 };
        assert!(
            round_trip.abs_diff(Duration::from_millis(expected)) < Duration::from_millis(7),
            "{round_trip:?}"
        );
        assert_eq!(world.metrics().dropped.iter().sum::<u64>(), 0);
    }
}

fn metrics_of_nothing() -> VoipMetrics {
    VoipMetrics {
        ssrc: Ssrc(0),
        loss_rate: 0,
        discard_rate: 0,
        burst_density: 0,
        gap_density: 0,
        burst_ms: 0,
        gap_ms: 0,
        round_trip_ms: 0,
        end_system_delay_ms: 0,
        signal_dbm: None,
        noise_dbm: None,
        echo_return_loss_db: None,
        gmin: 16,
        r_factor: None,
        external_r_factor: None,
        mos_lq_tenths: None,
        mos_cq_tenths: None,
        config: ReceiverConfig::default(),
        buffer_nominal_ms: 0,
        buffer_max_ms: 0,
        buffer_absolute_max_ms: 0,
    }
}
