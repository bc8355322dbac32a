//! Rooms of different codecs, rates and packet times: who hears what, sharing of encoders, the rising rate.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use confab_codec::g711::Law;
use confab_codec::{CodecKind, Coding, Decoder, Encoder};

use super::world::{Phone, World, media};
use crate::config::LegMedia;
use crate::io::Channel;

const L16_16K: CodecKind = CodecKind::L16 {
    rate_hz: 16_000,
    channels: 1,
};
const L16_48K: CodecKind = CodecKind::L16 {
    rate_hz: 48_000,
    channels: 1,
};

/// A phone with a codec of its own: sends a tone, keeps what it hears.
pub(super) struct Talker {
    pub(super) phone: Phone,
    encoder: Encoder,
    decoder: Box<dyn Decoder>,
    pub(super) kind: CodecKind,
    ptime_ms: u16,
    /// Frequency in Hz and peak of what it says.
    pub(super) tone: (f64, f64),
    /// It says it in syllables.
    speaks: bool,
    said: usize,
    next_ms: u64,
    pub(super) heard: Vec<i16>,
    payloads: Vec<Vec<u8>>,
    packets: usize,
    timestamps: Vec<u32>,
}

fn leg_media(number: usize, kind: CodecKind, ptime_ms: u16) -> LegMedia {
    let mut media = media(number);
    let pt = kind.static_pt().unwrap_or(96);
    (media.coding, media.send_pt, media.recv_pts, media.ptime_ms) = (kind.into(), pt, vec![pt], ptime_ms);
    media
}

impl Talker {
    pub(super) fn new(
        world: &mut World,
        number: usize,
        kind: CodecKind,
        ptime_ms: u16,
        tone: (f64, f64),
    ) -> Self {
        let phone = world.leg(&leg_media(number, kind, ptime_ms));
        Talker {
            phone,
            encoder: Coding::from(kind).encoder(),
            decoder: kind.decoder(),
            kind,
            ptime_ms,
            tone,
            speaks: false,
            said: 0,
            next_ms: 0,
            heard: Vec::new(),
            payloads: Vec::new(),
            packets: 0,
            timestamps: Vec::new(),
        }
    }

    /// Sends the packet that is due at `now_ms`, if one is.
    fn speak(&mut self, world: &World, now_ms: u64) {
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms += u64::from(self.ptime_ms);
        let rate_hz = self.kind.sample_rate_hz();
        let samples = rate_hz as usize * usize::from(self.ptime_ms) / 1000;
        let (frequency, peak) = self.tone;
        let pcm: Vec<i16> = (self.said..self.said + samples)
            .map(|n| {
                let seconds = n as f64 / f64::from(rate_hz);
                // Three syllables a second, with nothing between them.
                let syllable = if self.speaks {
                    (TAU * 1.5 * seconds).sin().powi(2) - 0.3
                } else {
                    1.0
                };
                ((TAU * frequency * seconds).sin() * peak * syllable.max(0.0)) as i16
            })
            .collect();
        self.said += samples;
        let mut payload = vec![0; self.kind.max_payload(samples)];
        let length = self.encoder.encode(&pcm, &mut payload);
        let timestamp = self.phone.timestamp;
        world.speak(&mut self.phone, &payload[..length]);
        let units = u32::from(self.ptime_ms) * self.kind.rtp_clock_hz() / 1000;
        self.phone.timestamp = timestamp.wrapping_add(units);
    }

    fn listen(&mut self, world: &World) {
        let mut pcm = vec![0; 5760];
        while let Some(packet) = world.heard(&self.phone, Channel::Rtp) {
            let rtp = confab_rtp::RtpPacket::parse(packet.bytes()).unwrap();
            let samples = self.decoder.decode(rtp.payload(), &mut pcm).unwrap();
            self.heard.extend_from_slice(&pcm[..samples]);
            self.payloads.push(rtp.payload().to_vec());
            self.timestamps.push(rtp.timestamp().0);
            self.packets += 1;
        }
    }

    /// Returns the level of a frequency in what was heard from `from_ms` on, in dB below a full-scale sine.
    fn level(&self, frequency: f64, from_ms: usize) -> f64 {
        let rate_hz = self.kind.sample_rate_hz() as usize;
        let heard = &self.heard[(rate_hz * from_ms / 1000).min(self.heard.len())..];
        level(heard, frequency, rate_hz as f64)
    }
}

/// Level of a frequency in dB of a full-scale sine, by correlation with a windowed sine and cosine.
pub(super) fn level(samples: &[i16], frequency: f64, rate_hz: f64) -> f64 {
    let length = samples.len() as f64;
    let (mut sine, mut cosine, mut weight) = (0.0, 0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * n as f64 / length).cos();
        let angle = TAU * frequency * n as f64 / rate_hz;
        sine += window * angle.sin() * f64::from(sample);
        cosine += window * angle.cos() * f64::from(sample);
        weight += window;
    }
    let amplitude = 2.0 * sine.hypot(cosine) / weight;
    20.0 * (amplitude.max(1e-3) / 32_767.0).log10()
}

/// Runs everybody for a time.
pub(super) fn run(world: &mut World, talkers: &mut [Talker], from_ms: u64, milliseconds: u64) {
    for now_ms in (from_ms..from_ms + milliseconds).step_by(5) {
        for talker in talkers.iter_mut() {
            talker.speak(world, now_ms);
        }
        world.turn();
        for talker in talkers.iter_mut() {
            talker.listen(world);
        }
    }
}

/// Peak of a sine at −28 dBFS.
const PEAK: f64 = 32_767.0 * 0.039_8;
const LEVEL: f64 = -28.0;

/// Everybody's tone, spread over the narrow band and away from each other's harmonics.
fn tones(count: usize) -> Vec<f64> {
    (0..count).map(|n| 437.0 + 241.0 * n as f64).collect()
}

#[test]
fn everybody_hears_everybody_whatever_codec_rate_and_packet_time() {
    let kinds = [
        (CodecKind::Pcmu, 20),
        (CodecKind::Pcma, 10),
        (CodecKind::G722, 20),
        (L16_16K, 20),
        (L16_48K, 10),
        (CodecKind::Pcmu, 60),
        (CodecKind::G722, 30),
        (
            CodecKind::L16 {
                rate_hz: 44_100,
                channels: 1,
            },
            10,
        ),
    ];
    for mix_rate_hz in [8000, 16_000, 48_000] {
        let mut world = World::new();
        let tones = tones(kinds.len());
        let mut talkers: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(number, &(kind, ptime_ms))| {
                Talker::new(&mut world, number, kind, ptime_ms, (tones[number], PEAK))
            })
            .collect();
        let room = world.conference_at(mix_rate_hz, 20, 0, talkers.len());
        for talker in &talkers {
            world.join(&talker.phone, room);
        }
        run(&mut world, &mut talkers, 0, 3000);
        for (number, listener) in talkers.iter().enumerate() {
            let kind = listener.kind;
            for (other, &tone) in tones.iter().enumerate() {
                let heard = listener.level(tone, 1000);
                if other == number {
                    assert!(heard < LEVEL - 40.0, "{kind:?} hears itself at {heard:.1} dBFS");
                    continue;
                }
                let bound = if [kind, kinds[other].0].contains(&CodecKind::G722) {
                    1.5
                } else {
                    1.0
                };
                assert!(
                    (heard - LEVEL).abs() < bound,
                    "mix at {mix_rate_hz} Hz: {kind:?} hears {:?} at {heard:.1} dBFS",
                    kinds[other]
                );
            }
            let units = u32::from(listener.ptime_ms) * kind.rtp_clock_hz() / 1000;
            assert!(
                listener
                    .timestamps
                    .windows(2)
                    .all(|pair| pair[1].wrapping_sub(pair[0]) == units),
                "{kind:?} {:?}",
                &listener.timestamps[..4]
            );
            assert!(listener.packets >= 2800 / usize::from(listener.ptime_ms));
        }
    }
}

#[test]
fn opus_listeners_hear_one_talker_after_the_other() {
    let mut world = World::new();
    let kinds = [CodecKind::Opus, CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus];
    let mut talkers: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(number, &kind)| Talker::new(&mut world, number, kind, 20, (tones(4)[number], 0.0)))
        .collect();
    let room = world.conference_at(48_000, 20, 20, talkers.len());
    for talker in &talkers {
        world.join(&talker.phone, room);
    }
    run(&mut world, &mut talkers, 0, 500);
    for speaker in 0..kinds.len() {
        for talker in &mut talkers {
            talker.tone.1 = 0.0;
            talker.heard.clear();
        }
        talkers[speaker].tone.1 = PEAK;
        let start = 500 + 2000 * speaker as u64;
        run(&mut world, &mut talkers, start, 2000);
        let tone = talkers[speaker].tone.0;
        for (number, listener) in talkers.iter().enumerate() {
            let heard = listener.level(tone, 500);
            if number == speaker {
                assert!(heard < LEVEL - 40.0, "{speaker} hears itself at {heard:.1}");
            } else {
                assert!(
                    (heard - LEVEL).abs() < 3.0,
                    "{number} hears {speaker} at {heard:.1}"
                );
            }
        }
    }
}

#[test]
fn a_wideband_talker_is_heard_wideband_beside_narrowband_members() {
    let mut world = World::new();
    let kinds = [CodecKind::G722, L16_16K, CodecKind::Pcmu];
    let mut talkers: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(number, &kind)| {
            let tone = if number == 0 { (6000.0, PEAK) } else { (300.0, 0.0) };
            Talker::new(&mut world, number, kind, 20, tone)
        })
        .collect();
    let room = world.conference_at(16_000, 20, 20, 3);
    for talker in &talkers {
        world.join(&talker.phone, room);
    }
    run(&mut world, &mut talkers, 0, 2000);
    let heard = talkers[1].level(6000.0, 500);
    assert!((heard - LEVEL).abs() < 1.5, "{heard:.1}");
    // Nothing of it folds down into the narrow band.
    let folded = talkers[2].level(2000.0, 500);
    assert!(folded < LEVEL - 40.0, "{folded:.1}");
}

#[test]
fn the_rate_rises_without_a_gap() {
    let mut world = World::new();
    let kinds = [CodecKind::Pcmu, CodecKind::Pcma, L16_16K];
    let mut talkers: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(number, &kind)| {
            let tone = if number == 0 {
                (437.0, 8000.0)
            } else {
                (300.0, 0.0)
            };
            Talker::new(&mut world, number, kind, 20, tone)
        })
        .collect();
    let room = world.conference_at(8000, 20, 20, 3);
    for talker in &talkers {
        world.join(&talker.phone, room);
    }
    run(&mut world, &mut talkers, 0, 1000);
    world.raise(room, 48_000, 8);
    run(&mut world, &mut talkers, 1000, 1000);
    for listener in &talkers[1..] {
        let rate_hz = f64::from(listener.kind.sample_rate_hz());
        let heard = &listener.heard[listener.heard.len() / 4..];
        // A pure tone changes from sample to sample by no more than this; a gap or a jump changes it by more.
        let bound = 8000.0 * TAU * 437.0 / rate_hz * 1.15 + 130.0;
        let step = heard
            .windows(2)
            .map(|pair| (f64::from(pair[1]) - f64::from(pair[0])).abs())
            .fold(0.0, f64::max);
        assert!(step < bound, "{:?}: {step} of {bound}", listener.kind);
        let weakest = heard
            .chunks(rate_hz as usize / 100)
            .map(|chunk| chunk.iter().map(|sample| sample.unsigned_abs()).max().unwrap())
            .min()
            .unwrap();
        assert!(weakest > 7000, "{:?}: {weakest}", listener.kind);
        let units = 20 * listener.kind.rtp_clock_hz() / 1000;
        assert!(
            listener
                .timestamps
                .windows(2)
                .all(|pair| pair[1].wrapping_sub(pair[0]) == units)
        );
    }
}

/// Lets a listener with a memory in his codec talk now and then, and compares what his decoder makes of the shared packets,
/// from the first of them on, with a listener who never had others. Returns the worst error of 100 ms, in dB of the speech.
fn switching_error(kind: CodecKind) -> f64 {
    let mut world = World::new();
    // The talker, a listener who begins to talk now and then, one who never does.
    let mut talkers = vec![
        Talker::new(&mut world, 0, L16_16K, 20, (437.0, 6000.0)),
        Talker::new(&mut world, 1, kind, 20, (300.0, 0.0)),
        Talker::new(&mut world, 2, kind, 20, (300.0, 0.0)),
    ];
    talkers[0].speaks = true;
    let room = world.conference_at(16_000, 20, 20, 3);
    for talker in &talkers {
        world.join(&talker.phone, room);
    }
    run(&mut world, &mut talkers, 0, 1000);
    let mut worst = f64::NEG_INFINITY;
    for round in 0..4_u64 {
        let start_ms = 1000 + round * 9000;
        for talker in &mut talkers {
            (talker.heard, talker.payloads) = (Vec::new(), Vec::new());
        }
        // A few loud frames open his gate: he hears his own mix, which is what the others hear without him.
        talkers[1].tone.1 = 600.0;
        run(&mut world, &mut talkers, start_ms, 100);
        talkers[1].tone.1 = 0.0;
        // His gate closes after 0.8 s: from then on both hear the same again, at first through different encoders.
        run(&mut world, &mut talkers, start_ms + 100, 8900);
        let (switched, steady) = (&talkers[1], &talkers[2]);
        let packets = switched.payloads.len();
        assert_eq!(packets, steady.payloads.len());
        let alone = (0..packets).rposition(|n| switched.payloads[n] != steady.payloads[n]);
        let shared_from = alone.expect("he had packets of his own") + 1;
        // While the gate is open on silence both mixes are the same already, and Opus may write the same packets.
        assert!(shared_from < 7500 / 20, "{shared_from} packets");
        let samples = kind.sample_rate_hz() as usize / 50;
        let pairs: Vec<_> = switched
            .heard
            .iter()
            .zip(&steady.heard)
            .skip(shared_from * samples)
            .collect();
        let mean = |sum: f64, count: usize| (sum / count as f64).max(1e-9);
        let power = pairs.iter().map(|&(_, &b)| f64::from(b).powi(2)).sum();
        let power = mean(power, pairs.len());
        for pairs in pairs.chunks(5 * samples) {
            let error = pairs
                .iter()
                .map(|&(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                .sum();
            worst = worst.max(10.0 * (mean(error, pairs.len()) / power).log10());
        }
    }
    worst
}

#[test]
fn going_back_to_the_shared_encoder_is_not_heard() {
    // G.722 goes back when both encoders have come to the same state; what is left is in the decoder's filter.
    for (kind, bound_db) in [(CodecKind::Opus, -40.0), (CodecKind::G722, -70.0)] {
        let error = switching_error(kind);
        assert!(error < bound_db, "{kind:?}: {error:.1} dB");
    }
}

#[test]
fn a_tone_of_ten_minutes_beside_fifty_others_loses_nothing() {
    let mut world = World::new();
    let mut phones = world.legs(52);
    world.room(&phones, 20);
    let frame = |n: usize| -> Vec<u8> {
        (0..160)
            .map(|k| {
                let angle = TAU * 1003.7 * (n * 160 + k) as f64 / 8000.0;
                super::world::mu_law(&[(angle.sin() * 3000.0) as i16])[0]
            })
            .collect()
    };
    let quiet = super::world::mu_law(&[0; 160]);
    let mut expected = VecDeque::new();
    let mut compared = 0;
    for n in 0..30_000 {
        let payload = frame(n);
        world.speak(&mut phones[0], &payload);
        expected.push_back(payload);
        for phone in &mut phones[1..] {
            world.speak(phone, &quiet);
        }
        world.turns(4);
        for heard in world.audio(&phones[1]) {
            // The first two milliseconds are faded in.
            let from = if compared == 0 { 16 } else { 0 };
            let mut said = [0; 160];
            Law::Mu.decode(
                expected.front().expect("nothing is heard that was not said"),
                &mut said,
            );
            if heard.samples[from..] == said[from..] {
                expected.pop_front();
                compared += 1;
            } else {
                assert_eq!(compared, 0, "packet {n}: {:?} is not {said:?}", heard.samples);
            }
        }
    }
    assert!(compared > 29_990, "{compared}");
}

#[test]
fn eight_full_scale_talkers_stay_half_a_decibel_below_full_scale_after_every_codec() {
    let listeners = [
        CodecKind::Pcmu,
        CodecKind::Pcma,
        CodecKind::G722,
        CodecKind::Opus,
        L16_16K,
        L16_48K,
    ];
    for mix_rate_hz in [8000, 16_000, 48_000] {
        let mut world = World::new();
        let silent = listeners.map(|kind| (kind, (0.0, 0.0)));
        let loud = tones(8).into_iter().map(|tone| (L16_48K, (tone, 32_767.0)));
        let mut talkers: Vec<_> = silent
            .into_iter()
            .chain(loud)
            .enumerate()
            .map(|(number, (kind, tone))| {
                let ptime_ms = if kind == L16_48K { 10 } else { 20 };
                Talker::new(&mut world, number, kind, ptime_ms, tone)
            })
            .collect();
        let room = world.conference_at(mix_rate_hz, 20, 0, talkers.len());
        for talker in &talkers {
            world.join(&talker.phone, room);
        }
        run(&mut world, &mut talkers, 0, 2000);
        for listener in &talkers {
            let peak = listener.heard.iter().map(|sample| sample.unsigned_abs()).max();
            let peak_dbfs = 20.0 * (f64::from(peak.unwrap()) / 32_768.0).log10();
            println!(
                "{:?} in a mix at {mix_rate_hz} Hz: {peak_dbfs:.2} dBFS",
                listener.kind
            );
            assert!(
                (-8.0..=-0.5).contains(&peak_dbfs),
                "{:?} {peak_dbfs:.2}",
                listener.kind
            );
        }
    }
}
