//! Digits in a conference: what of their tones reaches the mix, that each press is told once, whichever ways it comes.

use confab_codec::CodecKind;
use confab_dsp::{DtmfSymbol, ToneGenerator};
use confab_rtp::DtmfDigit;

use super::speaker::{Line, Voice, leg, on_time};
use super::world::{MS, World, media, mu_law, rtp};
use crate::event::MediaEvent;
use crate::io::Channel;
use crate::shard::command::Command;

/// Writes a digit's two tones, each 9 dB below full scale, from a position on.
fn tone(digit: char, from: usize, out: &mut [i16]) {
    let [low, high] = DtmfSymbol::from_char(digit).unwrap().frequencies_hz();
    for (n, sample) in out.iter_mut().enumerate() {
        let turn = std::f32::consts::TAU * (from + n) as f32 / 8000.0;
        *sample = (8000.0 * ((low * turn).sin() + (high * turn).sin())) as i16;
    }
}

/// Milliseconds in which a signal is loud.
fn loud_ms(samples: &[i16]) -> usize {
    samples
        .chunks(8)
        .filter(|chunk| chunk.iter().any(|s| s.unsigned_abs() > 1000))
        .count()
}

fn digits(events: &[MediaEvent]) -> String {
    let keys = events.iter().filter_map(|event| match event {
        MediaEvent::Dtmf { digit, .. } => Some(*digit),
        _ => None,
    });
    keys.collect()
}

#[test]
fn a_tone_that_is_an_event_too_is_kept_out_of_the_mix() {
    // The phone sends the tone in its audio and, one packet after it began, telephone-events.
    for (tone_ms, jitter_ms) in [(80_u16, 0), (200, 0), (200, 40), (1000, 0)] {
        let mut line = Line::new(&media(0), 0);
        line.run(1000, &mut |out| out.fill(0), &mut on_time);
        let mut late = |packet: u64| super::speaker::Fate::Late((packet % 3) * jitter_ms / 2 * MS);
        line.run(1000, &mut |out| out.fill(0), &mut late);
        line.listener.heard.clear();
        let start = line.speaker.phone.timestamp;
        let mut said = 0;
        for packet in 0..tone_ms / 20 {
            line.run(
                20,
                &mut |out| {
                    tone('7', said, out);
                    said += out.len();
                },
                &mut late,
            );
            let ends = packet + 1 == tone_ms / 20;
            for _ in 0..if ends { 3 } else { 1 } {
                let [high, low] = ((packet + 1) * 160).to_be_bytes();
                let (mut bytes, audio) = ([0; 16], line.speaker.phone.timestamp);
                line.speaker.phone.timestamp = start;
                rtp(
                    &mut line.speaker.phone,
                    101,
                    false,
                    &[7, if ends { 0x8a } else { 10 }, high, low],
                    &mut bytes,
                );
                line.speaker.phone.timestamp = audio;
                let phone = line.speaker.phone;
                line.world.deliver(&phone, Channel::Rtp, phone.address, &bytes, 0);
            }
        }
        let mut voice = Voice::new(8000);
        line.run(400, &mut |out| out.fill(0), &mut late);
        let heard_ms = loud_ms(&line.listener.heard);
        println!("{tone_ms} ms, jitter {jitter_ms}: {heard_ms} ms of the tone are heard");
        assert!(heard_ms <= 60, "{heard_ms} ms of {tone_ms}");
        assert_eq!(digits(&line.world.events()), "7");
        // And then one is heard again.
        line.listener.heard.clear();
        line.run(500, &mut |out| voice.fill(out), &mut late);
        assert!(loud_ms(&line.listener.heard) > 300);
    }
}

#[test]
fn digits_are_heard_in_the_audio_of_peers_without_events() {
    let mut without = leg(0, CodecKind::Pcmu.into(), 20);
    without.telephone_event = None;
    for (events, told) in [(false, "159#D"), (true, "")] {
        let media = if events {
            leg(0, CodecKind::Pcmu.into(), 20)
        } else {
            without.clone()
        };
        let mut line = Line::new(&media, 0);
        line.run(1000, &mut |out| out.fill(0), &mut on_time);
        for digit in "159#D".chars() {
            line.listener.heard.clear();
            let mut said = 0;
            line.run(
                120,
                &mut |out| {
                    tone(digit, said, out);
                    said += out.len();
                },
                &mut on_time,
            );
            line.run(200, &mut |out| out.fill(0), &mut on_time);
            let heard_ms = loud_ms(&line.listener.heard);
            println!("{digit}: {heard_ms} ms are heard");
            assert_eq!(heard_ms <= 60, !events, "{digit}: {heard_ms} ms");
        }
        assert_eq!(digits(&line.world.events()), told);
        assert_eq!(line.stats().digits_received, told.len() as u64);
    }
}

#[test]
fn digits_are_heard_in_the_audio_of_a_leg_that_is_in_no_conference() {
    let mut world = World::new();
    let mut media = media(0);
    media.telephone_event = None;
    let mut phone = world.leg(&media);
    world.turn();
    let mut said = 0;
    for packet in 0..40 {
        let mut pcm = [0; 160];
        if (10..16).contains(&packet) {
            tone('*', said, &mut pcm);
            said += pcm.len();
        }
        world.speak(&mut phone, &mu_law(&pcm));
        world.turns(4);
    }
    world.turns(8);
    assert_eq!(digits(&world.events()), "*");
}

#[test]
fn a_press_that_is_told_twice_is_one_digit() {
    let mut media = media(0);
    for events in [true, false] {
        let mut world = World::new();
        media.telephone_event = media.telephone_event.filter(|_| events);
        let mut phone = world.leg(&media);
        world.room(&[phone], 20);
        let leg = phone.leg;
        let by_info = |world: &World, key| {
            world.command(Command::DigitByInfo {
                leg,
                digit: DtmfDigit::from_key(key).unwrap(),
                duration_ms: 100,
            });
        };
        by_info(&world, '1'); // comes before the audio
        let mut said = 0;
        for packet in 0..30u16 {
            let mut pcm = [0; 160];
            if events && packet < 5 {
                let mut bytes = [0; 16];
                let [high, low] = (160 * (packet + 1)).to_be_bytes();
                let (start, flags) = (phone.timestamp, if packet == 4 { 0x8a } else { 10 });
                phone.timestamp = 5000;
                rtp(&mut phone, 101, packet == 0, &[1, flags, high, low], &mut bytes);
                phone.timestamp = start.wrapping_add(160);
                world.deliver(&phone, Channel::Rtp, phone.address, &bytes, 0);
            } else {
                if packet < 5 {
                    tone('1', said, &mut pcm);
                    said += pcm.len();
                }
                world.speak(&mut phone, &mu_law(&pcm));
            }
            world.turns(4);
        }
        by_info(&world, '2'); // comes alone
        world.turns(400);
        assert_eq!(digits(&world.events()), "12", "events: {events}");
    }
}

#[test]
fn a_tone_generator_and_a_telephone_agree() {
    // The detector takes what the server itself plays as digits, too.
    let mut media = leg(0, CodecKind::G722.into(), 20);
    media.telephone_event = None;
    let mut line = Line::new(&media, 0);
    let script = confab_dsp::ToneScript::parse("d=100;w=100;12").expect("a script");
    let mut generator = ToneGenerator::new(script, 16_000);
    line.run(500, &mut |out| out.fill(0), &mut on_time);
    line.run(
        800,
        &mut |out| {
            out.fill(0);
            generator.fill(out);
        },
        &mut on_time,
    );
    line.run(200, &mut |out| out.fill(0), &mut on_time);
    assert_eq!(digits(&line.world.events()), "12");
}
