//! Rate conversion by a fixed ratio: a polyphase filter that keeps what it needs of the past and nothing else.
//!
//! Owns the filter's history of one stream; the coefficients belong to [`ResamplerTable`]. Knows no packets and no gaps:
//! what a stream does in a pause is told by its owner, with samples or with [`Resampler::skip`].

mod prototype;
mod table;

pub use table::{RECORDING_RATES_HZ, RESAMPLER_RATES_HZ, ResamplerTable};

use table::MAX_TAPS;

/// Samples kept of the past: one less than the longest filter looks back, rounded up.
const HISTORY: usize = MAX_TAPS;

/// Converts one mono stream from one sample rate to another.
///
/// Without a table, and with the table of two equal rates, samples pass bit by bit and without delay. Otherwise speech comes
/// out 0.25 ms (below 1 kHz) to 0.5 ms (3 kHz) later where the lower rate is 8 kHz, 0.15 to 0.2 ms later at 16 kHz, less
/// above: the filters have the least phase that their magnitude allows, and only the last tenth of the band lags by up to 1 ms. The
/// response is flat within 0.1 dB up to 88 % of the lower rate's Nyquist frequency (3.5 kHz for 8 kHz), has
/// −3 dB at 95 %, with the longer filters from 16 kHz on up to 94 % (7.5 kHz for 16 kHz) and at 97.5 %; what would
/// be an image or come from above 110 % is below −60 dB. 20 ms take 1 to 3 µs, 5 where cores are shared. Blocks of whole
/// 10 ms give exactly as many samples as the same time holds at the other rate; blocks of other lengths give one sample
/// more or less at times and lose nothing. All memory is inside the value (about 0.4 KB), so changing the rate allocates
/// nothing.
///
/// ```
/// use confab_dsp::{Resampler, ResamplerTable};
///
/// let table = ResamplerTable::get(8000, 48_000).expect("both rates are known");
/// let mut resampler = Resampler::new();
/// resampler.set(table);
/// let mut wide = [0; 960];
/// assert_eq!(resampler.process(&[1000; 160], &mut wide), 960);
/// assert_eq!(wide[959], 1000); // a constant keeps its value exactly
/// ```
#[derive(Debug, Clone)]
pub struct Resampler {
    table: Option<&'static ResamplerTable>,
    /// The last input samples, oldest first.
    history: [i16; HISTORY],
    at: Position,
}

/// Where the next output sample lies: `sample` input samples and `phase / up` after the next block's first sample.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    sample: usize,
    phase: usize,
}

impl Resampler {
    /// Creates a resampler that passes samples untouched until it is given a table.
    pub fn new() -> Self {
        Resampler {
            table: None,
            history: [0; HISTORY],
            at: Position::default(),
        }
    }

    /// Sets the pair of rates. The past is kept when the input rate stays the same, so that the new output goes on where
    /// the old one was; otherwise it begins with silence.
    pub fn set(&mut self, table: &'static ResamplerTable) {
        if self.table.is_none_or(|old| old.from_hz() != table.from_hz()) {
            self.history = [0; HISTORY];
        }
        self.table = Some(table);
        self.at = Position::default();
    }

    /// Returns the table in use, `None` before the first [`Resampler::set`].
    pub fn table(&self) -> Option<&'static ResamplerTable> {
        self.table
    }

    /// Returns whether samples pass untouched.
    pub fn is_identity(&self) -> bool {
        self.table.is_none_or(ResamplerTable::is_identity)
    }

    /// Returns how far the output lags behind the input, in samples of the output rate, rounded to the nearest.
    pub fn delay_samples(&self) -> usize {
        self.table.map_or(0, ResamplerTable::delay_samples)
    }

    /// Returns how many samples [`Resampler::process`] would write for `samples` of input.
    pub fn output_samples(&self, samples: usize) -> usize {
        match self.table {
            None => samples,
            Some(table) => table.due(self.at.sample, self.at.phase, samples),
        }
    }

    /// Converts `input` and writes the result to the beginning of `out`; returns the number of samples written.
    ///
    /// For input of whole 10 ms that is exactly `input.len() * to_hz / from_hz`. What does not fit into `out` is lost;
    /// the stream's timing is not disturbed by it.
    pub fn process(&mut self, input: &[i16], out: &mut [i16]) -> usize {
        let written = match self.table {
            Some(table) if !table.is_identity() => self.convert(table, input, out),
            _ => {
                let written = input.len().min(out.len());
                out[..written].copy_from_slice(&input[..written]);
                written
            }
        };
        self.remember(input);
        written
    }

    /// Takes in samples whose conversion nobody needs. Costs a copy; the next [`Resampler::process`] goes on as if these
    /// had been converted.
    pub fn skip(&mut self, input: &[i16]) {
        if let Some(table) = self.table {
            self.at = table.advance(self.at.sample, self.at.phase, input.len()).into();
        }
        self.remember(input);
    }

    /// Forgets the past, as if only silence had come so far.
    pub fn reset(&mut self) {
        self.history = [0; HISTORY];
        self.at = Position::default();
    }

    /// Returns the last samples that came in, oldest first: as many as any filter needs.
    pub fn past(&self) -> &[i16] {
        &self.history
    }

    /// Takes over table and past of another resampler: both give the same output from here on.
    pub fn copy_from(&mut self, other: &Resampler) {
        self.clone_from(other);
    }

    fn convert(&mut self, table: &ResamplerTable, input: &[i16], out: &mut [i16]) -> usize {
        let Position { sample, phase } = self.at;
        let due = table.due(sample, phase, input.len()).min(out.len());
        self.at = table.advance(sample, phase, input.len()).into();
        // The first outputs look back into the past: for them, past and beginning are laid side by side.
        let back = table.taps() - 1;
        let head = back.min(input.len());
        let mut seam = [0; 2 * MAX_TAPS];
        seam[..back].copy_from_slice(&self.history[HISTORY - back..]);
        seam[back..back + head].copy_from_slice(&input[..head]);
        let (written, at) = table.filter(&seam[..back + head], (sample, phase), &mut out[..due]);
        if written == due {
            return due;
        }
        let rest = (at.0 - back, at.1);
        written + table.filter(input, rest, &mut out[written..due]).0
    }

    fn remember(&mut self, input: &[i16]) {
        match input.last_chunk::<HISTORY>() {
            Some(last) => self.history = *last,
            None => {
                self.history.copy_within(input.len().., 0);
                self.history[HISTORY - input.len()..].copy_from_slice(input);
            }
        }
    }
}

impl Default for Resampler {
    fn default() -> Self {
        Self::new()
    }
}

impl From<(usize, usize)> for Position {
    fn from((sample, phase): (usize, usize)) -> Self {
        Position { sample, phase }
    }
}
