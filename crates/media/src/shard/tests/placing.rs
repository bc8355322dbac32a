//! Legs that a shard cannot place in a conference: whoever asked is told, and it is counted.

use super::world::{Phone, World, steady};
use crate::metrics::JoinRefusal;
use crate::shard::command::{Command, Returned};
use crate::shard::key::ConferenceKey;

/// What came of the joins that were asked for since the last look.
fn outcomes(world: &mut World) -> Vec<Result<(), JoinRefusal>> {
    world.turn();
    let returned = std::iter::from_fn(|| world.returned.pop().ok());
    returned
        .filter_map(|returned| match returned {
            Returned::Joined { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect()
}

fn refused(world: &World, refusal: JoinRefusal) -> u64 {
    world.metrics().joins_refused[refusal as usize]
}

fn hears_anything(world: &mut World, phone: &Phone, talker: &mut Phone) -> bool {
    world.forget();
    for _ in 0..20 {
        world.speak(talker, &steady(1000));
        world.turns(4);
    }
    world
        .audio(phone)
        .iter()
        .any(|heard| heard.samples.iter().any(|&sample| sample != 0))
}

#[test]
fn a_leg_without_room_is_refused_and_counted_and_may_try_elsewhere() {
    let mut world = World::new();
    let mut phones = world.legs(4);
    let small = world.conference(20, 0, 2);
    for phone in &phones[..3] {
        world.join(phone, small);
    }
    assert_eq!(outcomes(&mut world), [Ok(()), Ok(()), Err(JoinRefusal::Members)]);
    assert_eq!(refused(&world, JoinRefusal::Members), 1);
    let mut talker = phones.remove(0);
    assert!(hears_anything(&mut world, &phones[0], &mut talker));
    assert!(!hears_anything(&mut world, &phones[1], &mut talker));

    let other = world.conference(20, 0, 2);
    world.join(&phones[1], other);
    world.join(&phones[2], other);
    assert_eq!(outcomes(&mut world), [Ok(()), Ok(())]);
    let mut talker = phones.pop().unwrap();
    assert!(hears_anything(&mut world, &phones[1], &mut talker));
    // Whoever is refused elsewhere has left where he was.
    world.join(&phones[1], small);
    assert_eq!(outcomes(&mut world), [Err(JoinRefusal::Members)]);
    assert!(!hears_anything(&mut world, &phones[1], &mut talker));
    assert_eq!(refused(&world, JoinRefusal::Members), 2);
}

#[test]
fn what_is_not_there_is_told_apart() {
    let mut world = World::new();
    let phones = world.legs(2);
    let room = world.room(&phones, 0);
    outcomes(&mut world);
    let nowhere = ConferenceKey {
        index: room.index,
        generation: room.generation + 1,
    };
    world.join(&phones[0], nowhere);
    assert_eq!(outcomes(&mut world), [Err(JoinRefusal::NoConference)]);
    world.command(Command::RemoveConference { at: room });
    world.join(&phones[1], room);
    assert_eq!(outcomes(&mut world), [Err(JoinRefusal::NoConference)]);
    let gone = phones[1];
    assert!(world.take(&gone, false).is_some());
    world.join(&gone, room);
    assert_eq!(outcomes(&mut world), [Err(JoinRefusal::NoLeg)]);
    assert_eq!(
        JoinRefusal::ALL.map(|reason| refused(&world, reason)),
        [1, 2, 0, 0, 0, 0]
    );
}
