//! Makes speech a little shorter or longer without changing its pitch, so that a playout delay can shrink or grow while
//! somebody talks. Owns no samples: it works inside a block that the caller holds.
//!
//! One period of the voice is taken out or put in and the edges are faded into each other, where the signal is most like
//! itself: W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)", 1993, reduced
//! to a single join. The search runs on a copy at about 8 kHz and is refined at the full rate.

/// Shortest and longest piece that is taken out or put in, in microseconds: periods of voices of 400 and 67 Hz.
const PERIOD_US: std::ops::RangeInclusive<u32> = 2500..=15_000;

/// Length of the fade between the edges of a join, in microseconds.
const OVERLAP_US: u32 = 5000;

/// Distance between places in the block that are tried, in microseconds.
const PLACE_US: u32 = 2500;

/// Longest part of a block that is searched, in milliseconds.
const SEARCH_MS: u32 = 60;

/// Samples of the search copy: [`SEARCH_MS`] at the highest rate it can have, below 12 kHz.
const SEARCH_SAMPLES: usize = 720;

/// How alike the edges of a join have to be, as a normalised correlation, after so many refusals in a row: a join is
/// put off for some blocks rather than made badly, and made at last.
const NEEDED_LIKENESS: [f32; 6] = [0.85, 0.8, 0.7, 0.5, 0.2, -1.0];

/// Mean square per sample below which a join is inaudible wherever it is: about −57 dBFS.
const QUIET_POWER: f32 = 1000.0;

/// Takes periods out of one mono stream or puts them in.
///
/// Blocks of 10 ms have room for periods up to 5 ms, blocks of 20 ms for all. Both operations work in place, allocate
/// nothing, and do nothing when no good place is found; the more blocks were passed over, the less is asked of the next.
///
/// ```
/// use confab_dsp::TimeScale;
///
/// let voice = |n: usize| ((n % 80) as i16 - 40) * 200; // 100 Hz at 8 kHz
/// let mut block: Vec<i16> = (0..320).map(voice).collect();
/// let removed = TimeScale::new(8000).shorten(&mut block, 160);
/// assert_eq!(removed, 80);
/// assert!((0..240).all(|n| block[n] == voice(n))); // the join cannot be told from the voice
/// ```
#[derive(Debug, Clone)]
pub struct TimeScale {
    rate_hz: u32,
    refusals: usize,
}

/// A place where a block is like itself: what begins at `start` resembles what begins `period` samples later.
#[derive(Debug, Clone, Copy)]
struct Join {
    start: usize,
    period: usize,
}

impl TimeScale {
    /// Creates the means for a stream at `rate_hz`, 8000..=48000.
    pub fn new(rate_hz: u32) -> Self {
        TimeScale { rate_hz, refusals: 0 }
    }

    /// Returns the shortest period in samples. Smaller amounts are corrected one sample at a time.
    pub fn shortest_period(&self) -> usize {
        self.samples(*PERIOD_US.start())
    }

    /// Takes up to `at_most` samples out of a block and returns how many; the block's remaining samples are moved
    /// together at its beginning.
    ///
    /// That is one period of the voice. When `at_most` is below [`TimeScale::shortest_period`] it is a single sample,
    /// where it is missed least. 0 when the block has no place for it; the next block may.
    pub fn shorten(&mut self, pcm: &mut [i16], at_most: usize) -> usize {
        if at_most < self.shortest_period() {
            return if at_most == 0 { 0 } else { remove_one(pcm) };
        }
        let Some(Join { start, period }) = self.join(pcm, at_most) else {
            return 0;
        };
        let overlap = self.samples(OVERLAP_US);
        for n in 0..overlap {
            let at = start + n;
            pcm[at] = faded(pcm[at], pcm[at + period], n, overlap);
        }
        pcm.copy_within(start + period + overlap.., start + overlap);
        period
    }

    /// Puts up to `at_most` samples into a block, which is the first `samples` of `pcm`, and returns how many; the rest
    /// of `pcm` is room for them, and what does not fit there is not put in.
    ///
    /// That is one period of the voice. When `at_most` is below [`TimeScale::shortest_period`] it is a single sample,
    /// where it disturbs least. 0 when the block has no place for it; the next block may.
    pub fn lengthen(&mut self, pcm: &mut [i16], samples: usize, at_most: usize) -> usize {
        let samples = samples.min(pcm.len());
        let at_most = at_most.min(pcm.len() - samples);
        if at_most < self.shortest_period() {
            return if at_most == 0 { 0 } else { insert_one(pcm, samples) };
        }
        let Some(Join { start, period }) = self.join(&pcm[..samples], at_most) else {
            return 0;
        };
        let overlap = self.samples(OVERLAP_US);
        pcm.copy_within(start + overlap..samples, start + period + overlap);
        // From the end: what fades in lies before what fades out and must not be overwritten yet.
        for n in (0..overlap).rev() {
            let at = start + period + n;
            pcm[at] = faded(pcm[at], pcm[at - period], n, overlap);
        }
        period
    }

    fn samples(&self, microseconds: u32) -> usize {
        (u64::from(self.rate_hz) * u64::from(microseconds) / 1_000_000) as usize
    }

    /// Looks for the place where the block is most like itself, and judges whether that is enough.
    fn join(&mut self, pcm: &[i16], at_most: usize) -> Option<Join> {
        let found = self.most_alike(pcm, at_most);
        let needed = NEEDED_LIKENESS[self.refusals.min(NEEDED_LIKENESS.len() - 1)];
        match found {
            Some((join, likeness)) if likeness >= needed => {
                self.refusals = 0;
                Some(join)
            }
            _ => {
                self.refusals += 1;
                None
            }
        }
    }

    fn most_alike(&self, pcm: &[i16], at_most: usize) -> Option<(Join, f32)> {
        let factor = (self.rate_hz as usize / 8000).max(1);
        let length = pcm.len().min(self.samples(1000 * SEARCH_MS));
        let pcm = &pcm[..length];
        let mut copy = [0; SEARCH_SAMPLES];
        let (coarse, shift) = search_copy(pcm, factor, &mut copy);
        let overlap = self.samples(OVERLAP_US) / factor;
        let place = (self.samples(PLACE_US) / factor).max(1);
        let shortest = self.samples(*PERIOD_US.start()).div_ceil(factor).max(1);
        // One less: refining may add to the period and to its place.
        let longest = self
            .samples(*PERIOD_US.end())
            .min(at_most.saturating_sub(factor - 1))
            / factor;
        let room = coarse.len().checked_sub(overlap + 1)?;
        let quiet = QUIET_POWER * overlap as f32 / (1 << (2 * shift)) as f32;
        let mut best: Option<(Join, f32)> = None;
        for period in (shortest..=longest.min(room)).rev() {
            for start in (0..=room - period).step_by(place) {
                let likeness = likeness(coarse, Join { start, period }, overlap, quiet);
                if best.is_none_or(|(_, most)| likeness > most + 1e-4) {
                    best = Some((Join { start, period }, likeness));
                }
            }
        }
        let (join, likeness) = best?;
        Some((self.refined(pcm, join, factor, at_most), likeness))
    }

    /// Finds the exact period around that of the search copy.
    fn refined(&self, pcm: &[i16], coarse: Join, factor: usize, at_most: usize) -> Join {
        let start = coarse.start * factor;
        let middle = coarse.period * factor;
        if factor == 1 {
            return Join {
                start,
                period: middle,
            };
        }
        let overlap = self.samples(OVERLAP_US);
        let longest = at_most.min(pcm.len() - start - overlap);
        let difference = |period: usize| -> u64 {
            let (early, late) = (&pcm[start..start + overlap], &pcm[start + period..]);
            early
                .iter()
                .zip(late)
                .map(|(&a, &b)| u64::from(a.abs_diff(b)))
                .sum()
        };
        let period = (middle - (factor - 1)..=(middle + factor - 1).min(longest))
            .min_by_key(|&period| difference(period))
            .unwrap_or(middle);
        Join { start, period }
    }
}

/// Fills `copy` with means of `factor` samples each, scaled so that sums of products of 60 samples fit 32 bits. Returns the
/// copy and the number of binary digits that were cut off.
fn search_copy<'a>(pcm: &[i16], factor: usize, copy: &'a mut [i16; SEARCH_SAMPLES]) -> (&'a [i16], u32) {
    let peak = u32::from(crate::peak(pcm));
    let shift = (u32::BITS - peak.leading_zeros()).saturating_sub(12);
    let length = (pcm.len() / factor).min(SEARCH_SAMPLES);
    for (mean, samples) in copy.iter_mut().zip(pcm.chunks_exact(factor)) {
        let sum: i32 = samples.iter().map(|&sample| i32::from(sample)).sum();
        *mean = ((sum / factor as i32) >> shift) as i16;
    }
    (&copy[..length], shift)
}

/// Returns the normalised correlation of the two stretches of a join, −1.0..=1.0; 1.0 when both are quiet.
fn likeness(pcm: &[i16], join: Join, overlap: usize, quiet: f32) -> f32 {
    let early = &pcm[join.start..join.start + overlap];
    let late = &pcm[join.start + join.period..][..overlap];
    let products = |a: &[i16], b: &[i16]| -> f32 {
        let sum: i32 = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        sum as f32
    };
    let (first, second) = (products(early, early), products(late, late));
    if first.max(second) <= quiet {
        return 1.0;
    }
    // Twice the product over the sum of the energies: unlike loudness counts as unlike, too.
    2.0 * products(early, late) / (first + second)
}

/// Returns the `n`th of `length` steps from one sample to another.
fn faded(from: i16, to: i16, n: usize, length: usize) -> i16 {
    let (from, to) = (i32::from(from), i32::from(to));
    let (n, length) = (n as i32, length as i32);
    ((from * (length - n) + to * n + length / 2).div_euclid(length)) as i16
}

/// Takes out the sample whose neighbours are most like it. Returns 0 if there are too few.
fn remove_one(pcm: &mut [i16]) -> usize {
    let Some(middle) = smoothest(pcm) else { return 0 };
    pcm.copy_within(middle + 1.., middle);
    1
}

/// Puts a sample where its neighbours are most alike. Returns 0 if there are too few.
fn insert_one(pcm: &mut [i16], samples: usize) -> usize {
    let Some(middle) = smoothest(&pcm[..samples]) else {
        return 0;
    };
    pcm.copy_within(middle..samples, middle + 1);
    let (before, after) = (i32::from(pcm[middle - 1]), i32::from(pcm[middle + 1]));
    pcm[middle] = ((before + after) / 2) as i16;
    1
}

/// Returns the place of the sample that differs least from both neighbours; the lowest level decides among equals.
fn smoothest(pcm: &[i16]) -> Option<usize> {
    let roughness = |w: &[i16]| {
        let steps = u32::from(w[0].abs_diff(w[1])) + u32::from(w[1].abs_diff(w[2]));
        (steps, w[1].unsigned_abs())
    };
    let places = pcm.windows(3).enumerate();
    places
        .min_by_key(|(_, window)| roughness(window))
        .map(|(before, _)| before + 1)
}
