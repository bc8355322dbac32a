//! Every kind of file at its pitch, level and length; every kind of fault with its name; no panic on anything.

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use crate::fuzz::fuzz_import;
use crate::{Audio, ImportError, ImportLimits, RATES_HZ, import};

/// The committed seeds of the fuzz target: 440 Hz, made with ffmpeg.
fn seed(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/import");
    std::fs::read(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(bytes: &[u8]) -> Result<Audio, ImportError> {
    import(bytes, ImportLimits::default())
}

/// Level of one frequency in dBFS (0: a full-scale sine), over whole periods of 20 Hz in the middle.
fn level_dbfs(samples: &[i16], rate_hz: u32, frequency_hz: f64) -> f64 {
    let whole = rate_hz as usize / 20;
    let middle = &samples[(samples.len() % whole) / 2..][..samples.len() / whole * whole];
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, &sample) in middle.iter().enumerate() {
        let angle = TAU * frequency_hz * n as f64 / f64::from(rate_hz);
        real += f64::from(sample) * angle.cos();
        imaginary += f64::from(sample) * angle.sin();
    }
    let amplitude = 2.0 * real.hypot(imaginary) / middle.len() as f64;
    20.0 * (amplitude / 32_768.0).log10()
}

/// A file of the given format tag (1: PCM, 3: float, 6: A-law, 7: µ-law).
fn wav(tag: u16, rate_hz: u32, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * bits.div_ceil(8);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn pcm16(rate_hz: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    wav(1, rate_hz, channels, 16, &data)
}

fn sine(rate_hz: u32, frequency_hz: f64, amplitude: f64, milliseconds: u32) -> Vec<i16> {
    let sample = |n: u32| {
        let angle = TAU * frequency_hz * f64::from(n) / f64::from(rate_hz);
        (amplitude * angle.sin()).round() as i16
    };
    (0..rate_hz * milliseconds / 1000).map(sample).collect()
}

#[test]
fn every_kind_of_file_has_its_pitch_level_and_length() {
    let rows = [
        // name, rate, milliseconds, tolerance of the length in ms, dBFS
        ("tone-mp3", 44_100, 500.0, 30.0, -18.06),
        ("tone-stereo-ogg", 48_000, 500.0, 1.0, -21.07),
        ("tone-flac", 16_000, 100.0, 0.1, -18.06),
        ("mulaw-wav", 8000, 100.0, 0.1, -18.06),
        ("alaw-wav", 8000, 100.0, 0.1, -18.06),
        ("float-22k-wav", 24_000, 50.0, 0.1, -18.06),
        ("pcm8-11k-wav", 12_000, 100.0, 0.1, -18.06),
        ("pcm32-wav", 16_000, 50.0, 0.1, -18.06),
    ];
    for (name, rate_hz, milliseconds, tolerance, expected) in rows {
        let audio = read(&seed(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(audio.rate_hz, rate_hz, "{name}");
        let length = audio.samples.len() as f64 * 1000.0 / f64::from(rate_hz);
        assert!((length - milliseconds).abs() <= tolerance, "{name}: {length} ms");
        // ffmpeg's sine has an amplitude of 1/8, and each of two channels 3 dB less.
        let level = level_dbfs(&audio.samples, rate_hz, 440.0);
        assert!((level - expected).abs() < 0.7, "{name}: {level} dBFS");
        assert!(level_dbfs(&audio.samples, rate_hz, 1200.0) < -55.0, "{name}");
    }
    let fast = read(&seed("pcm24-96k-stereo-wav")).expect("24 bits");
    assert_eq!((fast.rate_hz, fast.samples.len()), (48_000, 480));
}

#[test]
fn sixteen_bits_at_a_rate_of_conferences_come_out_as_they_are() {
    for rate_hz in RATES_HZ {
        let samples: Vec<i16> = (0..2000)
            .map(|n: i32| (n * 7919 % 65_536 - 32_768) as i16)
            .collect();
        let audio = read(&pcm16(rate_hz, 1, &samples)).expect("a good file");
        assert_eq!(audio, Audio { rate_hz, samples });
    }
}

#[test]
fn other_rates_are_brought_to_the_next_without_delay_and_at_the_same_level() {
    for (rate_hz, expected_hz) in [
        (8001, 12_000),
        (11_025, 12_000),
        (22_050, 24_000),
        (37_800, 44_100),
        (44_101, 48_000),
        (88_200, 48_000),
        (96_000, 48_000),
        (192_000, 48_000),
    ] {
        let audio = read(&pcm16(rate_hz, 1, &sine(rate_hz, 1000.0, 8000.0, 400))).expect("a good file");
        assert_eq!(audio.rate_hz, expected_hz);
        let expected = sine(expected_hz, 1000.0, 8000.0, 400);
        assert!(audio.samples.len().abs_diff(expected.len()) <= 1, "{rate_hz}");
        let middle = expected.len() / 4..expected.len() * 3 / 4;
        let error: f64 = middle
            .clone()
            .map(|n| (f64::from(audio.samples[n]) - f64::from(expected[n])).powi(2))
            .sum();
        let rms = (error / middle.len() as f64).sqrt();
        // The filter's delay need not be whole samples: up to one of them at the higher rate is left.
        assert!(rms < 2500.0, "{rate_hz} Hz: error {rms}, the tone has 5657");
        let power: f64 = audio.samples[middle.clone()]
            .iter()
            .map(|&s| f64::from(s).powi(2))
            .sum();
        let total = 10.0 * (2.0 * power / middle.len() as f64 / 32_768f64.powi(2)).log10();
        assert!((total + 12.25).abs() < 0.1, "{rate_hz} Hz: {total} dBFS in all");
        let level = level_dbfs(&audio.samples[middle], expected_hz, 1000.0);
        assert!((level + 12.25).abs() < 0.1, "{rate_hz} Hz: {level} dBFS");
    }
    let alias = read(&pcm16(96_000, 1, &sine(96_000, 30_000.0, 20_000.0, 400))).expect("a good file");
    let loudest = alias.samples[4800..14_400].iter().map(|s| s.unsigned_abs()).max();
    assert!(loudest < Some(20), "30 kHz is not folded down: {loudest:?}");
    let short = read(&pcm16(22_050, 1, &[1000])).expect("one sample is a file");
    assert_eq!(short.samples.len(), 2);
}

#[test]
fn channels_are_mixed_down() {
    let rows: [(u16, &[i16], &[i16]); 3] = [
        (2, &[100, 300, -50, 50, 32_767, 32_767], &[200, 0, 32_767]),
        (1, &[5], &[5]),
        (4, &[400, 0, 0, 0, -400, -400, -400, -400], &[100, -400]),
    ];
    for (channels, given, expected) in rows {
        let audio = read(&pcm16(16_000, channels, given)).expect("a good file");
        assert_eq!(audio.samples, expected, "{channels} channels");
    }
}

#[test]
fn loud_floats_are_clipped_and_no_numbers_are_silence() {
    let values = [2.0f32, -2.0, f32::NAN, f32::INFINITY, 0.5, f32::NEG_INFINITY];
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let audio = read(&wav(3, 8000, 1, 32, &data)).expect("a good file");
    assert_eq!(audio.samples, [32_767, -32_768, 0, 32_767, 16_384, -32_768]);
    // Nor do they stop the converter.
    let data = data.repeat(1000);
    let audio = read(&wav(3, 22_050, 1, 32, &data)).expect("a good file");
    assert!(audio.samples.len() > 6000 && audio.samples.iter().any(|&sample| sample > 8000));
}

#[test]
fn each_fault_has_its_name() {
    let tone = sine(8000, 440.0, 8000.0, 1000);
    let good = pcm16(8000, 1, &tone);
    let limits = ImportLimits {
        bytes: good.len(),
        duration: Duration::from_millis(1000),
    };
    assert!(import(&good, limits).is_ok());
    let shorter = ImportLimits {
        duration: Duration::from_millis(999),
        ..limits
    };
    let limit = shorter.duration;
    assert_eq!(import(&good, shorter), Err(ImportError::TooLong { limit }));
    let smaller = ImportLimits {
        bytes: good.len() - 1,
        ..limits
    };
    assert_eq!(
        import(&good, smaller),
        Err(ImportError::TooLarge {
            bytes: good.len(),
            limit: good.len() - 1
        })
    );
    assert_eq!(read(b""), Err(ImportError::UnknownFormat));
    assert_eq!(
        read(b"<!DOCTYPE html><html><body>404</body></html>"),
        Err(ImportError::UnknownFormat)
    );
    assert_eq!(read(&pcm16(8000, 1, &[])), Err(ImportError::Empty));
    assert_eq!(read(&pcm16(7999, 1, &tone)), Err(ImportError::Rate(7999)));
    assert_eq!(read(&pcm16(192_001, 1, &tone)), Err(ImportError::Rate(192_001)));
    for name in ["adpcm-wav", "opus-ogg"] {
        assert!(
            matches!(
                read(&seed(name)),
                Err(ImportError::UnsupportedCoding(_) | ImportError::UnknownFormat | ImportError::Empty)
            ),
            "{name}: {:?}",
            read(&seed(name))
        );
    }
    let cut = read(&good[..good.len() / 2]).expect("what is there can be heard");
    assert!(
        cut.samples.len().abs_diff(tone.len() / 2) < 1200,
        "{}",
        cut.samples.len()
    );
}

#[test]
fn the_committed_seeds_keep_every_promise() {
    for name in [
        "tone-mp3",
        "tone-stereo-ogg",
        "tone-flac",
        "adpcm-wav",
        "opus-ogg",
        "pcm8-11k-wav",
    ] {
        let file = seed(name);
        fuzz_import(&file);
        for cut in [1, 3, 40, 44, 100, file.len() / 2, file.len() - 1] {
            fuzz_import(&file[..cut.min(file.len())]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_import(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(
        which in 0..6usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
    ) {
        let names = ["tone-mp3", "tone-stereo-ogg", "tone-flac", "mulaw-wav", "float-22k-wav", "adpcm-wav"];
        let mut file = seed(names[which]);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        fuzz_import(&file);
    }
}
