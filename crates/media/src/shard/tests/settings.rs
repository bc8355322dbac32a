//! What can be changed about one leg or a pair of legs in a running mix, and the comfort noise of the mix.

use super::world::{Heard, Phone, World, mu_law, steady};
use crate::leg::processing::{Processing, Wishes};
use crate::shard::command::{Command, MixChange};
use crate::shard::key::ConferenceKey;

/// µ-law values of which every sum is one too, or nearly.
const VALUES: [i16; 3] = [1052, 2108, 4220];

/// Runs ticks of 20 ms in which everybody says his value; returns what each got last.
fn talk(world: &mut World, phones: &mut [Phone], ticks: usize) -> Vec<i32> {
    world.forget();
    let mut last = vec![0; phones.len()];
    for _ in 0..ticks {
        for (phone, value) in phones.iter_mut().zip(VALUES) {
            world.speak(phone, &steady(value));
        }
        world.turns(4);
        for (phone, last) in phones.iter().zip(&mut last) {
            if let Some(heard) = world.audio(phone).last() {
                *last = mean(heard);
            }
        }
    }
    last
}

/// The mean of the packet's second half, behind any ramp.
fn mean(heard: &Heard) -> i32 {
    let half = &heard.samples[heard.samples.len() / 2..];
    half.iter().map(|&sample| i32::from(sample)).sum::<i32>() / half.len() as i32
}

fn room(world: &mut World) -> (Vec<Phone>, ConferenceKey) {
    let mut phones = world.legs(3);
    let room = world.room(&phones, 0);
    let sum: i32 = VALUES.iter().map(|&value| i32::from(value)).sum();
    let heard = talk(world, &mut phones, 5);
    assert_near(&heard, &VALUES.map(|value| sum - i32::from(value)));
    (phones, room)
}

/// µ-law rounds to a step of a sixteenth at most, and a half of it is its error.
#[track_caller]
fn assert_near(heard: &[i32], expected: &[i32]) {
    for (heard, expected) in heard.iter().zip(expected) {
        let bound = expected.abs() / 25 + 8;
        assert!((heard - expected).abs() <= bound, "{heard} is not {expected}");
    }
}

#[test]
fn a_relation_concerns_one_direction_of_one_pair() {
    let mut world = World::new();
    let (mut phones, room) = room(&mut world);
    let [a, b, c] = VALUES.map(i32::from);
    let relate = |world: &World, talker: &Phone, listener: &Phone, heard| {
        world.command(Command::SetHeard {
            conference: room,
            talker: talker.leg,
            listener: listener.leg,
            heard,
        });
    };
    relate(&world, &phones[0], &phones[1], false);
    // The first packet after the command is changed already.
    let heard = talk(&mut world, &mut phones, 1);
    assert_near(&heard, &[b + c, c, a + b]);
    relate(&world, &phones[1], &phones[0], false);
    let heard = talk(&mut world, &mut phones, 3);
    assert_near(&heard, &[c, c, a + b]);
    relate(&world, &phones[0], &phones[1], true);
    relate(&world, &phones[1], &phones[0], true);
    let heard = talk(&mut world, &mut phones, 3);
    assert_near(&heard, &[b + c, a + c, a + b]);
}

#[test]
fn a_held_leg_is_out_of_the_mix_both_ways() {
    let mut world = World::new();
    let (mut phones, _) = room(&mut world);
    let [a, b, c] = VALUES.map(i32::from);
    let hold = |world: &World, held| {
        let change = MixChange::Held(held);
        world.command(Command::Set {
            leg: phones[2].leg,
            change,
        });
    };
    hold(&world, true);
    let heard = talk(&mut world, &mut phones.clone(), 1);
    assert_near(&heard, &[b, a, 0]);
    hold(&world, false);
    for phone in &mut phones {
        phone.sequence = phone.sequence.wrapping_add(1);
        phone.timestamp = phone.timestamp.wrapping_add(160);
    }
    let heard = talk(&mut world, &mut phones, 5);
    assert_near(&heard, &[b + c, a + c, a + b]);
}

#[test]
fn gains_act_on_what_comes_in_and_what_goes_out() {
    let mut world = World::new();
    let (mut phones, _) = room(&mut world);
    let [a, b, c] = VALUES.map(i32::from);
    let set = |world: &World, phone: &Phone, change| {
        world.command(Command::Set {
            leg: phone.leg,
            change,
        })
    };
    set(&world, &phones[0], MixChange::InputGainDb(6.020_6));
    set(&world, &phones[1], MixChange::OutputGainDb(-6.020_6));
    let heard = talk(&mut world, &mut phones, 3);
    assert_near(&heard, &[b + c, a + c / 2, 2 * a + b]);
    set(&world, &phones[0], MixChange::InputGainDb(0.0));
    set(&world, &phones[1], MixChange::OutputGainDb(0.0));
    let heard = talk(&mut world, &mut phones, 10);
    assert_near(&heard, &[b + c, a + c, a + b]);
}

#[test]
fn a_leg_has_a_threshold_of_its_own() {
    let mut world = World::new();
    let (mut phones, _) = room(&mut world);
    let [a, _, c] = VALUES.map(i32::from);
    let change = MixChange::EnergyLevel(3000);
    world.command(Command::Set {
        leg: phones[1].leg,
        change,
    });
    // Its gate closes after 0.8 s below the threshold.
    let heard = talk(&mut world, &mut phones, 60);
    assert_near(&heard, &[c, a + c, a]);
}

#[test]
fn automatic_gain_raises_a_quiet_talker_and_ends_with_its_wish() {
    let mut world = World::new();
    let mut phones = world.legs(2);
    world.room(&phones, 0);
    let tone = |n: usize| -> Vec<u8> {
        // In syllables: what goes on for ever is taken for noise.
        let peak = if n % 12 < 9 { 300.0 } else { 0.0 };
        let sample = |k: usize| (f64::from((n * 160 + k) as u32) * 0.4).sin() * peak;
        mu_law(&(0..160).map(|k| sample(k) as i16).collect::<Vec<_>>())
    };
    let level = |world: &mut World, phones: &mut [Phone], from: usize| {
        let mut peak = 0;
        for n in from..from + 250 {
            world.speak(&mut phones[0], &tone(n));
            world.speak(&mut phones[1], &mu_law(&[0; 160]));
            world.turns(4);
            for heard in world.audio(&phones[1]) {
                if n > from + 240 {
                    peak = peak.max(
                        heard
                            .samples
                            .iter()
                            .map(|sample| sample.unsigned_abs())
                            .max()
                            .unwrap_or(0),
                    );
                }
            }
        }
        peak
    };
    assert!((280..320).contains(&level(&mut world, &mut phones, 0)));
    let process = |world: &World, auto_gain| {
        let wishes = Wishes {
            auto_gain,
            // It would take a tone for noise.
            denoise: false,
        };
        world.command(Command::Process {
            leg: phones[0].leg,
            processing: Box::new(Processing::new(wishes, 8000)),
        });
    };
    process(&world, true);
    level(&mut world, &mut phones, 250);
    let raised = level(&mut world, &mut phones, 500);
    assert!(raised > 700, "{raised}");
}

#[test]
fn comfort_noise_is_heard_when_nobody_speaks_and_by_nobody_else() {
    let mut world = World::new();
    world.comfort_noise = 1000;
    let mut phones = world.legs(3);
    world.room(&phones, 20);
    let peak = |heard: &[Heard]| -> u16 {
        let samples = heard.iter().flat_map(|heard| &heard.samples);
        samples.map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
    };
    for _ in 0..20 {
        for phone in &mut phones {
            world.speak(phone, &mu_law(&[0; 160]));
        }
        world.turns(4);
    }
    for phone in &phones {
        let level = peak(&world.audio(phone));
        assert!((20..=36).contains(&level), "{level}");
    }
    for _ in 0..20 {
        world.speak(&mut phones[0], &steady(VALUES[0]));
        world.turns(4);
    }
    let listener = world.audio(&phones[1]);
    let steady_packets = listener
        .iter()
        .skip(5)
        .all(|heard| mean(heard) == i32::from(VALUES[0]));
    assert!(steady_packets, "the talker is heard as he is");
    assert!(
        peak(&world.audio(&phones[0])[5..]) <= 36,
        "who talks alone hears the noise"
    );
}
