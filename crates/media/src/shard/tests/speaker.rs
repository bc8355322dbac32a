//! A phone whose clock, network and codec a test decides: it says a signal at its own pace, packets are lost or late, and
//! what another phone hears of it is kept.

use confab_codec::{CodecKind, Coding, Decoder, Encoder};

use super::world::{MS, Phone, World, media, rtp};
use crate::config::{JoinOptions, LegMedia};
use crate::io::Channel;
use crate::shard::QUANTUM_NS;
use crate::stats::LegStats;

pub(super) const fn l16(rate_hz: u32) -> CodecKind {
    CodecKind::L16 { rate_hz, channels: 1 }
}

/// What happens to a packet on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    /// It arrives so many nanoseconds after it was complete.
    Late(u64),
    Lost,
}

/// The sending half of a phone.
pub(super) struct Speaker {
    pub(super) phone: Phone,
    coding: Coding,
    encoder: Encoder,
    ptime_ms: u16,
    /// Its clock against the shard's, in parts per million, positive when it is fast.
    pub(super) skew_ppm: f64,
    began_ns: Option<u64>,
    /// Packets made.
    pub(super) packets: u64,
    /// What is on its way: when it arrives, and its bytes.
    under_way: Vec<(u64, Vec<u8>)>,
    pub(super) payloads: Vec<Vec<u8>>,
}

impl Speaker {
    pub(super) fn new(world: &mut World, media: &LegMedia) -> Self {
        Self::at(world.leg(media), media)
    }

    /// The same at a phone that has its leg.
    pub(super) fn at(phone: Phone, media: &LegMedia) -> Self {
        Speaker {
            phone,
            coding: media.coding,
            encoder: media.coding.encoder(),
            ptime_ms: media.ptime_ms,
            skew_ppm: 0.0,
            began_ns: None,
            packets: 0,
            under_way: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// Returns the time of the shard's clock at which a packet is complete.
    fn complete_ns(&mut self, now_ns: u64, packet: u64) -> u64 {
        let began_ns = *self.began_ns.get_or_insert(now_ns + 3 * MS);
        let packet_ns = f64::from(self.ptime_ms) * 1e6 / (1.0 + self.skew_ppm / 1e6);
        began_ns + (packet_ns * (packet + 1) as f64) as u64
    }

    /// Makes the packets that are complete by a time.
    fn prepare(
        &mut self,
        now_ns: u64,
        until_ns: u64,
        signal: &mut dyn FnMut(&mut [i16]),
        fate: &mut dyn FnMut(u64) -> Fate,
    ) {
        let kind = self.coding.kind;
        let samples = kind.sample_rate_hz() as usize * usize::from(self.ptime_ms) / 1000;
        while self.complete_ns(now_ns, self.packets) <= until_ns {
            let complete_ns = self.complete_ns(now_ns, self.packets);
            let mut pcm = vec![0; samples];
            signal(&mut pcm);
            let mut payload = vec![0; kind.max_payload(samples)];
            let length = self.encoder.encode(&pcm, &mut payload);
            payload.truncate(length);
            let mut bytes = vec![0; 12 + length];
            let payload_type = self.phone.payload_type;
            rtp(&mut self.phone, payload_type, false, &payload, &mut bytes);
            self.payloads.push(payload);
            let units = u32::from(self.ptime_ms) * kind.rtp_clock_hz() / 1000;
            self.phone.timestamp = self.phone.timestamp.wrapping_add(units);
            if let Fate::Late(late_ns) = fate(self.packets) {
                self.under_way.push((complete_ns + late_ns, bytes));
            }
            self.packets += 1;
        }
        self.under_way.sort_by_key(|&(arrival_ns, _)| arrival_ns);
    }

    /// Lets time pass until then, and what arrives before arrive.
    pub(super) fn speak_until(
        &mut self,
        world: &mut World,
        until_ns: u64,
        signal: &mut dyn FnMut(&mut [i16]),
        fate: &mut dyn FnMut(u64) -> Fate,
    ) {
        self.prepare(world.now_ns(), until_ns, signal, fate);
        while let Some(&(arrival_ns, _)) = self.under_way.first()
            && arrival_ns <= until_ns
        {
            let (_, bytes) = self.under_way.remove(0);
            world.run_until(arrival_ns.max(world.now_ns()));
            world.deliver(&self.phone, Channel::Rtp, self.phone.address, &bytes, 0);
        }
        world.run_until(until_ns);
    }
}

/// The receiving half of a phone that gets the mix as it is.
pub(super) struct Listener {
    pub(super) phone: Phone,
    decoder: Box<dyn Decoder>,
    pub(super) rate_hz: u32,
    pub(super) heard: Vec<i16>,
}

impl Listener {
    fn new(world: &mut World, number: usize, rate_hz: u32) -> Self {
        Listener {
            phone: world.leg(&leg(number, l16(rate_hz).into(), 10)),
            decoder: l16(rate_hz).decoder(),
            rate_hz,
            heard: Vec::new(),
        }
    }

    pub(super) fn listen(&mut self, world: &World) {
        let mut pcm = [0; 5760];
        while let Some(packet) = world.heard(&self.phone, Channel::Rtp) {
            let packet = confab_rtp::RtpPacket::parse(packet.bytes()).unwrap();
            let samples = self.decoder.decode(packet.payload(), &mut pcm).unwrap();
            self.heard.extend_from_slice(&pcm[..samples]);
        }
    }

    /// The part of what was heard between two times in milliseconds.
    pub(super) fn between(&self, from_ms: usize, to_ms: usize) -> &[i16] {
        let at = |ms: usize| (ms * self.rate_hz as usize / 1000).min(self.heard.len());
        &self.heard[at(from_ms)..at(to_ms)]
    }
}

/// What a leg negotiates that speaks in this coding.
pub(super) fn leg(number: usize, coding: Coding, ptime_ms: u16) -> LegMedia {
    let mut media = media(number);
    let pt = coding.kind.static_pt().unwrap_or(96);
    (media.coding, media.send_pt, media.recv_pts, media.ptime_ms) = (coding, pt, vec![pt], ptime_ms);
    media
}

/// One speaker and one listener in a conference of 20 ms at the speaker's rate, whose gate is open at level 0.
pub(super) struct Line {
    pub(super) world: World,
    pub(super) speaker: Speaker,
    pub(super) listener: Listener,
}

impl Line {
    pub(super) fn new(media: &LegMedia, energy_level: u16) -> Self {
        let mut world = World::new();
        let speaker = Speaker::new(&mut world, media);
        let rate_hz = media.coding.kind.sample_rate_hz();
        let listener = Listener::new(&mut world, 1, rate_hz);
        let room = world.conference_at(rate_hz, 20, energy_level, 2);
        world.join(&speaker.phone, room);
        let silent = JoinOptions {
            muted: true,
            ..JoinOptions::default()
        };
        world.join_as(&listener.phone, room, silent);
        world.turn();
        Line {
            world,
            speaker,
            listener,
        }
    }

    /// Lets time pass.
    pub(super) fn run(
        &mut self,
        milliseconds: u64,
        signal: &mut dyn FnMut(&mut [i16]),
        fate: &mut dyn FnMut(u64) -> Fate,
    ) {
        for _ in 0..milliseconds * MS / QUANTUM_NS {
            let until_ns = self.world.now_ns() + QUANTUM_NS;
            self.speaker.speak_until(&mut self.world, until_ns, signal, fate);
            self.listener.listen(&self.world);
        }
    }

    /// Returns the speaker's measurements.
    pub(super) fn stats(&mut self) -> LegStats {
        self.world.stats(&self.speaker.phone)
    }
}

/// Arrives at once.
pub(super) fn on_time(_: u64) -> Fate {
    Fate::Late(0)
}

/// Something like a speaker who never pauses: pulses of wandering pitch through a resonance, swelling and falling, but
/// never to silence.
pub(super) struct Voice {
    rate_hz: f32,
    n: u64,
    phase: f32,
    past: [f32; 2],
}

impl Voice {
    pub(super) fn new(rate_hz: u32) -> Self {
        Voice {
            rate_hz: rate_hz as f32,
            n: 0,
            phase: 0.0,
            past: [0.0; 2],
        }
    }

    fn next(&mut self) -> i16 {
        let time = self.n as f32 / self.rate_hz;
        // Beyond some minutes single precision has no smooth time.
        let time = time % 100.0;
        self.n += 1;
        let pitch_hz = 130.0 + 20.0 * (time * 7.1).sin() + 12.0 * (time * 2.3).sin();
        self.phase += pitch_hz / self.rate_hz;
        let radius = (-500.0 / self.rate_hz).exp();
        let cosine = (std::f32::consts::TAU * 500.0 / self.rate_hz).cos();
        let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
        self.phase = self.phase.fract();
        let loudness = 0.35 + 0.65 * (time * 11.0).sin().abs();
        let output = pulse * loudness + 2.0 * radius * cosine * self.past[0] - radius * radius * self.past[1];
        self.past = [output, self.past[0]];
        // A resonance of the pulse of height 1 swings to about 16 at 48 kHz, 1/(2 sin ω).
        let scale = 12_000.0 * (std::f32::consts::TAU * 500.0 / self.rate_hz).sin();
        (output * scale).clamp(-20_000.0, 20_000.0) as i16
    }

    pub(super) fn fill(&mut self, out: &mut [i16]) {
        out.fill_with(|| self.next());
    }
}

/// Random numbers for a test.
pub(super) struct Dice(pub(super) u32);

impl Dice {
    /// True in so many of a hundred cases.
    pub(super) fn falls(&mut self, percent: u32) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % 100 < percent
    }
}
