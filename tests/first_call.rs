//! Two baresip phones dial 3000: each records the other's speech, and nothing of its own.

use std::time::Duration;

use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipConfig, speak};
use confab_testkit::server::{ServerBuilder, exclusive};

const RATE: usize = 8000;
/// Each phone talks for three seconds of every eight, the second one while the first is silent.
const TALK: usize = 3 * RATE;
const PERIOD: usize = 8 * RATE;
/// The phones' clocks start some 100 ms apart and their jitter buffers add more: stay this far away from the edges.
const GUARD: usize = RATE * 6 / 10;

/// Speech that fills `TALK`, placed at `start` of every period, for a minute.
fn alternating(voice: &str, text: &str, start: usize) -> Vec<i16> {
    let mut speech = speak(voice, text).expect("espeak-ng");
    assert!(
        speech.len() > TALK,
        "the text is too short: {} samples",
        speech.len()
    );
    speech.truncate(TALK);
    let mut period = vec![0; PERIOD];
    period[start..start + TALK].copy_from_slice(&speech);
    period.repeat(60 * RATE / PERIOD)
}

/// What one phone heard while only the other talked, and while only it talked itself.
struct Heard {
    other_dbfs: f64,
    own_dbfs: f64,
    likeness: f64,
    gain_db: f64,
}

/// Finds the other's speech in a recording and measures both kinds of stretches. `other` and `own` are where each talks in a period.
fn measure(recording: &[i16], said_by_other: &[i16], other: usize, own: usize) -> Heard {
    let probe = &said_by_other[other + RATE / 2..other + RATE / 2 + RATE];
    let found =
        meter::find(probe, &recording[..recording.len().min(2 * PERIOD)]).expect("something was heard");
    let first_talk = found.offset as i64 - (RATE / 2) as i64;
    let stretch = |start: i64, from: usize, to: usize| {
        let start = (start.rem_euclid(PERIOD as i64)) as usize;
        recording
            .get(start + from..start + to)
            .unwrap_or_else(|| panic!("{} samples are too few", recording.len()))
    };
    let own_talk = first_talk + own as i64 - other as i64;
    Heard {
        other_dbfs: meter::rms_dbfs(stretch(first_talk, 0, TALK)),
        own_dbfs: meter::rms_dbfs(stretch(own_talk, GUARD, TALK - GUARD)),
        likeness: found.correlation,
        gain_db: found.gain_db,
    }
}

#[test]
fn two_phones_hear_each_other_and_not_themselves() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let ann_says =
        "This is Ann speaking. The quick brown fox jumps over the lazy dog, twice a day, rain or shine.";
    let bob_says =
        "Bob here, good morning. Five quacking zephyrs jolt my wax bed while nobody is listening to them.";
    let (ann_at, bob_at) = (0, 4 * RATE);
    let ann_speech = alternating("en+f3", ann_says, ann_at);
    let bob_speech = alternating("en+m3", bob_says, bob_at);
    let target = format!("sip:3000@{}", server.sip);
    let mut ann = Baresip::start(&BaresipConfig::new("ann", &target, ann_speech.clone())).expect("baresip");
    let mut bob = Baresip::start(&BaresipConfig::new("bob", &target, bob_speech.clone())).expect("baresip");
    ann.wait_established(Duration::from_secs(10)).expect("answered");
    bob.wait_established(Duration::from_secs(10)).expect("answered");
    let conference = server.first_conference().expect("the API");
    conference
        .wait_participants(Duration::from_secs(5), |list| list.len() == 2)
        .expect("both are in");
    std::thread::sleep(Duration::from_secs(19));
    ann.hang_up().expect("ended");
    bob.hang_up().expect("ended");
    conference
        .wait_participants(Duration::from_secs(5), <[_]>::is_empty)
        .expect("both have left");

    let by_ann = measure(&ann.heard().expect("recorded"), &bob_speech, bob_at, ann_at);
    let by_bob = measure(&bob.heard().expect("recorded"), &ann_speech, ann_at, bob_at);
    for (who, heard) in [("Ann", &by_ann), ("Bob", &by_bob)] {
        println!(
            "{who} hears the other at {:.1} dBFS (likeness {:.3}, gain {:+.2} dB) and itself at {:.1} dBFS",
            heard.other_dbfs, heard.likeness, heard.gain_db, heard.own_dbfs
        );
        assert!(
            heard.likeness > 0.95 && heard.gain_db.abs() < 1.0,
            "{who} hears something else"
        );
        assert!(heard.other_dbfs > -40.0, "{who} hears the other too softly");
        assert!(heard.own_dbfs < heard.other_dbfs - 40.0, "{who} hears itself");
    }
}
