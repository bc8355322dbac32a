//! What the built-in files sound like, decoded as they are when they are played.

use std::f64::consts::PI;

use confab_dsp::{DtmfDetector, ToneGenerator, ToneScript};
use confab_recording::{ImportLimits, import};

use crate::{music, table};

const RATE_HZ: u32 = 16_000;

fn decoded(file: &[u8], what: &str) -> Vec<f64> {
    let audio = import(file, ImportLimits::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(audio.rate_hz, RATE_HZ, "{what}");
    audio
        .samples
        .iter()
        .map(|&sample| f64::from(sample) / 32768.0)
        .collect()
}

/// A filter of the second order, its coefficients over the first of the denominator.
fn filtered(samples: &[f64], b: [f64; 3], a: [f64; 2]) -> Vec<f64> {
    let (mut z1, mut z2) = (0.0, 0.0);
    let step = |&x: &f64| {
        let y = b[0] * x + z1;
        z1 = b[1] * x - a[0] * y + z2;
        z2 = b[2] * x - a[1] * y;
        y
    };
    samples.iter().map(step).collect()
}

/// Loudness of one channel (ITU-R BS.1770-4), what is shorter than 400 ms being one block.
fn lufs(samples: &[f64]) -> f64 {
    let rate = f64::from(RATE_HZ);
    let (k, q) = ((PI * 1_681.974_450_955_533 / rate).tan(), 0.707_175_236_955_419_6);
    let high = 10f64.powf(3.999_843_853_973_347 / 20.0);
    let middle = high.powf(0.499_666_774_154_541_6);
    let a0 = 1.0 + k / q + k * k;
    let shelf = filtered(
        samples,
        [
            (high + middle * k / q + k * k) / a0,
            2.0 * (k * k - high) / a0,
            (high - middle * k / q + k * k) / a0,
        ],
        [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0],
    );
    let (k, q) = ((PI * 38.135_470_876_024_44 / rate).tan(), 0.500_327_037_323_877_3);
    let a0 = 1.0 + k / q + k * k;
    let weighted = filtered(
        &shelf,
        [1.0, -2.0, 1.0],
        [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0],
    );
    let power: Vec<f64> = weighted.iter().map(|sample| sample * sample).collect();
    let (block, step) = (power.len().min(6400), 1600);
    let mean = |powers: &[f64]| powers.iter().sum::<f64>() / powers.len() as f64;
    let loudness = |power: f64| -0.691 + 10.0 * (power + 1e-12).log10();
    let mut blocks: Vec<f64> = power.windows(block).step_by(step).map(mean).collect();
    blocks.retain(|&power| loudness(power) > -70.0);
    let gate = loudness(mean(&blocks)) - 10.0;
    blocks.retain(|&power| loudness(power) > gate);
    loudness(mean(&blocks))
}

fn dbfs(samples: &[f64]) -> f64 {
    20.0 * samples
        .iter()
        .fold(1e-9, |most: f64, sample| most.max(sample.abs()))
        .log10()
}

#[test]
fn prompts_are_loud_enough_clean_and_trimmed() {
    let mut wrong = Vec::new();
    for prompt in table::LANGUAGES.iter().flat_map(|language| language.prompts) {
        let what = format!("{} {}", prompt.language, prompt.id);
        let samples = decoded(prompt.audio, &what);
        let (lasts_s, loud, peak) = (samples.len() as f64 / 16_000.0, lufs(&samples), dbfs(&samples));
        let mut check = |is_right: bool, why: &str| {
            if !is_right {
                wrong.push(format!(
                    "{what}: {why} ({lasts_s:.2} s, {loud:.1} LUFS, peak {peak:.1} dBFS)"
                ));
            }
        };
        check((-24.0..=-22.0).contains(&loud), "not -23 LUFS");
        check(peak < -1.0, "peak");
        check((0.2..10.0).contains(&lasts_s), "duration");
        // A syllable takes a fifth of a second and is written with three letters: far from that, something is cut or stretched.
        let letters = prompt
            .text
            .chars()
            .filter(|letter| letter.is_alphabetic())
            .count() as f64;
        check((letters * 0.035..letters * 0.11 + 0.6).contains(&lasts_s), "pace");
        for (end, name) in [
            (&samples[..320], "beginning"),
            (&samples[samples.len() - 320..], "end"),
        ] {
            check(dbfs(end) < -50.0, name);
        }
        let spoken = samples
            .iter()
            .position(|sample| sample.abs() > 0.003)
            .unwrap_or(samples.len());
        check(spoken < 2400, "silence before");
        let behind = samples
            .iter()
            .rev()
            .position(|sample| sample.abs() > 0.003)
            .unwrap_or(samples.len());
        check(behind < 2400, "silence behind");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever listens for keys in what he hears, such as a bridge at the other end, hears none.
#[test]
fn nothing_sounds_like_a_key() {
    let prompts = table::LANGUAGES.iter().flat_map(|language| language.prompts);
    let files = prompts
        .map(|prompt| (prompt.id, prompt.audio))
        .chain([("music", music("default").expect("built in").audio)]);
    let mut detector = DtmfDetector::new(RATE_HZ);
    for (what, file) in files {
        let audio = import(file, ImportLimits::default()).expect("decodes");
        detector.reset();
        detector.process(&audio.samples, |sound| panic!("{what} holds {sound:?}"));
    }
    let key = ToneScript::parse("tone_stream://5").expect("a script");
    let mut samples = vec![0; RATE_HZ as usize / 5];
    ToneGenerator::new(key, RATE_HZ).fill(&mut samples);
    let mut heard = 0;
    detector.process(&samples, |_| heard += 1);
    assert!(heard > 0, "the detector finds a real one");
}

#[test]
fn hold_music_is_calm_and_repeats_without_a_click() {
    let samples = decoded(music("default").expect("built in").audio, "music");
    assert!(samples.len() >= 60 * 16_000);
    let loud = lufs(&samples);
    assert!((-30.5..=-29.5).contains(&loud), "{loud}");
    assert!(dbfs(&samples) < -12.0);
    // Both ends are next to silence, so that no filter behind it can make a step of the seam.
    assert!(dbfs(&samples[..160]) < -66.0 && dbfs(&samples[samples.len() - 1600..]) < -66.0);
    // A click is a step that the music around it does not explain: the second difference of soft tones is small everywhere.
    let steepest = samples
        .windows(3)
        .map(|w| (w[2] - 2.0 * w[1] + w[0]).abs())
        .fold(0.0, f64::max);
    assert!(steepest < 0.03, "{steepest}");
    // Never silent for long but at the seam: nobody believes that the line is dead.
    let blocks: Vec<f64> = samples.chunks(8000).map(dbfs).collect();
    let longest = blocks
        .split(|&peak| peak > -50.0)
        .map(<[f64]>::len)
        .max()
        .unwrap_or(0);
    assert!(longest <= 4, "{longest} half seconds of silence");
    // What telephones carry has most of it: what lies below 300 Hz is a quarter at most.
    let whole: f64 = samples.iter().map(|sample| sample * sample).sum();
    let k = (PI * 300.0 / 16_000.0).tan();
    let a0 = 1.0 + k * std::f64::consts::SQRT_2 + k * k;
    let high = filtered(
        &samples,
        [1.0 / a0, -2.0 / a0, 1.0 / a0],
        [
            2.0 * (k * k - 1.0) / a0,
            (1.0 - k * std::f64::consts::SQRT_2 + k * k) / a0,
        ],
    );
    let carried: f64 = high.iter().map(|sample| sample * sample).sum();
    assert!(
        carried > 0.75 * whole,
        "{:.2} of it is above 300 Hz",
        carried / whole
    );
}
