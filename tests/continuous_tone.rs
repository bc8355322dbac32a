//! One continuous tone beside fifty other participants: what arrives is what was sent, sample by sample, without a gap.

use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter::{self, Comparison};
use confab_testkit::rtp::{Capture, CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ServerBuilder, exclusive};

const OTHERS: usize = 50;
/// Repeats only every ten seconds, so that an inserted or missing frame cannot hide behind the period.
const TONE_HZ: f64 = 1003.7;

/// Sixty seconds; ten minutes with `CONFAB_LONG=1`.
fn duration() -> Duration {
    Duration::from_secs(if std::env::var_os("CONFAB_LONG").is_some() {
        600
    } else {
        60
    })
}

#[test]
fn a_continuous_tone_beside_fifty_others_arrives_bit_by_bit() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let others: Vec<_> = (0..OTHERS)
        .map(|_| Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined"))
        .collect();
    let tone = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let talker = Participant::join(&phone, &engine, "3000", Some(tone.clone())).expect("joined");

    // The start of the tone is faded in and the playout delay is still settling: the promise is about what follows.
    std::thread::sleep(Duration::from_secs(2));
    let before = server.metrics().expect("metrics");
    let listeners = [&others[0], &others[OTHERS / 2], &others[OTHERS - 1]];
    listeners
        .iter()
        .for_each(|listener| listener.stream.set_capture(CaptureMode::Full));
    let missing_before: u64 = others.iter().map(|other| other.stream.counts().missing).sum();
    let start = Instant::now();
    std::thread::sleep(duration());
    let captures: Vec<Capture> = listeners
        .iter()
        .map(|listener| listener.stream.take_capture())
        .collect();
    let took = start.elapsed();
    let after = server.metrics().expect("metrics");

    let sent: Vec<i16> = tone.decoded().repeat(took.as_secs() as usize / 10 + 2);
    for capture in &captures {
        check(capture, &sent, took);
    }
    let missing: u64 = others.iter().map(|other| other.stream.counts().missing).sum();
    assert_eq!(
        missing, missing_before,
        "packets missing at one of the {OTHERS} listeners"
    );
    let lateness = |quantile| after.quantile_since(&before, "confab_tick_lateness_seconds", quantile);
    println!(
        "tick lateness p99 {:?} s, p99.9 {:?} s; generator late p99.9 {} µs, worst {} µs",
        lateness(0.99),
        lateness(0.999),
        engine.lateness().quantile_us(0.999),
        engine.lateness().max_us()
    );
    talker.leave().expect("left");
    others.iter().for_each(|other| other.leave().expect("left"));
}

#[track_caller]
fn check(capture: &Capture, sent: &[i16], took: Duration) {
    let report = capture.sequence_report(160);
    assert!(report.is_continuous(), "{report:?}");
    let expected = took.as_millis() as i64 / 20;
    let packets = capture.packets().len() as i64;
    assert!((packets - expected).abs() <= 3, "{packets} packets in {took:?}");
    let samples = capture.samples();
    match meter::compare(sent, &samples, 800) {
        Comparison::Identical { compared, .. } => {
            assert_eq!(compared, samples.len(), "the reference is too short");
            println!("{packets} packets, {compared} samples identical");
        }
        Comparison::Differs { at, differing, .. } => panic!(
            "sample {at} (packet {}, {:.1} s) is the first of {differing} that differ",
            at / 160,
            at as f64 / 8000.0
        ),
        Comparison::NotFound => panic!(
            "the first 100 ms heard stand nowhere in the tone: {:?}",
            &samples[..80]
        ),
    }
}
