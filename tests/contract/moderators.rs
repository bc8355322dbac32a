//! Lines 163 to 166 and 179: waiting for a moderator, being alone, being told how many there are.

use std::time::{Duration, Instant};

use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{rms_dbfs, tone_dbfs};
use confab_testkit::rtp::Source;
use confab_testkit::timeline::Recording;
use serde_json::json;

use crate::ears::{assert_hearing, clearly, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, soon};

/// Hold music of a test, and what it is heard by.
const MUSIC: &str = "tone_stream://%(1000,0,500)";
const MUSIC_HZ: f64 = 500.0;

#[test]
fn line_163_members_hear_hold_music_and_nobody_until_a_moderator_is_there() {
    let room = Room::new(json!({
        "wait_for_moderator": true,
        "profile": {"moh-sound": MUSIC, "comfort-noise": 0}
    }));
    let ann = room.join(&room.number, "ann", Source::tone(Law::Mu, 700.0, -20.0));
    let bob = room.join(&room.number, "bob", Source::tone(Law::Mu, 900.0, -20.0));
    let tones = [700.0, 900.0, MUSIC_HZ];
    // They are told why they wait before they hear music.
    std::thread::sleep(Duration::from_millis(4500));
    assert_hearing(
        &room,
        &[&ann, &bob],
        &tones,
        &[&[false, false, true], &[false, false, true]],
    );
    assert_eq!(room.participants().len(), 2, "they are listed");
    let boss = room.moderator("boss");
    assert_hearing(
        &room,
        &[&ann, &bob, &boss],
        &tones,
        &[&[false, true, false], &[true, false, false], &[true, true, false]],
    );
    // When he has left they stay together, and who comes later does not wait.
    boss.participant.leave().expect("left");
    let late = room.member("late");
    assert_hearing(
        &room,
        &[&ann, &bob, &late],
        &tones,
        &[&[false, true, false], &[true, false, false], &[true, true, false]],
    );
}

/// Has the last moderator leave. What is wrong when the first of the members does not hear the whole announcement, or it takes too long.
fn ends_announced(room: &Room, boss: &Caller, members: &[Caller]) -> Result<(), Vec<String>> {
    let mut took = Duration::ZERO;
    let said = heard(&[&members[0]], 100, || {
        boss.participant.leave().expect("left");
        let left = Instant::now();
        for one in members {
            one.participant.call.wait_request("BYE", SOON).expect("a BYE");
        }
        took = left.elapsed();
    })
    .remove(0);
    soon("its end", || room.participants().is_empty().then_some(()));
    let mut wrong: Vec<String> = clearly(&Recording::new(8000, said), "conf-ending")
        .err()
        .into_iter()
        .flatten()
        .collect();
    if !(Duration::from_millis(1000)..Duration::from_millis(2000)).contains(&took) {
        wrong.push(format!("it took {took:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[test]
fn line_164_the_conference_ends_announced_when_its_last_moderator_has_left() {
    let room = Room::new(json!({"require_moderator": true, "profile": {"comfort-noise": 0}}));
    in_time(&room.site.server, &room.engine, || {
        let ann = room.member("ann");
        let (first, second) = (room.moderator("first"), room.moderator("second"));
        first.participant.leave().expect("left");
        std::thread::sleep(Duration::from_millis(2200));
        assert_eq!(room.participants().len(), 2, "one moderator is there");
        ends_announced(&room, &second, &[ann])
    });
}

#[test]
fn line_164_the_end_is_heard_whole_over_tones_and_by_one_alone() {
    for members in [1, 2] {
        let room = Room::new(json!({
            "require_moderator": true, "play_entry_tone": true, "play_exit_tone": true, "profile": {"comfort-noise": 0}
        }));
        in_time(&room.site.server, &room.engine, || {
            let all: Vec<_> = ["ann", "bob"][..members]
                .iter()
                .map(|name| room.member(name))
                .collect();
            let boss = room.moderator("boss");
            std::thread::sleep(Duration::from_millis(2500));
            ends_announced(&room, &boss, &all)
        });
    }
}

#[test]
fn line_166_who_is_alone_is_told_so_and_hears_music_until_a_second_one_comes() {
    let room = Room::new(json!({
        "profile": {"alone-sound": "tone_stream://%(1500,0,850)", "moh-sound": MUSIC, "comfort-noise": 0}
    }));
    let ann = room.member("ann");
    let said = &heard(&[&ann], 3000, || ())[0];
    let (told, music) = (lasts_ms(said, 850.0), lasts_ms(said, MUSIC_HZ));
    assert!((300..=1600).contains(&told), "told for {told} ms");
    assert!(music > 1000, "music for {music} ms");
    for window in said.chunks_exact(160) {
        let both = [850.0, MUSIC_HZ].map(|hz| tone_dbfs(window, 8000, hz));
        assert!(!both.iter().all(|level| *level > -20.0), "both at once: {both:?}");
    }
    let bob = room.member("bob");
    assert_hearing(
        &room,
        &[&ann, &bob],
        &[MUSIC_HZ, 850.0],
        &[&[false; 2], &[false; 2]],
    );
    bob.participant.leave().expect("left");
    in_time(&room.site.server, &room.engine, || {
        let level = tone_dbfs(
            &heard(&[&ann], 400, || std::thread::sleep(Duration::from_millis(2000)))[0],
            8000,
            MUSIC_HZ,
        );
        if level > -30.0 {
            Ok(())
        } else {
            Err(vec![format!("no music again: {level:.0} dBFS")])
        }
    });
}

#[test]
fn line_179_the_third_alone_is_told_how_many_they_are() {
    let room = Room::new(json!({"profile": {"announce-count": 3, "comfort-noise": 0}}));
    let (ann, bob) = (room.member("ann"), room.member("bob"));
    let quiet = heard(&[&ann, &bob], 300, || ());
    let mut third = None;
    let others = heard(&[&ann, &bob], 1000, || third = Some(room.member("cas")));
    for samples in quiet.iter().chain(&others) {
        let loudness = rms_dbfs(samples);
        assert!(loudness < -60.0, "the others hear {loudness:.1} dBFS");
    }
    let told = &heard(&[&third.expect("he is in")], 600, || ())[0];
    let loudness = rms_dbfs(told);
    assert!(loudness > -45.0, "he hears {loudness:.1} dBFS");
}
