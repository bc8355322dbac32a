//! Concealment of lost stretches in 8 kHz speech by repeating its last pitch periods. Owns the history it draws from and the
//! synthesis; knows no coding law.
//!
//! The method is that of ITU-T G.711 Appendix I: the pitch is the lag of the best normalised correlation of the last 20 ms;
//! the last period is repeated, from 10 ms on the last two, from 20 ms on the last three, each joined to itself over a
//! quarter period; after 10 ms it fades by a fifth each 10 ms and is silent from 60 ms on; the first good frame is faded in
//! over the synthesis. It differs in three things. No delay is added: where the appendix holds back 3.75 ms to blend the
//! signal before the loss, here the step between the last sample and its copy one period earlier is faded out. Lost
//! stretches may have any length. The history goes on through a loss with what was heard.

use std::ops::RangeInclusive;

/// Shortest pitch period: 5 ms, 200 Hz.
const MIN_PITCH: usize = 40;
/// Longest pitch period: 15 ms, 66 Hz.
const MAX_PITCH: usize = 120;
/// Samples that are compared at each lag: 20 ms.
const WINDOW: usize = 160;
/// Most periods that are repeated in turn.
const MAX_PERIODS: usize = 3;
/// Longest quarter period.
const MAX_QUARTER: usize = MAX_PITCH / 4;
/// Three periods and the quarter before them.
const HISTORY: usize = MAX_PERIODS * MAX_PITCH + MAX_QUARTER;
/// 10 ms: a further period joins at each, and fading starts after the first.
const STAGE: usize = 80;
/// Where fading ends: 60 ms.
const SILENT_FROM: usize = 6 * STAGE;
/// Longest blend into the first good frame: 10 ms.
const MAX_BLEND: usize = STAGE;
/// Added to the blend for each 10 ms of loss: 4 ms.
const BLEND_PER_STAGE: usize = 32;
/// The ring's size is a power of two, so that its index wraps with a mask.
const RING: usize = 512;

/// History and synthesis for one stream.
#[derive(Debug, Clone)]
pub(super) struct Concealment {
    ring: [i16; RING],
    /// Index after the newest sample.
    end: usize,
    synthesis: Synthesis,
}

/// One lost stretch, frozen at its start.
#[derive(Debug, Clone)]
struct Synthesis {
    /// Samples made so far; 0 outside a loss.
    made: usize,
    pitch: usize,
    periods: usize,
    /// The newest samples before the loss.
    before: [f32; HISTORY],
    /// The periods being repeated, `periods × pitch` of them.
    cycle: [f32; MAX_PERIODS * MAX_PITCH],
    /// Next sample of `cycle`.
    at: usize,
    /// What is added to the next samples and fades out over a quarter period: the step at the seam.
    seam: [f32; MAX_QUARTER],
    /// Samples of `seam` used up.
    seam_at: usize,
}

impl Concealment {
    pub(super) fn new() -> Self {
        Self {
            ring: [0; RING],
            end: 0,
            synthesis: Synthesis::new(),
        }
    }

    /// Takes a decoded frame into the history; after a loss its start is blended with the synthesis first.
    pub(super) fn good(&mut self, frame: &mut [i16]) {
        if self.synthesis.made > 0 {
            self.blend(frame);
            self.synthesis.made = 0;
        }
        self.remember(frame);
    }

    /// Fills `out` with the continuation of what was heard.
    pub(super) fn lost(&mut self, out: &mut [i16]) {
        if self.synthesis.made == 0 && !out.is_empty() {
            let Self { ring, end, synthesis } = self;
            let (newer, older) = ring.split_at(*end);
            let oldest_first = older.iter().chain(newer).skip(RING - HISTORY);
            for (sample, &heard) in synthesis.before.iter_mut().zip(oldest_first) {
                *sample = f32::from(heard);
            }
            synthesis.begin();
        }
        for sample in &mut *out {
            *sample = self.synthesis.next() as i16;
        }
        self.remember(out);
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.ring.fill(0);
        self.synthesis.made = 0;
    }

    fn blend(&mut self, frame: &mut [i16]) {
        let stages = self.synthesis.made.div_ceil(STAGE);
        let len = (self.synthesis.pitch / 4 + BLEND_PER_STAGE * stages)
            .min(MAX_BLEND)
            .min(frame.len());
        let step = 1.0 / (len + 1) as f32;
        for (n, sample) in frame[..len].iter_mut().enumerate() {
            let rising = (n + 1) as f32 * step;
            let blended = f32::from(*sample) * rising + self.synthesis.next() * (1.0 - rising);
            *sample = blended as i16;
        }
    }

    fn remember(&mut self, samples: &[i16]) {
        // Of a longer stretch only the newest ring's worth matters.
        let newest = &samples[samples.len().saturating_sub(RING)..];
        let room = RING - self.end;
        let (first, second) = newest.split_at(newest.len().min(room));
        self.ring[self.end..self.end + first.len()].copy_from_slice(first);
        self.ring[..second.len()].copy_from_slice(second);
        self.end = (self.end + newest.len()) % RING;
    }
}

impl Synthesis {
    fn new() -> Self {
        Self {
            made: 0,
            pitch: MIN_PITCH,
            periods: 1,
            before: [0.0; HISTORY],
            cycle: [0.0; MAX_PERIODS * MAX_PITCH],
            at: 0,
            seam: [0.0; MAX_QUARTER],
            seam_at: MAX_QUARTER,
        }
    }

    /// Finds the pitch in `before` and prepares to repeat the last period.
    fn begin(&mut self) {
        self.pitch = find_pitch(&self.before);
        self.repeat(1);
        self.at = 0;
        let step = self.before[HISTORY - 1] - self.before[HISTORY - 1 - self.pitch];
        let quarter = self.quarter();
        for (n, sample) in self.seam[..quarter].iter_mut().enumerate() {
            *sample = step * (1.0 - (n + 1) as f32 / (quarter + 1) as f32);
        }
        self.seam_at = 0;
    }

    /// The next sample, faded by its age; 0 once silent.
    fn next(&mut self) -> f32 {
        if self.made >= SILENT_FROM {
            return 0.0;
        }
        if self.made > 0 && self.made.is_multiple_of(STAGE) && self.periods < MAX_PERIODS {
            self.add_period();
        }
        let age = self.made.saturating_sub(STAGE);
        let gain = 1.0 - age as f32 / (SILENT_FROM - STAGE) as f32;
        self.made += 1;
        self.raw() * gain
    }

    fn raw(&mut self) -> f32 {
        let seam = if self.seam_at < self.quarter() {
            self.seam[self.seam_at]
        } else {
            0.0
        };
        self.seam_at += 1;
        let sample = self.cycle[self.at];
        self.at += 1;
        if self.at == self.periods * self.pitch {
            self.at = 0;
        }
        (sample + seam).clamp(f32::from(i16::MIN), f32::from(i16::MAX))
    }

    /// Goes over to repeating one period more, at the same place in the pitch, fading from the old cycle to the new.
    fn add_period(&mut self) {
        let quarter = self.quarter();
        let mut old = [0.0; MAX_QUARTER];
        let phase = self.at % self.pitch;
        for sample in &mut old[..quarter] {
            *sample = self.raw();
        }
        self.repeat(self.periods + 1);
        self.at = phase;
        for (n, sample) in old[..quarter].iter().enumerate() {
            let fading = 1.0 - (n + 1) as f32 / (quarter + 1) as f32;
            self.seam[n] = (sample - self.cycle[phase + n]) * fading;
        }
        self.seam_at = 0;
    }

    /// Fills the cycle with the last `periods` periods, the end of the last one fading into what stands before the first.
    fn repeat(&mut self, periods: usize) {
        self.periods = periods;
        let len = periods * self.pitch;
        let start = HISTORY - len;
        self.cycle[..len].copy_from_slice(&self.before[start..]);
        let quarter = self.quarter();
        for n in 0..quarter {
            let rising = (n + 1) as f32 / (quarter + 1) as f32;
            let sample = &mut self.cycle[len - quarter + n];
            *sample = *sample * (1.0 - rising) + self.before[start - quarter + n] * rising;
        }
    }

    const fn quarter(&self) -> usize {
        self.pitch / 4
    }
}

/// The lag, in samples, at which the newest [`WINDOW`] samples look most like what came before: every second lag on every
/// second sample first, then all lags around the best.
fn find_pitch(before: &[f32; HISTORY]) -> usize {
    let halved: [f32; HISTORY / 2] = std::array::from_fn(|n| before[2 * n + 1]);
    let coarse = 2 * best_lag(&halved, WINDOW / 2, MIN_PITCH / 2..=MAX_PITCH / 2);
    best_lag(
        before,
        WINDOW,
        coarse.saturating_sub(1).max(MIN_PITCH)..=(coarse + 1).min(MAX_PITCH),
    )
}

fn best_lag(samples: &[f32], window: usize, lags: RangeInclusive<usize>) -> usize {
    let newest = &samples[samples.len() - window..];
    let mut best = (*lags.start(), f32::NEG_INFINITY);
    for lag in lags {
        let end = samples.len() - lag;
        let earlier = &samples[end - window..end];
        // The 1 keeps silence from dividing by zero.
        let likeness = product(newest, earlier) / (product(earlier, earlier) + 1.0).sqrt();
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    best.0
}

/// Sum of products, in eight lanes for the compiler to work on at once; both windows are multiples of eight.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests;
