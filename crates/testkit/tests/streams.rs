//! Streams over real loopback sockets: what one sends the other hears, in time, in order and bit by bit.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use confab_testkit::g711::Law;
use confab_testkit::meter::{self, Comparison};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn two_streams_hear_each_other_bit_by_bit() {
    let engine = RtpEngine::start(EngineConfig::default()).expect("started");
    let (a, b) = (
        engine.open(LOCAL).expect("a stream"),
        engine.open(LOCAL).expect("a stream"),
    );
    assert!(a.local_addr().port().is_multiple_of(2) && b.local_addr().port().is_multiple_of(2));
    let (tone_a, tone_b) = (
        Source::tone(Law::Mu, 1003.7, -20.0),
        Source::tone(Law::A, 700.0, -28.0),
    );
    for (stream, other, source) in [(&a, &b, &tone_a), (&b, &a, &tone_b)] {
        stream.set_capture(CaptureMode::Full);
        stream.log_sends();
        stream.set_remote(other.local_addr());
        stream.set_source(Some(source.clone()));
    }
    std::thread::sleep(Duration::from_millis(1300));
    a.set_source(None);
    b.set_source(None);
    std::thread::sleep(Duration::from_millis(50));

    let heard_by_b = b.take_capture();
    assert!(
        (55..=70).contains(&heard_by_b.packets().len()),
        "{} packets",
        heard_by_b.packets().len()
    );
    assert!(heard_by_b.sequence_report(160).is_continuous());
    assert!(heard_by_b.packets()[0].marker && !heard_by_b.packets()[1].marker);
    let samples = heard_by_b.samples();
    assert!(matches!(
        meter::compare(&tone_a.decoded(), &samples, 400),
        Comparison::Identical { offset: 0, .. }
    ));

    let samples = a.take_capture().samples();
    assert!((meter::tone_dbfs(&samples[..8000], 8000, 700.0) + 28.0).abs() < 0.1);

    let sends = a.take_sends();
    assert_eq!(sends.len() as u64, a.counts().sent);
    let delay = heard_by_b.packets()[0].arrival_ns as i64 - sends[0].1 as i64;
    assert!(
        delay.abs() < 5_000_000,
        "{delay} ns between send and kernel arrival on loopback"
    );
    assert_eq!(
        (b.counts().missing, b.counts().send_errors, b.counts().not_rtp),
        (0, 0, 0)
    );
    assert!(engine.lateness().turns() > 1000);
}

#[test]
fn phases_spread_and_pauses_keep_the_media_clock_going() {
    let engine = RtpEngine::start(EngineConfig {
        threads: 2,
        ..EngineConfig::default()
    })
    .expect("started");
    let listener = engine.open(LOCAL).expect("a stream");
    listener.set_capture(CaptureMode::Full);
    let senders: Vec<_> = (0..20).map(|_| engine.open(LOCAL).expect("a stream")).collect();
    for sender in &senders {
        sender.set_remote(listener.local_addr());
        sender.set_source(Some(Source::silence(Law::Mu)));
    }
    std::thread::sleep(Duration::from_millis(300));
    senders[0].set_source(None);
    std::thread::sleep(Duration::from_millis(100));
    senders[0].set_source(Some(Source::silence(Law::Mu)));
    std::thread::sleep(Duration::from_millis(100));
    senders.iter().for_each(|sender| sender.set_source(None));
    std::thread::sleep(Duration::from_millis(30));

    let capture = listener.take_capture();
    let of_first: Vec<_> = capture
        .packets()
        .iter()
        .filter(|p| p.ssrc == senders[0].ssrc())
        .collect();
    let gap = of_first
        .windows(2)
        .find(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) != 160);
    let [before, after] = gap.expect("a pause") else {
        unreachable!("windows of two")
    };
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert!(after.marker);
    let paused_ms = after.timestamp.wrapping_sub(before.timestamp) / 8;
    assert!((80..=160).contains(&paused_ms), "{paused_ms} ms");

    let start = capture.packets()[0].arrival_ns;
    let mut phases: Vec<u64> = senders
        .iter()
        .filter_map(|sender| capture.packets().iter().rfind(|p| p.ssrc == sender.ssrc()))
        .map(|packet| (packet.arrival_ns - start) / 1_000_000 % 20)
        .collect();
    phases.sort_unstable();
    phases.dedup();
    assert!(
        phases.len() >= 5,
        "all senders in {} phases of a packet time",
        phases.len()
    );
}

#[test]
fn a_closed_stream_neither_sends_nor_receives() {
    let engine = RtpEngine::start(EngineConfig::default()).expect("started");
    let (a, b) = (
        engine.open(LOCAL).expect("a stream"),
        engine.open(LOCAL).expect("a stream"),
    );
    a.set_remote(b.local_addr());
    a.set_source(Some(Source::silence(Law::Mu)));
    std::thread::sleep(Duration::from_millis(100));
    a.close();
    let sent = a.counts().sent;
    std::thread::sleep(Duration::from_millis(100));
    assert!(sent > 0);
    assert_eq!((a.counts().sent, b.counts().received), (sent, sent));
    assert!(a.send_raw(b"x", b.local_addr()).is_err());
}
