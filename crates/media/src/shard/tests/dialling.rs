//! Digits that go out: telephone-events in place of the audio of one leg, while nobody else notices.

use confab_codec::{CodecKind, Coding};

use super::speaker::{Voice, l16, leg};
use super::world::{Phone, World, media, rtp, steady};
use crate::config::{LegMedia, TelephoneEventMedia};
use crate::event::MediaEvent;
use crate::io::Channel;
use crate::leg::dialling::Dialling;
use crate::shard::command::{Command, MixChange};

/// A packet as it was sent to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) fn sent(world: &World, phone: &Phone) -> Vec<Sent> {
    std::iter::from_fn(|| world.heard(phone, Channel::Rtp))
        .map(|packet| {
            let rtp = confab_rtp::RtpPacket::parse(packet.bytes()).unwrap();
            Sent {
                payload_type: rtp.payload_type().value(),
                marker: rtp.marker(),
                sequence: rtp.sequence_number().0,
                timestamp: rtp.timestamp().0,
                payload: rtp.payload().to_vec(),
            }
        })
        .collect()
}

pub(super) fn dial(world: &mut World, phone: &Phone, digits: &str, duration_ms: u32) {
    let dialling = Box::new(Dialling::parse(digits, duration_ms).unwrap());
    let stats = world.shard.legs.get(phone.leg.index, phone.leg.generation);
    assert!(stats.unwrap().stats.reserve_dialling(dialling.len()), "room");
    world.command(Command::Dial {
        leg: phone.leg,
        dialling,
    });
}

fn events(media: &mut LegMedia, clock_rate_hz: u32) {
    media.telephone_event = Some(TelephoneEventMedia {
        send_pt: 110,
        recv_pt: 101,
        clock_rate_hz,
    });
}

/// Lets one talk for so many packets of 20 ms, and returns what the others were sent.
fn talk(world: &mut World, talker: &mut Phone, packets: usize, others: &[Phone]) -> Vec<Vec<Sent>> {
    let mut all = vec![Vec::new(); others.len()];
    for _ in 0..packets {
        world.speak(talker, &steady(8031));
        world.turns(4);
        for (all, other) in all.iter_mut().zip(others) {
            all.extend(sent(world, other));
        }
    }
    all
}

#[test]
fn a_digit_takes_the_place_of_the_audio_and_the_stream_goes_on_in_its_time() {
    let mut world = World::new();
    let mut first = media(0);
    events(&mut first, 8000);
    let mut talker = world.leg(&media(5));
    let dialled = world.leg(&first);
    let other = world.leg(&media(2));
    world.room(&[talker, dialled, other], 20);
    talk(&mut world, &mut talker, 30, &[dialled, other]);
    let mut packets = talk(&mut world, &mut talker, 5, &[dialled, other]);
    dial(&mut world, &dialled, "7", 100);
    let rest = talk(&mut world, &mut talker, 25, &[dialled, other]);
    for (packets, rest) in packets.iter_mut().zip(rest) {
        packets.extend(rest);
    }
    let [dialled_to, other] = [&packets[0], &packets[1]];
    assert!(other.iter().all(|packet| packet.payload == steady(8031)));
    assert!(
        other
            .windows(2)
            .all(|pair| pair[1].timestamp == pair[0].timestamp.wrapping_add(160))
    );
    assert_eq!(other.len(), 30);

    let (events, audio): (Vec<_>, Vec<_>) = dialled_to.iter().partition(|packet| packet.payload_type == 110);
    let shape: Vec<_> = events
        .iter()
        .map(|event| {
            let [digit, flags, high, low] = event.payload[..] else {
                panic!("{event:?}")
            };
            (
                digit,
                event.marker,
                flags >> 7 == 1,
                u16::from_be_bytes([high, low]),
            )
        })
        .collect();
    let expected = [
        (7, true, false, 160),
        (7, false, false, 320),
        (7, false, false, 480),
        (7, false, false, 640),
        (7, false, true, 800),
        (7, false, true, 800),
        (7, false, true, 800),
    ];
    assert_eq!(shape, expected);
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].timestamp == pair[1].timestamp)
    );
    assert!(
        dialled_to
            .windows(2)
            .all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)),
        "one sequence for both"
    );
    // Five packets of audio are missing, their time is not. The one before makes way.
    assert_eq!(audio.len(), 25);
    let gaps: Vec<_> = audio
        .windows(2)
        .map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp))
        .filter(|&step| step != 160)
        .collect();
    assert_eq!(gaps, [160 * 6]);
    let resumed = audio
        .iter()
        .position(|packet| packet.marker)
        .expect("a new talk spurt");
    assert_eq!(
        audio[resumed - 1].timestamp.wrapping_add(160),
        events[0].timestamp
    );
    assert_eq!(audio.iter().filter(|packet| packet.marker).count(), 1);
    let steady = steady(8031);
    let last = &audio[resumed - 1].payload;
    assert_eq!(last[..144], steady[..144]);
    assert_ne!(last[150..], steady[150..]);
    assert!(audio[..resumed - 1].iter().all(|packet| packet.payload == steady));
    // It begins softly, and from the second packet on it is what everybody is sent.
    assert_ne!(audio[resumed].payload, steady);
    assert_eq!(audio[resumed].payload[16..], steady[16..]);
    assert!(audio[resumed + 1..].iter().all(|packet| packet.payload == steady));
    assert_eq!(world.stats(&dialled).digits_sent, 1);
}

#[test]
fn durations_count_in_the_clock_of_the_events() {
    let rows = [
        (l16(16_000), 16_000, 320, 320),
        (CodecKind::Opus, 48_000, 960, 960),
        // A peer whose only events count at 8000 Hz, whatever its codec.
        (CodecKind::Opus, 8000, 960, 160),
        (CodecKind::G722, 8000, 160, 160),
    ];
    for (kind, clock_rate_hz, audio_units, event_units) in rows {
        let mut world = World::new();
        let mut media = leg(0, Coding::from(kind), 20);
        events(&mut media, clock_rate_hz);
        let phone = world.leg(&media);
        let room = world.conference_at(48_000, 20, 20, 2);
        world.join(&phone, room);
        world.turns(40);
        world.forget();
        dial(&mut world, &phone, "12", 60);
        world.turns(4 * 40);
        let packets = sent(&world, &phone);
        let events: Vec<_> = packets
            .iter()
            .filter(|packet| packet.payload_type == 110)
            .collect();
        assert_eq!(events.len(), 2 * 5, "{kind:?} {clock_rate_hz}");
        let durations: Vec<_> = events
            .iter()
            .map(|event| u16::from_be_bytes([event.payload[2], event.payload[3]]))
            .collect();
        let expected = [1, 2, 3, 3, 3].map(|slots: u16| slots * event_units);
        assert_eq!(
            durations,
            [expected, expected].concat(),
            "{kind:?} {clock_rate_hz}"
        );
        let apart = events[5].timestamp.wrapping_sub(events[0].timestamp);
        assert_eq!(apart, audio_units * (3 + 5), "100 ms of pause");
        assert_eq!(world.stats(&phone).digits_sent, 2);
    }
}

/// Decodes what a phone was sent, with silence for the time in which nothing was.
fn decode(kind: CodecKind, ptime_ms: u32, packets: &[Sent]) -> Vec<i16> {
    let mut decoder = kind.decoder();
    let mut heard = Vec::new();
    let mut next = None;
    let samples = (kind.sample_rate_hz() * ptime_ms / 1000) as usize;
    let units = kind.rtp_clock_hz() * ptime_ms / 1000;
    for packet in packets.iter().filter(|packet| packet.payload_type != 110) {
        if let Some(next) = next {
            let gap = packet.timestamp.wrapping_sub(next) / units;
            heard.resize(heard.len() + gap as usize * samples, 0);
        }
        let mut pcm = vec![0; 5760];
        let decoded = decoder.decode(&packet.payload, &mut pcm).unwrap();
        heard.extend_from_slice(&pcm[..decoded]);
        next = Some(packet.timestamp.wrapping_add(units));
    }
    heard
}

pub(super) fn largest_step(samples: &[i16]) -> i32 {
    samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs())
        .max()
        .unwrap_or(0)
}

#[test]
fn after_a_digit_the_far_decoder_goes_on_without_a_click_and_its_group_notices_nothing() {
    for kind in [CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus, l16(16_000)] {
        // The same room twice: with a digit to one leg, and without.
        let run = |digits: &str| {
            let mut world = World::new();
            let talker_coding = Coding::from(l16(16_000));
            let mut talker = world.leg(&leg(0, talker_coding, 20));
            let listeners = [1, 2, 3].map(|number| {
                let mut media = leg(number, Coding::from(kind), 20);
                events(&mut media, 8000);
                world.leg(&media)
            });
            let room = world.conference_at(16_000, 20, 20, 4);
            world.join(&talker, room);
            for listener in &listeners {
                world.join(listener, room);
            }
            let mut voice = Voice::new(16_000);
            let mut encoder = talker_coding.encoder();
            let mut packets = [const { Vec::new() }; 3];
            for tick in 0..400 {
                let mut pcm = [0; 320];
                voice.fill(&mut pcm);
                let mut payload = [0; 640];
                let length = encoder.encode(&pcm, &mut payload);
                let timestamp = talker.timestamp;
                world.speak(&mut talker, &payload[..length]);
                talker.timestamp = timestamp.wrapping_add(320);
                if tick == 100 && !digits.is_empty() {
                    dial(&mut world, &listeners[0], digits, 100);
                }
                world.turns(4);
                for (packets, listener) in packets.iter_mut().zip(&listeners) {
                    packets.extend(sent(&world, listener));
                }
            }
            packets
        };
        let plain = run("");
        let dialled = run("4");
        assert_eq!(
            plain[1..],
            dialled[1..],
            "{kind:?}: the others hear what they heard"
        );
        let (expected, heard) = (decode(kind, 20, &plain[0]), decode(kind, 20, &dialled[0]));
        assert_eq!(expected.len(), heard.len(), "{kind:?}: nothing moved in time");
        assert!(
            largest_step(&heard) <= largest_step(&expected) * 5 / 4,
            "{kind:?}: {} against {}",
            largest_step(&heard),
            largest_step(&expected)
        );
        // A second later it hears what the others do, as far as its codec tells.
        let settled = heard.len() / 400 * 160;
        let power = |samples: &mut dyn Iterator<Item = f64>| samples.map(|value| value * value).sum::<f64>();
        let error = power(
            &mut expected[settled..]
                .iter()
                .zip(&heard[settled..])
                .map(|(a, b)| f64::from(*a) - f64::from(*b)),
        );
        let signal = power(&mut expected[settled..].iter().map(|&value| f64::from(value)));
        let error_db = 10.0 * (error / signal).log10();
        println!("{kind:?}: error {error_db:.1} dB a second later");
        let bound = match kind {
            CodecKind::Opus => -12.0,
            // Two encoders of one signal: what they do not have in common is their noise.
            CodecKind::G722 => -15.0,
            _ => f64::NEG_INFINITY,
        };
        assert!(error_db <= bound, "{kind:?}: {error_db:.1} dB");
    }
}

#[test]
fn digits_wait_in_turn_and_pauses_between_them() {
    let mut world = World::new();
    let phone = world.leg(&media(0));
    world.room(&[phone], 20);
    world.turns(20);
    world.forget();
    dial(&mut world, &phone, "1w2", 80);
    world.turns(4 * 60);
    let packets = sent(&world, &phone);
    let starts: Vec<_> = packets
        .iter()
        .filter(|packet| packet.payload_type == 101 && packet.marker)
        .map(|packet| (packet.payload[0], packet.timestamp))
        .collect();
    assert_eq!(starts.len(), 2, "{starts:?}");
    // 80 ms of digit, 100 ms that always lie between two, 500 ms asked for.
    assert_eq!(starts[1].1.wrapping_sub(starts[0].1), 8 * (80 + 100 + 500));
    let leg = world.shard.legs.get(0, 1).unwrap();
    assert!(!leg.output.dials, "nothing is left to do");
    assert!(leg.stats.reserve_dialling(32), "and every place is free again");
}

#[test]
fn the_queue_is_bounded_and_given_up_with_the_conference() {
    let mut world = World::new();
    let phone = world.leg(&media(0));
    let room = world.room(&[phone], 20);
    dial(&mut world, &phone, &"5".repeat(32), 6000);
    world.turns(8);
    let leg = world.shard.legs.get(0, 1).unwrap();
    assert!(leg.stats.reserve_dialling(1), "one sounds and waits no more");
    assert!(!leg.stats.reserve_dialling(1), "31 wait, and one is on its way");
    leg.stats
        .dialling
        .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    world.command(Command::Leave { leg: phone.leg });
    world.turn();
    let leg = world.shard.legs.get(0, 1).unwrap();
    assert!(leg.stats.reserve_dialling(32));
    leg.stats
        .dialling
        .fetch_sub(32, std::sync::atomic::Ordering::Relaxed);
    // Out of the conference nothing is queued.
    dial(&mut world, &phone, "9", 100);
    world.turn();
    world.join(&phone, room);
    world.forget();
    world.turns(100);
    assert!(sent(&world, &phone).iter().all(|packet| packet.payload_type == 0));
    assert_eq!(world.stats(&phone).digits_sent, 1);
}

#[test]
fn a_peer_that_is_not_sent_to_gets_no_digits_later() {
    let mut world = World::new();
    let mut held = media(0);
    let phone = world.leg(&held);
    world.room(&[phone], 20);
    dial(&mut world, &phone, "555", 100);
    held.direction = crate::config::MediaDirection::Inactive;
    world.command(super::world::renegotiate(phone.leg, &held));
    world.turns(40);
    held.direction = crate::config::MediaDirection::SendRecv;
    world.command(super::world::renegotiate(phone.leg, &held));
    world.turns(20);
    world.forget();
    world.turns(100);
    assert!(sent(&world, &phone).iter().all(|packet| packet.payload_type == 0));
}

#[test]
fn a_talkers_keys_are_sent_on_to_everybody_else_when_asked_for() {
    let mut world = World::new();
    let mut deaf_to_keys = media(2);
    deaf_to_keys.telephone_event = None;
    let medias = [media(0), media(1), deaf_to_keys];
    let mut phones = medias.each_ref().map(|media| world.leg(media));
    world.room(&phones, 20);
    let press = |world: &mut World, phone: &mut Phone| {
        for step in 1..=7_u16 {
            let [high, low] = (step.min(5) * 160).to_be_bytes();
            let flags = if step >= 5 { 0x8a } else { 10 };
            let mut bytes = [0; 16];
            let length = rtp(phone, 101, step == 1, &[3, flags, high, low], &mut bytes);
            world.deliver(phone, Channel::Rtp, phone.address, &bytes[..length], 0);
            world.turns(4);
        }
        phone.timestamp = phone.timestamp.wrapping_add(7 * 160);
        world.turns(4 * 20);
    };
    let keys = |world: &World, phone: &Phone| {
        sent(world, phone)
            .into_iter()
            .filter(|packet| packet.payload_type == 101 && packet.marker)
            .map(|packet| packet.payload[0])
            .collect::<Vec<_>>()
    };
    press(&mut world, &mut phones[0]);
    assert!(
        phones.iter().all(|phone| keys(&world, phone).is_empty()),
        "not asked for"
    );
    let change = MixChange::DistributeDigits(true);
    world.command(Command::Set {
        leg: phones[0].leg,
        change,
    });
    press(&mut world, &mut phones[0]);
    press(&mut world, &mut phones[1]);
    let [first, second, third] = phones.each_ref().map(|phone| keys(&world, phone));
    assert_eq!((first, second, third), (vec![], vec![3], vec![]));
    let told = world
        .events()
        .into_iter()
        .filter(|event| matches!(event, MediaEvent::Dtmf { .. }));
    assert_eq!(told.count(), 3, "and it is told as ever");
}
