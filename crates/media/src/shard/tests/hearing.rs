//! Who hears what: mix-minus, mute, deaf, packet times, codecs, hold, bit-exactness.

use confab_rtp::RtpPacket;

use super::world::{Heard, MS, Phone, World, media, mu_law, renegotiate, steady};
use crate::config::{CodecKind, JoinOptions, MediaDirection};
use crate::event::{LegId, MediaEvent};
use crate::io::Channel;
use crate::metrics::DropReason;
use crate::shard::command::Command;

/// µ-law values whose sum is one too.
const A: i16 = 24;
const B: i16 = 40;

/// Runs `ticks` of 20 ms in which the phones send steady values; returns what each got.
fn talk(world: &mut World, phones: &mut [(Phone, i16)], ticks: usize) -> Vec<Vec<Heard>> {
    world.forget();
    let mut heard = vec![Vec::new(); phones.len()];
    for _ in 0..ticks {
        for (phone, value) in phones.iter_mut() {
            world.speak(phone, &steady(*value));
        }
        world.turns(4);
        for ((phone, _), heard) in phones.iter().zip(&mut heard) {
            heard.extend(world.audio(phone));
        }
    }
    heard
}

fn levels(heard: &[Heard]) -> Vec<i16> {
    heard.iter().map(Heard::level).collect()
}

/// The value in the last packet of each listener.
fn last_levels(heard: &[Vec<Heard>]) -> Vec<i16> {
    heard.iter().map(|heard| heard.last().unwrap().level()).collect()
}

#[test]
fn everybody_hears_the_others_and_not_himself() {
    let mut world = World::new();
    let phones = world.legs(4);
    world.room(&phones, 0);
    let mut phones: Vec<_> = phones.into_iter().zip([A, B, 0, 0]).collect();
    let heard = talk(&mut world, &mut phones, 50);
    assert_eq!(last_levels(&heard), [B, A, A + B, A + B]);
    for listener in &heard {
        assert_eq!(listener.len(), 50);
        for (before, after) in listener.iter().zip(&listener[1..]) {
            assert_eq!(after.sequence, before.sequence.wrapping_add(1));
            assert_eq!(after.timestamp, before.timestamp.wrapping_add(160));
            assert_eq!(after.ssrc, before.ssrc);
            assert!(!after.marker);
        }
    }
}

#[test]
fn a_leg_sends_nothing_before_it_joins_and_silence_when_nobody_talks() {
    let mut world = World::new();
    let phones = world.legs(1);
    world.turns(40);
    assert!(world.heard(&phones[0], Channel::Rtp).is_none());
    world.room(&phones, 20);
    world.turns(40);
    let heard = world.audio(&phones[0]);
    assert_eq!(heard.len(), 10);
    assert!(heard[0].marker && heard.iter().all(|packet| packet.level() == 0));
}

#[test]
fn muting_and_deafening_act_at_the_next_tick() {
    let mut world = World::new();
    let phones = world.legs(2);
    world.room(&phones, 0);
    let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
    talk(&mut world, &mut phones, 10);
    let (first, second) = (phones[0].0.leg, phones[1].0.leg);
    let rows: [(Command<usize>, [i16; 2]); 4] = [
        (
            Command::SetMuted {
                leg: first,
                muted: true,
            },
            [B, 0],
        ),
        (
            Command::SetDeaf {
                leg: first,
                deaf: true,
            },
            [0, 0],
        ),
        (
            Command::SetMuted {
                leg: first,
                muted: false,
            },
            [0, A],
        ),
        (
            Command::SetDeaf {
                leg: first,
                deaf: false,
            },
            [B, A],
        ),
    ];
    for (command, expected) in rows {
        world.command(command);
        let heard = talk(&mut world, &mut phones, 2);
        // The first packet after the command is changed already.
        assert_eq!(heard.iter().map(|h| h[0].level()).collect::<Vec<_>>(), expected);
    }
    world.command(Command::Leave { leg: second });
    let heard = talk(&mut world, &mut phones, 3);
    assert!(heard[1].is_empty());
    assert_eq!(levels(&heard[0]), [0, 0, 0]);
}

#[test]
fn a_leg_joins_muted_and_deaf() {
    let mut world = World::new();
    let phones = world.legs(2);
    let conference = world.conference(20, 0, 2);
    world.join_as(
        &phones[0],
        conference,
        JoinOptions {
            muted: true,
            deaf: true,
            ..JoinOptions::default()
        },
    );
    world.join(&phones[1], conference);
    let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
    let heard = talk(&mut world, &mut phones, 10);
    assert!(heard.iter().flatten().all(|packet| packet.level() == 0));
}

#[test]
fn a_tone_beside_fifty_silent_participants_stays_bit_exact_for_minutes() {
    const MINUTES: usize = 4;
    let mut world = World::new();
    let mut phones = world.legs(51);
    world.room(&phones, 20);
    let tone = |frame: usize| -> Vec<u8> {
        let sample = |i: usize| ((frame * 160 + i) as f64 * 0.7).sin() * 9000.0;
        let mut payload = mu_law(&(0..160).map(|i| sample(i) as i16).collect::<Vec<_>>());
        // Of the two codes for zero only the positive one comes out again: the samples are equal.
        payload
            .iter_mut()
            .filter(|code| **code == 0x7f)
            .for_each(|code| *code = 0xff);
        payload
    };
    let silence = steady(0);
    let (mut sent, mut expected) = (0, 0);
    let mut age_ns = 0;
    for tick in 0..MINUTES * 60 * 50 {
        let frame = tone(sent);
        sent += 1;
        age_ns = (age_ns * 7919 + 104_729) % (2 * MS); // arrivals wander within 2 ms
        let mut bytes = [0; 600];
        let len = super::world::rtp(&mut phones[0], 0, false, &frame, &mut bytes);
        phones[0].timestamp = phones[0].timestamp.wrapping_add(160);
        world.deliver(&phones[0], Channel::Rtp, phones[0].address, &bytes[..len], age_ns);
        for phone in &mut phones[1..] {
            world.speak(phone, &silence);
        }
        world.turns(4);
        let reference = world.heard(&phones[1], Channel::Rtp).unwrap();
        let payload = RtpPacket::parse(reference.bytes()).unwrap().payload().to_vec();
        for phone in &phones[2..] {
            let other = world.heard(phone, Channel::Rtp).unwrap();
            assert_eq!(RtpPacket::parse(other.bytes()).unwrap().payload(), payload);
        }
        assert_eq!(
            world.heard(&phones[0], Channel::Rtp).unwrap().bytes()[12..],
            silence,
            "not himself"
        );
        if tick >= 2 {
            if expected == 0 {
                assert_eq!(
                    payload[16..],
                    tone(0)[16..],
                    "the first frame is whole but for 2 ms of fading in"
                );
            } else {
                assert_eq!(payload, tone(expected), "frame {expected} at tick {tick}");
            }
            expected += 1;
        } else if payload != silence {
            assert_eq!(payload[16..], tone(expected)[16..]);
            expected += 1;
        }
    }
    assert!(
        sent - expected <= 2,
        "the delay is constant and small: {sent} sent, {expected} heard"
    );
    assert_eq!(world.metrics().ticks_skipped, 0);
}

#[test]
fn every_packet_time_is_honoured_and_hears_the_same() {
    let mut world = World::new();
    let mut talker = world.leg(&media(0));
    let ptimes = [10, 20, 30, 40, 50, 60];
    let listeners: Vec<_> = ptimes
        .iter()
        .zip(1..)
        .map(|(&ptime_ms, number)| {
            let codec = if ptime_ms % 20 == 0 {
                CodecKind::Pcmu
            } else {
                CodecKind::Pcma
            };
            let (send_pt, recv_pts) = if codec == CodecKind::Pcma {
                (8, vec![8])
            } else {
                (0, vec![0])
            };
            let mut media = media(number);
            (media.ptime_ms, media.coding, media.send_pt, media.recv_pts) =
                (ptime_ms, codec.into(), send_pt, recv_pts);
            world.leg(&media)
        })
        .collect();
    let everybody: Vec<_> = std::iter::once(talker).chain(listeners.iter().copied()).collect();
    world.room(&everybody, 0);
    let mut heard = vec![Vec::new(); listeners.len()];
    let stairs = |step: usize| 8 + 16 * (step % 8) as i16; // exact in both laws
    for step in 0..300 {
        world.speak(&mut talker, &mu_law(&[stairs(step); 160]));
        world.turns(4);
        for (listener, heard) in listeners.iter().zip(&mut heard) {
            heard.extend(world.audio(listener));
        }
    }
    for (ptime_ms, heard) in ptimes.iter().zip(&heard) {
        let samples = usize::from(*ptime_ms) * 8;
        assert!(
            heard.len() >= 300 * 20 / usize::from(*ptime_ms) - 2,
            "{ptime_ms} ms: {} packets",
            heard.len()
        );
        let payload_type = if ptime_ms % 20 == 0 { 0 } else { 8 };
        assert!(
            heard
                .iter()
                .all(|packet| packet.samples.len() == samples && packet.payload_type == payload_type)
        );
        assert!(heard.windows(2).all(|pair| {
            pair[1].timestamp == pair[0].timestamp.wrapping_add(samples as u32)
                && pair[1].sequence == pair[0].sequence.wrapping_add(1)
        }));
        // Put together again, the packets are the stairs: 160 samples a step, none missing, none twice.
        let audio: Vec<i16> = heard
            .iter()
            .flat_map(|packet| packet.samples.iter().copied())
            .collect();
        let start = audio.iter().position(|&sample| sample >= 8).unwrap();
        let steps: Vec<_> = audio[start..].chunk_by(|a, b| a == b).collect();
        let first = (0..8).find(|&step| stairs(step) == steps[0][0]).unwrap();
        for (number, step) in steps[..steps.len() - 1].iter().enumerate() {
            assert_eq!(step[0], stairs(first + number), "{ptime_ms} ms, step {number}");
            assert!(
                step.len() == 160 || number == 0,
                "{ptime_ms} ms, step {number}: {}",
                step.len()
            );
        }
        assert!(steps.len() > 290, "{ptime_ms} ms: {} steps", steps.len());
    }
}

#[test]
fn a_listener_who_begins_to_talk_within_a_packet_loses_nothing() {
    let mut world = World::new();
    let mut slow = media(0);
    slow.ptime_ms = 60;
    let listener = world.leg(&slow);
    let others = [world.leg(&media(1)), world.leg(&media(2))];
    world.room(&[listener, others[0], others[1]], 0);
    // He talks in every fifth frame: he hears the common mix in between, within his packets of three frames.
    let mut phones = [(listener, 0), (others[0], A), (others[1], B)];
    let mut heard = Vec::new();
    for tick in 0..300 {
        for (phone, value) in &mut phones {
            if phone.socket != listener.socket || tick % 5 == 0 {
                world.speak(phone, &steady(*value));
            }
        }
        world.turns(4);
        heard.extend(world.audio(&listener));
    }
    assert!(heard.len() >= 98);
    assert!(
        heard[3..]
            .iter()
            .all(|packet| packet.samples.len() == 480 && packet.level() == A + B)
    );
}

#[test]
fn long_and_short_packets_are_taken_in_whole() {
    for packet_ms in [10usize, 20, 30, 40, 60] {
        let mut world = World::new();
        let mut talker = world.leg(&media(0));
        let listener = world.leg(&media(1));
        world.room(&[talker, listener], 0);
        let mut sample = 0usize;
        let mut heard = Vec::new();
        for turn in 0..2000 {
            if (turn * 5) % packet_ms == 0 {
                let frame: Vec<i16> = (0..packet_ms * 8)
                    .map(|i| ((sample + i) % 64) as i16 * 8)
                    .collect();
                sample += frame.len();
                world.speak(&mut talker, &mu_law(&frame));
            }
            world.turn();
            heard.extend(
                world
                    .audio(&listener)
                    .into_iter()
                    .flat_map(|packet| packet.samples),
            );
        }
        let mut expected: Vec<i16> = (0..sample).map(|i| (i % 64) as i16 * 8).collect();
        let payload = mu_law(&expected);
        confab_codec::g711::Law::Mu.decode(&payload, &mut expected);
        let start = heard.iter().position(|&s| s != 0).unwrap();
        let first = expected.iter().position(|&s| s != 0).unwrap();
        let length = (heard.len() - start).min(expected.len() - first);
        let differs = (0..length).find(|&i| heard[start + i] != expected[first + i]);
        assert_eq!(differs, None, "{packet_ms} ms packets");
        assert!(length > 9 * 8000, "{packet_ms} ms packets: {length}");
    }
}

#[test]
fn hold_is_obeyed_both_ways() {
    let directions = [
        (MediaDirection::SendRecv, true, true),
        (MediaDirection::SendOnly, true, false),
        (MediaDirection::RecvOnly, false, true),
        (MediaDirection::Inactive, false, false),
    ];
    for (direction, sends, receives) in directions {
        let mut world = World::new();
        let phones = world.legs(2);
        world.room(&phones, 0);
        let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
        let before = talk(&mut world, &mut phones, 5);
        let mut held = media(0);
        held.direction = direction;
        world.command(renegotiate(phones[0].0.leg, &held));
        let heard = talk(&mut world, &mut phones, 10);
        assert_eq!(heard[0].len(), if sends { 10 } else { 0 }, "{direction:?}");
        assert_eq!(
            last_levels(&heard[1..]),
            [if receives { A } else { 0 }],
            "{direction:?}"
        );
        assert_eq!(
            world.dropped(DropReason::Direction) > 0,
            !receives,
            "{direction:?}"
        );
        world.command(renegotiate(phones[0].0.leg, &media(0)));
        let after = talk(&mut world, &mut phones, 10);
        assert_eq!(last_levels(&after), [B, A], "{direction:?}");
        // Sequence numbers go on, media time went on meanwhile.
        let (last, first) = (before[0].last().unwrap(), &after[0][0]);
        let sent = if sends { 11 } else { 1 };
        assert_eq!(first.sequence, last.sequence.wrapping_add(sent));
        assert_eq!(
            first.timestamp,
            last.timestamp.wrapping_add(11 * 160),
            "{direction:?}"
        );
        assert_eq!(first.marker, !sends);
    }
}

#[test]
fn the_null_address_stops_sending() {
    let mut world = World::new();
    let phones = world.legs(2);
    world.room(&phones, 0);
    let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
    let mut held = media(0);
    held.remote.set_ip([0, 0, 0, 0].into());
    world.command(renegotiate(phones[0].0.leg, &held));
    let heard = talk(&mut world, &mut phones, 10);
    assert!(heard[0].is_empty());
    assert_eq!(
        world.dropped(DropReason::SendForbidden),
        0,
        "it is hold, not a refusal"
    );
}

#[test]
fn what_comes_during_a_hold_by_the_null_address_is_not_lost() {
    let mut world = World::new();
    let phones = world.legs(2);
    world.room(&phones, 0);
    let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
    talk(&mut world, &mut phones, 10);
    let mut held = media(0);
    held.remote.set_ip([0, 0, 0, 0].into());
    held.direction = MediaDirection::SendOnly;
    world.command(renegotiate(phones[0].0.leg, &held));
    talk(&mut world, &mut phones, 60);
    assert_eq!(world.dropped(DropReason::Source), 0);
    assert_eq!(world.dropped(DropReason::Direction), 60);
    world.command(renegotiate(phones[0].0.leg, &media(0)));
    let after = talk(&mut world, &mut phones, 10);
    assert_eq!(last_levels(&after), [B, A]);
    let at = phones[0].0.leg;
    let leg = world
        .shard
        .legs
        .get(at.index, at.generation)
        .expect("the leg is there");
    assert_eq!(leg.stats.read().packets_lost, 0);
}

#[test]
fn a_change_of_codec_and_packet_time_goes_on_with_the_same_numbers() {
    let mut world = World::new();
    let phones = world.legs(2);
    world.room(&phones, 0);
    let mut phones: Vec<_> = phones.into_iter().zip([0, B]).collect();
    let before = talk(&mut world, &mut phones, 5);
    let mut changed = media(0);
    (
        changed.coding,
        changed.send_pt,
        changed.recv_pts,
        changed.ptime_ms,
    ) = (CodecKind::Pcma.into(), 8, vec![8], 40);
    world.command(renegotiate(phones[0].0.leg, &changed));
    phones[0].0.payload_type = 8;
    let after = talk(&mut world, &mut phones, 10);
    assert!(after[0].len() >= 4);
    assert!(
        after[0]
            .iter()
            .all(|packet| packet.payload_type == 8 && packet.samples.len() == 320)
    );
    assert_eq!(
        after[0][0].sequence,
        before[0].last().unwrap().sequence.wrapping_add(1)
    );
    let advance = after[0][0]
        .timestamp
        .wrapping_sub(before[0].last().unwrap().timestamp);
    assert!(advance == 160 || advance == 320, "{advance}");
}

#[test]
fn other_intervals_mix_too() {
    for interval_ms in [10, 30, 40, 60, 120] {
        let mut world = World::new();
        let phones = world.legs(2);
        let conference = world.conference(interval_ms, 0, 2);
        for phone in &phones {
            world.join(phone, conference);
        }
        let mut phones: Vec<_> = phones.into_iter().zip([A, B]).collect();
        let heard = talk(&mut world, &mut phones, 60);
        assert_eq!(last_levels(&heard), [B, A], "{interval_ms} ms");
        assert!(heard[0].len() >= 57, "{interval_ms} ms: {}", heard[0].len());
        assert!(
            heard[0][10..].iter().all(|packet| packet.level() == B),
            "{interval_ms} ms"
        );
    }
}

#[test]
fn a_ghost_hears_and_is_heard_and_never_has_the_floor() {
    let mut world = World::new();
    let phones = world.legs(3);
    let room = world.conference(20, 20, 3);
    let ghost = JoinOptions {
        ghost: true,
        ..JoinOptions::default()
    };
    world.join_as(&phones[0], room, ghost);
    world.join(&phones[1], room);
    world.join(&phones[2], room);
    world.turn();
    let floor = |world: &mut World| {
        let told = world.events().into_iter();
        told.filter_map(|event| match event {
            MediaEvent::Floor { leg, .. } => Some(leg),
            _ => None,
        })
        .collect::<Vec<_>>()
    };
    // He talks alone, and is heard by both.
    let mut talkers: Vec<_> = phones.into_iter().zip([7932, 0, 0]).collect();
    let heard = talk(&mut world, &mut talkers, 20);
    assert_eq!(last_levels(&heard), [0, 7932, 7932]);
    assert_eq!(floor(&mut world), []);
    // Beside him another one talks, who has the floor although he is less loud; the ghost hears him.
    talkers[1].1 = 4092;
    let heard = talk(&mut world, &mut talkers, 20);
    assert_eq!(heard[0].last().unwrap().level(), 4092);
    assert_eq!(heard[1].last().unwrap().level(), 7932);
    assert_eq!(floor(&mut world), [Some(LegId(1))]);
}
