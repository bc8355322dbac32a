//! Nothing on the path of a packet allocates: a counting allocator watches a minute of call, with loss, reordering, a change of
//! source, comfort noise, telephone-events and RTCP.
mod listener;

use std::net::SocketAddr;

use confab_rtp::rtcp::{ExtendedReport, ReceivedRtcp, RtcpWriter};
use confab_rtp::{
    ClockRate, CodecImpairment, Content, DtmfDigit, DtmfMerger, DtmfSource, IpNet, Latch, PayloadType,
    Playout, PlayoutConfig, Pull, QualityMeter, ReceptionStatistics, RtpPacket, RtpTimestamp, SourceGuard,
    SourceRules, SpeechAdjust, Ssrc, TelephoneEventReceiver, TelephoneEventSender, Tick, Verdict,
};
use confab_testkit::allocation::{CountingAllocator, calls};
use listener::{MS, Speaker};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_minute_of_call_allocates_nothing() {
    let mut speaker = Speaker::new(64_000, u32::MAX - 10_000);
    let mut packets = Vec::new();
    for n in 0..3000_u64 {
        if n == 1500 {
            speaker.ssrc = Ssrc(2);
        }
        let packet = match n % 100 {
            50 => (speaker.other_packet(), Content::ComfortNoise),
            70..75 => (speaker.other_packet(), Content::NoAudio),
            _ => (speaker.packet(160), Content::Audio { samples: 160 }),
        };
        if n % 17 != 3 {
            packets.push((n * 20 * MS + n * 7919 % 35 * MS, packet));
        }
    }
    packets.sort_by_key(|(arrival_ns, _)| *arrival_ns);

    let from: SocketAddr = "203.0.113.9:4000".parse().unwrap();
    let rules = SourceRules {
        remote: from,
        remote_rtcp: from,
        signalling_ip: from.ip(),
        trusted_ips: vec![from.ip()],
        payload_types: [PayloadType::PCMU].into_iter().collect(),
        latch: Latch::Signalling,
        local_nets: vec!["10.0.0.0/8".parse::<IpNet>().unwrap()],
    };
    let mut guard = SourceGuard::new(0, rules);
    let mut playout = Playout::new(PlayoutConfig::new(ClockRate::HZ_8000));
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    let mut digits = TelephoneEventReceiver::new(ClockRate::HZ_8000);
    let mut quality = QualityMeter::new(CodecImpairment::G711);
    let mut dialling = TelephoneEventSender::new(ClockRate::HZ_8000);
    let mut merger = DtmfMerger::new();
    let mut rtcp = [0; 256];
    playout.set_fec(true);

    let before = calls();
    let (mut next_tick_ns, mut frames, mut waiting) = (0, 0_u64, 0_u32);
    for (arrival_ns, (bytes, content)) in &packets {
        while next_tick_ns < *arrival_ns {
            frames += pull_tick(&mut playout, next_tick_ns, &mut waiting);
            digits.tick(next_tick_ns);
            quality.update(next_tick_ns, &playout, None);
            if let Some(digit) = DtmfDigit::from_event((next_tick_ns % 16) as u8) {
                let _ = dialling.send(digit, 100, 10);
                merger.report(next_tick_ns, DtmfSource::Rtp, digit, 100);
            }
            dialling.slot(RtpTimestamp(next_tick_ns as u32), 20);
            next_tick_ns += 20 * MS;
        }
        let Ok(packet) = RtpPacket::parse(bytes) else {
            panic!("a packet of our own")
        };
        let verdict = guard.check(
            *arrival_ns,
            from,
            packet.ssrc(),
            packet.sequence_number(),
            packet.payload_type(),
        );
        assert_eq!(verdict, Verdict::Accept);
        statistics.received(*arrival_ns, &packet);
        let _ = playout.push(*arrival_ns, &packet, *content);
        if *content == Content::NoAudio {
            digits.push(*arrival_ns, &packet);
        }
        if let Some(report) = statistics.report(*arrival_ns) {
            let mut writer = RtcpWriter::new(&mut rtcp);
            let written = writer
                .receiver_report(Ssrc(7), &[report])
                .and_then(|writer| writer.cname(Ssrc(7), "a@b"))
                .and_then(|writer| {
                    let metrics = quality.voip_metrics(Ssrc(1), &playout, None);
                    let report = ExtendedReport {
                        voip_metrics: Some(metrics),
                        ..ExtendedReport::default()
                    };
                    writer.extended_report(Ssrc(7), &report)
                });
            assert!(written.is_ok());
            assert!(ReceivedRtcp::parse(writer.finish(), Ssrc(1)).is_ok());
        }
    }
    assert_eq!(calls() - before, 0);
    assert!(frames > 2000, "{frames} frames: the call did not take place");
}

/// `waiting` samples are decoded and not played yet.
fn pull_tick(playout: &mut Playout, at_ns: u64, waiting: &mut u32) -> u64 {
    let mut frames = 0;
    while *waiting < 160 {
        let missing = 160 - *waiting;
        let got = match playout.pull(Tick { at_ns, samples: 160 }, missing) {
            Pull::Frame(frame) => {
                frames += 1;
                let samples = frame.samples - frame.skip;
                match playout.adjust_in_speech() {
                    SpeechAdjust::Keep => samples,
                    SpeechAdjust::Shorten { samples: at_most } => {
                        playout.adjusted_in_speech(-(at_most.min(50).cast_signed()));
                        samples - at_most.min(50)
                    }
                    SpeechAdjust::Lengthen { .. } => {
                        playout.adjusted_in_speech(50);
                        samples + 50
                    }
                }
            }
            Pull::Lost { samples, .. } | Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => {
                samples
            }
            Pull::Idle => missing,
        };
        *waiting += got;
    }
    *waiting -= 160;
    frames
}
