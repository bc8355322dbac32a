//! Coefficients of the rate conversions, one table per pair of rates, made once and kept for the life of the process.

use std::sync::OnceLock;

use super::prototype::Prototype;

/// The sample rates between which tables exist, in Hz: those of the conference profile.
pub const RESAMPLER_RATES_HZ: [u32; 7] = [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];

/// Further rates that recordings have, in Hz: they are converted from and never to. 10 ms of them are no whole samples.
pub const RECORDING_RATES_HZ: [u32; 2] = [11_025, 22_050];

/// Lengths that filters have, in input samples: each is padded to the next of these. Interpolation takes the first, 48 to
/// 8 kHz the last. Multiples of [`PIECE`].
const TAPS: [usize; 5] = [32, 64, 96, 128, MAX_TAPS];

/// Outputs that are narrowed to 16 bits at a time.
const BLOCK: usize = 16;

/// Products that are added up at a time: four vector instructions (SSE2 `pmaddwd`).
const PIECE: usize = 32;

/// Length of the longest filter, in input samples.
pub(super) const MAX_TAPS: usize = 192;

/// Coefficients are in units of 2⁻¹⁵ where the magnitudes of each filter add up to less than 2, of 2⁻¹⁴ otherwise: 32
/// bits hold any result then.
const SHIFTS: [u32; 2] = [15, 14];

const RATES: usize = RESAMPLER_RATES_HZ.len();
const SOURCE_RATES: usize = RATES + RECORDING_RATES_HZ.len();

/// The coefficients that convert between one pair of rates.
#[derive(Debug)]
pub struct ResamplerTable {
    from_hz: u32,
    to_hz: u32,
    /// Output samples per `down` input samples, without a common divisor.
    up: usize,
    down: usize,
    delay_samples: usize,
    /// Coefficients of one phase.
    taps: usize,
    /// Binary digits of the coefficients behind the point.
    shift: u32,
    /// `up` filters of `taps` coefficients, for the newest input sample last.
    coefficients: Box<[i16]>,
}

static TABLES: [[OnceLock<ResamplerTable>; RATES]; SOURCE_RATES] =
    [const { [const { OnceLock::new() }; RATES] }; SOURCE_RATES];

impl ResamplerTable {
    /// Returns the table for a pair of [`RESAMPLER_RATES_HZ`], of which the first may be one of [`RECORDING_RATES_HZ`] as
    /// well; `None` for other rates.
    ///
    /// The first call for a pair computes it, which allocates and takes up to some milliseconds: never call it where
    /// time matters, there is [`ResamplerTable::built`] for that.
    pub fn get(from_hz: u32, to_hz: u32) -> Option<&'static ResamplerTable> {
        Some(cell(from_hz, to_hz)?.get_or_init(|| ResamplerTable::build(from_hz, to_hz)))
    }

    /// Returns the table for a pair of rates if [`ResamplerTable::get`] made it before. Never computes, allocates or
    /// waits.
    pub fn built(from_hz: u32, to_hz: u32) -> Option<&'static ResamplerTable> {
        cell(from_hz, to_hz)?.get()
    }

    /// Returns the rate of the input, in Hz.
    pub fn from_hz(&self) -> u32 {
        self.from_hz
    }

    /// Returns the rate of the output, in Hz.
    pub fn to_hz(&self) -> u32 {
        self.to_hz
    }

    /// Returns whether both rates are equal, so that samples pass untouched.
    pub fn is_identity(&self) -> bool {
        self.from_hz == self.to_hz
    }

    /// Returns the delay of low frequencies in samples of the output rate, rounded to the nearest; 0 for equal rates.
    pub fn delay_samples(&self) -> usize {
        self.delay_samples
    }

    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    /// Returns how many output samples lie within the next `samples` input samples, the first of them being due
    /// `sample` and `phase / up` input samples after their beginning.
    pub(super) fn due(&self, sample: usize, phase: usize, samples: usize) -> usize {
        (samples * self.up)
            .saturating_sub(sample * self.up + phase)
            .div_ceil(self.down)
    }

    /// Returns where the first output sample after the next `samples` input samples lies, counted from their end.
    pub(super) fn advance(&self, sample: usize, phase: usize, samples: usize) -> (usize, usize) {
        let due = self.due(sample, phase, samples);
        let ahead = (sample * self.up + phase + due * self.down) - samples * self.up;
        (ahead / self.up, ahead % self.up)
    }

    /// Fills `out` with outputs from position `at` on (whole sample, phase). An output at whole sample `n` is computed
    /// from `samples[n..n + taps]` when `samples` begins with `taps - 1` samples of the past. Ends early where `samples`
    /// do; returns how many were written and the position of the next.
    pub(super) fn filter(
        &self,
        samples: &[i16],
        at: (usize, usize),
        out: &mut [i16],
    ) -> (usize, (usize, usize)) {
        match self.taps {
            32 => self.run::<32>(samples, at, out),
            64 => self.run::<64>(samples, at, out),
            96 => self.run::<96>(samples, at, out),
            128 => self.run::<128>(samples, at, out),
            _ => self.run::<MAX_TAPS>(samples, at, out),
        }
    }

    /// [`ResamplerTable::filter`] for filters of a length that the compiler knows: it unrolls the sum of products.
    fn run<const TAPS: usize>(
        &self,
        samples: &[i16],
        at: (usize, usize),
        out: &mut [i16],
    ) -> (usize, (usize, usize)) {
        let filters = self.coefficients.as_chunks::<TAPS>().0;
        let (whole, part) = (self.down / self.up, self.down % self.up);
        let (mut sample, mut phase) = at;
        let mut written = 0;
        for block in out.chunks_mut(BLOCK) {
            let mut sums = [0; BLOCK];
            for sum in &mut sums[..block.len()] {
                let Some(window) = samples.get(sample..).and_then(<[i16]>::first_chunk) else {
                    break;
                };
                *sum = dot::<TAPS>(window, &filters[phase]);
                written += 1;
                sample += whole;
                phase += part;
                if phase >= self.up {
                    phase -= self.up;
                    sample += 1;
                }
            }
            for (out, &sum) in block.iter_mut().zip(&sums) {
                *out = narrow(sum, self.shift);
            }
        }
        (written, (sample, phase))
    }

    fn build(from_hz: u32, to_hz: u32) -> ResamplerTable {
        let divisor = greatest_common_divisor(from_hz, to_hz);
        let (up, down) = ((to_hz / divisor) as usize, (from_hz / divisor) as usize);
        let mut table = ResamplerTable {
            from_hz,
            to_hz,
            up,
            down,
            delay_samples: 0,
            taps: 1,
            shift: 0,
            coefficients: Box::default(),
        };
        if table.is_identity() {
            return table;
        }
        let lower_hz = from_hz.min(to_hz);
        let prototype = Prototype::get(lower_hz);
        table.delay_samples = (prototype.delay() * f64::from(to_hz) / f64::from(lower_hz)).round() as usize;
        // One sample of the lower rate, in input samples.
        let lower = (down as f64 / up as f64).max(1.0);
        let needed = (prototype.length() as f64 * lower).ceil() as usize;
        table.taps = TAPS.into_iter().find(|&taps| taps >= needed).unwrap_or(MAX_TAPS);
        let filters: Vec<Vec<f64>> = (0..up)
            .map(|phase| {
                let after = phase as f64 / up as f64;
                // Time of the output sample after each input sample; the newest comes last.
                let time = |age| (f64::from(age) + after) / lower;
                normalised((0..table.taps as u32).rev().map(|age| prototype.at(time(age))))
            })
            .collect();
        let magnitude = |filter: &Vec<f64>| filter.iter().map(|c| c.abs()).sum::<f64>();
        let largest = filters.iter().map(magnitude).fold(0.0, f64::max);
        table.shift = if largest < 1.99 { SHIFTS[0] } else { SHIFTS[1] };
        table.coefficients = filters
            .iter()
            .flat_map(|filter| quantised(filter, table.shift))
            .collect();
        table
    }
}

fn cell(from_hz: u32, to_hz: u32) -> Option<&'static OnceLock<ResamplerTable>> {
    let mut rates = RESAMPLER_RATES_HZ.iter();
    let to = rates.position(|&rate| rate == to_hz)?;
    let mut sources = RESAMPLER_RATES_HZ.iter().chain(&RECORDING_RATES_HZ);
    let from = sources.position(|&rate| rate == from_hz)?;
    Some(&TABLES[from][to])
}

/// Scales a filter so that it passes a constant with gain 1.
fn normalised(filter: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let sum: f64 = filter.clone().sum();
    filter.map(|coefficient| coefficient / sum).collect()
}

/// Rounds a filter to integers that add up to exactly `1 << shift`: all down, then those up that lost most.
fn quantised(filter: &[f64], shift: u32) -> Vec<i16> {
    let scaled = |n: usize| filter[n] * f64::from(1 << shift);
    let mut rounded: Vec<i16> = (0..filter.len()).map(|n| scaled(n).floor() as i16).collect();
    let missing = (1 << shift) - rounded.iter().map(|&c| i32::from(c)).sum::<i32>();
    let mut by_loss: Vec<usize> = (0..filter.len()).collect();
    by_loss.sort_by(|&a, &b| (scaled(b) - scaled(b).floor()).total_cmp(&(scaled(a) - scaled(a).floor())));
    for &n in by_loss.iter().take(missing.max(0) as usize) {
        rounded[n] += 1;
    }
    rounded
}

/// Adds up the products of a window and a filter, in pieces of a length that compiles to full vectors.
fn dot<const TAPS: usize>(window: &[i16; TAPS], filter: &[i16; TAPS]) -> i32 {
    let windows = window.as_chunks::<PIECE>().0;
    let filters = filter.as_chunks::<PIECE>().0;
    windows.iter().zip(filters).map(|(w, f)| piece(w, f)).sum()
}

fn piece(window: &[i16; PIECE], filter: &[i16; PIECE]) -> i32 {
    window
        .iter()
        .zip(filter)
        .map(|(&sample, &coefficient)| i32::from(sample) * i32::from(coefficient))
        .sum()
}

/// Scales back to 16 bits, to the nearest; what exceeds full scale is cut off.
fn narrow(sum: i32, shift: u32) -> i16 {
    let rounded = (sum + (1 << (shift - 1))) >> shift;
    rounded.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_pass_a_constant_exactly_and_cannot_overflow() {
        for from_hz in RESAMPLER_RATES_HZ.into_iter().chain(RECORDING_RATES_HZ) {
            for to_hz in RESAMPLER_RATES_HZ {
                let table = ResamplerTable::get(from_hz, to_hz).expect("a known pair");
                assert!(table.taps <= MAX_TAPS);
                for filter in table.coefficients.chunks(table.taps) {
                    let sum: i32 = filter.iter().map(|&c| i32::from(c)).sum();
                    assert_eq!(sum, 1 << table.shift, "{from_hz} to {to_hz}");
                    let magnitude: u32 = filter.iter().map(|&c| u32::from(c.unsigned_abs())).sum();
                    assert!(magnitude < 65_500, "{from_hz} to {to_hz}: {magnitude}");
                }
            }
        }
    }

    #[test]
    fn only_known_rates_have_tables_and_only_made_ones_are_found() {
        assert!(ResamplerTable::get(8000, 11_025).is_none());
        assert!(ResamplerTable::get(44_000, 8000).is_none());
        assert!(ResamplerTable::built(0, 48_000).is_none());
        let made = ResamplerTable::get(24_000, 32_000).expect("a known pair");
        let found = ResamplerTable::built(24_000, 32_000).expect("made above");
        assert!(std::ptr::eq(made, found));
    }

    #[test]
    fn the_delay_is_a_fraction_of_a_millisecond() {
        let rows = [
            (8000, 8000, 0),
            (8000, 16_000, 4),
            (8000, 48_000, 11),
            (48_000, 8000, 2),
            (16_000, 44_100, 6),
            (48_000, 16_000, 2),
            (44_100, 48_000, 2),
        ];
        for (from_hz, to_hz, expected) in rows {
            let table = ResamplerTable::get(from_hz, to_hz).expect("a known pair");
            assert_eq!(table.delay_samples(), expected, "{from_hz} to {to_hz}");
        }
    }
}
