//! What plays: who hears it, when, how loud, and how it ends.

use confab_codec::CodecKind;

use super::codecs::level;
use super::house::{House, Told, clip, forever, largest_step, sine, steady, tones};
use super::speaker::l16;
use super::world::{World, mu_law, rtp};
use crate::event::MediaEvent;
use crate::io::Channel;
use crate::playback::{Lane, Play, PlayEnd, Repeat, Sound, StopPlay};
use crate::shard::command::{Audience, Command};
use Told::{Began, Ended};

const EVERYBODY: Audience = Audience::Everybody;

/// Level of the tones of a script without a level, −7 dBm0, in dBFS.
const TONE_DBFS: f64 = -10.14;

#[test]
fn a_tone_is_heard_by_those_it_is_for() {
    for kind in [l16(8000), CodecKind::Pcmu, l16(16_000)] {
        // Two who hear the mix, one deaf, one who waits.
        let mut house = House::new(&[kind; 4], kind.sample_rate_hz());
        house.deafen(2);
        house.hold(3, true);
        house.run(40);
        let rows = [
            (EVERYBODY, vec![0, 1]),
            (Audience::Waiting, vec![3]),
            (house.one(0), vec![0]),
            (house.one(2), vec![2]),
            (house.one(3), vec![3]),
        ];
        for (to, hear) in rows {
            house.forget();
            let play = house.queue(to, tones("%(500,0,800)"));
            house.run(700);
            let samples = kind.sample_rate_hz() as usize / 2;
            for (number, ear) in house.ears.iter().enumerate() {
                let sound = ear.sound();
                if !hear.contains(&number) {
                    assert!(sound.is_empty(), "{number} hears what is for {to:?}");
                    continue;
                }
                // The sine begins and ends with 0, and µ-law leaves out the smallest values.
                assert!(sound.len().abs_diff(samples) <= 8, "{} of {samples}", sound.len());
                let heard = level(sound, 800.0, f64::from(kind.sample_rate_hz()));
                assert!((heard - TONE_DBFS).abs() < 0.3, "{kind:?}: {heard:.2} dBFS");
                let elsewhere = level(sound, 1234.0, f64::from(kind.sample_rate_hz()));
                assert!(elsewhere < TONE_DBFS - 30.0, "{elsewhere:.1} dBFS at 1234 Hz");
            }
            let leg = match to {
                Audience::One(leg) => Some(crate::event::LegId(leg.index.into())),
                _ => None,
            };
            let conference = crate::event::ConferenceAudioId(house.room.index.into());
            assert_eq!(
                house.world.events(),
                [
                    MediaEvent::PlayStarted {
                        conference,
                        leg,
                        play
                    },
                    MediaEvent::PlayEnded {
                        conference,
                        leg,
                        play,
                        how: PlayEnd::Finished
                    }
                ]
            );
        }
    }
}

#[test]
fn clips_of_any_rate_sound_alike_in_mixes_of_any_rate() {
    for mix_rate_hz in [8000, 16_000, 48_000] {
        for clip_rate_hz in [8000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            let kind = l16(mix_rate_hz);
            let mut house = House::new(&[kind], mix_rate_hz);
            house.queue(EVERYBODY, clip(clip_rate_hz, sine(clip_rate_hz, 1200.0, 600)));
            house.run(800);
            let sound = house.ears[0].sound();
            let samples = mix_rate_hz as usize * 6 / 10;
            assert!(
                sound.len().abs_diff(samples) <= samples / 100,
                "{clip_rate_hz} Hz at {mix_rate_hz} Hz: {} of {samples}",
                sound.len()
            );
            let heard = level(sound, 1200.0, f64::from(mix_rate_hz));
            assert!(
                (heard + 10.0).abs() < 0.2,
                "{clip_rate_hz} Hz at {mix_rate_hz} Hz: {heard:.2}"
            );
        }
    }
}

#[test]
fn the_queue_plays_one_after_another_without_a_gap() {
    let mut house = House::new(&[l16(8000)], 8000);
    let parts = [(1000, 30), (2000, 25), (3000, 1), (4000, 64), (5000, 20)];
    let ids: Vec<_> = parts
        .iter()
        .map(|&(value, milliseconds)| house.queue(EVERYBODY, steady(value, milliseconds)))
        .collect();
    // One with several sounds, an empty one and a silent one among them.
    let several = Play {
        sounds: vec![
            steady(600, 10).sounds[0].clone(),
            Sound::silence(Some(0), None),
            steady(700, 5).sounds[0].clone(),
        ],
        repeat: Repeat::Times(2),
        ..Play::default()
    };
    let empty = house.queue(EVERYBODY, Play::default());
    let several = house.queue(EVERYBODY, several);
    house.run(300);
    let expected: Vec<i16> = parts
        .into_iter()
        .chain([(600, 10), (700, 5), (600, 10), (700, 5)])
        .flat_map(|(value, milliseconds)| vec![value; milliseconds * 8])
        .collect();
    assert_eq!(house.ears[0].sound(), expected);
    let told: Vec<_> = ids
        .into_iter()
        .chain([empty, several])
        .flat_map(|id| [Began(id), Ended(id, PlayEnd::Finished)])
        .collect();
    assert_eq!(house.told(), told);
}

#[test]
fn intervals_and_packet_times_cut_nothing_off() {
    for (interval_ms, ptime_ms) in [(10, 10), (10, 60), (20, 30), (60, 20), (60, 60), (120, 60)] {
        let ears = [(l16(8000), ptime_ms)];
        let mut house = House::with_times(World::new(), &ears, 8000, interval_ms);
        house.run(300);
        house.forget();
        house.told();
        let ids = [(1000, 30), (2000, 25), (3000, 142)]
            .map(|(value, milliseconds)| house.queue(EVERYBODY, steady(value, milliseconds)));
        // It begins with the next tick.
        house.run(u64::from(interval_ms));
        assert_eq!(house.told().first(), Some(&Began(ids[0])), "{interval_ms} ms");
        house.run(600);
        let expected: Vec<i16> = [(1000, 30), (2000, 25), (3000, 142)]
            .into_iter()
            .flat_map(|(value, milliseconds)| vec![value; milliseconds * 8])
            .collect();
        assert_eq!(
            house.ears[0].sound(),
            expected,
            "{interval_ms} ms, packets of {ptime_ms} ms"
        );
    }
}

#[test]
fn what_is_stopped_fades_and_the_next_begins() {
    let mut house = House::new(&[l16(8000)], 8000);
    let endless = [
        forever(steady(8000, 7)),
        tones("%(100,0,400);loops=-1"),
        Play::once(Sound::silence(None, Some(1))),
    ];
    for play in endless {
        let first = house.queue(EVERYBODY, play);
        let second = house.queue(EVERYBODY, forever(steady(800, 10)));
        let third = house.queue(EVERYBODY, steady(900, 10));
        house.run(10_000);
        assert_eq!(house.told(), [Began(first)], "no end of it");
        assert!(house.ears[0].peak(100) > 10);
        house.stop(EVERYBODY, StopPlay::Current);
        house.run(40);
        assert_eq!(house.told(), [Ended(first, PlayEnd::Stopped), Began(second)]);
        assert_eq!(house.ears[0].heard.last(), Some(&800));
        house.forget();
        house.run(200);
        house.stop(EVERYBODY, StopPlay::All);
        house.run(100);
        let told = [Ended(third, PlayEnd::Stopped), Ended(second, PlayEnd::Stopped)];
        assert_eq!(house.told(), told);
        let heard = &house.ears[0].heard;
        // From 800 to nothing within 10 ms.
        assert!(largest_step(heard) <= 11.0, "{}", largest_step(heard));
        assert_eq!(house.ears[0].peak(60), 0);
        house.forget();
    }
}

#[test]
fn single_plays_are_stopped_by_their_number() {
    let mut house = House::new(&[l16(8000)], 8000);
    let ids: Vec<_> = (1..=4)
        .map(|n| house.queue(EVERYBODY, steady(n * 1000, 100)))
        .collect();
    let background = house.play(EVERYBODY, Lane::Background, forever(steady(77, 100)));
    house.run(20);
    for id in [ids[2], ids[0], background] {
        house.stop(EVERYBODY, StopPlay::Id(id));
        house.stop(house.one(0), StopPlay::Id(ids[1]));
    }
    house.run(400);
    assert_eq!(
        house.told(),
        [
            Began(ids[0]),
            Ended(ids[2], PlayEnd::Stopped),
            Ended(background, PlayEnd::Stopped),
            Ended(ids[0], PlayEnd::Stopped),
            Began(ids[1]),
            Ended(ids[1], PlayEnd::Finished),
            Began(ids[3]),
            Ended(ids[3], PlayEnd::Finished),
        ]
    );
}

#[test]
fn the_background_pauses_while_the_queue_plays_and_goes_on_where_it_was() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    house.hold(1, true);
    // Every sample tells where in the music it is.
    let music: Vec<i16> = (0..8000).map(|n| 10_000 + n).collect();
    let moh = house.play(Audience::Waiting, Lane::Background, forever(clip(8000, music)));
    house.run(500);
    let before = *house.ears[1].heard.last().unwrap();
    assert!((13_000..14_500).contains(&before), "{before}");
    house.forget();
    let announcement = house.queue(Audience::Waiting, steady(500, 300));
    house.run(250);
    let mixed = &house.ears[1].heard;
    // Both at once for the 10 ms of the fade, then the announcement alone.
    let alone = mixed.iter().position(|&sample| sample == 500).unwrap();
    assert!(
        alone <= 3 * 160 && mixed[alone..].iter().all(|&sample| sample == 500),
        "{alone}"
    );
    house.run(250);
    let heard = &house.ears[1].heard;
    let back = heard.iter().rposition(|&sample| sample == 500).unwrap();
    // It has faded out and in, 80 samples each, and stood still in between.
    let again = heard[back + 1 + 200];
    assert!((again - before - 280).abs() <= 160, "{before} and {again}");
    assert!(house.ears[0].heard.iter().all(|&sample| sample == 0));
    assert_eq!(
        house.told(),
        [
            Began(moh),
            Began(announcement),
            Ended(announcement, PlayEnd::Finished)
        ]
    );
    // Another takes its place.
    let other = house.play(Audience::Waiting, Lane::Background, forever(steady(300, 50)));
    house.run(100);
    assert_eq!(house.told(), [Ended(moh, PlayEnd::Stopped), Began(other)]);
    assert_eq!(house.ears[1].heard.last(), Some(&300));
    // One that never came to be heard.
    house.queue(Audience::Waiting, forever(steady(5, 50)));
    house.run(20);
    let unheard = house.play(Audience::Waiting, Lane::Background, forever(steady(400, 50)));
    house.run(100);
    house.stop(Audience::Waiting, StopPlay::Background);
    house.run(20);
    let told = house.told();
    assert_eq!(
        told[1..],
        [Ended(other, PlayEnd::Stopped), Ended(unheard, PlayEnd::Stopped)],
        "{told:?}"
    );
}

#[test]
fn talking_lowers_what_is_to_be_lowered_by_so_much() {
    let mut house = House::new(&[l16(8000), l16(8000), CodecKind::Pcmu], 8000);
    let music = |hz, duck_db| Play {
        duck_db,
        ..forever(clip(8000, sine(8000, hz, 1000)))
    };
    let (lowered, steady) = (house.one(0), house.one(1));
    house.play(lowered, Lane::Background, music(800.0, Some(12.0)));
    house.play(steady, Lane::Background, music(800.0, None));
    // A voice of which nothing is at 800 Hz.
    let voice: Vec<i16> = sine(8000, 400.0, 20).iter().map(|sample| sample / 4).collect();
    let mut measure = |talks: bool| {
        for tick in 0..150 {
            if tick == 75 {
                house.forget();
            }
            let payload = mu_law(&if talks { voice.clone() } else { vec![0; 160] });
            let phone = &mut house.ears[2].phone;
            house.world.speak(phone, &payload);
            house.run(20);
        }
        [0, 1].map(|ear| level(&house.ears[ear].heard, 800.0, 8000.0))
    };
    for (talks, expected) in [
        (false, [-10.0, -10.0]),
        (true, [-22.0, -10.0]),
        (false, [-10.0, -10.0]),
    ] {
        let heard = measure(talks);
        for (is, should) in heard.into_iter().zip(expected) {
            assert!((is - should).abs() < 0.5, "talking: {talks}: {heard:?}");
        }
    }
}

#[test]
fn a_play_has_its_gain() {
    let mut house = House::new(&[l16(8000)], 8000);
    for (gain_db, expected) in [(0.0, 1000), (-6.0206, 500), (6.0206, 2000), (f32::NAN, 1000)] {
        let play = Play {
            gain_db,
            ..steady(1000, 40)
        };
        house.queue(EVERYBODY, play);
        house.run(100);
        assert_eq!(house.ears[0].sound(), vec![expected; 320]);
        house.forget();
    }
}

#[test]
fn a_key_ends_what_its_listener_may_end() {
    let in_band = |tick: u32| {
        let sample = |n: u32| {
            let turn = std::f64::consts::TAU * f64::from(tick * 160 + n) / 8000.0;
            (6000.0 * ((697.0 * turn).sin() + (1209.0 * turn).sin())) as i16
        };
        mu_law(&(0..160).map(sample).collect::<Vec<_>>())
    };
    for way in ["event", "info", "tone"] {
        let mut world = World::new();
        let mut media = super::world::media(0);
        if way == "tone" {
            media.telephone_event = None;
        }
        let mut caller = world.leg(&media);
        let other = world.leg(&super::world::media(1));
        let mut house = House::with_world(world, &[], 8000);
        for phone in [&caller, &other] {
            house.world.join(phone, house.room);
        }
        house.run(20);
        let to = Audience::One(caller.leg);
        let prompt = Play {
            barge_in: true,
            ..forever(steady(1052, 100))
        };
        let first = house.queue(to, prompt.clone());
        let second = house.queue(to, steady(2108, 400));
        let other_first = house.queue(Audience::One(other.leg), prompt.clone());
        let to_all = house.play(EVERYBODY, Lane::Background, prompt.clone());
        for tick in 0..100_u32 {
            // Digit 1 for 100 ms from 200 ms on.
            let pressed = (10..15).contains(&tick);
            match way {
                "event" if (10..18).contains(&tick) => {
                    let mut bytes = [0; 16];
                    let units = ((tick - 9) * 160).min(800) as u16;
                    let [high, low] = units.to_be_bytes();
                    let flags = if pressed { 10 } else { 0x8a };
                    let length = rtp(&mut caller, 101, tick == 10, &[1, flags, high, low], &mut bytes);
                    let from = caller.address;
                    house
                        .world
                        .deliver(&caller, Channel::Rtp, from, &bytes[..length], 0);
                }
                "info" if tick == 15 => house.world.command(Command::DigitByInfo {
                    leg: caller.leg,
                    digit: confab_rtp::DtmfDigit::from_key('1').unwrap(),
                    duration_ms: 100,
                }),
                "tone" => {
                    let payload = if pressed { in_band(tick) } else { mu_law(&[0; 160]) };
                    house.world.speak(&mut caller, &payload);
                }
                _ => {}
            }
            house.run(20);
        }
        let events = house.world.events();
        let at = |wanted: fn(&MediaEvent) -> bool| events.iter().position(wanted);
        let key = at(|event| matches!(event, MediaEvent::Dtmf { digit: '1', .. }));
        let ended = |play| {
            events.iter().position(|event| {
                matches!(event, MediaEvent::PlayEnded { play: ended, how: PlayEnd::BargedIn, .. } if *ended == play)
            })
        };
        assert!(key.is_some() && key < ended(first), "{way}: {events:?}");
        for play in [second, other_first, to_all] {
            assert_eq!(ended(play), None, "{way}: it was not for him to end");
        }
        let finished = events.iter().any(|event| {
            matches!(event, MediaEvent::PlayEnded { play, how: PlayEnd::Finished, .. } if *play == second)
        });
        assert!(finished, "{way}: the next in the queue");
    }
}

#[test]
fn who_leaves_ends_what_plays_to_him() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    let mut theirs: Vec<_> = (0..3).map(|_| house.queue(to, forever(steady(10, 10)))).collect();
    theirs.push(house.play(to, Lane::Background, forever(steady(20, 10))));
    let all = house.queue(EVERYBODY, forever(steady(30, 10)));
    house.run(100);
    assert_eq!(house.told(), [Began(theirs[0]), Began(all)]);
    let leg = house.ears[0].phone.leg;
    house.world.command(Command::Leave { leg });
    house.run(40);
    let mut told = house.told();
    told.sort_by_key(|told| format!("{told:?}"));
    let expected: Vec<_> = theirs.iter().map(|&id| Ended(id, PlayEnd::Gone)).collect();
    assert_eq!(told, expected);
    // What comes too late for him is told, too, and who has his place in the mix hears nothing of it.
    let late = house.queue(to, steady(1, 10));
    let phone = house.ears[0].phone;
    house.run(20);
    assert_eq!(house.told(), [Ended(late, PlayEnd::Gone)]);
    house.world.join(&phone, house.room);
    house.forget();
    house.run(60);
    assert!(house.ears[0].heard[160..].iter().all(|&sample| sample == 30));
}

#[test]
fn one_voice_alone_passes_as_it_is_beside_a_play_that_pauses() {
    let mut house = House::new(&[CodecKind::Pcmu, CodecKind::Pcmu], 8000);
    house.queue(EVERYBODY, Play::once(Sound::silence(None, None)));
    let talker = house.one(0);
    house.play(talker, Lane::Background, tones("%(1,1000,400);loops=-1"));
    // Full scale, so that a limiter would be seen.
    let loud = mu_law(&[32_124, -32_124].repeat(80));
    house.run(40);
    for _ in 0..50 {
        let phone = &mut house.ears[0].phone;
        house.world.speak(phone, &loud);
        house.run(20);
    }
    let heard = &house.ears[1].payloads;
    let exact = heard.iter().rev().take_while(|payload| **payload == loud).count();
    assert!(exact > 40, "{exact} of {}", heard.len());
    // With a sound beside it the sum is held.
    house.queue(EVERYBODY, forever(steady(100, 100)));
    house.stop(EVERYBODY, StopPlay::Current);
    for _ in 0..20 {
        let phone = &mut house.ears[0].phone;
        house.world.speak(phone, &loud);
        house.run(20);
    }
    let peak = house.ears[1].peak(100);
    // µ-law rounds by up to 512 there.
    let ceiling = confab_dsp::CEILING;
    assert!((f32::from(peak) - ceiling).abs() < 600.0, "{peak} of {ceiling}");
}
