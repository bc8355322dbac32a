//! What plays through what happens to its conference: a higher rate, larger room, full rings, its end.

use confab_codec::CodecKind;

use super::house::{House, Told, clip, convert, forever, largest_step, sine, steady, tones};
use super::speaker::l16;
use super::world::World;
use crate::playback::{Lane, PlayEnd, StopPlay};
use crate::shard::command::{Audience, Command, Returned};
use Told::{Began, Ended};

/// A tone and a clip of one go on without a click when the rate of the mix rises.
#[test]
fn a_raise_of_the_rate_is_not_heard_in_what_plays() {
    // The delay of the conversion is one and a half periods, so that leaving it out would be heard most.
    let tone_hz = 750.0;
    for (from_hz, to_hz) in [(8000, 16_000), (8000, 48_000), (16_000, 48_000)] {
        for script in [false, true] {
            for to in ["everybody", "waiting", "one"] {
                let kinds = [CodecKind::Pcmu, l16(8000), l16(16_000), l16(48_000)];
                let mut house = House::new(&kinds, from_hz);
                for ear in 0..kinds.len() {
                    house.hold(ear, to == "waiting");
                }
                let play = if script {
                    tones("v=-6.86;%(10000,0,750)")
                } else {
                    forever(clip(48_000, sine(48_000, tone_hz, 10_000)))
                };
                convert(&play, to_hz);
                match to {
                    "everybody" => _ = house.queue(Audience::Everybody, play),
                    "waiting" => _ = house.queue(Audience::Waiting, play),
                    _ => {
                        for ear in 0..kinds.len() {
                            house.queue(house.one(ear), play.clone());
                        }
                    }
                }
                house.run(1000);
                house.world.raise(house.room, to_hz, kinds.len());
                house.run(1000);
                for ear in &house.ears {
                    let rate_hz = f64::from(ear.kind.sample_rate_hz());
                    let heard = &ear.heard[ear.heard.len() / 4..];
                    let peak = 32_767.0 * 10_f64.powf(-0.5);
                    // A pure tone changes from sample to sample by no more than this; µ-law rounds by up to 256.
                    let bound = peak * std::f64::consts::TAU * tone_hz / rate_hz * 1.1 + 40.0;
                    let bound = bound + if ear.kind == CodecKind::Pcmu { 520.0 } else { 0.0 };
                    let step = largest_step(heard);
                    let case = format!("{from_hz} to {to_hz}, script {script}, {to}, {:?}", ear.kind);
                    assert!(step < bound, "{case}: {step} of {bound}");
                    let weakest = heard
                        .chunks_exact(rate_hz as usize / 100)
                        .map(|chunk| chunk.iter().map(|sample| sample.unsigned_abs()).max().unwrap())
                        .min()
                        .unwrap();
                    assert!(f64::from(weakest) > 0.9 * peak, "{case}: {weakest}");
                }
            }
        }
    }
}

#[test]
fn what_begins_with_the_raise_goes_on_after_it() {
    for to in ["everybody", "one", "waiting"] {
        let kinds = [CodecKind::Pcmu, l16(8000), l16(16_000), l16(48_000)];
        let mut house = House::new(&kinds, 8000);
        for ear in 0..kinds.len() {
            house.hold(ear, to == "waiting");
        }
        house.run(100);
        let play = clip(8000, sine(8000, 750.0, 1000));
        convert(&play, 48_000);
        house.world.raise(house.room, 48_000, kinds.len());
        match to {
            "everybody" => _ = house.queue(Audience::Everybody, play),
            "waiting" => _ = house.queue(Audience::Waiting, play),
            _ => {
                for ear in 0..kinds.len() {
                    house.queue(house.one(ear), play.clone());
                }
            }
        }
        house.run(1500);
        for ear in &house.ears {
            let rate_hz = f64::from(ear.kind.sample_rate_hz());
            let bound = 32_767.0 * 10_f64.powf(-0.5) * std::f64::consts::TAU * 750.0 / rate_hz * 1.1 + 600.0;
            let step = largest_step(&ear.heard);
            assert!(step < bound, "{to}, {:?}: {step} of {bound}", ear.kind);
            let milliseconds = ear.sound().len() as f64 * 1000.0 / rate_hz;
            assert!((990.0..1010.0).contains(&milliseconds), "{milliseconds} ms");
            let level = super::codecs::level(ear.sound(), 750.0, rate_hz);
            assert!((level + 10.0).abs() < 0.5, "{level}");
        }
    }
}

#[test]
fn what_was_made_for_the_rate_to_come_waits_for_it() {
    let mut house = House::new(&[l16(16_000)], 8000);
    house.world.raise(house.room, 16_000, 4);
    house.rate_hz = 16_000;
    let play = house.queue(Audience::Everybody, clip(48_000, sine(48_000, 6000.0, 300)));
    house.run(500);
    let heard = super::codecs::level(house.ears[0].sound(), 6000.0, 16_000.0);
    assert!((heard + 10.0).abs() < 0.5, "{heard}");
    assert_eq!(house.told(), [Began(play), Ended(play, PlayEnd::Finished)]);
}

#[test]
fn a_clip_is_heard_at_the_better_rate_after_a_raise() {
    let mut house = House::new(&[l16(16_000)], 8000);
    let music = clip(16_000, sine(16_000, 6000.0, 5000));
    convert(&music, 16_000);
    house.queue(Audience::Everybody, music);
    house.run(500);
    assert!(house.ears[0].peak(300) < 100, "8 kHz hold nothing of it");
    house.world.raise(house.room, 16_000, 4);
    house.run(500);
    let heard = super::codecs::level(&house.ears[0].heard[9000..], 6000.0, 16_000.0);
    assert!((heard + 10.0).abs() < 0.5, "{heard}");
}

#[test]
fn growth_and_renegotiation_leave_plays_alone() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(1);
    house.queue(Audience::Everybody, forever(steady(100, 100)));
    house.queue(to, forever(steady(30, 100)));
    house.run(100);
    house.forget();
    for capacity in [20, 40] {
        let at = house.room;
        let storage = World::storage(capacity);
        house.world.command(Command::Grow { at, storage });
        house.run(60);
    }
    let heard = |house: &House| [0, 1].map(|ear: usize| house.ears[ear].sound().to_vec());
    for (heard, value) in heard(&house).into_iter().zip([100, 30]) {
        assert!(
            heard.len() >= 800 && heard.iter().all(|&sample| sample == value),
            "{heard:?}"
        );
    }
    let media = super::speaker::leg(1, l16(8000).into(), 40);
    house
        .world
        .command(super::world::renegotiate(house.ears[1].phone.leg, &media));
    house.forget();
    house.run(200);
    assert!(house.ears[1].heard[320..].iter().all(|&sample| sample == 30));
}

#[test]
fn nothing_is_untold_however_small_the_rings_are() {
    let world = World::with_rings(1, 1);
    let mut house = House::with_world(world, &[l16(8000)], 8000);
    // The ring of what is given back holds one thing, and every command needs room in it.
    let drain = |house: &mut House, told: &mut Vec<Told>, milliseconds: u64| {
        for _ in 0..milliseconds / 5 {
            house.run(5);
            told.extend(house.told());
            while house.world.returned.pop().is_ok() {}
        }
    };
    let mut told = Vec::new();
    drain(&mut house, &mut told, 50);
    let mut expected = Vec::new();
    for round in 0..20 {
        for _ in 0..5 {
            let id = house.queue(Audience::Everybody, steady(50, 3 + round));
            expected.extend([Began(id), Ended(id, PlayEnd::Finished)]);
        }
        // Nobody reads for a while.
        house.run(200);
        drain(&mut house, &mut told, 500);
    }
    assert_eq!(told, expected);
}

#[test]
fn a_conference_that_ends_takes_its_plays_along() {
    let mut house = House::new(&[l16(8000)], 8000);
    let one = house.one(0);
    for _ in 0..10 {
        house.queue(one, forever(steady(1, 5)));
        house.play(Audience::Waiting, Lane::Background, steady(2, 5));
    }
    house.run(100);
    let at = house.room;
    house.world.command(Command::RemoveConference { at });
    let (_, late) = house.command_to_play(one, Lane::Queue, steady(1, 1));
    house.world.command(late);
    house.stop(one, StopPlay::All);
    while house.world.returned.pop().is_ok() {}
    house.run(40);
    let returned: Vec<_> = std::iter::from_fn(|| house.world.returned.pop().ok()).collect();
    assert_eq!(
        returned.len(),
        2,
        "the conference, and the play that came too late"
    );
    assert!(
        returned
            .iter()
            .all(|returned| matches!(returned, Returned::Garbage(_)))
    );
}
