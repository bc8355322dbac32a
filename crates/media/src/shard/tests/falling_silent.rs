//! Voices that end in digital silence, as a phone's mute button makes it, in rooms of all rates: nothing sounds on, neither in the
//! common mix nor in the talkers' own.

use super::world::{Heard, Phone, World, mu_law};
use crate::config::JoinOptions;
use crate::shard::command::{Command, MixChange};

/// Packets of 20 ms after a voice has ended in which its conversion may sound on.
const TAIL: usize = 1;

/// A voice of its own for each talker: no two packets are alike.
fn voice(talker: usize, packet: usize) -> Vec<u8> {
    let samples: Vec<i16> = (0..160)
        .map(|n| {
            let seconds = (packet * 160 + n) as f64 / 8000.0;
            let hz = 311.0 + 127.0 * talker as f64;
            (4000.0 * (std::f64::consts::TAU * hz * seconds).sin()) as i16
        })
        .collect();
    mu_law(&samples)
}

fn loudest(heard: &[Heard]) -> u16 {
    heard
        .iter()
        .flat_map(|packet| &packet.samples)
        .map(|sample| sample.unsigned_abs())
        .max()
        .unwrap_or(0)
}

/// Everybody talks at once for a while, then all send digital silence; returns what each hears from then on, packet by packet.
fn after_all_stopped(world: &mut World, phones: &mut [Phone], talkers: usize) -> Vec<Vec<Heard>> {
    for packet in 0..30 {
        for (talker, phone) in phones.iter_mut().enumerate() {
            let silence = mu_law(&[0; 160]);
            let payload = if talker < talkers {
                voice(talker, packet)
            } else {
                silence
            };
            world.speak(phone, &payload);
        }
        world.turns(4);
    }
    // One who talks alone hears nobody.
    for phone in phones.iter().skip(usize::from(talkers == 1)) {
        assert!(loudest(&world.audio(phone)) > 1000, "the voices are heard");
    }
    let mut heard = vec![Vec::new(); phones.len()];
    for _ in 0..60 {
        for phone in phones.iter_mut() {
            world.speak(phone, &mu_law(&[0; 160]));
        }
        world.turns(4);
        for (phone, heard) in phones.iter().zip(&mut heard) {
            heard.extend(world.audio(phone));
        }
    }
    heard
}

#[test]
fn talkers_who_fall_silent_are_silent_at_any_rate_of_the_mix() {
    for rate_hz in [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
        for talkers in [1, 2, 3, 5] {
            let mut world = World::new();
            let mut phones = world.legs(talkers + 1);
            let conference = world.conference_at(rate_hz, 20, 20, phones.len());
            phones.iter().for_each(|phone| world.join(phone, conference));
            world.turn();
            for (index, heard) in after_all_stopped(&mut world, &mut phones, talkers)
                .iter()
                .enumerate()
            {
                // What was under way when they stopped, and the tail of the conversions.
                let rest = &heard[2 + TAIL..];
                assert!(
                    loudest(rest) <= 8,
                    "{rate_hz} Hz, {talkers} talkers: participant {index} hears {}",
                    loudest(rest)
                );
            }
        }
    }
}

#[test]
fn a_quiet_participant_with_a_raised_volume_gives_back_nothing_of_the_mix() {
    let mut world = World::new();
    let mut phones = world.legs(3);
    let conference = world.conference_at(48_000, 20, 20, phones.len());
    for (phone, muted) in phones.iter().zip([false, false, true]) {
        let options = JoinOptions {
            muted,
            ..JoinOptions::default()
        };
        world.join_as(phone, conference, options);
    }
    world.turn();
    world.command(Command::Set {
        leg: phones[0].leg,
        change: MixChange::InputGainDb(12.0),
    });
    let mut heard = Vec::new();
    for packet in 0..40 {
        let [amplified, talker, listener] = &mut phones[..] else {
            unreachable!("there are three")
        };
        // Below the level even when it is amplified.
        world.speak(amplified, &mu_law(&[if packet % 2 == 0 { 0 } else { 2 }; 160]));
        world.speak(talker, &voice(1, packet));
        world.speak(listener, &mu_law(&[0; 160]));
        world.turns(4);
        heard.extend(world.audio(talker));
        world.audio(listener);
    }
    assert!(
        loudest(&heard) <= 8,
        "the talker hears himself: {}",
        loudest(&heard)
    );
}
