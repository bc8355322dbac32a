//! A conference in which something plays: listeners of any codec whose every sample is kept, and short ways to play.

use std::sync::Arc;

use confab_codec::{CodecKind, Decoder};
use confab_dsp::ToneScript;

use super::speaker::{l16, leg};
use super::world::{MS, Phone, World};
use crate::event::{LegId, MediaEvent};
use crate::io::Channel;
use crate::playback::{Asked, Clip, Lane, Play, PlayEnd, PlayId, Repeat, Sound, StopPlay};
use crate::shard::QUANTUM_NS;
use crate::shard::command::{Audience, Command, MixChange};
use crate::shard::conference::Playing;
use crate::shard::key::ConferenceKey;

/// A phone that only listens.
pub(super) struct Ear {
    pub(super) phone: Phone,
    decoder: Box<dyn Decoder>,
    pub(super) kind: CodecKind,
    pub(super) heard: Vec<i16>,
    pub(super) payloads: Vec<Vec<u8>>,
}

impl Ear {
    pub(super) fn new(world: &mut World, number: usize, kind: CodecKind, ptime_ms: u16) -> Self {
        Ear {
            phone: world.leg(&leg(number, kind.into(), ptime_ms)),
            decoder: kind.decoder(),
            kind,
            heard: Vec::new(),
            payloads: Vec::new(),
        }
    }

    pub(super) fn listen(&mut self, world: &World) {
        let mut pcm = [0; 5760];
        while let Some(packet) = world.heard(&self.phone, Channel::Rtp) {
            let packet = confab_rtp::RtpPacket::parse(packet.bytes()).unwrap();
            let samples = self.decoder.decode(packet.payload(), &mut pcm).unwrap();
            self.heard.extend_from_slice(&pcm[..samples]);
            self.payloads.push(packet.payload().to_vec());
        }
    }

    /// Returns what was heard without the silence before and behind it.
    pub(super) fn sound(&self) -> &[i16] {
        let is_heard = |&sample: &i16| sample != 0;
        let first = self.heard.iter().position(is_heard).unwrap_or(0);
        let last = self
            .heard
            .iter()
            .rposition(is_heard)
            .map_or(first, |last| last + 1);
        &self.heard[first..last]
    }

    /// Returns the loudest sample of the last so many milliseconds.
    pub(super) fn peak(&self, milliseconds: usize) -> u16 {
        let samples = self.kind.sample_rate_hz() as usize * milliseconds / 1000;
        let last = &self.heard[self.heard.len().saturating_sub(samples)..];
        last.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
    }
}

/// A conference and its listeners.
pub(super) struct House {
    pub(super) world: World,
    pub(super) room: ConferenceKey,
    pub(super) ears: Vec<Ear>,
    /// The rate that plays are made for.
    pub(super) rate_hz: u32,
    plays: u64,
}

impl House {
    /// Everybody in a conference of 20 ms at this rate, whose gate is open at level 0.
    pub(super) fn new(kinds: &[CodecKind], rate_hz: u32) -> Self {
        Self::with_world(World::new(), kinds, rate_hz)
    }

    pub(super) fn with_world(world: World, kinds: &[CodecKind], rate_hz: u32) -> Self {
        let ptime_ms = |&kind: &CodecKind| if kind == l16(48_000) { 10 } else { 20 };
        let ears: Vec<_> = kinds.iter().map(|kind| (*kind, ptime_ms(kind))).collect();
        Self::with_times(world, &ears, rate_hz, 20)
    }

    /// Everybody with his codec and packet time, in a conference of this interval.
    pub(super) fn with_times(
        mut world: World,
        kinds: &[(CodecKind, u16)],
        rate_hz: u32,
        interval_ms: u16,
    ) -> Self {
        let ears: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(number, &(kind, ptime_ms))| Ear::new(&mut world, number, kind, ptime_ms))
            .collect();
        let room = world.conference_at(rate_hz, interval_ms, 0, kinds.len().max(4));
        for ear in &ears {
            world.join(&ear.phone, room);
        }
        world.turn();
        House {
            world,
            room,
            ears,
            rate_hz,
            plays: 0,
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds * MS / QUANTUM_NS {
            self.world.turn();
            for ear in &mut self.ears {
                ear.listen(&self.world);
            }
        }
    }

    pub(super) fn one(&self, ear: usize) -> Audience {
        Audience::One(self.ears[ear].phone.leg)
    }

    pub(super) fn play(&mut self, to: Audience, lane: Lane, play: Play) -> PlayId {
        let (id, command) = self.command_to_play(to, lane, play);
        self.world.command(command);
        id
    }

    pub(super) fn command_to_play(
        &mut self,
        to: Audience,
        lane: Lane,
        play: Play,
    ) -> (PlayId, Command<usize>) {
        convert(&play, self.rate_hz);
        self.command_to_play_shared(to, lane, Asked::new(play))
    }

    /// The same for something that is converted already.
    pub(super) fn command_to_play_shared(
        &mut self,
        to: Audience,
        lane: Lane,
        play: Arc<Asked>,
    ) -> (PlayId, Command<usize>) {
        self.plays += 1;
        let id = PlayId(self.plays);
        let leg = match to {
            Audience::One(leg) => Some(LegId(leg.index.into())),
            Audience::Everybody | Audience::Waiting => None,
        };
        let playing = Playing::new(id, lane, leg, play, self.rate_hz);
        let command = Command::Play {
            conference: self.room,
            to,
            play: Box::new(playing),
        };
        (id, command)
    }

    /// Plays in the queue.
    pub(super) fn queue(&mut self, to: Audience, play: Play) -> PlayId {
        self.play(to, Lane::Queue, play)
    }

    pub(super) fn stop(&self, to: Audience, what: StopPlay) {
        self.world.command(Command::StopPlay {
            conference: self.room,
            to,
            what,
        });
    }

    pub(super) fn hold(&self, ear: usize, held: bool) {
        self.world.command(Command::Set {
            leg: self.ears[ear].phone.leg,
            change: MixChange::Held(held),
        });
    }

    pub(super) fn deafen(&self, ear: usize) {
        self.world.command(Command::SetDeaf {
            leg: self.ears[ear].phone.leg,
            deaf: true,
        });
    }

    /// Takes what was told about plays since the last time.
    pub(super) fn told(&mut self) -> Vec<Told> {
        let events = self.world.events();
        events
            .into_iter()
            .filter_map(|event| match event {
                MediaEvent::PlayStarted { play, .. } => Some(Told::Began(play)),
                MediaEvent::PlayEnded { play, how, .. } => Some(Told::Ended(play, how)),
                MediaEvent::AnnouncementMissed { play, .. } => Some(Told::Missed(play)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn forget(&mut self) {
        for ear in &mut self.ears {
            ear.heard.clear();
            ear.payloads.clear();
        }
    }
}

/// What was told about a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Began(PlayId),
    Ended(PlayId, PlayEnd),
    Missed(PlayId),
}

pub(super) fn convert(play: &Play, rate_hz: u32) {
    for sound in &play.sounds {
        if let crate::playback::Kind::Clip(clip) = &sound.0 {
            assert!(clip.convert(rate_hz));
        }
    }
}

pub(super) fn tones(script: &str) -> Play {
    Play::once(Sound::tones(ToneScript::parse(script).unwrap()))
}

/// A clip whose samples are all the same, at 8 kHz.
pub(super) fn steady(value: i16, milliseconds: usize) -> Play {
    clip(8000, vec![value; milliseconds * 8])
}

pub(super) fn clip(rate_hz: u32, samples: Vec<i16>) -> Play {
    Play::once(Sound::clip(Clip::new(rate_hz, samples).unwrap()))
}

pub(super) fn forever(play: Play) -> Play {
    Play {
        repeat: Repeat::Forever,
        ..play
    }
}

/// A sine of −10 dBFS.
pub(super) fn sine(rate_hz: u32, hz: f64, milliseconds: usize) -> Vec<i16> {
    let samples = rate_hz as usize * milliseconds / 1000;
    (0..samples)
        .map(|n| {
            let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate_hz);
            (32_767.0 * 10_f64.powf(-0.5) * angle.sin()).round() as i16
        })
        .collect()
}

/// The largest difference of two neighbours.
pub(super) fn largest_step(samples: &[i16]) -> f64 {
    samples
        .windows(2)
        .map(|pair| (f64::from(pair[1]) - f64::from(pair[0])).abs())
        .fold(0.0, f64::max)
}
