//! What a leg is heard to say, on its way out of the shard.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use confab_codec::{CodecKind, Coding, OpusSettings};
use confab_testkit::allocation::calls;

use super::allocation::{payloads, say};
use super::speaker::leg;
use super::world::{Phone, World, media, steady};
use crate::config::JoinOptions;
use crate::shard::command::{Command, MixChange, Returned};
use crate::tap::{HIGHEST_RATE_HZ, Tap, TapBlock, tap};

const MUTED: JoinOptions = JoinOptions {
    muted: true,
    deaf: true,
    ghost: false,
    held: false,
};

fn tap_of(world: &World, phone: &Phone, room_ms: usize) -> (Tap, Arc<AtomicU64>) {
    let dropped = Arc::default();
    let (reader, source) = tap(room_ms, HIGHEST_RATE_HZ, Arc::clone(&dropped));
    world.command(Command::Tap {
        leg: phone.leg,
        tap: Some(source),
    });
    (reader, dropped)
}

fn blocks(tap: &mut Tap) -> Vec<(TapBlock, Vec<i16>)> {
    let mut samples = Vec::new();
    std::iter::from_fn(|| tap.next(&mut samples).map(|block| (block, samples.clone()))).collect()
}

/// A leg alone in a mix, muted and deaf, as callers are before they are in a conference.
fn alone(world: &mut World, media: &crate::LegMedia) -> Phone {
    let phone = world.leg(media);
    let room = world.conference_at(media.coding.kind.sample_rate_hz(), 20, 0, 1);
    world.join_as(&phone, room, MUTED);
    world.turn();
    phone
}

#[test]
fn a_muted_leg_is_tapped_sample_for_sample() {
    let mut world = World::new();
    let mut phone = alone(&mut world, &media(0));
    let (mut reader, dropped) = tap_of(&world, &phone, 1000);
    world.turns(4 * 5);
    for n in 0..20 {
        world.speak(&mut phone, &steady(if n % 2 == 0 { 7932 } else { -4092 }));
        world.turns(4);
    }
    world.turns(4 * 5);
    let heard = blocks(&mut reader);
    assert!(heard.len() >= 28, "{}", heard.len());
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0.at_ms - pair[0].0.at_ms, 20, "no gap and no overlap");
    }
    assert!(
        heard
            .iter()
            .all(|(block, samples)| block.rate_hz == 8000 && samples.len() == 160)
    );
    let (first, last) = (&heard[0], &heard[heard.len() - 1]);
    assert!(first.0.is_silence && first.1 == [0; 160], "before he speaks");
    assert!(last.1.len() == 160);
    let begin = heard
        .iter()
        .position(|(_, samples)| samples[0] == 7932)
        .expect("he is heard");
    for (n, (block, samples)) in heard[begin..begin + 20].iter().enumerate() {
        let value = if n % 2 == 0 { 7932 } else { -4092 };
        assert!(!block.is_silence && *samples == [value; 160], "block {n}");
    }
    assert_eq!(dropped.load(Relaxed), 0);
    assert!(
        world.audio(&phone).iter().all(|packet| packet.level() == 0),
        "nobody hears him"
    );
}

#[test]
fn a_tap_hears_what_gates_and_holds_keep_out_of_the_mix_and_disturbs_nobody() {
    let mut world = World::new();
    let mut phones = world.legs(3);
    world.room(&phones, 2000);
    let (mut reader, _) = tap_of(&world, &phones[0], 1000);
    let change = MixChange::Held(true);
    let leg = phones[1].leg;
    world.command(Command::Set { leg, change });
    let (mut held, _) = tap_of(&world, &phones[1], 1000);
    for _ in 0..20 {
        world.speak(&mut phones[0], &steady(988));
        world.speak(&mut phones[1], &steady(7932));
        world.turns(4);
    }
    for (reader, value) in [(&mut reader, 988), (&mut held, 7932)] {
        let said = blocks(reader)
            .into_iter()
            .filter(|(_, samples)| *samples == [value; 160]);
        assert!(said.count() >= 15);
    }
    assert!(world.audio(&phones[2]).iter().all(|packet| packet.level() == 0));
}

#[test]
fn a_reader_who_is_late_misses_blocks_and_knows_which() {
    let mut world = World::new();
    let mut phone = alone(&mut world, &media(0));
    let (mut reader, dropped) = tap_of(&world, &phone, 20);
    let mut silent = || {
        world.speak(&mut phone, &steady(7932));
        world.turns(4);
    };
    (0..30).for_each(|_| silent());
    let early = blocks(&mut reader);
    (0..5).for_each(|_| silent());
    let late = blocks(&mut reader);
    let lost = dropped.load(Relaxed);
    assert!(lost > 10, "{lost}");
    let gap = late[0].0.at_ms - early[early.len() - 1].0.at_ms;
    assert_eq!(gap, 20 * (lost + 1), "as long as what was lost");
}

#[test]
fn opus_is_decoded_for_a_tap_even_while_it_is_muted() {
    let coding = Coding::new(CodecKind::Opus, OpusSettings::default());
    let said = payloads(coding, 100);
    let mut world = World::new();
    let mut phone = alone(&mut world, &leg(0, coding, 20));
    let (mut reader, _) = tap_of(&world, &phone, 4000);
    for payload in &said {
        say(&world, &mut phone, payload, 960);
        world.turns(4);
    }
    let heard = blocks(&mut reader);
    assert!(
        heard
            .iter()
            .all(|(block, samples)| block.rate_hz == 48_000 && samples.len() == 960)
    );
    let loud = heard
        .iter()
        .filter(|(_, samples)| confab_dsp::score(samples) > 500);
    assert!(loud.count() > 50);
}

#[test]
fn a_tap_goes_with_its_leg_and_is_freed_outside() {
    let mut world = World::new();
    let phone = alone(&mut world, &media(0));
    let (mut first, _) = tap_of(&world, &phone, 100);
    world.turns(8);
    let (mut second, _) = tap_of(&world, &phone, 100);
    world.turns(8);
    while let Ok(returned) = world.returned.pop() {
        if let Returned::Garbage(garbage) = returned {
            drop(garbage);
        }
    }
    assert!(
        !blocks(&mut first).is_empty() && first.is_over(),
        "the second took its place"
    );
    assert!(!blocks(&mut second).is_empty() && !second.is_over());
    let leg = world.take(&phone, true).expect("closed");
    drop(leg);
    assert!(second.next(&mut Vec::new()).is_none() && second.is_over());
}

#[test]
fn tapping_allocates_nothing() {
    let opus = Coding::new(CodecKind::Opus, OpusSettings::default());
    let medias = [leg(0, opus, 20), leg(1, CodecKind::G722.into(), 20), media(2)];
    let said = medias.each_ref().map(|media| payloads(media.coding, 100));
    let mut world = World::new();
    let mut phones = medias.each_ref().map(|media| world.leg(media));
    let room = world.conference_at(16_000, 20, 20, phones.len());
    for phone in &phones {
        world.join_as(phone, room, MUTED);
    }
    let spare = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| tap(100, HIGHEST_RATE_HZ, Arc::default()))
            .collect()
    };
    let (mut taps, mut given, mut unused) = (spare(30), Vec::with_capacity(40), Vec::with_capacity(40));
    // Nobody reads the last leg's: its ring is full soon.
    let (unread, dropped) = tap_of(&world, &phones[2], 200);
    let mut samples = Vec::with_capacity(5760);
    world.turns(40);
    let before = calls();
    let mut read = 0;
    for tick in 0..1000 {
        if tick % 50 == 0
            && let Some((reader, source)) = taps.pop()
        {
            let leg = phones[tick / 50 % 2].leg;
            given.push(reader);
            let tap = if tick % 200 == 150 {
                unused.push(source);
                None
            } else {
                Some(source)
            };
            world.command(Command::Tap { leg, tap });
        }
        for (phone, (payload, units)) in
            phones
                .iter_mut()
                .zip([(&said[0], 960), (&said[1], 160), (&said[2], 160)])
        {
            say(&world, phone, &payload[tick % 100], units);
        }
        world.turns(4);
        for reader in &mut given {
            while reader.next(&mut samples).is_some() {
                read += 1;
            }
        }
        while world.events.pop().is_ok() {}
        world.forget();
    }
    assert_eq!(calls() - before, 0);
    assert!(read > 900, "{read}");
    assert!(dropped.load(Relaxed) > 900);
    assert!(!unread.is_over());
}
