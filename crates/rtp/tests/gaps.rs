//! What the listener is told of a gap: comfort noise, a pause that is no loss, the packet that repairs a loss, how much was missing
//! and how that rates.

#![allow(clippy::unwrap_used, reason = "a test")]

mod listener;

use std::time::Duration;

use confab_rtp::{ClockRate, CodecImpairment, Content, QualityMeter, ReceptionStatistics, RtpPacket, Ssrc};
use listener::{Heard, Listener, MS, Speaker, runs};

/// Simulated time begins here, clear of zero.
const T0: u64 = 1_000 * MS;

#[test]
fn comfort_noise_goes_on_as_it_was_last_described() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(65_534, 99);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    // The level changes after 400 ms; then nothing for ten seconds, as nothing changes.
    for (n, level) in [(10, 40), (30, 50)] {
        let mut noise = speaker.other_packet();
        noise[12] = level;
        listener
            .arrive_as(T0 + n * 20 * MS, &noise, Content::ComfortNoise)
            .unwrap();
        speaker.pause(20 * 160);
    }
    speaker.pause(480 * 160);
    for n in 530..540 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    let stretch = listener.stretch();
    let expected = [("speech", 1600), ("noise", 520 * 160), ("speech", 1600)];
    assert_eq!(runs(stretch), expected);
    assert_eq!(stretch[1600], Heard::Noise(40));
    assert_eq!(stretch[1600 + 20 * 160], Heard::Noise(50));
    assert_eq!(listener.counters().streams, 1);
}

#[test]
fn behind_a_frame_of_discontinuous_transmission_a_gap_is_no_loss() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 99);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    let last = speaker.packet(160);
    listener
        .arrive_as(T0 + 200 * MS, &last, Content::Dtx { samples: 160 })
        .unwrap();
    speaker.pause(19 * 160);
    for n in 30..40 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    let expected = [("speech", 11 * 160), ("quiet", 19 * 160), ("speech", 1600)];
    assert_eq!(runs(listener.stretch()), expected);
}

#[test]
fn the_packet_behind_a_loss_is_shown_when_it_is_here() {
    // (tick, packet, packets lost, whether it is forward error correction, what is repaired of it in ms)
    for (tick_ms, packet_ms, lost, fec, repaired_ms) in [
        (20, 20, 1, true, 20),
        (20, 20, 1, false, 20),
        (20, 20, 3, true, 20),
        (20, 60, 1, true, 60),
        (20, 60, 1, false, 0),
        (20, 60, 2, true, 60),
        (10, 20, 1, true, 20),
        (10, 20, 1, false, 0),
        (10, 20, 2, true, 20),
        (30, 20, 1, true, 20),
        (5, 10, 3, true, 10),
    ] {
        let mut listener = Listener::new(tick_ms, T0 + 300 * MS);
        listener.repairs = true;
        listener.playout.set_fec(fec);
        let mut speaker = Speaker::new(65_533, 99);
        let samples = packet_ms as u32 * 8;
        // All is here before the first tick: the stream plays from a buffer.
        let count = lost + 2;
        for n in 0..count {
            if (1..=lost).contains(&n) {
                speaker.lose(samples);
            } else {
                listener.arrive(T0 + 297 * MS, &speaker.packet(samples)).unwrap();
            }
        }
        listener.run_ticks(60);
        let context = format!("{tick_ms} ms ticks, {lost} × {packet_ms} ms, {fec}");
        let heard = |kind| listener.stretch().iter().filter(|heard| **heard == kind).count() as u64;
        assert_eq!(heard(Heard::Repaired), repaired_ms * 8, "{context}");
        assert_eq!(
            heard(Heard::Concealed),
            (lost * packet_ms - repaired_ms) * 8,
            "{context}"
        );
        assert_eq!(
            listener.stretch().len() as u64,
            count * packet_ms * 8,
            "{context}"
        );
    }
}

#[test]
fn missing_packets_are_counted_in_the_order_of_playout() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 99);
    for n in 0..100 {
        if n % 20 == 10 || n % 20 == 11 {
            speaker.lose(160);
        } else {
            listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
        }
    }
    listener.run_ticks(5);
    let bursts = listener.playout.bursts();
    assert_eq!((bursts.expected(), bursts.missing_packets()), (100, 10));
    assert!((bursts.burst_ratio() - 2.0 * 0.9).abs() < 0.01);
}

#[test]
fn a_leg_rates_what_it_receives() {
    let mut meter = QualityMeter::new(CodecImpairment::G711);
    let mut statistics = ReceptionStatistics::new(ClockRate::HZ_8000, 0);
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 99);
    for n in 0..1000 {
        let at = T0 + n * 20 * MS;
        // From the tenth second on one packet in ten is lost.
        if n >= 500 && n % 10 == 0 {
            speaker.lose(160);
        } else {
            let packet = speaker.packet(160);
            statistics.received(at, &RtpPacket::parse(&packet).unwrap());
            listener.arrive(at, &packet).unwrap();
        }
        meter.update(at, &listener.playout, None);
        if n == 400 {
            let mos = meter.rating().unwrap().mos();
            assert!(mos > 4.3, "{mos}");
        }
    }
    let round_trip = Some(Duration::from_millis(80));
    let snapshot = meter.snapshot(&statistics, &listener.playout, Duration::from_secs(1), round_trip);
    assert_eq!((snapshot.totals.received, snapshot.totals.lost), (950, 50));
    let mos = snapshot.rating.unwrap().mos();
    assert!((3.2..3.8).contains(&mos), "{mos}");
    let metrics = meter.voip_metrics(Ssrc(1), &listener.playout, round_trip);
    assert_eq!(
        (metrics.loss_rate, metrics.discard_rate, metrics.round_trip_ms),
        (12, 0, 80)
    );
    assert!(
        metrics.r_factor.is_some_and(|r| (60..75).contains(&r)),
        "{metrics:?}"
    );
    let later = meter.voip_metrics(Ssrc(1), &listener.playout, None);
    assert_eq!((later.loss_rate, later.gap_ms), (0, 0), "nothing since");
}
