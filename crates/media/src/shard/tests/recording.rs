//! What a recording gets of a conference: the full mix, and its parts, which add up to it whatever happens.

use std::sync::atomic::Ordering::Relaxed;

use confab_codec::CodecKind;
use confab_dsp::NoiseLevel;
use proptest::prelude::*;

use super::house::{House, clip, convert, forever, sine, steady as steady_clip, tones};
use super::recorder::Recorder;
use super::speaker::{Voice, l16};
use super::world::{MS, Phone, World, media, steady};
use crate::config::JoinOptions;
use crate::playback::{Lane, Play, PlayChange, PlayId, Sound, StopPlay};
use crate::shard::command::{Audience, Command, MixChange, Returned};
use crate::tap::{HIGHEST_RATE_HZ, tap};

const MUTED: JoinOptions = JoinOptions {
    muted: true,
    deaf: false,
    ghost: false,
    held: false,
};

/// Lets the keeper do its work.
fn free(world: &mut World) {
    while let Ok(returned) = world.returned.pop() {
        if let Returned::Garbage(garbage) = returned {
            drop(garbage);
        }
    }
}

/// Everybody says one value for so many packets.
fn say(world: &mut World, phones: &mut [(&mut Phone, i16)], packets: usize) {
    for _ in 0..packets {
        for (phone, value) in &mut *phones {
            world.speak(phone, &steady(*value));
        }
        world.turns(4);
    }
}

#[test]
fn the_full_mix_is_what_is_said_and_played_before_it_is_limited() {
    let mut world = World::new();
    let mut phones = world.legs(3);
    let room = world.room(&phones, 20);
    let mut recorder = Recorder::start(&world, room, &phones, 2000);
    let [one, two, three] = &mut phones[..] else {
        unreachable!()
    };
    say(
        &mut world,
        &mut [(one, 19_836), (two, 15_996), (three, -9852)],
        40,
    );
    recorder.check();
    assert_eq!(recorder.last, [25_980; 160]);
    assert_eq!(recorder.saturated, 0);
    say(
        &mut world,
        &mut [(one, 19_836), (two, 19_836), (three, -3900)],
        10,
    );
    recorder.check();
    assert_eq!(recorder.last, [i16::MAX; 160]);
    assert!(recorder.saturated > 5);
    let at: Vec<_> = recorder.blocks.iter().map(|(block, _)| block.at_ms).collect();
    assert!(at.windows(2).all(|pair| pair[1] == pair[0] + 20));
    let heard = world.audio(&phones[2]);
    let last = heard.last().expect("he hears the others");
    assert!(
        (20_000..24_000).contains(&last.samples[159]),
        "it is heard limited: {}",
        last.samples[159]
    );
}

#[test]
fn mute_comes_before_every_tap_and_a_closed_gate_is_silence() {
    let mut world = World::new();
    let mut phones = world.legs(3);
    let room = world.conference(20, 2000, 3);
    for (phone, options) in phones.iter().zip([MUTED, JoinOptions::default(), MUTED]) {
        world.join_as(phone, room, options);
    }
    world.turn();
    let mut recorder = Recorder::start(&world, room, &phones, 2000);
    let [muted, quiet, third] = &mut phones[..] else {
        unreachable!()
    };
    say(&mut world, &mut [(muted, 7932), (quiet, 988), (third, 0)], 30);
    recorder.check();
    assert!(recorder.blocks.len() >= 28);
    assert_eq!((recorder.sounding, recorder.server_sounding), (0, 0));
    for part in &recorder.parts {
        assert!(part.blocks >= 28 && part.sounding == 0);
    }
    world.command(Command::SetMuted {
        leg: muted.leg,
        muted: false,
    });
    say(&mut world, &mut [(muted, 7932), (quiet, 988)], 10);
    recorder.check();
    assert_eq!(recorder.last, [7932; 160]);
    assert_eq!(
        recorder
            .parts
            .iter()
            .map(|part| part.sounding > 5)
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    // Who is deaf or hears one less is recorded all the same.
    let before = recorder.sounding;
    world.command(Command::SetDeaf {
        leg: quiet.leg,
        deaf: true,
    });
    world.command(Command::SetHeard {
        conference: room,
        talker: muted.leg,
        listener: third.leg,
        heard: false,
    });
    say(&mut world, &mut [(muted, 7932), (quiet, 988)], 10);
    recorder.check();
    assert!(recorder.sounding >= before + 9);
}

#[test]
fn who_joins_later_begins_with_his_first_tick_and_who_leaves_ends_with_his_last() {
    let mut world = World::new();
    let mut phones = world.legs(3);
    let room = world.conference(20, 0, 3);
    world.join(&phones[0], room);
    world.turn();
    let mut recorder = Recorder::start(&world, room, &phones[..1], 2000);
    world.turns(40);
    recorder.join(&world, &phones[1], room, JoinOptions::default());
    for _ in 0..20 {
        let [one, two, _] = &mut phones[..] else {
            unreachable!()
        };
        say(&mut world, &mut [(one, 988), (two, 1980)], 1);
    }
    world.command(Command::Leave { leg: phones[1].leg });
    world.turns(40);
    recorder.join(&world, &phones[2], room, MUTED);
    world.turns(40);
    recorder.check();
    let began = recorder.blocks[0].0.at_ms;
    assert_eq!(
        recorder.part_of(&phones[0]).began_ms,
        Some(began),
        "in from the start"
    );
    let second = recorder.part_of(&phones[1]);
    assert_eq!(second.began_ms, Some(began + 200));
    assert_eq!(second.ended_ms, began + 200 + 400);
    assert_eq!(recorder.part_of(&phones[2]).began_ms, Some(began + 800));
    free(&mut world);
    assert!(recorder.part_of(&phones[1]).is_over());
    assert!(!recorder.part_of(&phones[0]).is_over());
    // He comes back, in the place of before, with another tap.
    recorder.join(&world, &phones[1], room, JoinOptions::default());
    say(&mut world, &mut [(&mut phones[1], 1980)], 10);
    recorder.check();
    assert!(recorder.part_of(&phones[1]).sounding >= 8);
    assert!(!recorder.part_of(&phones[1]).is_over());
    // Closed, as well.
    drop(world.take(&phones[0], true));
    world.turns(8);
    free(&mut world);
    recorder.check();
    assert!(recorder.parts[0].is_over());
    world.command(Command::RemoveConference { at: room });
    world.turns(8);
    free(&mut world);
    recorder.check();
    assert!(recorder.is_over() && recorder.parts.iter().all(|part| part.is_over()));
}

#[test]
fn a_leg_that_is_not_there_has_a_tap_that_is_over() {
    let mut world = World::new();
    let phones = world.legs(2);
    let room = world.room(&phones[..1], 0);
    let mut recorder = Recorder::start(&world, room, &phones, 2000);
    world.turns(8);
    free(&mut world);
    recorder.check();
    assert!(recorder.part_of(&phones[1]).is_over());
    assert_eq!(recorder.part_of(&phones[1]).began_ms, None);
    assert!(!recorder.part_of(&phones[0]).is_over());
    // A track for a conference that is not recorded goes back unused, and so does one for a refused join.
    let other = world.conference(20, 0, 1);
    recorder.join(&world, &phones[1], other, JoinOptions::default());
    recorder.join(&world, &phones[0], other, JoinOptions::default());
    world.turns(8);
    free(&mut world);
    assert!(recorder.parts[2..].iter().all(|part| part.is_over()));
}

#[test]
fn another_recording_takes_the_place_of_the_first_and_one_that_nobody_reads_is_given_back() {
    let mut world = World::new();
    let mut phones = world.legs(2);
    let room = world.room(&phones, 0);
    let mut first = Recorder::start(&world, room, &phones, 2000);
    world.turns(40);
    let mut second = Recorder::start(&world, room, &phones, 2000);
    let [one, two] = &mut phones[..] else {
        unreachable!()
    };
    say(&mut world, &mut [(one, 988), (two, 1980)], 10);
    free(&mut world);
    first.check();
    second.check();
    assert_eq!(first.blocks.len(), 10);
    assert!(first.is_over() && !second.is_over() && second.sounding >= 8);
    let gap = second.blocks[0].0.at_ms - first.blocks[9].0.at_ms;
    assert_eq!(gap, 20, "the one goes on where the other ends");
    drop(second);
    let conference = |world: &mut World| {
        let conference = world.shard.conferences.get(room.index, room.generation);
        conference.expect("it runs").is_recorded()
    };
    assert!(conference(&mut world));
    world.turns(4);
    assert!(!conference(&mut world), "dropping the taps is enough");
}

#[test]
fn ticks_that_were_left_out_are_a_gap_of_their_length_in_all_taps() {
    let mut world = World::new();
    let mut phones = world.legs(2);
    let room = world.room(&phones, 0);
    let mut recorder = Recorder::start(&world, room, &phones, 2000);
    let [one, two] = &mut phones[..] else {
        unreachable!()
    };
    say(&mut world, &mut [(one, 988), (two, 1980)], 10);
    let skipped = world.metrics().ticks_skipped;
    recorder.check();
    world.oversleep(1000 * MS);
    world.turns(4);
    let skipped = world.metrics().ticks_skipped - skipped;
    assert!(skipped > 30, "{skipped}");
    recorder.check();
    assert_eq!(recorder.left_out_ms, 20 * skipped);
    assert!(recorder.parts.iter().all(|part| !part.is_over()));
}

#[test]
fn nobody_in_it_is_silence_and_so_is_nothing_but_comfort_noise_the_servers() {
    let mut world = World::new();
    world.comfort_noise = 1400;
    assert!(NoiseLevel::from_profile(1400).is_some());
    let room = world.conference(20, 20, 2);
    let mut recorder = Recorder::start(&world, room, &[], 2000);
    world.turns(40);
    recorder.check();
    assert!(recorder.blocks.len() >= 9, "the clock goes on");
    assert_eq!(recorder.sounding, recorder.server_sounding);
    assert!(recorder.sounding >= 9, "the noise is the server's");
    let mut phone = world.leg(&media(0));
    recorder.join(&world, &phone, room, JoinOptions::default());
    say(&mut world, &mut [(&mut phone, 7932)], 20);
    recorder.check();
    assert_eq!(recorder.last, [7932; 160], "he hears the noise, nobody else does");
}

#[test]
fn what_plays_to_all_is_the_servers_and_what_plays_to_one_or_to_those_who_wait_is_not() {
    let mut house = House::new(&[CodecKind::Pcmu; 3], 8000);
    let phones: Vec<_> = house.ears.iter().map(|ear| ear.phone).collect();
    let mut recorder = Recorder::start(&house.world, house.room, &phones, 2000);
    house.hold(1, true);
    let one = house.one(2);
    house.queue(one, steady_clip(500, 200));
    house.queue(Audience::Waiting, steady_clip(700, 200));
    house.run(300);
    recorder.check();
    assert_eq!(recorder.sounding, 0);
    house.queue(Audience::Everybody, steady_clip(900, 100));
    let music = Play {
        duck_db: Some(12.0),
        ..forever(steady_clip(1000, 500))
    };
    house.play(Audience::Everybody, Lane::Background, music);
    house.run(60);
    recorder.check();
    assert_eq!(recorder.last, [900; 160]);
    house.run(100);
    recorder.check();
    assert_eq!(recorder.last, [1000; 160]);
    let mut talker = house.ears[0].phone;
    for _ in 0..30 {
        house.world.speak(&mut talker, &steady(7932));
        house.run(20);
    }
    recorder.check();
    assert_eq!(
        recorder.last,
        [7932 + 251; 160],
        "lowered by who talks, as it is heard"
    );
    assert!(recorder.part_of(&talker).sounding > 25);
}

#[test]
fn a_leg_has_a_tap_of_its_own_beside_the_recording() {
    let mut world = World::new();
    let phone = world.legs(1).remove(0);
    let mut phone = phone;
    let room = world.conference(20, 0, 1);
    world.join_as(&phone, room, MUTED);
    world.turn();
    let mut recorder = Recorder::start(&world, room, &[phone], 2000);
    let (mut own, source) = tap(2000, HIGHEST_RATE_HZ, std::sync::Arc::default());
    world.command(Command::Tap {
        leg: phone.leg,
        tap: Some(source),
    });
    say(&mut world, &mut [(&mut phone, 7932)], 20);
    recorder.check();
    assert_eq!(recorder.sounding, 0);
    let mut samples = Vec::new();
    let heard = std::iter::from_fn(|| own.next(&mut samples)).filter(|block| !block.is_silence);
    assert!(heard.count() > 15);
}

const KINDS: [CodecKind; 5] = [
    CodecKind::Pcmu,
    CodecKind::G722,
    l16(16_000),
    CodecKind::Opus,
    CodecKind::Pcma,
];

#[derive(Debug, Clone)]
enum Step {
    Join(usize, bool),
    Leave(usize),
    Mute(usize, bool),
    Hold(usize, bool),
    Gain(usize, f32),
    Level(u16),
    Hear(usize, usize, bool),
    Play(To, bool, Play),
    Stop(StopPlay),
    Change(u64, PlayChange),
    Raise,
    Grow,
    Record,
    Oversleep(u64),
    Talk(u64),
}

/// Whom something is played to: everybody, those who wait, one.
type To = usize;

fn play() -> impl Strategy<Value = Play> {
    let plays = prop_oneof![
        (
            prop::sample::select(vec![8000_u32, 16_000, 44_100]),
            20..900_usize
        )
            .prop_map(|(rate_hz, ms)| clip(rate_hz, sine(rate_hz, 437.0, ms))),
        prop::sample::select(vec![
            "%(200,50,440,480);loops=4",
            "1234",
            "%(1000,0,437);loops=-1"
        ])
        .prop_map(tones),
        Just(Play::once(Sound::silence(Some(300), Some(100)))),
    ];
    (plays, -20f32..20.0, prop::option::of(0f32..40.0), any::<bool>()).prop_map(
        |(play, gain_db, duck_db, announces)| Play {
            gain_db,
            duck_db,
            announces,
            gives_way: !announces,
            ..play
        },
    )
}

fn change() -> impl Strategy<Value = PlayChange> {
    prop_oneof![
        (-900..900_i64).prop_map(PlayChange::SeekBy),
        (-40f32..20.0).prop_map(PlayChange::Gain),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..KINDS.len();
    prop_oneof![
        3 => (who(), any::<bool>()).prop_map(|(who, muted)| Step::Join(who, muted)),
        2 => who().prop_map(Step::Leave),
        2 => (who(), any::<bool>()).prop_map(|(who, on)| Step::Mute(who, on)),
        1 => (who(), any::<bool>()).prop_map(|(who, on)| Step::Hold(who, on)),
        2 => (who(), -20f32..20.0).prop_map(|(who, decibels)| Step::Gain(who, decibels)),
        1 => prop::sample::select(vec![0_u16, 20, 200, 1800]).prop_map(Step::Level),
        1 => (who(), who(), any::<bool>()).prop_map(|(a, b, heard)| Step::Hear(a, b, heard)),
        4 => (0..KINDS.len() + 2, any::<bool>(), play()).prop_map(|(to, back, play)| Step::Play(to, back, play)),
        1 => prop::sample::select(vec![StopPlay::All, StopPlay::Current, StopPlay::Background]).prop_map(Step::Stop),
        2 => (0..3_u64, change()).prop_map(|(back, change)| Step::Change(back, change)),
        1 => Just(Step::Raise),
        1 => Just(Step::Grow),
        1 => Just(Step::Record),
        1 => (1..400_u64).prop_map(Step::Oversleep),
        10 => (1..40_u64).prop_map(Step::Talk),
    ]
}

/// A recorded conference in which everything happens.
struct Studio {
    house: House,
    recorder: Recorder,
    voices: Vec<Voice>,
    /// Where each voice is heard from: its encoder, and who is in the conference.
    encoders: Vec<confab_codec::Encoder>,
    is_in: [bool; KINDS.len()],
    capacity: usize,
    latest: PlayId,
}

impl Studio {
    fn new() -> Self {
        let house = House::new(&KINDS, 8000);
        let phones: Vec<_> = house.ears.iter().map(|ear| ear.phone).collect();
        let recorder = Recorder::start(&house.world, house.room, &phones, 10_000);
        Studio {
            recorder,
            voices: KINDS
                .iter()
                .map(|kind| Voice::new(kind.sample_rate_hz()))
                .collect(),
            encoders: KINDS
                .iter()
                .map(|&kind| confab_codec::Coding::from(kind).encoder())
                .collect(),
            is_in: [true; KINDS.len()],
            capacity: KINDS.len(),
            latest: PlayId(0),
            house,
        }
    }

    fn present(&self) -> Vec<Phone> {
        let present = self.house.ears.iter().zip(self.is_in).filter(|(_, is_in)| *is_in);
        present.map(|(ear, _)| ear.phone).collect()
    }

    fn talk(&mut self, packets: u64) {
        for packet in 0..packets {
            for (who, kind) in KINDS.into_iter().enumerate() {
                let mut pcm = vec![0; kind.sample_rate_hz() as usize / 50];
                // Each has its pauses.
                if !(packet + 7 * who as u64).is_multiple_of(31) {
                    self.voices[who].fill(&mut pcm);
                }
                let mut payload = vec![0; kind.max_payload(pcm.len())];
                let length = self.encoders[who].encode(&pcm, &mut payload);
                let phone = &mut self.house.ears[who].phone;
                let timestamp = phone.timestamp.wrapping_add(kind.rtp_clock_hz() / 50);
                self.house.world.speak(phone, &payload[..length]);
                phone.timestamp = timestamp;
            }
            self.house.run(20);
        }
    }

    fn take(&mut self, step: Step) {
        let house = &mut self.house;
        let leg = |who: usize| house.ears[who].phone.leg;
        match step {
            Step::Join(who, muted) => {
                let options = JoinOptions {
                    muted,
                    ..JoinOptions::default()
                };
                let phone = house.ears[who].phone;
                self.recorder.join(&house.world, &phone, house.room, options);
                self.is_in[who] = true;
            }
            Step::Leave(who) => {
                house.world.command(Command::Leave { leg: leg(who) });
                self.is_in[who] = false;
            }
            Step::Mute(who, muted) => house.world.command(Command::SetMuted { leg: leg(who), muted }),
            Step::Hold(who, held) => house.hold(who, held),
            Step::Gain(who, decibels) => house.world.command(Command::Set {
                leg: leg(who),
                change: MixChange::InputGainDb(decibels),
            }),
            Step::Level(energy_level) => house.world.command(Command::SetEnergyLevel {
                conference: house.room,
                energy_level,
            }),
            Step::Hear(talker, listener, heard) => house.world.command(Command::SetHeard {
                conference: house.room,
                talker: leg(talker),
                listener: leg(listener),
                heard,
            }),
            Step::Play(to, background, play) => {
                let to = match to {
                    0 => Audience::Everybody,
                    1 => Audience::Waiting,
                    who => house.one(who - 2),
                };
                for rate_hz in [8000, 16_000, 48_000] {
                    convert(&play, rate_hz);
                }
                let lane = if background { Lane::Background } else { Lane::Queue };
                self.latest = house.play(to, lane, play);
            }
            Step::Change(back, change) => house.world.command(Command::ChangePlay {
                conference: house.room,
                to: Audience::Everybody,
                play: PlayId(self.latest.0.saturating_sub(back)),
                change,
            }),
            Step::Stop(what) => house.stop(Audience::Everybody, what),
            Step::Raise => {
                house.rate_hz = if house.rate_hz == 8000 { 16_000 } else { 48_000 };
                house.world.raise(house.room, house.rate_hz, self.capacity);
            }
            Step::Grow => {
                self.capacity += 2;
                let storage = if house.rate_hz == 8000 {
                    World::storage(self.capacity)
                } else {
                    World::raised_storage(house.rate_hz, self.capacity)
                };
                house.world.command(Command::Grow {
                    at: house.room,
                    storage,
                });
            }
            Step::Record => {
                house.run(0);
                self.recorder.check();
                let phones = self.present();
                self.recorder = Recorder::start(&self.house.world, self.house.room, &phones, 10_000);
            }
            Step::Oversleep(milliseconds) => {
                house.world.oversleep(milliseconds * MS);
            }
            Step::Talk(packets) => self.talk(packets),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_parts_add_up_to_the_mix(steps in prop::collection::vec(step(), 1..60)) {
        let mut studio = Studio::new();
        for step in steps {
            studio.take(step);
            studio.recorder.check();
            free(&mut studio.house.world);
        }
        studio.talk(10);
        free(&mut studio.house.world);
        studio.recorder.check();
        prop_assert!(studio.recorder.blocks.len() >= 9);
        prop_assert_eq!(studio.recorder.dropped.load(Relaxed), 0);
        for (who, is_in) in studio.is_in.into_iter().enumerate() {
            let phone = studio.house.ears[who].phone;
            let mut parts = studio.recorder.parts.iter();
            let last = parts.rfind(|part| part.leg == phone.leg);
            prop_assert_eq!(last.is_some_and(|part| !part.is_over()), is_in, "{}", who);
        }
    }
}
