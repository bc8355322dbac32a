//! Lines 153 to 184: what callers come to.

use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::rms_dbfs;
use confab_testkit::rtp::Source;
use serde_json::json;

use crate::ears::{assert_hearing, bursts, heard, lasts_ms};
use crate::fixture::{Room, is_success, number, soon};

#[test]
fn line_153_a_member_joins_muted_unless_the_document_says_otherwise() {
    let number = number();
    let room = Room::new(json!({"member": {"numbers": [number]}}));
    let caller = room.join(&number, "one", Source::silence(Law::Mu));
    let shown = room.participant(&caller);
    assert_eq!(
        (&shown["speak"], &shown["is_moderator"]),
        (&json!(false), &json!(false))
    );
}

#[test]
fn line_154_a_moderator_joins_unmuted() {
    let room = Room::new(json!({}));
    let caller = room.moderator("boss");
    let shown = room.participant(&caller);
    assert_eq!(
        (&shown["speak"], &shown["is_moderator"]),
        (&json!(true), &json!(true))
    );
    soon("the count", || (room.live()["moderators"] == 1).then_some(()));
}

#[test]
fn line_169_the_tone_of_coming_can_be_chosen() {
    let room = Room::new(json!({"play_entry_tone": "tone_stream://%(400,0,620)"}));
    let ann = room.member("ann");
    in_time(&room.site.server, &room.engine, || {
        let mut joined = None;
        let samples = &heard(&[&ann], 900, || joined = Some(room.member("bob")))[0];
        let lasted = lasts_ms(samples, 620.0);
        joined.expect("joined").participant.leave().expect("left");
        if lasted.abs_diff(400) <= 40 {
            Ok(())
        } else {
            Err(vec![format!("620 Hz for {lasted} ms")])
        }
    });
}

#[test]
fn line_170_tones_of_coming_and_going_can_be_switched_off() {
    let room = Room::new(json!({"play_entry_tone": false, "play_exit_tone": false}));
    let ann = room.member("ann");
    let samples = &heard(&[&ann], 1500, || {
        let bob = room.member("bob");
        bob.participant.leave().expect("left");
    })[0];
    assert!(samples.len() > 8000, "{} samples", samples.len());
    for tone in [349.0, 440.0, 523.0, 659.0, 783.0] {
        assert_eq!(lasts_ms(samples, tone), 0, "{tone} Hz");
    }
}

#[test]
fn line_171_tone_scripts_have_levels_loops_and_symbols() {
    let room = Room::new(json!({}));
    let ann = room.member("ann");
    let play = |script: &str| {
        let body = json!({"action": "play", "data": {"media_id": format!("tone_stream://{script}")}});
        is_success(&room.put("", &body), 202);
    };
    let check = |script: &str, holds: &dyn Fn(&[i16]) -> Result<(), String>| {
        in_time(&room.site.server, &room.engine, || {
            let samples = &heard(&[&ann], 1500, || play(script))[0];
            holds(samples).map_err(|wrong| vec![format!("{script}: {wrong}")])
        });
    };
    let is_near = |found: usize, expected: usize| {
        if found.abs_diff(expected) <= 40 {
            Ok(())
        } else {
            Err(format!("{found} instead of {expected} ms"))
        }
    };
    let count = |found: usize, expected: usize| {
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found} times instead of {expected}"))
        }
    };
    // The whole script three times; one tone twice.
    check("%(100,100,440);L=3", &|samples| count(bursts(samples, 440.0), 3));
    check("l=2;%(100,100,440)", &|samples| count(bursts(samples, 440.0), 2));
    // The symbol 5 is 770 and 1336 Hz, for its own time or for the default one.
    check("5(300,0)", &|samples| {
        is_near(lasts_ms(samples, 770.0), 300)?;
        is_near(lasts_ms(samples, 1336.0), 300)
    });
    check("d=200;w=100;11", &|samples| {
        is_near(lasts_ms(samples, 697.0), 400)?;
        count(bursts(samples, 1209.0), 2)
    });
    // 20 dB down from the default of -7 is below what counts as heard after half of the time.
    check("v=-7;>=10;+=1;%(400,0,440)", &|samples| {
        let lasted = lasts_ms(samples, 440.0);
        if (100..320).contains(&lasted) {
            Ok(())
        } else {
            Err(format!("{lasted} ms above -30 dBFS"))
        }
    });
    check("v=-40;%(300,0,440)", &|samples| {
        count(lasts_ms(samples, 440.0), 0)
    });
}

#[test]
fn line_180_comfort_noise_is_there_or_not() {
    for (level, quiet) in [(json!(0), true), (json!(20), false)] {
        let room = Room::new(json!({"profile": {"comfort-noise": level}}));
        let ann = room.member("ann");
        in_time(&room.site.server, &room.engine, || {
            let samples = &heard(&[&ann], 600, || ())[0];
            let loudness = rms_dbfs(samples);
            if (loudness < -70.0) == quiet && samples.len() > 3000 {
                Ok(())
            } else {
                Err(vec![format!("comfort-noise {level}: {loudness:.1} dBFS")])
            }
        });
    }
}

#[test]
fn line_181_the_energy_gate_blocks_who_is_quiet() {
    // A sine of -20 dBFS has a mean magnitude of about 2,100; one of -45 dBFS of about 120.
    let room = Room::new(json!({"profile": {"energy-level": 600}}));
    let ann = room.member("ann");
    let _loud = room.join(&room.number, "loud", Source::tone(Law::Mu, 700.0, -20.0));
    let quiet = room.join(&room.number, "quiet", Source::tone(Law::Mu, 1100.0, -34.0));
    assert_hearing(&room, &[&ann], &[700.0, 1100.0], &[&[true, false]]);
    quiet
        .participant
        .stream
        .set_source(Some(Source::tone(Law::Mu, 1100.0, -18.0)));
    assert_hearing(&room, &[&ann], &[700.0, 1100.0], &[&[true, true]]);
}
