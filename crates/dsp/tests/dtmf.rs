//! Digits that must be found, and voices that must not be taken for digits.

use std::f64::consts::TAU;
use std::time::Duration;

use confab_dsp::{DtmfDetector, DtmfSound, DtmfSymbol, ToneGenerator, ToneScript};
use proptest::prelude::*;

const SYMBOLS: &str = "0123456789*#ABCD";

fn dialled(text: &str, on_ms: u64, off_ms: u64, level: f32, rate_hz: u32) -> Vec<i16> {
    let symbols = text.chars().filter_map(DtmfSymbol::from_char);
    let (on, off) = (Duration::from_millis(on_ms), Duration::from_millis(off_ms));
    let mut out = vec![0; rate_hz as usize * (on_ms + off_ms) as usize * text.len() / 1000];
    ToneGenerator::new(ToneScript::digits(symbols, on, off, level), rate_hz).fill(&mut out);
    out
}

/// Two sines with their own frequencies and peaks.
fn pair(frequencies: [f64; 2], peaks: [f64; 2], rate_hz: u32, milliseconds: u32) -> Vec<i16> {
    (0..rate_hz * milliseconds / 1000)
        .map(|n| {
            let sine = |k: usize| peaks[k] * (TAU * frequencies[k] * f64::from(n) / f64::from(rate_hz)).sin();
            (sine(0) + sine(1)) as i16
        })
        .collect()
}

fn heard(samples: &[i16], rate_hz: u32, block: usize) -> (String, Vec<u32>) {
    let mut detector = DtmfDetector::new(rate_hz);
    let (mut digits, mut durations) = (String::new(), Vec::new());
    let silence = vec![0; rate_hz as usize / 20];
    for block in samples.chunks(block).chain([&silence[..]]) {
        detector.process(block, |sound| match sound {
            DtmfSound::Began(symbol) => digits.push(symbol.as_char()),
            DtmfSound::Ended { symbol, duration_ms } => {
                assert_eq!(digits.chars().last(), Some(symbol.as_char()));
                durations.push(duration_ms);
            }
        });
    }
    assert_eq!(digits.len(), durations.len(), "each that begins ends");
    (digits, durations)
}

struct Noise(u32);

impl Noise {
    /// Even within ±1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0 as i32) / 2f64.powi(31)
    }
}

#[test]
fn all_digits_are_heard_at_all_rates_lengths_and_levels() {
    for rate_hz in [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
        for (on_ms, off_ms) in [(40, 40), (41, 43), (50, 50), (80, 67), (400, 100)] {
            for level in [-30.0, -20.0, -8.0, -3.0] {
                let samples = dialled(SYMBOLS, on_ms, off_ms, level, rate_hz);
                let (digits, durations) = heard(&samples, rate_hz, rate_hz as usize / 50);
                let name = format!("{on_ms} ms at {level} dBm0 and {rate_hz} Hz");
                assert_eq!(digits, SYMBOLS, "{name}");
                for duration in durations {
                    assert!(duration.abs_diff(on_ms as u32) <= 10, "{name}: {duration}");
                }
            }
        }
    }
}

#[test]
fn a_digit_is_reported_within_45_ms_of_its_beginning() {
    for lead in 0..40 {
        let mut samples = vec![0; lead];
        samples.extend(dialled("5", 200, 0, -10.0, 8000));
        let mut detector = DtmfDetector::new(8000);
        let mut after = None;
        for (n, sample) in samples.iter().enumerate() {
            detector.process(&[*sample], |_| after = after.or(Some(n - lead)));
        }
        let after = after.expect("heard");
        assert!(after <= 45 * 8, "{after} samples");
        assert_eq!(detector.sounding().map(DtmfSymbol::as_char), Some('5'));
    }
}

#[test]
fn frequencies_and_levels_may_be_off_a_little_and_not_more() {
    let fives = |low: f64, high: f64| [770.0 * (1.0 + low / 100.0), 1336.0 * (1.0 + high / 100.0)];
    let rows = [
        ("nominal", fives(0.0, 0.0), [8000.0, 8000.0], true),
        ("1.5 % up", fives(1.5, 1.5), [8000.0, 8000.0], true),
        ("1.5 % down", fives(-1.5, -1.5), [8000.0, 8000.0], true),
        ("1.5 % apart", fives(-1.5, 1.5), [8000.0, 8000.0], true),
        ("3.5 % up", fives(3.5, 0.0), [8000.0, 8000.0], false),
        ("3.5 % down", fives(0.0, -3.5), [8000.0, 8000.0], false),
        ("high tone 4 dB louder", fives(0.0, 0.0), [5000.0, 7924.0], true),
        ("low tone 8 dB louder", fives(0.0, 0.0), [8000.0, 3185.0], true),
        ("high tone 9 dB louder", fives(0.0, 0.0), [2838.0, 8000.0], false),
        ("low tone 12 dB louder", fives(0.0, 0.0), [8000.0, 2009.0], false),
        ("one tone", fives(0.0, 0.0), [8000.0, 0.0], false),
        ("too weak", fives(0.0, 0.0), [150.0, 150.0], false),
        ("two rows", [697.0, 941.0], [8000.0, 8000.0], false),
        ("dial tone", [350.0, 440.0], [8000.0, 8000.0], false),
        ("busy tone", [480.0, 620.0], [8000.0, 8000.0], false),
    ];
    for (name, frequencies, peaks, found) in rows {
        for rate_hz in [8000, 16_000, 48_000] {
            let samples = pair(frequencies, peaks, rate_hz, 100);
            let (digits, _) = heard(&samples, rate_hz, rate_hz as usize / 50);
            assert_eq!(digits, if found { "5" } else { "" }, "{name} at {rate_hz} Hz");
        }
    }
}

#[test]
fn short_bursts_are_no_digits_and_short_gaps_do_not_split_one() {
    assert_eq!(heard(&dialled("123456", 24, 60, -10.0, 8000), 8000, 160).0, "");
    let mut gap = dialled("7", 100, 10, -10.0, 8000);
    gap.extend(dialled("7", 100, 0, -10.0, 8000));
    let (digits, durations) = heard(&gap, 8000, 160);
    assert_eq!(digits, "7");
    assert!((195..=215).contains(&durations[0]), "{durations:?}");
    assert_eq!(heard(&dialled("77", 50, 45, -10.0, 8000), 8000, 160).0, "77");
}

#[test]
fn digits_are_heard_in_noise_and_after_g711() {
    let mut noise = Noise(5);
    for (snr_db, level) in [(15.0, -10.0), (20.0, -20.0)] {
        let mut samples = dialled(&SYMBOLS.repeat(10), 60, 60, level, 8000);
        // Both sines together have 3 dB more than one, and 0 dBm0 is 3 dB below full scale; even noise has a power of a third of its peak's.
        let power = 10f64.powf((f64::from(level) - 0.1 - snr_db) / 10.0) * 32_767f64.powi(2) / 2.0;
        let peak = (3.0 * power).sqrt();
        for sample in &mut samples {
            *sample = (f64::from(*sample) + peak * noise.next()) as i16;
        }
        let (digits, _) = heard(&samples, 8000, 160);
        let missed = 160 - digits.len();
        assert!(missed <= 1, "{missed} missed at {snr_db} dB");
    }
}

/// Half an hour of something like speech: voiced sounds of gliding and of held pitch through moving resonances, hisses
/// and pauses. The ear would not be fooled, but harmonics and resonances are where digits' frequencies are.
#[test]
fn half_an_hour_of_voices_has_at_most_one_false_digit() {
    let (mut noise, mut samples, mut falses) = (Noise(11), Vec::new(), 0);
    let mut detector = DtmfDetector::new(8000);
    let mut total = 0;
    while total < 8000 * 1800 {
        samples.clear();
        syllable(&mut noise, &mut samples);
        total += samples.len();
        detector.process(&samples, |sound| {
            falses += u32::from(matches!(sound, DtmfSound::Began(_)))
        });
    }
    assert!(falses <= 1, "{falses} false digits");
}

/// Adds a syllable of 60 to 400 ms and the pause behind it, at 8 kHz.
fn syllable(noise: &mut Noise, out: &mut Vec<i16>) {
    let mut between = |from: f64, to: f64| from + (to - from) * (noise.next() + 1.0) / 2.0;
    let length = between(480.0, 3200.0) as usize;
    let (pitch, held) = (between(70.0, 330.0), between(0.0, 1.0) < 0.3);
    let glide = if held { 0.0 } else { between(-0.25, 0.25) };
    let voiced = between(0.0, 1.0) < 0.8;
    let from = [
        between(250.0, 900.0),
        between(700.0, 2300.0),
        between(1800.0, 3000.0),
    ];
    let to = [
        between(250.0, 900.0),
        between(700.0, 2300.0),
        between(1800.0, 3000.0),
    ];
    let peak = between(500.0, 9000.0);
    let pause = between(0.0, 2400.0).max(0.0) as usize;
    let (mut phase, mut state) = (0.0, [[0.0; 2]; 3]);
    for n in 0..length {
        let done = n as f64 / length as f64;
        phase += pitch * (1.0 + glide * done) / 8000.0;
        let mut source = 0.1 * noise.next();
        if !voiced {
            source = noise.next();
        } else if phase >= 1.0 {
            phase -= 1.0;
            source += 8.0;
        }
        let mut sum = 0.0;
        for (k, state) in state.iter_mut().enumerate() {
            // A resonance of 60 to 120 Hz of bandwidth.
            let radius = (-TAU / 2.0 * (60.0 + 30.0 * k as f64) / 8000.0).exp();
            let angle = TAU * (from[k] + (to[k] - from[k]) * done) / 8000.0;
            let next = source + 2.0 * radius * angle.cos() * state[0] - radius * radius * state[1];
            *state = [next, state[0]];
            sum += next * (1.0 - radius) * 4.0 / (k + 1) as f64;
        }
        let shape = (TAU / 2.0 * done).sin().sqrt();
        out.push((peak * shape * sum).clamp(-32_768.0, 32_767.0) as i16);
    }
    out.extend(std::iter::repeat_n(0, pause));
}

proptest! {
    #[test]
    fn any_samples_in_any_blocks_are_survived(
        samples in prop::collection::vec(any::<i16>(), 0..3000),
        block in 1usize..700,
        rate_hz in prop::sample::select(vec![8000u32, 44_100, 48_000]),
    ) {
        let (digits, _) = heard(&samples, rate_hz, block);
        prop_assert_eq!(heard(&samples, rate_hz, 1).0, digits);
    }
}
