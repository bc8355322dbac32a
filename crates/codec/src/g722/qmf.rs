//! The quadrature mirror filters that split 16 kHz audio into two bands of 8 kHz and put them together again: ITU-T G.722
//! §3.1 and §4.4 (QMF transmitter and receiver).

use super::band::limit;

/// Taps of each of the two phases; the second phase has the same coefficients in reverse.
const TAPS: usize = 12;

/// Coefficients of the even samples, newest first.
const COEFFICIENTS: [i32; TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Samples of both phases, newest first, twice as many as needed so that they move seldom.
#[derive(Debug, Clone)]
struct Line {
    pairs: [[i16; 2]; Self::LEN],
    /// Index of the newest pair.
    newest: usize,
}

impl Line {
    const LEN: usize = 128;

    const fn new() -> Self {
        Self {
            pairs: [[0; 2]; Self::LEN],
            newest: Self::LEN - TAPS,
        }
    }

    fn push(&mut self, pair: [i16; 2]) {
        if self.newest == 0 {
            self.pairs.copy_within(..TAPS - 1, Self::LEN - TAPS + 1);
            self.newest = Self::LEN - TAPS + 1;
        }
        self.newest -= 1;
        self.pairs[self.newest] = pair;
    }

    /// Both phases filtered: the first of each pair by the coefficients as they stand, the second in reverse.
    fn filter(&self) -> [i32; 2] {
        let pairs = &self.pairs[self.newest..self.newest + TAPS];
        let mut sums = [0; 2];
        for (n, [first, second]) in pairs.iter().enumerate() {
            sums[0] += COEFFICIENTS[n] * i32::from(*first);
            sums[1] += COEFFICIENTS[TAPS - 1 - n] * i32::from(*second);
        }
        sums
    }
}

/// Splits.
#[derive(Debug, Clone)]
pub(super) struct Analysis(Line);

impl Analysis {
    pub(super) const fn new() -> Self {
        Self(Line::new())
    }

    /// Takes the next two samples; returns a sample of the low and one of the high band.
    pub(super) fn split(&mut self, pair: [i16; 2]) -> (i16, i16) {
        self.take(pair);
        let [newer, older] = self.0.filter();
        // The sum of the coefficients bounds both to 25,928.
        let band = |sum: i32| limit((sum >> 14) as i16);
        (band(newer + older), band(newer - older))
    }

    /// Takes the next two samples and gives nothing.
    pub(super) fn take(&mut self, [older, newer]: [i16; 2]) {
        self.0.push([newer, older]);
    }
}

/// Puts together.
#[derive(Debug, Clone)]
pub(super) struct Synthesis(Line);

impl Synthesis {
    pub(super) const fn new() -> Self {
        Self(Line::new())
    }

    /// Takes the next sample of either band.
    pub(super) fn take(&mut self, low: i16, high: i16) {
        self.0.push([low.saturating_sub(high), low.saturating_add(high)]);
    }

    /// The two samples that are due.
    pub(super) fn pair(&self) -> [i16; 2] {
        self.0
            .filter()
            .map(|sum| (sum >> 11).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16)
    }
}
