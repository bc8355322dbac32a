//! Going to another place in what plays, and changing how loud it is, while it waits, is heard or pauses.

use std::time::Duration;

use confab_codec::CodecKind;

use super::house::{House, Told, clip, convert, forever, largest_step, sine, steady, tones};
use super::speaker::l16;
use crate::playback::{Lane, Play, PlayChange, PlayEnd, PlayId, Repeat, StopPlay};
use crate::shard::command::{Audience, Command};
use Told::{Began, Ended};

/// A clip that tells its place: in each piece of 100 ms a value of its own, 100 in the first.
fn stairs(steps: i16) -> Play {
    clip(8000, (1..=steps).flat_map(|step| [step * 100; 800]).collect())
}

/// One who hears all samples as they are, at 8 kHz.
fn house() -> House {
    House::new(&[l16(8000)], 8000)
}

fn change(house: &House, to: Audience, play: PlayId, change: PlayChange) {
    house.world.command(Command::ChangePlay {
        conference: house.room,
        to,
        play,
        change,
    });
}

fn to(milliseconds: u64) -> PlayChange {
    PlayChange::SeekTo(Duration::from_millis(milliseconds))
}

/// What is heard in 20 ms.
fn heard(house: &mut House) -> Vec<i16> {
    house.forget();
    house.run(20);
    house.ears[0].heard.clone()
}

#[test]
fn it_goes_on_at_the_place_that_was_asked_for_and_is_faded_there() {
    let mut house = house();
    for audience in [Audience::Everybody, house.one(0)] {
        for (how, from, expected) in [
            (to(2000), 0, 2100),
            (to(0), 1000, 100),
            (PlayChange::SeekBy(1500), 500, 2100),
            (PlayChange::SeekBy(-500), 1000, 600),
            (PlayChange::SeekBy(-5000), 1000, 100),
        ] {
            let play = house.queue(audience, stairs(40));
            house.run(20 + from);
            change(&house, audience, play, how);
            let begins = heard(&mut house);
            let before = begins[0];
            // 10 ms down, 10 ms up, and there it is.
            assert!(
                begins.iter().any(|&sample| sample.abs() <= 40),
                "{how:?} {begins:?}"
            );
            assert!(
                largest_step(&begins) <= f64::from(before.max(expected)) / 60.0 + 2.0,
                "{begins:?}"
            );
            let next = heard(&mut house);
            let peak = *next.iter().max().unwrap();
            assert!(
                (expected - 100..=expected + 100).contains(&peak),
                "{how:?}: {peak}"
            );
            house.stop(audience, StopPlay::All);
            house.run(60);
            house.told();
        }
    }
}

#[test]
fn places_are_counted_over_all_sounds_and_the_place_is_exact() {
    let mut house = house();
    let play = Play {
        sounds: [steady(300, 500), tones("%(400,0,700)"), stairs(10)]
            .into_iter()
            .flat_map(|play| play.sounds)
            .collect(),
        ..Play::default()
    };
    let id = house.queue(Audience::Everybody, play.clone());
    house.run(100);
    change(&house, Audience::Everybody, id, to(900 + 300));
    // 10 ms of the fade, of which the new place's are the later ones.
    house.run(20);
    let all: usize = (0..40)
        .map(|_| heard(&mut house).iter().filter(|&&sample| sample == 500).count())
        .sum();
    assert_eq!(all, 800, "the fifth of the stairs, whole");
    house.run(1000);
    house.told();
    // Into the tones: from their beginning. 400 ms of them and a second of the stairs are left.
    let id = house.queue(Audience::Everybody, play);
    house.run(100);
    change(&house, Audience::Everybody, id, to(700));
    house.run(1400);
    assert_eq!(house.told(), [Began(id)]);
    house.run(60);
    assert_eq!(house.told(), [Ended(id, PlayEnd::Finished)]);
}

#[test]
fn beyond_the_end_it_is_over_or_comes_again() {
    let mut house = house();
    let audience = Audience::Everybody;
    let once = house.queue(audience, stairs(40));
    let next = house.queue(audience, steady(5000, 100));
    house.run(100);
    change(&house, audience, once, to(100_000));
    house.run(40);
    assert_eq!(
        house.told(),
        [Began(once), Ended(once, PlayEnd::Finished), Began(next)]
    );
    house.run(300);
    house.told();
    let twice = Play {
        repeat: Repeat::Times(2),
        ..stairs(20)
    };
    let twice = house.queue(audience, twice);
    house.run(1000);
    change(&house, audience, twice, PlayChange::SeekBy(i64::MAX));
    house.run(40);
    assert!(
        heard(&mut house).iter().all(|&sample| sample <= 100),
        "from the beginning"
    );
    change(&house, audience, twice, to(u64::MAX));
    house.run(40);
    assert_eq!(house.told(), [Began(twice), Ended(twice, PlayEnd::Finished)]);
    let again = house.play(audience, Lane::Background, forever(stairs(20)));
    for _ in 0..10 {
        change(&house, audience, again, to(3000));
        house.run(60);
    }
    assert_eq!(house.told(), [Began(again)]);
}

#[test]
fn what_waits_or_pauses_goes_on_there_when_it_is_heard() {
    let mut house = house();
    let first = house.queue(Audience::Everybody, steady(7000, 200));
    let second = house.queue(Audience::Everybody, stairs(20));
    change(&house, Audience::Everybody, second, to(500));
    change(&house, Audience::Everybody, second, PlayChange::SeekBy(500));
    house.run(220);
    house.told();
    assert_eq!(heard(&mut house)[..100], [1100; 100], "without a fade");
    house.stop(Audience::Everybody, StopPlay::All);
    house.run(40);
    house.told();
    // A background pauses while the queue plays.
    let music = house.play(Audience::Everybody, Lane::Background, stairs(40));
    house.run(100);
    house.queue(Audience::Everybody, steady(7000, 200));
    house.run(100);
    change(&house, Audience::Everybody, music, to(2000));
    change(&house, Audience::Everybody, first, to(0)); // long gone
    house.run(60);
    assert_eq!(heard(&mut house), [7000; 160]);
    house.run(60);
    assert_eq!(heard(&mut house), [2100; 160]);
}

#[test]
fn a_change_of_gain_is_reached_within_five_milliseconds_and_outlasts_a_pause() {
    let mut house = house();
    let audience = Audience::Everybody;
    let music = house.play(audience, Lane::Background, forever(steady(1000, 500)));
    let other = house.play(Audience::Waiting, Lane::Background, forever(steady(1000, 500)));
    house.run(100);
    change(&house, audience, music, PlayChange::Gain(-6.0206));
    change(&house, Audience::Waiting, other, PlayChange::Gain(20.0));
    let begins = heard(&mut house);
    assert!(begins[40..].iter().all(|&sample| sample == 500), "{begins:?}");
    assert!(largest_step(&begins) < 20.0);
    change(&house, audience, music, PlayChange::Gain(f32::NAN));
    assert_eq!(heard(&mut house), [500; 160]);
    house.queue(audience, steady(7000, 100));
    house.run(200);
    assert_eq!(heard(&mut house), [500; 160]);
    change(&house, audience, music, PlayChange::Gain(f32::INFINITY));
    house.run(20);
    assert_eq!(heard(&mut house), [10_000; 160], "20 dB at most");
    // One that waits begins so.
    house.stop(audience, StopPlay::Background);
    house.run(40);
    house.queue(audience, steady(7000, 100));
    let waits = house.queue(audience, steady(1000, 500));
    change(&house, audience, waits, PlayChange::Gain(-6.0206));
    house.run(120);
    assert_eq!(heard(&mut house), [500; 160]);
}

#[test]
fn a_seek_and_a_raise_of_the_rate_go_together() {
    let mut house = House::new(&[l16(8000), CodecKind::G722], 8000);
    let play = clip(16_000, sine(16_000, 437.0, 20_000));
    convert(&play, 8000);
    let id = house.queue(Audience::Everybody, play);
    house.run(500);
    for place in [5000, 10_000] {
        change(&house, Audience::Everybody, id, to(place));
        if place == 10_000 {
            house.world.raise(house.room, 16_000, 4);
        }
        house.forget();
        house.run(300);
        assert!(house.ears[0].peak(100) > 9000);
        // A pure tone, but for the fades.
        let bound = 10_362.0 * std::f64::consts::TAU * 437.0 / 8000.0 * 1.1 + 40.0;
        assert!(largest_step(&house.ears[0].heard) < bound + 200.0);
    }
    // 10 s from where it is, a little less for what was heard meanwhile.
    house.run(9400);
    house.told();
    house.run(400);
    assert_eq!(house.told(), [Ended(id, PlayEnd::Finished)]);
}
