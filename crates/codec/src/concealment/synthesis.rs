//! The synthesis of one lost stretch: the last period repeated, joined and faded. Knows no ring and no frame.

use super::Times;
use super::pitch::find_pitch;

/// One lost stretch, frozen at its start.
#[derive(Debug)]
pub(crate) struct Synthesis {
    times: Times,
    running: bool,
    /// Samples made in this loss.
    made: usize,
    pitch: usize,
    /// The newest samples before the loss.
    before: Box<[f32]>,
    /// The period being repeated, `pitch` samples of it.
    cycle: Box<[f32]>,
    /// Next sample of `cycle`.
    at: usize,
    /// What is added to the next samples and fades out over a quarter period: the step at the seam.
    seam: Box<[f32]>,
    /// Samples of `seam` used up.
    seam_at: usize,
    /// Room for the pitch search.
    scratch: Box<[f32]>,
}

impl Clone for Synthesis {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.times);
        copy.copy_from(self);
        copy
    }
}

impl Synthesis {
    pub(super) fn new(times: Times) -> Self {
        let zeros = |len| vec![0.0; len].into_boxed_slice();
        Self {
            times,
            running: false,
            made: 0,
            pitch: times.min_pitch,
            before: zeros(times.history()),
            cycle: zeros(times.max_pitch),
            at: 0,
            seam: zeros(times.max_quarter()),
            seam_at: times.max_quarter(),
            scratch: zeros(times.history()),
        }
    }

    /// Takes over the state of a synthesis of the same rate; allocates nothing.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.running = other.running;
        self.made = other.made;
        self.pitch = other.pitch;
        self.before.copy_from_slice(&other.before);
        self.cycle.copy_from_slice(&other.cycle);
        self.at = other.at;
        self.seam.copy_from_slice(&other.seam);
        self.seam_at = other.seam_at;
    }

    pub(super) const fn times(&self) -> Times {
        self.times
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    pub(super) const fn end(&mut self) {
        self.running = false;
    }

    /// Takes the newest samples, oldest first, finds their pitch and prepares to repeat the last period.
    pub(super) fn begin<'a>(&mut self, newest: impl Iterator<Item = &'a i16>) {
        for (sample, &heard) in self.before.iter_mut().zip(newest) {
            *sample = f32::from(heard);
        }
        self.running = true;
        self.made = 0;
        self.pitch = find_pitch(&self.before, self.times, &mut self.scratch);
        self.repeat();
        self.at = 0;
        let newest = self.before.len() - 1;
        let step = self.before[newest] - self.before[newest - self.pitch];
        let quarter = self.quarter();
        for (n, sample) in self.seam[..quarter].iter_mut().enumerate() {
            *sample = step * (1.0 - (n + 1) as f32 / (quarter + 1) as f32);
        }
        self.seam_at = 0;
    }

    /// The next sample, faded by its age; 0 once silent.
    pub(crate) fn next_sample(&mut self) -> f32 {
        let Times {
            fading_from,
            silent_from,
            ..
        } = self.times;
        if self.made >= silent_from {
            return 0.0;
        }
        let age = self.made.saturating_sub(fading_from);
        let gain = 1.0 - age as f32 / (silent_from - fading_from) as f32;
        self.made += 1;
        self.raw() * gain
    }

    /// Fades the synthesis out over the start of the first good frame.
    pub(super) fn blend_into(&mut self, frame: &mut [i16]) {
        let len = self.quarter().min(frame.len());
        let step = 1.0 / (len + 1) as f32;
        for (n, sample) in frame[..len].iter_mut().enumerate() {
            let rising = (n + 1) as f32 * step;
            let blended = f32::from(*sample) * rising + self.next_sample() * (1.0 - rising);
            *sample = blended as i16;
        }
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
        if self.at == self.pitch {
            self.at = 0;
        }
        (sample + seam).clamp(f32::from(i16::MIN), f32::from(i16::MAX))
    }

    /// Fills the cycle with the last period, its end fading into what stands before its start.
    fn repeat(&mut self) {
        let start = self.before.len() - self.pitch;
        self.cycle[..self.pitch].copy_from_slice(&self.before[start..]);
        let quarter = self.quarter();
        for n in 0..quarter {
            let rising = (n + 1) as f32 / (quarter + 1) as f32;
            let sample = &mut self.cycle[self.pitch - quarter + n];
            *sample = *sample * (1.0 - rising) + self.before[start - quarter + n] * rising;
        }
    }

    const fn quarter(&self) -> usize {
        self.pitch / 4
    }
}
