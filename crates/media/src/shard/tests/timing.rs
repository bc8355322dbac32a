//! When things happen: staggered conferences, lateness, catching up, skipping, timeouts, moving between shards.

use std::time::Duration;

use super::world::{MS, World, steady};
use crate::event::{LegId, MediaEvent};
use crate::io::Channel;
use crate::shard::command::{Command, Returned};
use crate::shard::workbench::MAX_BACKLOG;
use crate::shard::{MAX_CATCH_UP_TICKS, QUANTUM_NS};

#[test]
fn conferences_are_spread_over_their_interval() {
    let mut world = World::new();
    let phones = world.legs(8);
    for phone in &phones {
        let conference = world.conference(20, 20, 1);
        world.turn(); // whenever they are created
        world.join(phone, conference);
    }
    world.turns(40);
    world.forget();
    for _ in 0..20 {
        world.turn();
        let sent = phones
            .iter()
            .filter(|phone| world.heard(phone, Channel::Rtp).is_some())
            .count();
        assert_eq!(sent, 2, "eight conferences, four turns");
    }
}

#[test]
fn a_short_stall_is_made_up_for_and_a_long_one_skipped() {
    let mut world = World::new();
    let phones = world.legs(1);
    world.room(&phones, 20);
    world.turns(8);
    let last = world.audio(&phones[0]).pop().unwrap();
    // 60 ms late: three ticks at once.
    world.oversleep(12 * QUANTUM_NS);
    world.shard.turn();
    let caught_up = world.audio(&phones[0]);
    assert_eq!(caught_up.len(), 3);
    assert_eq!(caught_up[0].timestamp, last.timestamp.wrapping_add(160));
    assert_eq!(world.metrics().ticks_skipped, 0);
    // A second late: a few ticks, then media time goes on without them.
    world.turns(4);
    let last = world.audio(&phones[0]).pop().unwrap();
    world.oversleep(200 * QUANTUM_NS);
    world.shard.turn();
    assert_eq!(world.audio(&phones[0]).len() as u32, MAX_CATCH_UP_TICKS);
    assert_eq!(world.metrics().ticks_skipped, 50 - u64::from(MAX_CATCH_UP_TICKS));
    world.turns(4);
    let after = world.audio(&phones[0]);
    assert_eq!(after[0].timestamp, last.timestamp.wrapping_add(51 * 160));
    assert_eq!(
        after[0].sequence,
        last.sequence.wrapping_add(MAX_CATCH_UP_TICKS as u16 + 1)
    );
    assert!(after[0].marker, "as after silence");
    assert!(world.metrics().lateness.max_us >= 900_000);
}

#[test]
fn a_flood_from_elsewhere_does_not_hold_up_the_callers_audio() {
    let mut world = World::new();
    let mut phones = world.legs(1);
    world.room(&phones, 0);
    world.speak(&mut phones[0], &steady(8));
    world.turns(4);
    let elsewhere = "198.51.100.66:6666".parse().unwrap();
    let flood = |world: &World, datagrams: usize| {
        for _ in 0..datagrams {
            world.deliver(&phones[0], Channel::Rtp, elsewhere, &steady(8), 0);
        }
    };
    let before = world.metrics().packets_in;
    flood(&world, 20);
    let mut phone = phones[0];
    world.speak(&mut phone, &steady(8));
    world.turns(4);
    assert_eq!(
        world.metrics().packets_in - before,
        21,
        "the one behind the flood is read by the same tick"
    );
    let before = world.metrics().packets_in;
    flood(&world, 200);
    world.turns(4);
    assert_eq!(
        world.metrics().packets_in - before,
        u64::from(MAX_BACKLOG),
        "a flood takes a bounded part of a tick"
    );
}

#[test]
fn packets_that_came_together_are_read_together() {
    let mut world = World::new();
    let mut phones = world.legs(1);
    world.room(&phones, 0);
    let before = world.metrics().packets_in;
    world.speak(&mut phones[0], &steady(8));
    world.turns(4);
    assert_eq!(world.metrics().packets_in - before, 1);
    // A stall of the shard: five packets wait, 20 ms apart.
    for _ in 0..5 {
        world.speak(&mut phones[0], &steady(8));
        world.oversleep(4 * QUANTUM_NS);
    }
    world.shard.turn();
    assert_eq!(world.metrics().packets_in - before, 6);
    // Packets of 10 ms: two for each tick of 20.
    for _ in 0..50 {
        for _ in 0..2 {
            world.speak(&mut phones[0], &steady(8)[..80]);
            world.turns(2);
        }
    }
    assert!(
        world.metrics().packets_in - before >= 104,
        "{}",
        world.metrics().packets_in - before
    );
}

#[test]
fn silence_of_the_peer_is_told_and_its_end_too() {
    let mut world = World::new();
    let mut phones = world.legs(1);
    world.room(&phones, 20);
    world.speak(&mut phones[0], &steady(0));
    world.turns(61 * 200);
    let leg = LegId(0);
    let timeout = |seconds| MediaEvent::MediaTimeout {
        leg,
        silent: Duration::from_secs(seconds),
    };
    assert_eq!(world.events(), [timeout(60)]);
    world.turns(60 * 200);
    assert_eq!(world.events(), [timeout(120)]);
    world.speak(&mut phones[0], &steady(0));
    world.turns(60);
    assert_eq!(world.events(), [MediaEvent::MediaResumed { leg }]);
}

#[test]
fn talking_and_floor_are_told_and_muting_ends_them() {
    let mut world = World::new();
    let mut phones = world.legs(2);
    world.room(&phones, 20);
    let leg = LegId(0);
    for _ in 0..10 {
        world.speak(&mut phones[0], &steady(1000));
        world.turns(4);
    }
    let told = world.events();
    let count = |wanted: MediaEvent| told.iter().filter(|&&event| event == wanted).count();
    assert_eq!(count(MediaEvent::Talking { leg, talking: true }), 1, "{told:?}");
    let floor = told.iter().filter_map(|event| match event {
        MediaEvent::Floor { leg, .. } => Some(*leg),
        _ => None,
    });
    assert_eq!(floor.collect::<Vec<_>>(), [Some(leg)]);
    world.command(Command::SetMuted {
        leg: phones[0].leg,
        muted: true,
    });
    world.turns(4);
    let told = world.events();
    assert!(
        told.contains(&MediaEvent::Talking { leg, talking: false }),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|event| matches!(event, MediaEvent::Floor { leg: None, .. })),
        "{told:?}"
    );
}

#[test]
fn state_survives_a_full_event_ring() {
    let mut world = World::with_rings(1, 64);
    let mut phones = world.legs(2);
    world.room(&phones, 20);
    for tick in 0..100 {
        for phone in &mut phones {
            world.speak(phone, &steady(if tick < 20 { 1000 } else { 0 }));
        }
        world.turns(4);
    }
    let mut told = Vec::new();
    for _ in 0..100 {
        world.turns(4);
        told.extend(world.events());
    }
    for number in 0..2 {
        let of_leg = |event: &MediaEvent| matches!(event, MediaEvent::Talking { leg, .. } if leg.0 == number);
        let last = told.iter().rfind(|event| of_leg(event));
        let never_told = last.is_none();
        assert!(
            never_told
                || last
                    == Some(&MediaEvent::Talking {
                        leg: LegId(number),
                        talking: false
                    }),
            "{told:?}"
        );
    }
}

#[test]
fn commands_wait_while_nothing_can_be_given_back() {
    let mut world = World::with_rings(64, 1);
    let phones = world.legs(3);
    world.turn();
    for phone in &phones {
        let (reply, _) = tokio::sync::oneshot::channel();
        world.command(Command::TakeLeg {
            at: phone.leg,
            bye: false,
            reply,
        });
    }
    for left in [2, 1, 0] {
        world.turn();
        world.turn();
        assert_eq!(world.metrics().legs, left);
        assert!(matches!(world.returned.pop(), Ok(Returned::Leg { .. })));
    }
}

#[test]
fn a_leg_moves_between_shards_as_one_value() {
    let mut world = World::new();
    let mut phones = world.legs(2);
    let conference = world.room(&phones, 0);
    world.turns(8);
    let before = world.audio(&phones[0]).pop().unwrap();
    let leg = world.take(&phones[0], false).unwrap();
    assert!(
        world.heard(&phones[0], Channel::Rtcp).is_none(),
        "moving is no leaving"
    );
    world.turns(16);
    assert!(world.audio(&phones[0]).is_empty());
    phones[0].leg.generation += 1;
    world.command(Command::AddLeg {
        at: phones[0].leg,
        leg,
    });
    world.join(&phones[0], conference);
    world.turns(8);
    let after = world.audio(&phones[0]);
    assert_eq!(after[0].sequence, before.sequence.wrapping_add(1));
    assert!(after[0].marker);
    let advance = after[0].timestamp.wrapping_sub(before.timestamp);
    assert!(
        (4 * 160..=7 * 160).contains(&advance),
        "media time went on: {advance}"
    );
    assert_eq!(world.metrics().legs, 2);
}

#[test]
fn an_ended_conference_leaves_its_legs_silent_and_usable() {
    let mut world = World::new();
    let phones = world.legs(2);
    let first = world.room(&phones, 0);
    world.turns(8);
    world.command(Command::RemoveConference { at: first });
    world.turn();
    world.forget();
    world.turns(20);
    assert!(phones.iter().all(|phone| world.audio(phone).is_empty()));
    assert_eq!((world.metrics().conferences, world.metrics().legs), (0, 2));
    world.room(&phones, 0);
    world.turns(8);
    assert!(phones.iter().all(|phone| world.audio(phone).len() >= 2));
}

#[test]
fn a_leg_beyond_the_room_of_its_conference_waits_for_growth() {
    let mut world = World::new();
    let phones = world.legs(3);
    let conference = world.conference(20, 0, 2);
    for phone in &phones {
        world.join(phone, conference);
    }
    world.turns(8);
    assert!(world.audio(&phones[2]).is_empty());
    world.command(Command::Grow {
        at: conference,
        storage: World::storage(4),
    });
    world.join(&phones[2], conference);
    world.turns(8);
    assert!(!world.audio(&phones[2]).is_empty());
}

#[test]
fn a_conference_grows_whether_its_rate_was_raised_already_or_is_to_be() {
    for turns_between in [0, 1, 8] {
        let mut world = World::new();
        let mut phones = world.legs(4);
        let conference = world.conference(20, 0, 2);
        world.join(&phones[0], conference);
        world.turns(8);
        world.forget();
        world.raise(conference, 16_000, 2);
        world.turns(turns_between);
        let storage = World::raised_storage(16_000, 4);
        world.command(Command::Grow {
            at: conference,
            storage,
        });
        phones[1..].iter().for_each(|phone| world.join(phone, conference));
        for _ in 0..8 {
            world.speak(&mut phones[0], &steady(4000));
            world.turns(4);
        }
        for phone in &phones[1..] {
            let audio = world.audio(phone);
            let is_loud = |sample: &i16| *sample > 3000;
            let loud = audio
                .iter()
                .filter(|packet| packet.samples.iter().any(is_loud))
                .count();
            assert!(loud >= 4, "{turns_between} turns between: {loud} packets heard");
        }
    }
}

#[test]
fn an_idle_shard_says_so() {
    let mut world = World::new();
    assert!(world.shard.is_idle());
    let phones = world.legs(1);
    assert!(!world.shard.is_idle(), "a command waits");
    world.turn();
    assert!(!world.shard.is_idle());
    world.take(&phones[0], true);
    assert!(world.shard.is_idle());
    assert!(world.shard.next_turn_ns() <= world.now_ns() + QUANTUM_NS);
    world.oversleep(3600 * 1000 * MS);
    world.shard.resume();
    assert!(
        world.shard.next_turn_ns() >= world.now_ns(),
        "a rest is not made up for"
    );
}
