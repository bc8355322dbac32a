//! The frequency response, timing and continuity of every conversion, measured from outside.

use std::f64::consts::TAU;

use confab_dsp::{RESAMPLER_RATES_HZ, Resampler, ResamplerTable};
use proptest::prelude::*;

/// Up to this share of the lower rate's Nyquist frequency the level is kept.
const PASS: f64 = 0.86;

/// From this share on nothing comes through.
const STOP: f64 = 1.1;

fn table(from_hz: u32, to_hz: u32) -> &'static ResamplerTable {
    ResamplerTable::get(from_hz, to_hz).expect("a known pair")
}

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    let all = RESAMPLER_RATES_HZ;
    all.into_iter()
        .flat_map(move |from| all.into_iter().map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
}

fn sine(rate_hz: u32, frequency: f64, peak: f64, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| (peak * (TAU * frequency * n as f64 / f64::from(rate_hz)).sin()).round() as i16)
        .collect()
}

fn convert(table: &'static ResamplerTable, input: &[i16], block_samples: usize) -> Vec<i16> {
    let mut resampler = Resampler::new();
    resampler.set(table);
    let mut converted = Vec::new();
    let mut out = vec![0; 6 * block_samples + 1];
    for block in input.chunks(block_samples) {
        let written = resampler.process(block, &mut out);
        converted.extend_from_slice(&out[..written]);
    }
    converted
}

/// Splits a signal into the part at `frequency`, as its peak, and the root mean square of all the rest.
fn analyse(samples: &[i16], rate_hz: u32, frequency: f64) -> (f64, f64) {
    let (mut re, mut im) = (0.0, 0.0);
    let angle = |n: usize| TAU * frequency * n as f64 / f64::from(rate_hz);
    for (n, &sample) in samples.iter().enumerate() {
        re += f64::from(sample) * angle(n).cos();
        im += f64::from(sample) * angle(n).sin();
    }
    let scale = 2.0 / samples.len() as f64;
    let (re, im) = (re * scale, im * scale);
    let rest = samples
        .iter()
        .enumerate()
        .map(|(n, &sample)| (f64::from(sample) - re * angle(n).cos() - im * angle(n).sin()).powi(2));
    (re.hypot(im), (rest.sum::<f64>() / samples.len() as f64).sqrt())
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-9).log10()
}

/// Frequencies that are whole multiples of 10 Hz: 100 ms hold whole periods of them.
fn grid(from: f64, to: f64, steps: usize) -> impl Iterator<Item = f64> {
    (0..=steps).map(move |n| ((from + (to - from) * n as f64 / steps as f64) / 10.0).round() * 10.0)
}

#[test]
fn the_pass_band_is_flat_and_images_and_aliases_are_gone() {
    const PEAK: f64 = 20_000.0;
    for (from_hz, to_hz) in pairs() {
        let nyquist = f64::from(from_hz.min(to_hz)) / 2.0;
        let (from, to) = (from_hz as usize, to_hz as usize);
        for frequency in grid(100.0, PASS * nyquist, 12) {
            let input = sine(from_hz, frequency, PEAK, from / 5);
            let out = convert(table(from_hz, to_hz), &input, from / 50);
            let (peak, rest) = analyse(&out[to / 10..], to_hz, frequency);
            let gain = db(peak / PEAK);
            assert!(
                gain.abs() < 0.1,
                "{from_hz} to {to_hz}: {gain:.3} dB at {frequency} Hz"
            );
            let images = db(rest * 2f64.sqrt() / PEAK);
            assert!(
                images < -62.0,
                "{from_hz} to {to_hz}: images {images:.1} dB of {frequency} Hz"
            );
        }
        if from_hz > to_hz && STOP * nyquist < f64::from(from_hz) / 2.0 {
            for frequency in grid(STOP * nyquist, f64::from(from_hz) / 2.0 - 100.0, 24) {
                let input = sine(from_hz, frequency, PEAK, from / 5);
                let out = convert(table(from_hz, to_hz), &input, from / 50);
                let (_, alias) = analyse(&out[to / 10..], to_hz, 10.0);
                let alias = db(alias * 2f64.sqrt() / PEAK);
                assert!(
                    alias < -60.0,
                    "{from_hz} to {to_hz}: alias {alias:.1} dB of {frequency} Hz"
                );
            }
        }
    }
}

#[test]
fn blocks_of_ten_milliseconds_give_exactly_their_time() {
    for (from_hz, to_hz) in pairs() {
        let mut resampler = Resampler::new();
        resampler.set(table(from_hz, to_hz));
        let mut out = [0; 6000];
        for tens in [1, 2, 3, 1, 12, 6] {
            let input = vec![0; from_hz as usize / 100 * tens];
            let expected = to_hz as usize / 100 * tens;
            assert_eq!(resampler.output_samples(input.len()), expected);
            assert_eq!(
                resampler.process(&input, &mut out),
                expected,
                "{from_hz} to {to_hz}"
            );
        }
    }
}

#[test]
fn speech_comes_out_after_the_stated_delay_and_nothing_before_it() {
    for (from_hz, to_hz) in pairs() {
        let table = table(from_hz, to_hz);
        let stated_ms = table.delay_samples() as f64 * 1000.0 / f64::from(to_hz);
        assert!(stated_ms <= 0.25, "{from_hz} to {to_hz}: {stated_ms} ms");
        for frequency in [200.0, 500.0, 1000.0] {
            let out = convert(
                table,
                &sine(from_hz, frequency, 20_000.0, from_hz as usize / 5),
                from_hz as usize / 100,
            );
            let (mut re, mut im) = (0.0, 0.0);
            for (n, &sample) in out.iter().enumerate().skip(to_hz as usize / 10) {
                let angle = TAU * frequency * n as f64 / f64::from(to_hz);
                re += f64::from(sample) * angle.sin();
                im += f64::from(sample) * angle.cos();
            }
            let delay_ms = -im.atan2(re) / (TAU * frequency) * 1000.0;
            let rounding_ms = 500.0 / f64::from(to_hz) + 0.02;
            assert!(
                (delay_ms - stated_ms).abs() <= rounding_ms,
                "{from_hz} to {to_hz}: {frequency} Hz after {delay_ms} ms, not {stated_ms}"
            );
        }
        let at = from_hz as usize / 50;
        let mut input = vec![0; 2 * at];
        input[at] = 30_000;
        let out = convert(table, &input, from_hz as usize / 100);
        let before = &out[..to_hz as usize / 50];
        assert!(
            before.iter().all(|&sample| sample == 0),
            "{from_hz} to {to_hz}: rings ahead"
        );
    }
}

#[test]
fn equal_rates_pass_bit_by_bit_and_so_does_no_table() {
    let input = sine(8000, 700.0, 32_767.0, 160);
    for rate_hz in RESAMPLER_RATES_HZ {
        let table = table(rate_hz, rate_hz);
        assert_eq!(convert(table, &input, 160), input);
        assert_eq!(table.delay_samples(), 0);
    }
    let mut out = [0; 160];
    assert_eq!(Resampler::new().process(&input, &mut out), 160);
    assert_eq!(out[..], input);
}

#[test]
fn full_scale_is_cut_off_and_never_wraps() {
    let square: Vec<i16> = (0..1600)
        .map(|n| if n / 5 % 2 == 0 { i16::MAX } else { i16::MIN })
        .collect();
    for to_hz in [12_000, 16_000, 44_100, 48_000] {
        let out = convert(table(8000, to_hz), &square, 160);
        // In the middle of each half period the sign is that of the input: 2 samples of delay, 5 to a half period.
        for n in 20..150 {
            let at = ((f64::from(n) * 5.0 + 2.0 + 2.0) * f64::from(to_hz) / 8000.0).round() as usize;
            assert_eq!(out[at] > 0, n % 2 == 0, "{to_hz} Hz, half period {n}");
        }
    }
}

#[test]
fn a_change_of_the_output_rate_keeps_the_past() {
    let input = sine(8000, 1000.0, 10_000.0, 1600);
    let mut resampler = Resampler::new();
    resampler.set(table(8000, 16_000));
    let mut out = [0; 4800];
    resampler.process(&input[..800], &mut out);
    resampler.set(table(8000, 48_000));
    let written = resampler.process(&input[800..], &mut out);
    assert_eq!(out[..written], convert(table(8000, 48_000), &input, 160)[4800..]);
}

#[test]
fn other_input_rates_begin_with_silence() {
    let mut resampler = Resampler::new();
    resampler.set(table(8000, 16_000));
    let mut out = [0; 960];
    resampler.process(&[20_000; 160], &mut out);
    resampler.set(table(48_000, 16_000));
    resampler.process(&[0; 960], &mut out);
    assert!(out[..320].iter().all(|&sample| sample == 0));
}

#[test]
fn too_small_a_buffer_loses_samples_and_not_the_timing() {
    let input = sine(8000, 1000.0, 10_000.0, 1600);
    let whole = convert(table(8000, 48_000), &input, 160);
    let mut resampler = Resampler::new();
    resampler.set(table(8000, 48_000));
    let mut out = [0; 960];
    assert_eq!(resampler.process(&input[..160], &mut out[..7]), 7);
    assert_eq!(resampler.process(&input[160..320], &mut []), 0);
    assert_eq!(resampler.process(&input[320..480], &mut out), 960);
    assert_eq!(out[..], whole[1920..2880]);
}

proptest! {
    /// However the stream is cut into blocks, and whether parts are converted, skipped or taken over by another
    /// resampler, the samples are the same.
    #[test]
    fn blocks_do_not_matter(
        pair in prop::sample::select(pairs().collect::<Vec<_>>()),
        cuts in prop::collection::vec((0usize..700, 0u8..3), 1..12),
        seed in any::<u32>(),
    ) {
        let table = table(pair.0, pair.1);
        let total: usize = cuts.iter().map(|(samples, _)| samples).sum();
        let input: Vec<i16> = (0..total as u32)
            .map(|n| (n.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 16) as i16)
            .collect();
        let whole = convert(table, &input, total.max(1));
        let mut resampler = Resampler::new();
        resampler.set(table);
        let (mut at, mut done) = (0, 0);
        let mut out = vec![0; 6 * 700 + 1];
        for (samples, action) in cuts {
            let block = &input[at..at + samples];
            let due = resampler.output_samples(samples);
            if action == 1 {
                resampler.skip(block);
            } else {
                if action == 2 {
                    let mut other = Resampler::new();
                    other.copy_from(&resampler);
                    resampler = other;
                }
                prop_assert_eq!(resampler.process(block, &mut out), due);
                prop_assert_eq!(&out[..due], &whole[done..done + due]);
            }
            at += samples;
            done += due;
        }
        prop_assert_eq!(done, whole.len());
    }
}
