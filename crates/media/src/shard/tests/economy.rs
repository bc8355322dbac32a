//! What is sent follows what the peer says: comfort noise in place of silence, repair data where packets are lost.

use confab_codec::{CodecKind, Coding, OpusSettings};
use confab_rtp::Ssrc;
use confab_rtp::rtcp::{ReportBlock, RtcpWriter};

use super::dialling::{Sent, largest_step, sent};
use super::speaker::{Voice, l16, leg};
use super::world::{Phone, World, media, steady};
use crate::config::{ComfortNoiseMedia, LegMedia};
use crate::io::Channel;

fn with_noise(mut media: LegMedia, payload_type: u8) -> LegMedia {
    media.comfort_noise = Some(ComfortNoiseMedia {
        send_pt: payload_type,
        recv_pt: payload_type,
    });
    media
}

/// Lets so many packets of 20 ms pass, in which somebody says something or nothing.
fn pass(world: &mut World, talker: &mut Phone, packets: usize, value: i16, listener: &Phone) -> Vec<Sent> {
    let mut all = Vec::new();
    for _ in 0..packets {
        world.speak(talker, &steady(value));
        world.turns(4);
        all.extend(sent(world, listener));
    }
    all
}

#[test]
fn silence_is_described_instead_of_sent_where_that_was_agreed() {
    let mut world = World::new();
    let mut talker = world.leg(&media(0));
    let thrifty = world.leg(&with_noise(media(1), 13));
    let plain = world.leg(&media(2));
    world.room(&[talker, thrifty, plain], 20);
    let spoken = pass(&mut world, &mut talker, 20, 8031, &thrifty);
    assert!(spoken.iter().all(|packet| packet.payload_type == 0));
    world.forget();
    // The gate closes after 40 quiet frames; then there is nothing to send.
    let silent = pass(&mut world, &mut talker, 200, 0, &thrifty);
    let continuous = sent(&world, &plain).len();
    assert_eq!(continuous, 200, "who did not agree is sent every packet");
    let noise: Vec<_> = silent.iter().filter(|packet| packet.payload_type == 13).collect();
    assert!((3..=4).contains(&noise.len()), "once a second: {}", noise.len());
    assert!(
        noise
            .iter()
            .all(|packet| packet.payload == [127] && !packet.marker)
    );
    assert!(silent.len() - noise.len() < 60, "{}", silent.len());
    let all: Vec<_> = silent
        .into_iter()
        .chain(pass(&mut world, &mut talker, 20, 8031, &thrifty))
        .collect();
    let resumed = all
        .iter()
        .rposition(|packet| packet.marker)
        .expect("a talk spurt");
    // The gate fades him in over 2 ms, and nothing is cut off.
    assert!(all[resumed].payload_type == 0 && all[resumed].payload[16..] == steady(8031)[16..]);
    assert!(
        all.windows(2)
            .all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)),
        "no packet is missed"
    );
    let time = all.last().unwrap().timestamp.wrapping_sub(all[0].timestamp);
    let ticks = time / 160;
    assert!((215..=220).contains(&ticks), "the media clock went on: {ticks}");
}

#[test]
fn the_noise_of_the_conference_is_described_by_its_level() {
    let mut world = World::new();
    world.comfort_noise = 1000;
    let listener = world.leg(&with_noise(media(0), 13));
    world.room(&[listener], 20);
    world.turns(4 * 10);
    let packets = sent(&world, &listener);
    let levels: Vec<_> = packets
        .iter()
        .filter(|packet| packet.payload_type == 13)
        .map(|packet| packet.payload[0])
        .collect();
    // Even noise within full scale divided by 1000: 60 dB below it, and 4.8 dB more for what is even.
    assert!(levels.len() == 1 && (63..=67).contains(&levels[0]), "{levels:?}");
}

#[test]
fn a_digit_ends_a_pause_and_a_pause_follows_it() {
    let mut world = World::new();
    let listener = world.leg(&with_noise(media(0), 13));
    world.room(&[listener], 20);
    world.turns(4 * 20);
    world.forget();
    super::dialling::dial(&mut world, &listener, "3", 100);
    world.turns(4 * 40);
    let packets = sent(&world, &listener);
    let kinds: Vec<_> = packets.iter().map(|packet| packet.payload_type).collect();
    let events = kinds.iter().filter(|&&kind| kind == 101).count();
    assert_eq!(events, 7, "{kinds:?}");
    assert!(kinds.iter().filter(|&&kind| kind == 13).count() >= 1, "{kinds:?}");
    assert!(kinds.len() < 20, "{kinds:?}");
}

#[test]
fn codecs_with_a_memory_and_other_clocks_pause_without_a_click() {
    for (kind, payload_type) in [(CodecKind::G722, 13), (l16(16_000), 105)] {
        let run = |pauses: bool| {
            let mut world = World::new();
            let coding = Coding::from(l16(16_000));
            let mut talker = world.leg(&leg(0, coding, 20));
            let mut heard = leg(1, Coding::from(kind), 20);
            if pauses {
                heard = with_noise(heard, payload_type);
            }
            let listener = world.leg(&heard);
            let room = world.conference_at(16_000, 20, 20, 2);
            world.join(&talker, room);
            world.join(&listener, room);
            let mut voice = Voice::new(16_000);
            let mut encoder = coding.encoder();
            let mut packets = Vec::new();
            for tick in 0..400 {
                let mut pcm = [0; 320];
                voice.fill(&mut pcm);
                if (100..250).contains(&tick) {
                    pcm.fill(0);
                }
                let mut payload = [0; 640];
                let length = encoder.encode(&pcm, &mut payload);
                let timestamp = talker.timestamp;
                world.speak(&mut talker, &payload[..length]);
                talker.timestamp = timestamp.wrapping_add(320);
                world.turns(4);
                packets.extend(sent(&world, &listener));
            }
            let mut decoder = kind.decoder();
            let mut decoded = Vec::new();
            let (mut next, units) = (packets[0].timestamp, kind.rtp_clock_hz() / 50);
            for packet in packets
                .iter()
                .filter(|packet| packet.payload_type != payload_type)
            {
                let gap = packet.timestamp.wrapping_sub(next) / units;
                decoded.resize(decoded.len() + gap as usize * 320, 0);
                let mut pcm = vec![0; 1920];
                let samples = decoder.decode(&packet.payload, &mut pcm).unwrap();
                decoded.extend_from_slice(&pcm[..samples]);
                next = packet.timestamp.wrapping_add(units);
            }
            (packets.len(), decoded)
        };
        let (continuous, expected) = run(false);
        let (paused, heard) = run(true);
        assert!(paused + 80 < continuous, "{kind:?}: {paused} of {continuous}");
        assert!(heard.len() >= expected.len() - 320, "{kind:?}");
        assert!(
            largest_step(&heard) <= largest_step(&expected) * 5 / 4,
            "{kind:?}: {} against {}",
            largest_step(&heard),
            largest_step(&expected)
        );
    }
}

/// Lets a phone report this loss of what it is sent, in 1/256.
pub(super) fn report(world: &World, phone: &Phone, fraction_lost: u8) {
    let mut buffer = [0; 128];
    let mut writer = RtcpWriter::new(&mut buffer);
    let block = ReportBlock {
        ssrc: Ssrc(0x1000 + phone.socket as u32),
        fraction_lost,
        cumulative_lost: 0,
        highest_sequence: 0,
        jitter: 0,
        last_sender_report: 0,
        delay_since_last_sender_report: 0,
    };
    writer.receiver_report(Ssrc(phone.ssrc), &[block]).unwrap();
    let from = std::net::SocketAddr::new(phone.address.ip(), 4001);
    world.deliver(phone, Channel::Rtcp, from, writer.finish(), 0);
}

#[test]
fn opus_carries_repair_data_for_those_who_report_loss_and_for_nobody_else() {
    let settings = OpusSettings {
        bitrate_bps: 24_000,
        inband_fec: true,
        max_playback_rate_hz: 16_000,
        ..OpusSettings::default()
    };
    let opus = Coding::new(CodecKind::Opus, settings);
    // With and without anybody who reports loss, to compare.
    let run = |lossy: bool| {
        let mut world = World::new();
        let mut talker = world.leg(&leg(0, Coding::from(l16(16_000)), 20));
        let listeners = [1, 2, 3].map(|number| world.leg(&leg(number, opus, 20)));
        let room = world.conference_at(16_000, 20, 20, 4);
        world.join(&talker, room);
        for listener in &listeners {
            world.join(listener, room);
        }
        let mut voice = Voice::new(16_000);
        let mut encoder = Coding::from(l16(16_000)).encoder();
        let mut decoders = listeners.map(|_| CodecKind::Opus.decoder());
        let mut heard = [const { Vec::new() }; 3];
        // Packets with repair data, in each of five spans of 6 s.
        let mut repaired = [[0_u32; 5]; 3];
        for tick in 0..1500 {
            let mut pcm = [0; 320];
            voice.fill(&mut pcm);
            let mut payload = [0; 640];
            let length = encoder.encode(&pcm, &mut payload);
            let timestamp = talker.timestamp;
            world.speak(&mut talker, &payload[..length]);
            talker.timestamp = timestamp.wrapping_add(320);
            if lossy && tick % 50 == 40 {
                report(&world, &listeners[2], 0);
                match tick {
                    300..=600 => report(&world, &listeners[0], 26),
                    601.. => report(&world, &listeners[0], 0),
                    _ => {}
                }
                if (600..900).contains(&tick) {
                    report(&world, &listeners[1], 13);
                }
            }
            world.turns(4);
            for (number, listener) in listeners.iter().enumerate() {
                for packet in sent(&world, listener) {
                    let mut pcm = vec![0; 5760];
                    let decoder = &mut decoders[number];
                    repaired[number][tick / 300] += u32::from(decoder.carries_fec(&packet.payload));
                    let samples = decoder.decode(&packet.payload, &mut pcm).unwrap();
                    heard[number].extend_from_slice(&pcm[..samples]);
                }
            }
        }
        (repaired, heard)
    };
    let (none, expected) = run(false);
    assert_eq!(none, [[0; 5]; 3]);
    let (repaired, heard) = run(true);
    println!("{repaired:?}");
    let [first, second, third] = repaired;
    assert_eq!(third, [0; 5], "no loss, no repair data");
    assert_eq!(first[0], 0);
    assert!(first[1] > 60 && first[2] > 60, "{first:?}");
    assert!(
        first[4] < 10,
        "and none half a minute of reports later: {first:?}"
    );
    assert!(second[..2] == [0; 2] && second[3] > 60, "{second:?}");
    for number in 0..3 {
        assert_eq!(expected[number].len(), heard[number].len());
        assert!(
            largest_step(&heard[number]) <= largest_step(&expected[number]) * 5 / 4,
            "{number}: {} against {}",
            largest_step(&heard[number]),
            largest_step(&expected[number])
        );
    }
    assert_eq!(expected[2], heard[2], "who stays is not disturbed");
}
