//! Rooms of any codecs and rates in which people talk, fall silent, are muted and turned up at random: in every span of time each
//! listener hears those who speak then, at their level, and nothing else. Talking and silence are digital and exact, so that whatever
//! a gate, a conversion or a buffer leaves behind stands out.

use confab_codec::CodecKind;

use super::codecs::{Talker, level, run};
use super::speaker::Dice;
use super::world::World;
use crate::shard::command::{Command, MixChange};

const MEMBERS: usize = 5;
/// Peak of a voice, and its level in dB of a full-scale sine. All of them together, each turned up, are not limited.
const PEAK: f64 = 2000.0;
const LEVEL_DB: f64 = -24.29;
/// In each span everybody speaks or is silent all the time.
const SPAN_MS: u64 = 1500;
/// What is under way when a span begins: jitter buffers, packets of 60 ms, the look-ahead of codecs, a gain on its way.
const SETTLING_MS: u64 = 300;
/// What is measured at a time.
const PIECE_MS: u64 = 300;
const SPANS: u64 = 6;

const KINDS: [CodecKind; 6] = [
    CodecKind::Pcmu,
    CodecKind::Pcma,
    CodecKind::G722,
    CodecKind::L16 {
        rate_hz: 16_000,
        channels: 1,
    },
    CodecKind::L16 {
        rate_hz: 48_000,
        channels: 1,
    },
    CodecKind::Opus,
];

/// Voices far from each other and from each other's harmonics, within the narrow band.
fn frequency(member: usize) -> f64 {
    [437.0, 733.0, 1129.0, 1637.0, 2503.0][member]
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    speaks: bool,
    muted: bool,
    gain_db: f32,
}

impl Member {
    fn is_heard(self) -> bool {
        self.speaks && !self.muted
    }
}

/// A room, and what goes on in it.
struct Room {
    seed: u32,
    /// Codecs, packet times, rates, the level of the gates.
    what: String,
    world: World,
    talkers: Vec<Talker>,
    members: [Member; MEMBERS],
    now_ms: u64,
}

fn pick<T: Copy>(dice: &mut Dice, among: &[T]) -> T {
    dice.falls(0);
    among[dice.0 as usize % among.len()]
}

impl Room {
    fn new(seed: u32, dice: &mut Dice) -> Self {
        let mut world = World::new();
        let mut what = String::new();
        let talkers: Vec<_> = (0..MEMBERS)
            .map(|member| {
                let ptime_ms = pick(dice, &[10, 20, 20, 20, 30, 60]);
                let kind = match pick(dice, &KINDS) {
                    // No more octets than a packet holds.
                    CodecKind::L16 { rate_hz, .. } if u32::from(ptime_ms) * rate_hz / 500 > 1400 => {
                        CodecKind::Pcma
                    }
                    kind => kind,
                };
                what += &format!("{kind:?} {ptime_ms} ms, ");
                Talker::new(&mut world, member, kind, ptime_ms, (frequency(member), 0.0))
            })
            .collect();
        let (rate_hz, raised_hz) = pick(
            dice,
            &[
                (8000, None),
                (16_000, None),
                (44_100, None),
                (48_000, None),
                (8000, Some(48_000)),
                (8000, Some(16_000)),
            ],
        );
        let energy_level = pick(dice, &[0, 20, 20, 100]);
        what += &format!("{rate_hz} Hz, then {raised_hz:?}, level {energy_level}");
        let conference = world.conference_at(rate_hz, 20, energy_level, MEMBERS);
        for talker in &talkers {
            world.join(&talker.phone, conference);
        }
        let mut room = Room {
            seed,
            what,
            world,
            talkers,
            members: [Member::default(); MEMBERS],
            now_ms: 0,
        };
        room.pass(600);
        if let Some(rate_hz) = raised_hz {
            room.world.raise(conference, rate_hz, MEMBERS);
            room.pass(400);
        }
        room
    }

    fn pass(&mut self, milliseconds: u64) {
        run(&mut self.world, &mut self.talkers, self.now_ms, milliseconds);
        self.now_ms += milliseconds;
    }

    /// Decides anew who speaks, who is muted and how loud each is.
    fn change(&mut self, dice: &mut Dice) {
        for (member, talker) in self.members.iter_mut().zip(&mut self.talkers) {
            member.speaks = dice.falls(45);
            talker.tone.1 = if member.speaks { PEAK } else { 0.0 };
            let leg = talker.phone.leg;
            if dice.falls(20) {
                member.muted = !member.muted;
                self.world.command(Command::SetMuted {
                    leg,
                    muted: member.muted,
                });
            }
            if dice.falls(20) {
                member.gain_db = pick(dice, &[0.0, 6.0, -6.0]);
                let change = MixChange::InputGainDb(member.gain_db);
                self.world.command(Command::Set { leg, change });
            }
        }
    }

    /// Compares what everybody heard of late with who spoke.
    fn check(&self, span: u64) {
        for listener in 0..MEMBERS {
            let talker = &self.talkers[listener];
            let rate_hz = talker.kind.sample_rate_hz() as usize;
            let samples = rate_hz * PIECE_MS as usize / 1000;
            let heard = &talker.heard[talker.heard.len() - samples..];
            let audible = (0..MEMBERS).filter(|&other| other != listener && self.members[other].is_heard());
            let place = format!(
                "room {} ({}), span {span}, at {} ms, {:?}: {listener}, {:?}, hears",
                self.seed, self.what, self.now_ms, self.members, talker.kind
            );
            if audible.clone().count() == 0 {
                let loudest = heard.iter().map(|sample| sample.unsigned_abs()).max();
                // What codecs make of silence, amplified.
                assert!(loudest < Some(256), "{place} {loudest:?} where there is silence");
                continue;
            }
            let lossy = audible
                .clone()
                .chain([listener])
                .any(|other| self.talkers[other].kind == CodecKind::Opus);
            for other in 0..MEMBERS {
                let found_db = level(heard, frequency(other), rate_hz as f64);
                if other != listener && self.members[other].is_heard() {
                    let expected_db = LEVEL_DB + f64::from(self.members[other].gain_db);
                    // Opus is made for speech: of several tones at once it gives one more and another less.
                    let bound_db = if lossy { 6.0 } else { 1.5 };
                    assert!(
                        (found_db - expected_db).abs() < bound_db,
                        "{place} {other} at {found_db:.1} dB in place of {expected_db:.1}"
                    );
                } else {
                    let bound_db = if lossy { -32.0 } else { -55.0 };
                    assert!(found_db < bound_db, "{place} {other} at {found_db:.1} dB");
                }
            }
        }
    }
}

#[test]
fn everybody_hears_those_who_speak_and_nothing_else() {
    let rooms = std::env::var("CONFAB_ROOMS").map_or(12, |rooms| rooms.parse().expect("a number of rooms"));
    for seed in 1_u32..=rooms {
        let mut dice = Dice(0x9e37_79b1_u32.wrapping_mul(seed));
        let mut room = Room::new(seed, &mut dice);
        for span in 0..SPANS {
            room.change(&mut dice);
            room.pass(SETTLING_MS);
            for _ in 0..(SPAN_MS - SETTLING_MS) / PIECE_MS {
                room.pass(PIECE_MS);
                room.check(span);
            }
        }
    }
}
