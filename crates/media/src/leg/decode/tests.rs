//! What a closed gate lets be left out of an Opus stream, against the same stream of which only packets without sound are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use confab_codec::{Coding, DecodeError, OpusSettings};
use confab_dsp::TalkGate;
use confab_rtp::{Content, RtpPacket};

use super::*;

const MS: u64 = 1_000_000;

/// The score above which a gate opens where nothing else is asked for.
const LEVEL: u16 = 20;

/// A decoder that counts what is decoded.
struct Counting {
    decoder: Box<dyn Decoder>,
    /// Tells in which packets nobody speaks.
    tells: bool,
    decoded: Arc<AtomicUsize>,
}

impl Decoder for Counting {
    fn sample_rate_hz(&self) -> u32 {
        self.decoder.sample_rate_hz()
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError> {
        self.decoder.samples(payload)
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        self.decoded.fetch_add(1, Relaxed);
        self.decoder.decode(payload, out)
    }

    fn conceal(&mut self, out: &mut [i16]) {
        self.decoder.conceal(out);
    }

    fn is_inactive(&self, payload: &[u8]) -> bool {
        self.tells && self.decoder.is_inactive(payload)
    }

    fn carries_fec(&self, payload: &[u8]) -> bool {
        self.decoder.carries_fec(payload)
    }

    fn decode_fec(&mut self, next_payload: &[u8], out: &mut [i16]) -> bool {
        self.decoder.decode_fec(next_payload, out)
    }

    fn reset(&mut self) {
        self.decoder.reset();
    }
}

/// One received stream behind a gate.
struct Ear {
    receiving: Receiving,
    gate: TalkGate,
    substitutes: Substitutes,
    decoded: Arc<AtomicUsize>,
    sequence: u16,
    timestamp: u32,
    now_ns: u64,
    /// What is mixed: silence where the gate is closed.
    mixed: Vec<i16>,
    scores: Vec<u16>,
}

impl Ear {
    /// One that leaves out what it can, or only what holds no sound.
    fn new(leaves_out: bool) -> Self {
        let max_delay = Duration::from_millis(200);
        let mut receiving = Receiving::new(CodecKind::Opus, &[111], max_delay, false);
        let decoded = Arc::default();
        receiving.decoder = Box::new(Counting {
            decoder: CodecKind::Opus.decoder(),
            tells: leaves_out,
            decoded: Arc::clone(&decoded),
        });
        Ear {
            receiving,
            gate: TalkGate::new(LEVEL),
            substitutes: Substitutes::default(),
            decoded,
            sequence: 65_500,
            timestamp: 77,
            now_ns: 1000 * MS,
            mixed: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Takes a packet, or loses it, and mixes the ticks of 20 ms that it lasts.
    fn hear(&mut self, payload: &[u8], packet_ms: u32, lost: bool) {
        let mut bytes = vec![0x80, 111];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend([0, 0, 0, 9]);
        bytes.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(packet_ms * 48);
        if !lost {
            let samples = packet_ms * 48;
            let content = if payload.len() <= OPUS_PAUSE_OCTETS {
                Content::Dtx { samples }
            } else {
                Content::Audio { samples }
            };
            let packet = RtpPacket::parse(&bytes).unwrap();
            self.receiving.note_fec(self.now_ns, payload);
            self.receiving
                .playout
                .push(self.now_ns, &packet, content)
                .unwrap();
        }
        let end_ns = self.now_ns + u64::from(packet_ms) * MS;
        while self.now_ns < end_ns {
            // Ticks lie 10 ms behind arrivals, at multiples of 20 ms.
            if self.now_ns.is_multiple_of(20 * MS) {
                self.tick();
            }
            self.now_ns += 10 * MS;
        }
    }

    fn tick(&mut self) {
        let tick = Tick {
            at_ns: self.now_ns + 10 * MS,
            samples: 960,
        };
        let mut block = [0; 960];
        let unheard = if self.gate.is_open() { 0 } else { self.gate.level() };
        let mut frame = [0; MAX_FRAME_SAMPLES];
        let filled = self
            .receiving
            .fill(tick, &mut block, &mut frame, unheard, &mut self.substitutes);
        let score = match filled {
            Block::Audio { score } => score,
            Block::Quiet => 0,
        };
        self.scores.push(score);
        if !self.gate.update(score, 20).is_mixed() {
            block.fill(0);
        }
        self.mixed.extend(block);
    }

    fn decoded(&self) -> usize {
        self.decoded.load(Relaxed)
    }
}

/// Numbers without an order, from −1 to 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Syllables of a quarter of a second, each with a hissing head and a voiced rest, over a hiss of the mean magnitude `background`.
fn talk(samples: usize, background: f32) -> Vec<i16> {
    let (mut noise, mut phase, mut past, mut hiss) = (Noise(5), 0.0_f32, [0.0_f32; 2], 0.0);
    (0..samples)
        .map(|n| {
            let within = (n % 12_000) as f32 / 12_000.0;
            phase += (120.0 + 30.0 * (n as f32 / 9000.0).sin()) / 48_000.0;
            let pulse = if phase >= 1.0 { 700.0 } else { 0.0 };
            phase = phase.fract();
            let (head, voice) = if within < 0.2 {
                (900.0, 0.0)
            } else {
                (0.0, 1.0 - within)
            };
            let voiced = pulse * voice + 1.977 * past[0] - 0.9801 * past[1];
            past = [voiced, past[0]];
            let before = std::mem::replace(&mut hiss, noise.next());
            (voiced + head * (hiss - before) + 2.0 * background * noise.next()) as i16
        })
        .collect()
}

fn background(samples: usize, background: f32) -> Vec<i16> {
    let mut noise = Noise(9);
    (0..samples)
        .map(|_| (2.0 * background * noise.next()) as i16)
        .collect()
}

/// A coding at a rate of the mix: wideband is SILK, fullband at this bitrate is both layers.
const CODINGS: [(u32, u32); 3] = [(8000, 14_000), (16_000, 24_000), (48_000, 36_000)];

fn settings(bitrate_bps: u32) -> OpusSettings {
    OpusSettings {
        bitrate_bps,
        ..OpusSettings::default()
    }
}

fn encode(settings: OpusSettings, mix_rate_hz: u32, packet_ms: u32, pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Coding::new(CodecKind::Opus, settings).encoder();
    encoder.set_mix_rate(mix_rate_hz);
    pcm.chunks_exact(packet_ms as usize * 48)
        .map(|pcm| {
            let mut payload = vec![0; 1400];
            let octets = encoder.encode(pcm, &mut payload);
            payload.truncate(octets);
            payload
        })
        .collect()
}

/// Lets both kinds of ear hear packets of which some are lost.
fn compare(payloads: &[Vec<u8>], packet_ms: u32, lost: impl Fn(usize) -> bool) -> [Ear; 2] {
    [true, false].map(|leaves_out| {
        let mut ear = Ear::new(leaves_out);
        for (n, payload) in payloads.iter().enumerate() {
            ear.hear(payload, packet_ms, lost(n));
        }
        ear
    })
}

/// Signal to difference in dB.
fn likeness_db(expected: &[i16], heard: &[i16]) -> f64 {
    let (mut signal, mut difference) = (1.0, 1.0);
    for (&a, &b) in expected.iter().zip(heard) {
        signal += f64::from(a).powi(2);
        difference += (f64::from(a) - f64::from(b)).powi(2);
    }
    10.0 * (signal / difference).log10()
}

fn first_heard(mixed: &[i16]) -> Option<usize> {
    mixed
        .chunks(960)
        .position(|block| block.iter().any(|&sample| sample != 0))
}

#[test]
fn speech_after_a_lull_is_heard_from_its_first_frame_on() {
    for (mix_rate_hz, bitrate_bps) in CODINGS {
        for packet_ms in [10, 20, 40, 60] {
            for dtx in [false, true] {
                // Speech begins at every phase of the packets that are left out, and anywhere in a packet.
                for (case, lull_ms) in (2000..2240).step_by(20).enumerate() {
                    let lull = background(lull_ms * 48 + case * 77, 6.0);
                    let pcm = [lull, talk(36_000, 6.0)].concat();
                    let opus = OpusSettings {
                        dtx,
                        ..settings(bitrate_bps)
                    };
                    let payloads = encode(opus, mix_rate_hz, packet_ms, &pcm);
                    let [sparing, whole] = compare(&payloads, packet_ms, |_| false);
                    let name = format!("{mix_rate_hz} Hz, {packet_ms} ms, DTX {dtx}, {lull_ms} ms");
                    assert!(sparing.decoded() < whole.decoded(), "{name}");
                    let began = first_heard(&whole.mixed);
                    assert!(began.is_some(), "{name}");
                    assert_eq!(first_heard(&sparing.mixed), began, "{name}");
                    let likeness = likeness_db(&whole.mixed, &sparing.mixed);
                    assert!(likeness > 25.0, "{name}: {likeness:.1} dB");
                }
            }
        }
    }
}

#[test]
fn of_a_quiet_background_every_fifth_packet_is_decoded_and_of_dtx_next_to_none() {
    // Bitrate, DTX, mean magnitude of the background, and the packets of 500 that may be decoded.
    let rows = [
        (24_000, false, 6.0, 100..=140),
        (36_000, false, 6.0, 100..=140),
        // Noise that no speech stands out from is not silence to the encoder: it sends on, marked as background.
        (24_000, true, 6.0, 0..=140),
        (24_000, false, 0.0, 100..=140),
        (24_000, true, 0.0, 0..=20),
        // Not far below the level: nothing can be left out.
        (24_000, false, 51.0, 480..=500),
    ];
    for (bitrate_bps, dtx, magnitude, expected) in rows {
        let rate_hz = if bitrate_bps > 30_000 { 48_000 } else { 16_000 };
        let opus = OpusSettings {
            dtx,
            ..settings(bitrate_bps)
        };
        let payloads = encode(opus, rate_hz, 20, &background(600 * 960, magnitude));
        let mut ear = Ear::new(true);
        for payload in &payloads[..100] {
            ear.hear(payload, 20, false);
        }
        let before = ear.decoded();
        for payload in &payloads[100..] {
            ear.hear(payload, 20, false);
        }
        let decoded = ear.decoded() - before;
        println!("{bitrate_bps} bit/s, DTX {dtx}, background {magnitude}: {decoded} decoded");
        assert!(
            expected.contains(&decoded),
            "{bitrate_bps} {dtx} {magnitude}: {decoded}"
        );
        assert!(ear.mixed.iter().all(|&sample| sample == 0) || magnitude > 20.0);
    }
}

#[test]
fn the_score_of_a_lull_is_that_of_its_background() {
    for packet_ms in [10, 20, 60] {
        let payloads = encode(settings(24_000), 16_000, packet_ms, &background(96_000 * 2, 10.0));
        let [sparing, whole] = compare(&payloads, packet_ms, |_| false);
        assert!(sparing.decoded() * 2 < whole.decoded() + 20);
        for (n, (&told, &score)) in sparing.scores.iter().zip(&whole.scores).enumerate().skip(20) {
            assert!(
                told.abs_diff(score) <= score / 2 + 1,
                "{packet_ms} ms, {n}: {told} of {score}"
            );
        }
    }
}

#[test]
fn losses_in_a_lull_are_counted_and_concealed_as_ever() {
    let opus = OpusSettings {
        inband_fec: true,
        loss_percent: 20,
        ..settings(24_000)
    };
    let pcm = [
        talk(48_000, 6.0),
        background(150_000, 6.0),
        talk(48_000, 6.0),
        background(150_000, 6.0),
        talk(48_000, 6.0),
    ]
    .concat();
    for packet_ms in [20, 60] {
        let payloads = encode(opus, 16_000, packet_ms, &pcm);
        // Also the first packet of what is said after a pause.
        let spoken = (48_000_usize + 150_000).div_ceil(48 * packet_ms as usize);
        let [sparing, whole] = compare(&payloads, packet_ms, |n| n % 7 == 3 || n == spoken);
        assert!(sparing.decoded() < whole.decoded());
        let counters = |ear: &Ear| *ear.receiving.playout.counters();
        assert_eq!(counters(&sparing), counters(&whole));
        let substitutes = |ear: &Ear| (ear.substitutes.concealed_ns, ear.substitutes.repaired_ns);
        assert_eq!(substitutes(&sparing), substitutes(&whole));
        let likeness = likeness_db(&whole.mixed, &sparing.mixed);
        assert!(likeness > 20.0, "{packet_ms} ms: {likeness:.1} dB");
    }
}

#[test]
fn a_background_that_grows_loud_is_heard_within_a_tenth_of_a_second_and_its_sender_not_believed() {
    let opus = settings(24_000);
    let quiet = encode(opus, 16_000, 20, &background(3500 * 960, 6.0));
    // To steady noise the encoder is used after a while: most of it has no flag, however loud.
    let mut loud = encode(opus, 16_000, 20, &background(500 * 960, 80.0));
    let decoder = CodecKind::Opus.decoder();
    loud.retain(|payload| decoder.is_inactive(payload));
    let loud = &loud[loud.len() - 50..];
    for left_out in 0..5 {
        let payloads = [&quiet[..100 + left_out], loud].concat();
        let [mut sparing, whole] = compare(&payloads, 20, |_| false);
        let began = first_heard(&whole.mixed).expect("it is loud");
        let late = first_heard(&sparing.mixed).expect("it is loud");
        println!("heard from packet {began}, and from {late}");
        assert!((began..=began + 4).contains(&late), "{began} and {late}");
        let mut decoded = |packets: std::ops::Range<usize>| {
            let before = sparing.decoded();
            quiet[packets]
                .iter()
                .for_each(|payload| sparing.hear(payload, 20, false));
            sparing.decoded() - before
        };
        // While the gate closes, and then for a minute.
        assert_eq!(decoded(100..3000), 2900);
        decoded(3000..3300);
        assert!(decoded(3300..3500) < 50);
        assert!(!sparing.gate.is_open());
    }
}
