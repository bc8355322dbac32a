//! A turn allocates nothing, receiving, mixing and sending included. The allocator counts for one thread at a time, so
//! other tests do not disturb it.

use std::sync::Arc;

use confab_codec::{CodecKind, Coding, OpusSettings};
use confab_mixer::{MixFormat, Room};
use confab_rtp::rtcp::{ExtendedReport, NtpTimestamp, RtcpWriter};
use confab_rtp::{DtmfDigit, Ssrc};
use confab_testkit::allocation::{CountingAllocator, calls};

use super::economy::report;
use super::house::{House, clip, convert, forever, sine, tones};
use super::speaker::{Voice, l16, leg};
use super::world::{Phone, World, mu_law, rtp, steady};
use crate::config::{ComfortNoiseMedia, ExtendedReports, JoinOptions};
use crate::event::MediaEvent;
use crate::io::Channel;
use crate::leg::dialling::Dialling;
use crate::leg::output::{Following, Shared};
use crate::playback::{Lane, Play, Sound, StopPlay};
use crate::shard::command::{Audience, Command, MixChange};
use crate::shard::conference::{ConferenceStorage, RateChange, Recording, Track};
use crate::tap::{HIGHEST_RATE_HZ, Tap, tap};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_allocator_counts() {
    let before = calls();
    drop(Box::new([0u8; 100]));
    assert_eq!(calls() - before, 2);
}

#[test]
fn a_thousand_ticks_of_whole_turns_allocate_nothing() {
    for participants in [2, 3, 50] {
        let mut world = World::new();
        let mut phones = world.legs(participants);
        world.room(&phones, 20);
        let (loud, quiet) = (steady(8031), steady(0));
        let mut larger = Some(World::storage(participants + 5));
        world.turns(100);
        let before = calls();
        for tick in 0..1000 {
            for (number, phone) in phones.iter_mut().enumerate() {
                let talks = (tick / 25 + number) % 3 == 0;
                if (tick + number) % 97 != 0 {
                    world.speak(phone, if talks { &loud } else { &quiet });
                }
            }
            let leg = phones[tick % participants].leg;
            world.command(Command::SetMuted {
                leg,
                muted: tick % 7 == 0,
            });
            world.command(Command::SetDeaf {
                leg,
                deaf: tick % 5 == 0,
            });
            if tick == 500
                && let Some(storage) = larger.take()
            {
                let at = crate::shard::key::ConferenceKey {
                    index: 0,
                    generation: 1,
                };
                world.command(Command::Grow { at, storage });
            }
            world.turns(4);
            while world.events.pop().is_ok() {}
            world.forget();
        }
        assert_eq!(calls() - before, 0, "{participants} participants");
        let metrics = world.metrics();
        assert!(metrics.ticks >= 1000 && metrics.ticks_skipped == 0);
        assert!(metrics.packets_out >= 1000 * participants as u64, "{metrics:?}");
    }
}

/// Payloads of a voice in a coding, 20 ms each.
pub(super) fn payloads(coding: Coding, count: usize) -> Vec<Vec<u8>> {
    let rate_hz = coding.kind.sample_rate_hz();
    let mut voice = Voice::new(rate_hz);
    let mut encoder = coding.encoder();
    let mut pcm = vec![0; rate_hz as usize / 50];
    let mut payload = vec![0; coding.kind.max_payload(pcm.len())];
    (0..count)
        .map(|_| {
            voice.fill(&mut pcm);
            let length = encoder.encode(&pcm, &mut payload);
            payload[..length].to_vec()
        })
        .collect()
}

/// Opus payloads of a hiss far below the level of any gate.
fn hiss(coding: Coding, count: usize) -> Vec<Vec<u8>> {
    let mut encoder = coding.encoder();
    let mut random = 1_u32;
    (0..count)
        .map(|_| {
            let pcm = std::array::from_fn::<i16, 960, _>(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) as i16 % 20
            });
            let mut payload = vec![0; 1400];
            let length = encoder.encode(&pcm, &mut payload);
            payload.truncate(length);
            payload
        })
        .collect()
}

/// Sends a payload as 20 ms of audio.
pub(super) fn say(world: &World, phone: &mut Phone, payload: &[u8], units: u32) {
    let timestamp = phone.timestamp;
    world.speak(phone, payload);
    phone.timestamp = timestamp.wrapping_add(units);
}

/// Lets a packet be lost.
fn lose(phone: &mut Phone, units: u32) {
    phone.sequence = phone.sequence.wrapping_add(1);
    phone.timestamp = phone.timestamp.wrapping_add(units);
}

#[test]
fn repair_time_scale_noise_digits_and_reports_allocate_nothing() {
    let mut world = World::new();
    let opus = OpusSettings {
        bitrate_bps: 24_000,
        inband_fec: true,
        loss_percent: 15,
        max_playback_rate_hz: 16_000,
        ..OpusSettings::default()
    };
    let opus = Coding::new(CodecKind::Opus, opus);
    let mut medias = [
        leg(0, opus, 20),
        leg(1, CodecKind::Pcmu.into(), 20),
        leg(2, CodecKind::G722.into(), 20),
        leg(3, CodecKind::Pcma.into(), 20),
    ];
    medias[1].telephone_event = None;
    medias[3].comfort_noise = Some(ComfortNoiseMedia {
        send_pt: 13,
        recv_pt: 13,
    });
    for media in &mut medias {
        media.extended_reports = ExtendedReports {
            voip_metrics: true,
            receiver_round_trip: true,
        };
    }
    let said = medias.each_ref().map(|media| payloads(media.coding, 500));
    let quiet = hiss(opus, 500);
    let mut phones = medias.each_ref().map(|media| world.leg(media));
    let room = world.conference_at(48_000, 20, 20, phones.len());
    for phone in &phones {
        world.join(phone, room);
    }
    let key = mu_law(&std::array::from_fn::<i16, 160, _>(|n| {
        let turn = std::f32::consts::TAU * n as f32 / 8000.0;
        // The digit 1, near enough for a phase that breaks with each packet: 700 and 1200 Hz are whole turns.
        (8000.0 * ((700.0 * turn).sin() + (1200.0 * turn).sin())) as i16
    }));
    // Keys of one are sent on to the others, and digits are dialled to all.
    world.command(Command::Set {
        leg: phones[3].leg,
        change: MixChange::DistributeDigits(true),
    });
    let mut dialling: Vec<_> = (0..30)
        .map(|_| Box::new(Dialling::parse("15#w2", 100).unwrap()))
        .collect();
    world.turns(200);
    let mut left_out = 0;
    let before = calls();
    for tick in 0..3000_usize {
        if tick % 100 == 50
            && let Some(dialling) = dialling.pop()
        {
            let leg = phones[tick / 100 % 4].leg;
            let cell = &world.shard.legs.get(leg.index, leg.generation).unwrap().stats;
            assert!(cell.reserve_dialling(dialling.len()));
            world.command(Command::Dial { leg, dialling });
        }
        let [opus, in_band, wideband, plain] = &mut phones;
        let n = tick % 500;
        if tick % 9 == 4 {
            lose(opus, 960);
        } else if (1000..1500).contains(&tick) {
            say(&world, opus, &[0x08], 960); // pauses
        } else if (1500..2000).contains(&tick) {
            say(&world, opus, &quiet[n], 960);
        } else {
            say(&world, opus, &said[0][n], 960);
        }
        if tick % 300 < 10 {
            say(&world, in_band, &key, 160);
        } else if tick % 300 == 200 {
            let mut bytes = [0; 16];
            let length = rtp(in_band, 13, false, &[55, 120, 130], &mut bytes);
            world.deliver(in_band, Channel::Rtp, in_band.address, &bytes[..length], 0);
            in_band.timestamp = in_band.timestamp.wrapping_add(160);
        } else if tick % 300 > 200 {
            in_band.timestamp = in_band.timestamp.wrapping_add(160);
        } else {
            say(&world, in_band, &said[1][n], 160);
        }
        // A stall of a second and a half: what came at its end is too much, and goes from speech.
        if !(2000..2075).contains(&tick) {
            say(&world, wideband, &said[2][n], 160);
        } else if tick == 2074 {
            for payload in &said[2][..75] {
                say(&world, wideband, payload, 160);
            }
        }
        if tick % 250 < 6 {
            let (mut bytes, [high, low]) = ([0; 16], ((tick % 250 + 1) as u16 * 160).to_be_bytes());
            let flags = if tick % 250 == 5 { 0x8a } else { 10 };
            let length = rtp(plain, 101, tick % 250 == 0, &[3, flags, high, low], &mut bytes);
            world.deliver(plain, Channel::Rtp, plain.address, &bytes[..length], 0);
        }
        say(&world, plain, &said[3][n], 160);
        let (leg, muted) = (opus.leg, tick % 200 > 150);
        world.command(Command::SetMuted { leg, muted });
        let leg = world.shard.legs.get(leg.index, leg.generation);
        let session = leg.and_then(|leg| leg.session.as_ref());
        left_out += u32::from(session.is_some_and(|session| session.receiving.leaves_out()));
        if tick % 100 == 0 {
            world.command(Command::DigitByInfo {
                leg: plain.leg,
                digit: DtmfDigit::from_key('#').unwrap(),
                duration_ms: 0,
            });
            let mut buffer = [0; 128];
            let mut writer = RtcpWriter::new(&mut buffer);
            let extended = ExtendedReport {
                reference_time: Some(NtpTimestamp(tick as u64)),
                ..ExtendedReport::default()
            };
            writer.receiver_report(Ssrc(plain.ssrc), &[]).unwrap();
            writer.extended_report(Ssrc(plain.ssrc), &extended).unwrap();
            let from = std::net::SocketAddr::new(plain.address.ip(), 4001);
            world.deliver(plain, Channel::Rtcp, from, writer.finish(), 0);
        }
        world.turns(4);
        while world.events.pop().is_ok() {}
        world.forget();
    }
    assert_eq!(calls() - before, 0);
    assert!(left_out > 50, "{left_out}");
    let [opus, in_band, wideband, plain] = phones.each_ref().map(|phone| world.stats(phone));
    assert_eq!(in_band.digits_sent, 0, "it takes none");
    for stats in [opus, wideband, plain] {
        assert!(stats.digits_sent >= 24, "{stats:?}");
    }
    assert!(opus.repaired_ms > 500 && opus.concealed_ms > 500, "{opus:?}");
    assert!(in_band.digits_received >= 8, "{in_band:?}");
    assert!(plain.digits_received >= 30, "{plain:?}");
    for stats in [opus, in_band, wideband, plain] {
        assert!(stats.mos_hundredths.is_some(), "{stats:?}");
    }
    let wideband = phones[2].leg;
    let leg = world.shard.legs.get(wideband.index, wideband.generation).unwrap();
    let playout = &leg.session.as_ref().unwrap().receiving.playout;
    assert!(
        playout.counters().speech_adjustments > 0,
        "{:?}",
        playout.counters()
    );
}

/// Whose encoder a leg's listener follows: that of its group, with repair data or without, or his own.
fn follows(world: &mut World, phone: &Phone) -> Option<Shared> {
    let leg = world.shard.legs.get(phone.leg.index, phone.leg.generation);
    match leg.unwrap().output.following {
        Following::Group(signal) => Some(signal),
        Following::Nobody | Following::Own { .. } => None,
    }
}

#[test]
fn going_over_to_repair_data_and_back_allocates_nothing() {
    let opus = OpusSettings {
        bitrate_bps: 24_000,
        inband_fec: true,
        max_playback_rate_hz: 16_000,
        ..OpusSettings::default()
    };
    let opus = Coding::new(CodecKind::Opus, opus);
    let said = payloads(l16(16_000).into(), 500);
    let mut world = World::new();
    let mut talker = world.leg(&leg(0, l16(16_000).into(), 20));
    // Two lose packets in turns, one of them loses all the time and hears a mix of his own now and then, one loses none.
    let listeners = [1, 2, 3, 4].map(|number| world.leg(&leg(number, opus, 20)));
    let room = world.conference_at(16_000, 20, 20, 8);
    world.join(&talker, room);
    for listener in &listeners {
        world.join(listener, room);
    }
    world.turns(100);
    let mut changes = [0; 4];
    let mut followed = [None; 4];
    let mut is_protected = [false; 4];
    let before = calls();
    for tick in 0..4000_usize {
        // A second of speech, half a second of silence: quiet enough to change the encoder in.
        if tick % 75 < 50 {
            say(&world, &mut talker, &said[tick % 500], 320);
        } else {
            say(&world, &mut talker, &[0; 640], 320);
        }
        let lossy = |number: usize| match number {
            0 => tick % 400 < 200,
            1 => tick % 500 < 150,
            2 => true,
            _ => false,
        };
        if tick % 10 == 0 {
            for (number, listener) in listeners.iter().enumerate() {
                report(&world, listener, if lossy(number) { 26 } else { 0 });
            }
        }
        if tick % 300 == 0 {
            world.command(Command::SetHeard {
                conference: room,
                talker: listeners[0].leg,
                listener: listeners[2].leg,
                heard: tick % 600 != 0,
            });
        }
        world.turns(4);
        while world.events.pop().is_ok() {}
        world.forget();
        for (number, listener) in listeners.iter().enumerate() {
            let now = follows(&mut world, listener);
            if now.is_some() && now != followed[number] {
                followed[number] = now;
                changes[number] += 1;
            }
            is_protected[number] |= now == Some(Shared::Protected);
        }
    }
    assert_eq!(calls() - before, 0);
    println!("{changes:?} changes of the encoder that is followed");
    assert_eq!(is_protected, [true, true, true, false]);
    assert!(changes[0] >= 10 && changes[1] >= 8, "{changes:?}");
    assert_eq!(followed[3], Some(Shared::Common));
}

/// Commands of half a minute in which everything that can happen to a play happens, with the tick that each belongs to.
fn plays(house: &mut House) -> Vec<(usize, Command<usize>)> {
    let mut commands = Vec::new();
    let music = forever(clip(44_100, sine(44_100, 437.0, 1700)));
    let (to_all, waiting) = (Audience::Everybody, Audience::Waiting);
    let ones: Vec<_> = (0..house.ears.len()).map(|ear| house.one(ear)).collect();
    let speech = Play {
        duck_db: Some(12.0),
        gain_db: -3.0,
        barge_in: true,
        ..clip(16_000, sine(16_000, 700.0, 250))
    };
    for (start, rate_hz) in [(0, 8000), (600, 16_000)] {
        house.rate_hz = rate_hz;
        let mut play = |tick, to, lane, play: Play| {
            for rate_hz in [8000, 16_000] {
                convert(&play, rate_hz);
            }
            commands.push((start + tick, house.command_to_play(to, lane, play).1));
        };
        for tick in (0..500).step_by(100) {
            play(tick, to_all, Lane::Background, music.clone());
            play(tick + 1, waiting, Lane::Background, music.clone());
            play(tick + 20, to_all, Lane::Queue, speech.clone());
            play(
                tick + 20,
                to_all,
                Lane::Queue,
                tones(">=20;%(200,50,440,480);1234;loops=2"),
            );
            play(tick + 25, waiting, Lane::Queue, speech.clone());
            play(
                tick + 30,
                to_all,
                Lane::Queue,
                Play::once(Sound::silence(Some(50), Some(100))),
            );
            let announced = Play {
                announces: true,
                ..speech.clone()
            };
            play(tick + 38, to_all, Lane::Queue, announced.clone());
            // Behind it, while those prompts are heard: not for their listeners.
            play(tick + 38, to_all, Lane::Queue, announced);
            for &one in &ones {
                let gives_way = true;
                let prompt = Play {
                    gives_way,
                    ..speech.clone()
                };
                play(tick + 39, one, Lane::Queue, prompt);
                let music = Play {
                    gives_way,
                    ..music.clone()
                };
                play(tick + 39, one, Lane::Background, music);
                play(tick + 40, one, Lane::Queue, speech.clone());
                play(tick + 41, one, Lane::Queue, forever(tones("%(30,10,900)")));
            }
        }
        let conference = house.room;
        for tick in (70..500).step_by(100) {
            for &to in &ones {
                for what in [StopPlay::Current, StopPlay::All] {
                    commands.push((start + tick, Command::StopPlay { conference, to, what }));
                }
            }
        }
        let leg = house.ears[2].phone.leg;
        commands.push((start + 150, Command::Leave { leg }));
        for ear in 0..house.ears.len() {
            let digit = DtmfDigit::from_key('5').unwrap();
            let leg = house.ears[ear].phone.leg;
            commands.push((
                start + 243,
                Command::DigitByInfo {
                    leg,
                    digit,
                    duration_ms: 0,
                },
            ));
        }
        let leg = house.ears[1].phone.leg;
        for (tick, held) in [(50, true), (350, false)] {
            let change = MixChange::Held(held);
            commands.push((start + tick, Command::Set { leg, change }));
        }
    }
    let room = |participants| Room {
        sources: 40,
        ..Room::for_participants(participants)
    };
    let at = house.room;
    let format = |rate_hz| MixFormat::new(rate_hz, 20).unwrap();
    let storage = |before, rate_hz, participants| {
        Box::new(ConferenceStorage::new(
            format(rate_hz),
            before,
            room(participants),
        ))
    };
    let grow = |storage| Command::Grow { at, storage };
    commands.push((0, grow(storage(None, 8000, 10))));
    commands.push((300, grow(storage(None, 8000, 12))));
    let change = Box::new(RateChange::new(format(16_000), room(12)));
    commands.push((630, Command::RaiseRate { at, change }));
    commands.push((800, grow(storage(Some(format(8000)), 16_000, 20))));
    commands.push((1190, Command::RemoveConference { at }));
    commands.sort_by_key(|&(tick, _)| tick);
    commands
}

/// Commands of the same time that record it with tracks, and the taps: twice, the second time in place of the first; a leg that has left
/// comes back. The reader goes away at the end.
fn recordings(house: &House) -> (Vec<(usize, Command<usize>)>, Vec<Tap>) {
    let (mut commands, mut taps) = (Vec::new(), Vec::new());
    let mut source = || {
        let (tap, source) = tap(1000, HIGHEST_RATE_HZ, Arc::default());
        taps.push(tap);
        source
    };
    let conference = house.room;
    for tick in [10, 500] {
        let mut recording = Box::new(Recording::new(source(), Some(source())));
        for ear in &house.ears {
            recording.add(Track::new(ear.phone.leg, source()));
        }
        commands.push((
            tick,
            Command::Record {
                conference,
                recording,
            },
        ));
    }
    for tick in [200, 800] {
        let phone = &house.ears[2].phone;
        let track = Some(Track::new(phone.leg, source()));
        let join = World::command_to_join(phone, conference, JoinOptions::default(), track);
        commands.push((tick, join));
    }
    (commands, taps)
}

#[test]
fn what_plays_and_is_recorded_allocates_nothing() {
    let kinds = [
        CodecKind::Pcmu,
        CodecKind::G722,
        CodecKind::Pcma,
        CodecKind::Opus,
        l16(16_000),
    ];
    let mut house = House::new(&kinds, 8000);
    let mut commands = plays(&mut house);
    let (recordings, mut taps) = recordings(&house);
    commands.extend(recordings);
    commands.sort_by_key(|&(tick, _)| tick);
    let mut commands = commands.into_iter().peekable();
    let (mut samples, mut recorded) = (Vec::with_capacity(5760), vec![0; taps.len()]);
    let loud = steady(4220);
    let world = &mut house.world;
    // Tables of the rates to come are made outside the shard, too.
    super::world::prepare_all(16_000);
    world.turns(20);
    let (mut began, mut ended, mut talked) = (0, 0, 0);
    let before = calls();
    for tick in 0..1200 {
        for (tap, recorded) in taps.iter_mut().zip(&mut recorded) {
            while let Some(block) = tap.next(&mut samples) {
                *recorded += u32::from(!block.is_silence);
            }
        }
        if tick == 1100 {
            taps.clear();
        }
        while let Some((_, command)) = commands.next_if(|&(due, _)| due <= tick) {
            world.command(command);
        }
        if tick / 40 % 3 == 0 {
            world.speak(&mut house.ears[0].phone, &loud);
        }
        world.turns(4);
        while let Ok(event) = world.events.pop() {
            began += u32::from(matches!(event, MediaEvent::PlayStarted { .. }));
            ended += u32::from(matches!(event, MediaEvent::PlayEnded { .. }));
            talked += u32::from(matches!(event, MediaEvent::Talking { talking: true, .. }));
        }
        world.forget();
    }
    assert_eq!(calls() - before, 0);
    assert!(began > 100 && ended > 100, "{began} began, {ended} ended");
    assert!(talked > 5, "clips were lowered by who spoke, {talked} times");
    // Of either recording, the whole, the server's part and the part of who speaks.
    for tap in [0, 1, 2, 7, 8, 9] {
        assert!(recorded[tap] > 80, "{recorded:?}");
    }
}
