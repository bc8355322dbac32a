//! Leading a G.722 encoder to another one's state: how long it takes and what it costs.

mod speech;

use std::f64::consts::TAU;

use confab_codec::{CodecKind, Decoder, Encoder};
use speech::speech_like;

const FRAME: usize = 320;

/// Samples by which encoding and decoding delay.
const DELAY: usize = 22;

/// A decoder and what it has heard.
struct Listener {
    encoder: Encoder,
    decoder: Box<dyn Decoder>,
    heard: Vec<i16>,
}

impl Listener {
    fn new() -> Self {
        Self {
            encoder: CodecKind::G722.encoder(),
            decoder: CodecKind::G722.decoder(),
            heard: Vec::new(),
        }
    }

    /// Encodes a packet, towards another one's if there is one, and hears it.
    fn hear(&mut self, pcm: &[i16], towards: Option<&[u8]>) -> [u8; FRAME / 2] {
        let mut payload = [0; FRAME / 2];
        let octets = match towards {
            Some(wanted) => self.encoder.encode_towards(pcm, wanted, &mut payload),
            None => self.encoder.encode(pcm, &mut payload),
        };
        assert_eq!(octets, payload.len());
        let mut heard = [0; FRAME];
        assert_eq!(self.decoder.decode(&payload, &mut heard), Ok(FRAME));
        self.heard.extend(heard);
        payload
    }

    /// Mean signal-to-noise ratio in dB of the frames in a range that are not silent.
    fn snr_db(&self, pcm: &[i16], frames: std::ops::Range<usize>) -> f64 {
        let mut ratios = Vec::new();
        for frame in frames {
            let said = &pcm[frame * FRAME - DELAY..][..FRAME];
            let heard = &self.heard[frame * FRAME..][..FRAME];
            let power = |samples: &mut dyn Iterator<Item = f64>| samples.map(|s| s * s).sum::<f64>() + 1.0;
            let signal = power(&mut said.iter().map(|&s| f64::from(s)));
            let noise = power(&mut said.iter().zip(heard).map(|(&a, &b)| f64::from(a) - f64::from(b)));
            if signal > 100.0_f64.powi(2) * FRAME as f64 {
                ratios.push(10.0 * (signal / noise).log10());
            }
        }
        ratios.iter().sum::<f64>() / ratios.len().max(1) as f64
    }
}

/// Lets a listener hear a mix of his own for `own_frames`, and then what the group hears. Returns the packets until the group's
/// encoder and his agree, and what he lost in SNR by steering until then, against not steering.
fn lead(pcm: &[i16], own_mix: &[i16], own_frames: usize) -> (usize, f64) {
    let mut group = CodecKind::G722.encoder();
    let (mut led, mut unled) = (Listener::new(), Listener::new());
    for (n, (pcm, own)) in pcm
        .chunks_exact(FRAME)
        .zip(own_mix.chunks_exact(FRAME))
        .enumerate()
    {
        let before = group.clone();
        let mut payload = [0; FRAME / 2];
        group.encode(pcm, &mut payload);
        if n < own_frames {
            led.hear(own, None);
            unled.hear(own, None);
            continue;
        }
        if led.encoder.agrees_with(&before) {
            assert_eq!(led.hear(pcm, Some(&payload)), payload);
            if n > own_frames + 3 {
                // The first packet still has the filter's past in it.
                break;
            }
        }
        led.hear(pcm, Some(&payload));
        unled.hear(pcm, None);
    }
    let frames = led.heard.len().min(unled.heard.len()) / FRAME;
    let range = own_frames + 1..frames;
    let lost = unled.snr_db(pcm, range.clone()) - led.snr_db(pcm, range);
    (frames - own_frames, lost)
}

fn mixed(a: &[i16], b: &[i16]) -> Vec<i16> {
    a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()
}

#[test]
fn encoders_of_the_same_speech_come_to_agree_within_seconds_and_little_noise() {
    let pcm = speech_like(16_000, 16_000 * 12);
    let mut other = pcm.clone();
    other.rotate_left(16_000 * 4);
    let own_mix = mixed(&pcm, &other);
    let (packets, losses): (Vec<_>, Vec<_>) = (20..320)
        .step_by(13)
        .map(|own_frames| lead(&pcm, &own_mix, own_frames))
        .unzip();
    let longest_ms = packets.iter().max().unwrap() * 20;
    let mean_ms = packets.iter().sum::<usize>() * 20 / packets.len();
    let lost_db = losses.iter().sum::<f64>() / losses.len() as f64;
    println!("{mean_ms} ms, at most {longest_ms} ms; {lost_db:.2} dB lost meanwhile");
    assert!(longest_ms < 4000 && mean_ms < 2000, "{packets:?}");
    assert!(lost_db < 1.5, "{losses:?}");
}

#[test]
fn without_steering_they_never_agree() {
    let pcm = speech_like(16_000, 16_000 * 12);
    let (mut group, mut own) = (CodecKind::G722.encoder(), CodecKind::G722.encoder());
    let mut payload = [0; FRAME / 2];
    own.encode(&[1000; FRAME], &mut payload);
    for pcm in pcm.chunks_exact(FRAME) {
        group.encode(pcm, &mut payload);
        own.encode(pcm, &mut payload);
    }
    assert!(!own.agrees_with(&group));
}

#[test]
fn a_pure_tone_in_syllables_takes_longer() {
    let tone: Vec<i16> = (0..16_000 * 12)
        .map(|n| {
            let seconds = f64::from(n) / 16_000.0;
            let syllable = (TAU * 1.5 * seconds).sin().powi(2) - 0.3;
            ((TAU * 437.0 * seconds).sin() * 6000.0 * syllable.max(0.0)) as i16
        })
        .collect();
    let own_mix: Vec<i16> = tone
        .iter()
        .enumerate()
        .map(|(n, s)| s + (n % 47) as i16 * 10)
        .collect();
    for own_frames in [20, 47, 66, 91] {
        let (packets, _) = lead(&tone, &own_mix, own_frames);
        println!("{own_frames}: {} ms", packets * 20);
        assert!(packets * 20 < 6500, "{packets}");
    }
}

#[test]
fn music_with_pauses_takes_until_its_first_or_second_pause() {
    let tone: Vec<i16> = (0..16_000 * 20)
        .map(|n| {
            let seconds = f64::from(n) / 16_000.0;
            let on = seconds % 1.5 < 0.9;
            let sum = (TAU * 437.0 * seconds).sin() + (TAU * 650.0 * seconds).sin();
            if on { (sum * 4000.0) as i16 } else { 0 }
        })
        .collect();
    let other = speech_like(16_000, tone.len());
    for own_frames in [20, 47, 66, 91, 110, 125, 150] {
        let (packets, _) = lead(&tone, &other, own_frames);
        println!("music, {own_frames}: {} ms", packets * 20);
        assert!(packets * 20 < 2000, "{packets}");
    }
}

#[test]
fn in_the_pause_behind_a_tone_nothing_is_heard_of_it() {
    // Two seconds of tone, in which nothing is achieved and ever more is allowed; then silence.
    let tone = |n: u32| ((TAU * 437.0 * f64::from(n) / 16_000.0).sin() * 6000.0) as i16;
    let pcm: Vec<i16> = (0..16_000 * 8)
        .map(|n| if n < 16_000 * 7 { tone(n) } else { 0 })
        .collect();
    let mut group = CodecKind::G722.encoder();
    let mut led = Listener::new();
    for (n, pcm) in pcm.chunks_exact(FRAME).enumerate() {
        let mut payload = [0; FRAME / 2];
        group.encode(pcm, &mut payload);
        if n < 50 {
            let other = speech_like(16_000, FRAME * (n + 1));
            led.hear(&other[FRAME * n..], None);
        } else {
            led.hear(pcm, Some(&payload));
        }
    }
    // 40 ms after its end.
    let pause = &led.heard[16_000 * 7 + 640..];
    let loudest = pause.iter().map(|sample| sample.unsigned_abs()).max();
    println!("{loudest:?}");
    assert!(loudest < Some(60), "{loudest:?}");
}
