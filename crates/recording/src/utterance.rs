//! Owns what somebody says into a recording until he falls silent, and what of it is kept: without the silence before and behind it, about
//! as loud as prompts are. Knows no tap, no file and no time but that of the samples.

use confab_dsp::{Resampler, ResamplerTable};

use crate::import::Audio;

/// The longest utterance, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// Silence behind what was said that ends it, in milliseconds: longer than a pause between two names.
const SILENCE_AT_END_MS: u64 = 3000;

/// How long nothing at all may be said, in milliseconds.
const SILENCE_AT_ALL_MS: u64 = 8000;

/// The highest rate that is kept, in Hz: that of most prompts.
const HIGHEST_RATE_HZ: u32 = 16_000;

/// What speech is looked for in, in milliseconds.
const FRAME_MS: u64 = 20;

/// Frames of speech one after the other that are no click.
const SPEECH_FRAMES: usize = 3;

/// Mean magnitude that speech has at least (about −50 dBFS), and how far it is above the noise between words.
const QUIETEST_SPEECH: f32 = 75.0;
const ABOVE_NOISE: f32 = 4.0;

/// The loudest that is taken for noise (about −38 dBFS), and by how much the estimate rises in a frame (3 dB in a second).
const LOUDEST_NOISE: f32 = 300.0;
const NOISE_RISE: f32 = 1.0069;

/// Kept before and behind what was said, in milliseconds: soft sounds at the edges of words.
const BEFORE_MS: u64 = 100;
const BEHIND_MS: u64 = 200;

/// The edges are faded for so long, in milliseconds.
const FADE_MS: u64 = 5;

/// The level of speech that is aimed at in dBFS, by how much it is changed at most in dB, and the peak that it is kept under in dBFS.
const LEVEL_DBFS: f32 = -23.0;
const MOST_CHANGE_DB: f32 = 12.0;
const PEAK_DBFS: f32 = -3.0;

const FULL_SCALE: f32 = 32_768.0;

/// Something that is being said.
#[derive(Default)]
pub struct Utterance {
    /// At `rate_hz`, which is that of the first block unless that is higher than what is kept.
    samples: Vec<i16>,
    rate_hz: u32,
    /// For blocks of another rate.
    resampler: Option<Resampler>,
    converted: Vec<i16>,
    /// Where the next block should lie.
    next_ms: Option<u64>,
    /// Frames looked at.
    frames: usize,
    /// Mean magnitude of the noise between words.
    noise: f32,
    /// Frames of speech just now, one after the other.
    run: usize,
    /// The first and the last frame in which something is said.
    said: Option<(usize, usize)>,
}

impl Utterance {
    /// Returns one of which nothing was heard yet.
    pub fn new() -> Utterance {
        Utterance {
            noise: LOUDEST_NOISE,
            ..Utterance::default()
        }
    }

    /// Takes the next samples, which lie at `at_ms` of any clock; what is missing between them and those before is silence. Samples of a
    /// rate that nothing is mixed in are silence as well.
    pub fn take(&mut self, at_ms: u64, rate_hz: u32, samples: &[i16]) {
        if self.rate_hz == 0 && ResamplerTable::get(rate_hz, rate_hz.min(HIGHEST_RATE_HZ)).is_some() {
            self.rate_hz = rate_hz.min(HIGHEST_RATE_HZ);
        }
        if self.rate_hz == 0 {
            return;
        }
        let missing_ms = self.next_ms.map_or(0, |next_ms| at_ms.saturating_sub(next_ms));
        self.append_silence(missing_ms);
        let duration_ms = samples.len() as u64 * 1000 / u64::from(rate_hz.max(1));
        self.next_ms = Some(at_ms.saturating_add(duration_ms));
        match ResamplerTable::get(rate_hz, self.rate_hz) {
            None => self.append_silence(duration_ms),
            Some(table) if table.is_identity() => self.append(samples),
            Some(table) => {
                let resampler = self.resampler.get_or_insert_with(Resampler::new);
                if resampler.table().is_none_or(|set| !std::ptr::eq(set, table)) {
                    resampler.set(table);
                }
                let mut converted = std::mem::take(&mut self.converted);
                converted.resize(resampler.output_samples(samples.len()), 0);
                let written = resampler.process(samples, &mut converted);
                self.append(&converted[..written]);
                self.converted = converted;
            }
        }
        self.look();
    }

    /// Returns whether it has come to its end: silence behind what was said (3 s), nothing said at all (8 s), or as long as it may be (60 s).
    pub fn is_over(&self) -> bool {
        let spoken_ms = self.frames as u64 * FRAME_MS;
        let silent = match self.said {
            Some((_, last)) => spoken_ms - (last as u64 + 1) * FRAME_MS >= SILENCE_AT_END_MS,
            None => spoken_ms >= SILENCE_AT_ALL_MS,
        };
        silent || self.samples.len() >= self.samples_in(LONGEST_MS) && self.rate_hz > 0
    }

    /// Returns what was said, `None` when that is nothing.
    pub fn finish(mut self) -> Option<Audio> {
        let (first, last) = self.said?;
        let begin = (first * self.frame()).saturating_sub(self.samples_in(BEFORE_MS));
        let end = (last + 1) * self.frame() + self.samples_in(BEHIND_MS);
        let gain = self.gain(first, last);
        self.samples.truncate(end);
        self.samples.drain(..begin);
        let count = self.samples.len();
        let fade = self.samples_in(FADE_MS).clamp(1, count / 2);
        for (n, sample) in self.samples.iter_mut().enumerate() {
            let to_edge = n.min(count - 1 - n);
            let shape = (to_edge as f32 / fade as f32).min(1.0);
            *sample = (f32::from(*sample) * gain * shape).round() as i16;
        }
        self.samples.shrink_to_fit();
        Some(Audio {
            rate_hz: self.rate_hz,
            samples: self.samples,
        })
    }

    /// Returns the factor that brings what is said there to its level.
    fn gain(&self, first: usize, last: usize) -> f32 {
        let said = &self.samples[first * self.frame()..(last + 1) * self.frame()];
        let loudness = |frame: &[i16]| frame.iter().map(|&sample| f32::from(sample).powi(2)).sum::<f32>();
        let threshold = self.threshold();
        let words: Vec<f32> = said
            .chunks_exact(self.frame())
            .filter(|frame| score(frame) >= threshold)
            .map(loudness)
            .collect();
        let power = words.iter().sum::<f32>() / (words.len() * self.frame()).max(1) as f32;
        let level_dbfs = 20.0 * (power.sqrt().max(1.0) / FULL_SCALE).log10();
        let wanted_db = (LEVEL_DBFS - level_dbfs).clamp(-MOST_CHANGE_DB, MOST_CHANGE_DB);
        let peak = said.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let bound = FULL_SCALE * from_db(PEAK_DBFS) / f32::from(peak.max(1));
        from_db(wanted_db).min(bound)
    }

    fn append(&mut self, samples: &[i16]) {
        let room = self.samples_in(LONGEST_MS).saturating_sub(self.samples.len());
        self.samples
            .extend_from_slice(&samples[..samples.len().min(room)]);
    }

    fn append_silence(&mut self, milliseconds: u64) {
        let silence = self.samples_in(milliseconds.min(LONGEST_MS));
        let longest = self.samples_in(LONGEST_MS);
        self.samples
            .resize((self.samples.len() + silence).min(longest), 0);
    }

    /// Looks for speech in the frames that have come.
    fn look(&mut self) {
        let length = self.frame();
        while let Some(frame) = self.samples.get(self.frames * length..(self.frames + 1) * length) {
            let score = score(frame);
            let is_speech = score >= self.threshold();
            self.noise = (self.noise * NOISE_RISE).min(score).clamp(1.0, LOUDEST_NOISE);
            self.run = if is_speech { self.run + 1 } else { 0 };
            if self.run >= SPEECH_FRAMES {
                let first = self.said.map_or(self.frames + 1 - self.run, |(first, _)| first);
                self.said = Some((first, self.frames));
            }
            self.frames += 1;
        }
    }

    fn threshold(&self) -> f32 {
        (self.noise * ABOVE_NOISE).max(QUIETEST_SPEECH)
    }

    fn frame(&self) -> usize {
        self.samples_in(FRAME_MS)
    }

    fn samples_in(&self, milliseconds: u64) -> usize {
        (u64::from(self.rate_hz) * milliseconds / 1000) as usize
    }
}

/// Mean magnitude.
fn score(frame: &[i16]) -> f32 {
    let sum: u32 = frame.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
    sum as f32 / frame.len().max(1) as f32
}

fn from_db(decibels: f32) -> f32 {
    10_f32.powf(decibels / 20.0)
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;
    use proptest::prelude::*;

    /// Takes a sound in blocks of 20 ms.
    fn hear(utterance: &mut Utterance, at_ms: &mut u64, rate_hz: u32, samples: &[i16]) {
        for block in samples.chunks(rate_hz as usize / 50) {
            utterance.take(*at_ms, rate_hz, block);
            *at_ms += 20;
        }
    }

    fn tone(rate_hz: u32, hz: f32, level_dbfs: f32, milliseconds: u32) -> Vec<i16> {
        let peak = FULL_SCALE * from_db(level_dbfs) * 2_f32.sqrt();
        let sample = |n: u32| (peak * (TAU * hz * n as f32 / rate_hz as f32).sin()).round() as i16;
        (0..rate_hz / 1000 * milliseconds).map(sample).collect()
    }

    fn noise(rate_hz: u32, magnitude: i32, milliseconds: u32) -> Vec<i16> {
        let mut random = 1_u32;
        let count = rate_hz / 1000 * milliseconds;
        let sample = |_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((random >> 16) as i32 % (2 * magnitude + 1) - magnitude) as i16
        };
        (0..count).map(sample).collect()
    }

    fn level_dbfs(samples: &[i16]) -> f32 {
        let power: f32 = samples.iter().map(|&sample| f32::from(sample).powi(2)).sum();
        20.0 * ((power / samples.len() as f32).sqrt() / FULL_SCALE).log10()
    }

    #[test]
    fn what_is_said_is_kept_without_the_silence_around_it_and_brought_to_its_level() {
        for (rate_hz, kept_hz) in [(8000, 8000), (16_000, 16_000), (44_100, 16_000), (48_000, 16_000)] {
            for (level, expected) in [(-20.0, -23.0), (-30.0, -23.0), (-42.0, -30.0), (-8.0, -20.0)] {
                let (mut utterance, mut now) = (Utterance::new(), 7000);
                hear(&mut utterance, &mut now, rate_hz, &noise(rate_hz, 20, 1500));
                hear(
                    &mut utterance,
                    &mut now,
                    rate_hz,
                    &tone(rate_hz, 500.0, level, 900),
                );
                hear(&mut utterance, &mut now, rate_hz, &noise(rate_hz, 20, 1000));
                assert!(!utterance.is_over());
                let name = utterance.finish().expect("something");
                assert_eq!(name.rate_hz, kept_hz);
                let milliseconds = name.samples.len() * 1000 / kept_hz as usize;
                assert!(
                    milliseconds.abs_diff(1200) <= 40,
                    "{rate_hz} Hz, {level} dBFS: {milliseconds} ms"
                );
                let middle = name.samples.len() / 2;
                let window = kept_hz as usize / 4;
                let found = level_dbfs(&name.samples[middle - window..middle + window]);
                assert!(
                    (found - expected).abs() < 0.5,
                    "{rate_hz} Hz, {level} dBFS became {found}"
                );
                assert!(
                    name.samples[0] == 0 && name.samples[name.samples.len() - 1] == 0,
                    "no click"
                );
            }
        }
    }

    #[test]
    fn peaks_are_kept_below_full_scale() {
        let (mut utterance, mut now) = (Utterance::new(), 0);
        let mut spiky = tone(8000, 500.0, -35.0, 1000);
        spiky.iter_mut().step_by(400).for_each(|sample| *sample = 20_000);
        hear(&mut utterance, &mut now, 8000, &[0; 800]);
        hear(&mut utterance, &mut now, 8000, &spiky);
        let name = utterance.finish().expect("something");
        let peak = name.samples.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(
            peak <= Some((FULL_SCALE * from_db(PEAK_DBFS)) as u16 + 1),
            "{peak:?}"
        );
    }

    #[test]
    fn silence_clicks_and_noise_are_nothing() {
        let click = [&[0; 4000][..], &[9000; 160], &[0; 4000]].concat();
        for samples in [
            vec![0; 8000],
            click,
            noise(8000, 120, 3000),
            noise(8000, 500, 3000),
        ] {
            let (mut utterance, mut now) = (Utterance::new(), 0);
            hear(&mut utterance, &mut now, 8000, &samples);
            assert!(utterance.finish().is_none());
        }
        assert!(Utterance::new().finish().is_none());
    }

    #[test]
    fn it_ends_with_three_seconds_of_silence_or_eight_of_nothing() {
        let (mut utterance, mut now) = (Utterance::new(), 0);
        hear(&mut utterance, &mut now, 8000, &noise(8000, 20, 7900));
        assert!(!utterance.is_over());
        hear(&mut utterance, &mut now, 8000, &noise(8000, 20, 100));
        assert!(utterance.is_over());

        let (mut utterance, mut now) = (Utterance::new(), 0);
        for _ in 0..3 {
            hear(&mut utterance, &mut now, 8000, &tone(8000, 500.0, -25.0, 500));
            hear(&mut utterance, &mut now, 8000, &noise(8000, 20, 2500));
            assert!(!utterance.is_over(), "he may go on");
        }
        hear(&mut utterance, &mut now, 8000, &noise(8000, 20, 500));
        assert!(utterance.is_over());
        let name = utterance.finish().expect("three words");
        assert!((name.samples.len() / 8).abs_diff(6700) <= 40);
    }

    #[test]
    fn it_is_never_longer_than_a_minute_however_much_comes() {
        let (mut utterance, mut now) = (Utterance::new(), 0);
        hear(
            &mut utterance,
            &mut now,
            48_000,
            &tone(48_000, 500.0, -25.0, 59_000),
        );
        assert!(!utterance.is_over());
        hear(
            &mut utterance,
            &mut now,
            48_000,
            &tone(48_000, 500.0, -25.0, 5000),
        );
        utterance.take(u64::MAX / 2, 48_000, &[1; 960]);
        assert!(utterance.is_over());
        let name = utterance.finish().expect("something");
        assert!(name.samples.len() <= 60 * 16_000);
    }

    #[test]
    fn what_is_missing_is_silence_of_its_length() {
        let mut utterance = Utterance::new();
        let word = tone(8000, 500.0, -25.0, 200);
        let mut now = 0;
        hear(&mut utterance, &mut now, 8000, &word);
        now += 600;
        hear(&mut utterance, &mut now, 8000, &word);
        let name = utterance.finish().expect("two words");
        assert!(
            (name.samples.len() / 8).abs_diff(1000) <= 40,
            "{}",
            name.samples.len()
        );
        assert!(level_dbfs(&name.samples[4000 - 800..4000 + 800]) < -90.0);
    }

    #[test]
    fn a_change_of_codec_on_the_way_is_followed() {
        let (mut utterance, mut now) = (Utterance::new(), 0);
        for rate_hz in [8000, 48_000, 16_000, 8000] {
            hear(
                &mut utterance,
                &mut now,
                rate_hz,
                &tone(rate_hz, 500.0, -25.0, 400),
            );
        }
        let name = utterance.finish().expect("something");
        assert_eq!(name.rate_hz, 8000);
        assert!(
            (name.samples.len() / 8).abs_diff(1600) <= 40,
            "{}",
            name.samples.len()
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_it_stays_within_its_bounds(
            blocks in prop::collection::vec(
                (any::<u64>(), prop::sample::select(vec![0, 1, 8000, 11_025, 16_000, 44_100, 48_000, u32::MAX]), 0_usize..3000, any::<i16>()),
                0..60,
            ),
        ) {
            let mut utterance = Utterance::new();
            for (at_ms, rate_hz, count, value) in blocks {
                let samples: Vec<i16> = (0..count).map(|n| if n % 16 < 8 { value } else { !value }).collect();
                utterance.take(at_ms, rate_hz, &samples);
                utterance.is_over();
            }
            if let Some(name) = utterance.finish() {
                prop_assert!(name.rate_hz <= 16_000 && !name.samples.is_empty());
                prop_assert!(name.samples.len() <= 60 * name.rate_hz as usize);
            }
        }
    }
}
