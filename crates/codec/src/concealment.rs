//! Concealment of lost stretches of speech by repeating its last pitch period, at any sample rate. Owns the history it draws
//! from and the synthesis; knows no codec.
//!
//! The method comes from ITU-T G.711 Appendix I: the pitch is the lag of the best normalised correlation, and the last period
//! is repeated, joined to itself over a quarter period, and faded. What the appendix says else was tried by PESQ on speech
//! with 5 % loss, and kept where it helps. The newest 10 ms are compared at each lag, not 20. Only the last period is
//! repeated: taking further ones in costs 0.1. It fades by a fifth each 10 ms from 5 ms on and is silent from 55 ms on. The
//! first good frame is faded in over a quarter period, not 10 ms: 0.1. No delay is added: where the appendix holds back 3.75 ms
//! to blend the signal before the loss, the step between the last sample and its copy one period earlier is faded out.
//! Lost stretches may have any length. The history goes on through a loss with what was heard. The appendix knows 8 kHz
//! only; here all times are kept at every rate.

mod pitch;
mod synthesis;

pub(crate) use synthesis::Synthesis;

/// The times of the method in samples of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    /// Shortest pitch period: 5 ms, 200 Hz.
    min_pitch: usize,
    /// Longest pitch period: 15 ms, 66 Hz.
    max_pitch: usize,
    /// Samples that are compared at each lag: 10 ms.
    window: usize,
    /// Where fading begins: 5 ms.
    fading_from: usize,
    /// Where it ends in silence: 55 ms.
    silent_from: usize,
}

/// The lowest rate in Hz that the method is made for.
const LOWEST_RATE_HZ: u32 = 8000;

impl Times {
    const fn new(rate_hz: u32) -> Self {
        let second = rate_hz as usize;
        Self {
            min_pitch: second * 5 / 1000,
            max_pitch: second * 15 / 1000,
            window: second * 10 / 1000,
            fading_from: second * 5 / 1000,
            silent_from: second * 55 / 1000,
        }
    }

    /// Longest quarter period.
    const fn max_quarter(self) -> usize {
        self.max_pitch / 4
    }

    /// The longest lag and the window behind it; longer than a period and the quarter before it.
    const fn history(self) -> usize {
        self.max_pitch + self.window
    }
}

/// History and synthesis for one stream.
#[derive(Debug, Clone)]
pub(crate) struct Concealment {
    /// The newest samples; a power of two of them, so that the index wraps with a mask.
    ring: Box<[i16]>,
    /// Index after the newest sample.
    end: usize,
    synthesis: Synthesis,
}

impl Concealment {
    /// Makes one with an empty history for samples of `rate_hz`, 8000 to 48,000 Hz; all its memory is taken here.
    pub(crate) fn new(rate_hz: u32) -> Self {
        let times = Times::new(rate_hz.max(LOWEST_RATE_HZ));
        Self {
            ring: vec![0; times.history().next_power_of_two()].into_boxed_slice(),
            end: 0,
            synthesis: Synthesis::new(times),
        }
    }

    /// Takes a decoded frame into the history; after a loss its start is blended with the synthesis first.
    pub(crate) fn good(&mut self, frame: &mut [i16]) {
        if self.in_loss() {
            self.synthesis.blend_into(frame);
            self.synthesis.end();
        }
        self.remember(frame);
    }

    /// Fills `out` with the continuation of what was heard.
    pub(crate) fn lost(&mut self, out: &mut [i16]) {
        if out.is_empty() {
            return;
        }
        self.begin();
        for sample in &mut *out {
            *sample = self.synthesis.next_sample() as i16;
        }
        self.remember(out);
    }

    /// Begins a loss, unless one is going on; [`lost`](Self::lost) does it by itself.
    pub(crate) fn begin(&mut self) {
        if !self.in_loss() {
            let (newer, older) = self.ring.split_at(self.end);
            let history = self.synthesis.times().history();
            let oldest_first = older.iter().chain(newer).skip(self.ring.len() - history);
            self.synthesis.begin(oldest_first);
        }
    }

    /// Whether the newest samples were made up.
    pub(crate) const fn in_loss(&self) -> bool {
        self.synthesis.is_running()
    }

    /// The synthesis as it stands: a copy of it tells what would be made next.
    pub(crate) const fn synthesis(&self) -> &Synthesis {
        &self.synthesis
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.ring.fill(0);
        self.synthesis.end();
    }

    fn remember(&mut self, samples: &[i16]) {
        let size = self.ring.len();
        // Of a longer stretch only the newest ring's worth matters.
        let newest = &samples[samples.len().saturating_sub(size)..];
        let (first, second) = newest.split_at(newest.len().min(size - self.end));
        self.ring[self.end..self.end + first.len()].copy_from_slice(first);
        self.ring[..second.len()].copy_from_slice(second);
        self.end = (self.end + newest.len()) & (size - 1);
    }
}

#[cfg(test)]
mod tests;
