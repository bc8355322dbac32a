//! Plays a script, block by block. Decides nothing: what a statement means is settled by `parse`.

use std::f64::consts::TAU;
use std::time::Duration;

use super::{
    Content, LEVELS_DBM0, MAX_TONE_FREQUENCIES, Ramp, SYMBOL_OFF, SYMBOL_ON, Step, Times, Tone, ToneScript,
};
use crate::ComfortNoise;

/// Length of the fade at both ends of a tone, in microseconds.
const EDGE_US: u64 = 1000;

/// Level of a full-scale sine, in dBm0 (ITU-T G.711, A-law).
#[expect(clippy::approx_constant, reason = "a level, not the circle's number")]
const FULL_SCALE_DBM0: f32 = 3.14;

/// Seed of the noise in a silence: every listener may hear the same.
const NOISE_SEED: u32 = 0x5eed;

/// Gives the samples of one script at one rate.
///
/// All memory is taken by the script; filling a block allocates nothing and takes a time that the block's length and the
/// script's bound.
#[derive(Debug, Clone)]
pub struct ToneGenerator {
    script: ToneScript,
    rate_hz: u32,
    progress: Progress,
    noise: Option<ComfortNoise>,
    sound: Sound,
}

/// Where a generator was in its script, to go on from there again.
#[derive(Debug, Clone)]
pub struct TonePlace {
    rate_hz: u32,
    progress: Progress,
    noise: Option<ComfortNoise>,
    sound: Sound,
}

/// Where in the script the generator is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    settings: Settings,
    /// The step after the tone that sounds.
    next: usize,
    /// How often the tone that sounds comes again.
    again: Again,
    passes_left: u32,
    loops: Again,
    /// Something was heard in this pass. A pass in which nothing is ends the script.
    heard: bool,
    ended: bool,
}

/// How often something comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Times(u32),
    Forever,
}

/// What holds for later tones.
#[derive(Debug, Clone, Copy)]
struct Settings {
    level_dbm0: f32,
    on: Duration,
    off: Duration,
    ramp: Ramp,
    ramp_step_db: f32,
    repeat: Times,
}

/// The tone that sounds, or the silence behind it.
#[derive(Debug, Clone, Copy)]
struct Sound {
    sines: [Sine; MAX_TONE_FREQUENCIES],
    count: usize,
    /// Samples of the tone, and those already given.
    on: u64,
    done: u64,
    /// Samples of silence left.
    off_left: u64,
    edge: u64,
    level_dbm0: f32,
    amplitude: f64,
    ramp_db: f32,
    ramp_every: u64,
    ramp_left: u64,
}

/// A rotating unit vector, whose height is the sine.
#[derive(Debug, Clone, Copy, Default)]
struct Sine {
    re: f64,
    im: f64,
    step_re: f64,
    step_im: f64,
}

impl ToneGenerator {
    /// Creates a generator at the beginning of a script.
    pub fn new(script: ToneScript, rate_hz: u32) -> Self {
        let noise = match &script.content {
            Content::Silence { noise, .. } => {
                noise.map(|level| ComfortNoise::new(level, rate_hz, NOISE_SEED))
            }
            Content::Tones { .. } => None,
        };
        let progress = Progress::start(&script);
        ToneGenerator {
            script,
            rate_hz,
            progress,
            noise,
            sound: Sound::nothing(),
        }
    }

    /// Returns to the beginning of the script.
    pub fn rewind(&mut self) {
        self.progress = Progress::start(&self.script);
        self.sound = Sound::nothing();
    }

    /// Returns where the generator is, at which rate too.
    pub fn place(&self) -> TonePlace {
        TonePlace {
            rate_hz: self.rate_hz,
            progress: self.progress,
            noise: self.noise.clone(),
            sound: self.sound,
        }
    }

    /// Goes on from where this generator was before.
    pub fn return_to(&mut self, place: &TonePlace) {
        self.rate_hz = place.rate_hz;
        self.progress = place.progress;
        self.noise.clone_from(&place.noise);
        self.sound = place.sound;
    }

    /// Goes on at another rate: what sounds keeps its phases and its time, as nearly as whole samples of the new rate let it.
    /// A frequency that the rate of before could not hold is heard from the next tone on.
    pub fn set_rate_hz(&mut self, rate_hz: u32) {
        let from_hz = std::mem::replace(&mut self.rate_hz, rate_hz);
        if from_hz == rate_hz {
            return;
        }
        self.sound.convert(from_hz, rate_hz);
        if let Content::Silence {
            noise: Some(level), ..
        } = &self.script.content
        {
            self.noise = Some(ComfortNoise::new(*level, rate_hz, NOISE_SEED));
        }
    }

    /// Returns whether the script has come to its end.
    pub fn is_ended(&self) -> bool {
        self.progress.ended
    }

    /// Writes the next samples to the beginning of `out` and returns how many: fewer than `out` holds when the script
    /// ends, and 0 from then on. The rest of `out` is left as it is.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        let mut filled = 0;
        while filled < out.len() && !self.progress.ended {
            let written = match &mut self.noise {
                Some(noise) => {
                    let silent = self.sound.off_left.min((out.len() - filled) as u64) as usize;
                    noise.fill(&mut out[filled..filled + silent]);
                    self.sound.off_left -= silent as u64;
                    silent
                }
                None => self.sound.give(&mut out[filled..]),
            };
            filled += written;
            if written == 0 {
                self.advance();
            }
        }
        filled
    }

    /// Goes on to the next sound; the script has ended if there is none.
    fn advance(&mut self) {
        let rate_hz = self.rate_hz;
        let progress = &mut self.progress;
        match &self.script.content {
            Content::Silence { lasts, .. } => {
                let samples = lasts.map_or(u64::MAX, |lasts| samples(lasts, rate_hz));
                if samples > 0 && progress.loops.take() {
                    self.sound.off_left = samples;
                } else {
                    progress.ended = true;
                }
            }
            Content::Tones { steps, passes } => {
                if progress.again.take() {
                    // The tone that has just ended is the step before the next one, its settings are still the same.
                    progress.next -= 1;
                    if let Some(Step::Tone(tone)) = steps.get(progress.next) {
                        self.sound = Sound::new(tone, &progress.settings, rate_hz);
                    }
                    progress.next += 1;
                    return;
                }
                while !progress.ended {
                    let Some(step) = steps.get(progress.next) else {
                        progress.wrap(*passes);
                        continue;
                    };
                    progress.next += 1;
                    let Step::Tone(tone) = step else {
                        progress.settings.change(step);
                        continue;
                    };
                    let sound = Sound::new(tone, &progress.settings, rate_hz);
                    if sound.on > 0 || sound.off_left > 0 {
                        progress.again = Again::after_one(progress.settings.repeat);
                        progress.settings.repeat = Times::Count(1);
                        progress.heard = true;
                        self.sound = sound;
                        return;
                    }
                }
            }
        }
    }
}

impl Progress {
    fn start(script: &ToneScript) -> Progress {
        let (passes, loops) = match &script.content {
            // The loops count the times that the silence begins.
            Content::Silence { .. } => (1, Again::all(script.loops)),
            Content::Tones { passes, .. } => (*passes, Again::after_one(script.loops)),
        };
        Progress {
            settings: Settings::default(),
            next: 0,
            again: Again::Times(0),
            passes_left: passes.saturating_sub(1),
            loops,
            heard: false,
            ended: false,
        }
    }

    /// Begins the next pass or the next loop.
    fn wrap(&mut self, passes: u32) {
        if !std::mem::take(&mut self.heard) {
            self.ended = true;
        } else if self.passes_left > 0 {
            self.passes_left -= 1;
            self.next = 0;
        } else if self.loops.take() {
            self.settings = Settings::default();
            self.passes_left = passes.saturating_sub(1);
            self.next = 0;
        } else {
            self.ended = true;
        }
    }
}

impl Again {
    fn all(times: Times) -> Again {
        match times {
            Times::Count(count) => Again::Times(count),
            Times::Forever => Again::Forever,
        }
    }

    fn after_one(times: Times) -> Again {
        match times {
            Times::Count(count) => Again::Times(count.saturating_sub(1)),
            Times::Forever => Again::Forever,
        }
    }

    /// Uses up one time, if there is one.
    fn take(&mut self) -> bool {
        match self {
            Again::Times(0) => false,
            Again::Times(left) => {
                *left -= 1;
                true
            }
            Again::Forever => true,
        }
    }
}

impl Settings {
    fn change(&mut self, step: &Step) {
        match step {
            Step::Level(level) => self.level_dbm0 = *level,
            Step::SymbolOn(on) => self.on = *on,
            Step::SymbolOff(off) => self.off = *off,
            Step::Ramp(ramp) => self.ramp = *ramp,
            Step::RampDb(db) => self.ramp_step_db = *db,
            Step::Repeat(times) => self.repeat = *times,
            Step::Tone(_) => {}
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            level_dbm0: -7.0,
            on: SYMBOL_ON,
            off: SYMBOL_OFF,
            ramp: Ramp::Flat,
            ramp_step_db: 1.0,
            repeat: Times::Count(1),
        }
    }
}

impl Sound {
    fn nothing() -> Sound {
        Sound {
            sines: [Sine::default(); MAX_TONE_FREQUENCIES],
            count: 0,
            on: 0,
            done: 0,
            off_left: 0,
            edge: 1,
            level_dbm0: 0.0,
            amplitude: 0.0,
            ramp_db: 0.0,
            ramp_every: 0,
            ramp_left: 0,
        }
    }

    fn new(tone: &Tone, settings: &Settings, rate_hz: u32) -> Sound {
        let (on, off) = tone.times.unwrap_or((settings.on, settings.off));
        let (ramp_every, ramp_db) = match settings.ramp {
            Ramp::Flat => (0, 0.0),
            Ramp::Falling { every } => (samples(every, rate_hz).max(1), -settings.ramp_step_db),
            Ramp::Rising { every } => (samples(every, rate_hz).max(1), settings.ramp_step_db),
        };
        let mut sound = Sound {
            on: samples(on, rate_hz),
            off_left: samples(off, rate_hz),
            edge: edge(rate_hz),
            level_dbm0: settings.level_dbm0,
            amplitude: amplitude(settings.level_dbm0, tone.frequencies_hz.len()),
            ramp_db,
            ramp_every,
            ramp_left: ramp_every,
            ..Sound::nothing()
        };
        for &frequency in &tone.frequencies_hz {
            // What the rate cannot hold is not heard, and counts for the level like the others.
            if f64::from(frequency) * 2.0 < f64::from(rate_hz) {
                sound.sines[sound.count] = Sine::new(frequency, rate_hz);
                sound.count += 1;
            }
        }
        sound
    }

    /// Goes over to samples of another rate.
    fn convert(&mut self, from_hz: u32, to_hz: u32) {
        let samples = |samples: u64| {
            let converted = u128::from(samples) * u128::from(to_hz) / u128::from(from_hz.max(1));
            u64::try_from(converted).unwrap_or(u64::MAX)
        };
        self.on = samples(self.on);
        self.done = samples(self.done);
        self.off_left = samples(self.off_left);
        self.edge = edge(to_hz);
        if self.ramp_every > 0 {
            self.ramp_every = samples(self.ramp_every).max(1);
            self.ramp_left = samples(self.ramp_left).max(1);
        }
        for sine in &mut self.sines[..self.count] {
            sine.turn_by(sine.step_im.atan2(sine.step_re) * f64::from(from_hz) / f64::from(to_hz));
        }
    }

    /// Writes what is left of the tone, or else of the silence behind it, to the beginning of `out`. Returns how many
    /// samples that were; 0 when both are over.
    fn give(&mut self, out: &mut [i16]) -> usize {
        if self.done == self.on {
            let silent = self.off_left.min(out.len() as u64);
            out[..silent as usize].fill(0);
            self.off_left -= silent;
            return silent as usize;
        }
        let length = (self.on - self.done).min(out.len() as u64) as usize;
        for sample in &mut out[..length] {
            self.ramp();
            let mut sum = 0.0;
            for sine in &mut self.sines[..self.count] {
                sum += sine.next();
            }
            // Counted from both ends, so that no tone is too short for its fades.
            let from_end = (self.done + 1).min(self.on - self.done);
            let fade = from_end.min(self.edge) as f64 / self.edge as f64;
            let exact = sum * self.amplitude * fade;
            *sample = (exact + 0.5f64.copysign(exact)) as i16; // to the nearest; the cast cuts off
            self.done += 1;
        }
        length
    }

    /// Changes the level when it is time to, within what levels can be.
    fn ramp(&mut self) {
        if self.ramp_every == 0 {
            return;
        }
        self.ramp_left -= 1;
        if self.ramp_left == 0 {
            self.ramp_left = self.ramp_every;
            let level = self.level_dbm0 + self.ramp_db;
            if LEVELS_DBM0.contains(&level) {
                self.level_dbm0 = level;
                self.amplitude *= 10f64.powf(f64::from(self.ramp_db) / 20.0);
            }
        }
    }
}

impl Sine {
    fn new(frequency_hz: f32, rate_hz: u32) -> Sine {
        let mut sine = Sine {
            re: 1.0,
            ..Sine::default()
        };
        sine.turn_by(TAU * f64::from(frequency_hz) / f64::from(rate_hz));
        sine
    }

    /// Sets the angle from sample to sample.
    fn turn_by(&mut self, angle: f64) {
        (self.step_im, self.step_re) = angle.sin_cos();
    }

    /// Returns the height and turns on. The length stays 1 to nine digits for an hour.
    fn next(&mut self) -> f64 {
        let height = self.im;
        let re = self.re * self.step_re - self.im * self.step_im;
        self.im = self.re * self.step_im + self.im * self.step_re;
        self.re = re;
        height
    }
}

/// Returns the peak of each of `count` sines at a level, already divided by their number.
fn amplitude(level_dbm0: f32, count: usize) -> f64 {
    let peak = f64::from(i16::MAX) * 10f64.powf(f64::from(level_dbm0 - FULL_SCALE_DBM0) / 20.0);
    peak / count.max(1) as f64
}

/// Returns the samples of the fade at both ends of a tone.
fn edge(rate_hz: u32) -> u64 {
    (u64::from(rate_hz) * EDGE_US / 1_000_000).max(1)
}

fn samples(duration: Duration, rate_hz: u32) -> u64 {
    (duration.as_micros() as u64).saturating_mul(u64::from(rate_hz)) / 1_000_000
}
