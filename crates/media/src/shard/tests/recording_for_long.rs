//! A long conference, recorded: narrow-band phones with clocks of their own, on a network that loses packets, who talk, pause, leave and come
//! back, while prompts and music play. Ten minutes; three hours with `CONFAB_LONG=1`.

use confab_codec::CodecKind;
use confab_testkit::random::SeededRandom;

use super::house::{House, clip, convert, forever, sine};
use super::recorder::Recorder;
use super::speaker::{Fate, Speaker, Voice, leg};
use super::world::MS;
use crate::config::JoinOptions;
use crate::playback::{Lane, Play, StopPlay};
use crate::shard::QUANTUM_NS;
use crate::shard::command::{Audience, Command, MixChange, Returned};

const MEMBERS: usize = 5;
/// Of the phones' clocks, in parts per million.
const SKEWS_PPM: [f64; MEMBERS] = [-120.0, -35.0, 0.0, 60.0, 150.0];
const LOSS: f64 = 0.02;
/// Packets arrive at most so late.
const JITTER_NS: u64 = 25 * MS;
/// Peak of the hiss of who does not talk: below the gates' level.
const HISS: u64 = 40;
const ENERGY_LEVEL: u16 = 100;

fn duration_s() -> u64 {
    if std::env::var_os("CONFAB_LONG").is_some() {
        3 * 3600
    } else {
        600
    }
}

/// One of the phones, and who is at it.
struct Member {
    speaker: Speaker,
    voice: Voice,
    random: SeededRandom,
    talks: bool,
    is_in: bool,
    lost: u64,
}

impl Member {
    /// Sends what is complete by then, and lets the shard run until then.
    fn speak_until(&mut self, house: &mut House, until_ns: u64) {
        let Member {
            speaker,
            voice,
            random,
            talks,
            lost,
            ..
        } = self;
        let mut network = SeededRandom::new(random.next_u64());
        let mut signal = |pcm: &mut [i16]| {
            if *talks {
                voice.fill(pcm);
            } else {
                pcm.fill_with(|| random.below(2 * HISS) as i16 - HISS as i16);
            }
        };
        let mut fate = |_| {
            if network.chance(LOSS) {
                *lost += 1;
                Fate::Lost
            } else {
                Fate::Late(network.below(JITTER_NS))
            }
        };
        speaker.speak_until(&mut house.world, until_ns, &mut signal, &mut fate);
        speaker.payloads.clear();
    }
}

/// What happens in a second, by chance.
fn change(house: &mut House, recorder: &mut Recorder, members: &mut [Member], random: &mut SeededRandom) {
    for (number, member) in members.iter_mut().enumerate() {
        let phone = house.ears[number].phone;
        if random.chance(0.3) {
            member.talks = !member.talks;
        }
        // Some stay long enough for their clocks to be known.
        let leaves = if number < 2 { 0.001 } else { 0.03 };
        if random.chance(if member.is_in { leaves } else { 0.2 }) {
            if member.is_in {
                house.world.command(Command::Leave { leg: phone.leg });
            } else {
                recorder.join(&house.world, &phone, house.room, JoinOptions::default());
            }
            member.is_in = !member.is_in;
        }
        if random.chance(0.05) {
            let muted = random.chance(0.3);
            house.world.command(Command::SetMuted {
                leg: phone.leg,
                muted,
            });
        }
        if random.chance(0.05) {
            let change = MixChange::InputGainDb([-6.0, 0.0, 0.0, 12.0][random.below(4) as usize]);
            house.world.command(Command::Set {
                leg: phone.leg,
                change,
            });
        }
    }
    if random.chance(0.15) {
        let to = match random.below(3) {
            0 => house.one(random.below(MEMBERS as u64) as usize),
            _ => Audience::Everybody,
        };
        let prompt = Play {
            announces: true,
            ..clip(8000, sine(8000, 620.0, 300 + random.below(2000) as usize))
        };
        house.queue(to, prompt);
    }
    if random.chance(0.05) {
        let music = Play {
            gain_db: -6.0,
            duck_db: Some(15.0),
            ..forever(clip(16_000, sine(16_000, 330.0, 5000)))
        };
        convert(&music, 8000);
        house.play(Audience::Everybody, Lane::Background, music);
    }
    if random.chance(0.03) {
        house.stop(Audience::Everybody, StopPlay::Background);
    }
}

#[test]
fn the_tracks_of_a_long_conference_add_up_to_its_mix() {
    let mut house = House::new(&[CodecKind::Pcmu; MEMBERS], 8000);
    house.world.command(Command::SetEnergyLevel {
        conference: house.room,
        energy_level: ENERGY_LEVEL,
    });
    let phones: Vec<_> = house.ears.iter().map(|ear| ear.phone).collect();
    let mut members: Vec<_> = (0..MEMBERS)
        .map(|number| {
            let media = leg(number, CodecKind::Pcmu.into(), 20);
            let mut speaker = Speaker::at(phones[number], &media);
            speaker.skew_ppm = SKEWS_PPM[number];
            Member {
                speaker,
                voice: Voice::new(8000),
                random: SeededRandom::new(number as u64),
                talks: number == 0,
                is_in: true,
                lost: 0,
            }
        })
        .collect();
    let mut random = SeededRandom::new(7);
    let mut recorder = Recorder::start(&house.world, house.room, &phones, 2000);
    recorder.is_long = true;
    let (mut tracks, mut sounding) = (0, 0);
    for _ in 0..duration_s() {
        change(&mut house, &mut recorder, &mut members, &mut random);
        for _ in 0..1_000_000_000 / QUANTUM_NS {
            let until_ns = house.world.now_ns() + QUANTUM_NS;
            for member in &mut members {
                member.speak_until(&mut house, until_ns);
            }
        }
        while let Ok(returned) = house.world.returned.pop() {
            if let Returned::Garbage(garbage) = returned {
                drop(garbage);
            }
        }
        house.world.events();
        house.world.forget();
        recorder.check();
        recorder.parts.retain(|part| {
            tracks += u64::from(part.is_over());
            sounding += if part.is_over() { part.sounding } else { 0 };
            !part.is_over()
        });
    }
    let seconds = duration_s();
    println!(
        "{seconds} s: {} samples, {} of {} blocks with anything in them, {} of them of the server's, {} cut off, {tracks} tracks ended",
        recorder.samples,
        recorder.sounding,
        recorder.samples / 160,
        recorder.server_sounding,
        recorder.saturated
    );
    assert_eq!(recorder.left_out_ms, 0);
    assert!(
        recorder.samples.abs_diff(8000 * seconds) <= 160 * 2,
        "{}",
        recorder.samples
    );
    assert!(recorder.sounding > seconds * 25, "{}", recorder.sounding);
    assert!(
        recorder.server_sounding > seconds * 5,
        "{}",
        recorder.server_sounding
    );
    assert!(recorder.saturated > seconds / 10, "{}", recorder.saturated);
    assert!(
        tracks > seconds / 20 && sounding > tracks * 50,
        "{tracks} tracks, {sounding} blocks"
    );
    for (member, phone) in members.iter().zip(&phones) {
        let stats = house.world.stats(phone);
        println!(
            "{:?} {} ms concealed of {} packets lost",
            stats.skew_ppm, stats.concealed_ms, stats.packets_lost
        );
        assert!(member.lost > seconds / 2, "{} packets lost", member.lost);
        assert!(stats.concealed_ms > seconds, "{stats:?}");
    }
}
