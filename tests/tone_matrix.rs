//! Twelve participants in one conference, a tone each: everybody hears exactly the others, by real sockets and Goertzel.

use std::time::Duration;

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ServerBuilder, exclusive};

const RATE_HZ: u32 = 8000;
const LEVEL_DBFS: f64 = -28.0;
/// Primes: no harmonic and no product of G.711 distortion of some of them falls on another one.
const TONES_HZ: [u32; 12] = [
    347, 599, 853, 1103, 1361, 1607, 1861, 2111, 2371, 2617, 2861, 3109,
];
/// How long measurements run: one second makes every whole hertz its own Goertzel bin.
const WINDOW: usize = 8000;

/// Who is not heard and who hears nothing.
#[derive(Default)]
struct Expectation {
    muted: Vec<usize>,
    deaf: Vec<usize>,
}

fn tone(index: usize) -> f64 {
    f64::from(TONES_HZ[index])
}

#[test]
fn twelve_participants_hear_exactly_the_others() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let participants: Vec<_> = (0..TONES_HZ.len())
        .map(|index| {
            // Half the room speaks A-law: the mix crosses codecs.
            let law = if index % 2 == 0 { Law::Mu } else { Law::A };
            let source = Source::tone(law, tone(index), LEVEL_DBFS);
            let number = (1000 + index).to_string();
            Participant::join_as(&phone, &engine, "3000", Some(source), &number, &number).expect("joined")
        })
        .collect();

    let check = |expected: &Expectation| in_time(&server, &engine, || check(&participants, expected));
    check(&Expectation::default());

    let conference = server.first_conference().expect("the API");
    let act = |index: usize, action: &str| {
        let id = conference
            .participant(&(1000 + index).to_string())
            .expect("listed");
        conference.act_on(id, action).expect("done");
    };
    let changed = Expectation {
        muted: vec![1, 4, 8],
        deaf: vec![2, 11],
    };
    changed.muted.iter().for_each(|index| act(*index, "mute"));
    changed.deaf.iter().for_each(|index| act(*index, "deaf"));
    check(&changed);
    let list = conference.participants().expect("listed");
    assert_eq!(
        list.iter().filter(|item| item["speak"] == false).count(),
        3,
        "{list:?}"
    );
    assert_eq!(
        list.iter().filter(|item| item["hear"] == false).count(),
        2,
        "{list:?}"
    );

    changed.muted.iter().for_each(|index| act(*index, "unmute"));
    changed.deaf.iter().for_each(|index| act(*index, "undeaf"));
    check(&Expectation::default());
    participants
        .iter()
        .for_each(|participant| participant.leave().expect("left"));
}

/// Records one second at everybody and compares all 144 levels with what should be there.
fn check(participants: &[Participant], expected: &Expectation) -> Result<(), Vec<String>> {
    std::thread::sleep(Duration::from_millis(500));
    participants
        .iter()
        .for_each(|participant| participant.stream.set_capture(CaptureMode::Full));
    std::thread::sleep(Duration::from_millis(1200));
    let (mut worst_heard, mut loudest_unheard) = (0.0f64, meter::SILENCE_DBFS);
    let mut wrong = Vec::new();
    for (listener, participant) in participants.iter().enumerate() {
        let samples = participant.stream.take_capture().samples();
        if samples.len() < WINDOW {
            wrong.push(format!(
                "listener {listener} got {} samples in 1.2 s",
                samples.len()
            ));
            continue;
        }
        for talker in 0..participants.len() {
            let level = meter::tone_dbfs(&samples[..WINDOW], RATE_HZ, tone(talker));
            let audible =
                talker != listener && !expected.muted.contains(&talker) && !expected.deaf.contains(&listener);
            let ok = if audible {
                worst_heard = worst_heard.max((level - LEVEL_DBFS).abs());
                (level - LEVEL_DBFS).abs() <= 1.0
            } else {
                loudest_unheard = loudest_unheard.max(level);
                level <= LEVEL_DBFS - 40.0
            };
            if !ok {
                wrong.push(format!(
                    "listener {listener}, tone of {talker}: {level:.1} dBFS, audible {audible}"
                ));
            }
        }
    }
    println!(
        "muted {:?}, deaf {:?}: heard tones within {worst_heard:.2} dB of {LEVEL_DBFS} dBFS, all others at most {loudest_unheard:.1} dBFS",
        expected.muted, expected.deaf
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
